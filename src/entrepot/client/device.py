"""The device codes of a registry (RFC 8628), as a program that wants to log in asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from entrepot.client.api import Answer
from entrepot.client.credentials import Login
from entrepot.client.errors import ClientError
from entrepot.client.http import Server

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT: Final = "entrepot-cli"
OK: Final = 200
NOT_FOUND: Final = 404
SLOWER_SECONDS: Final = 5
ENDINGS: Final = {
    "access_denied": "the login was refused at the page",
    "expired_token": "nobody confirmed the code in time; begin again",
}
LONGEST_MESSAGE: Final = 300


class Begun(msgspec.Struct, frozen=True):
    """A login that waits: where to type which code, for how long and how often to ask (seconds)."""

    device_code: str
    code: str
    page: str
    whole_page: str
    seconds: int
    pause: int


class DeviceDoor(Server):
    """The two endpoints, which take forms and no login."""

    def begin(self, machine: str, scopes: Sequence[str]) -> Begun:
        """Ask for codes. Raises ClientError."""
        fields = {"client_id": CLIENT, "machine": machine, "scope": " ".join(scopes)}
        answer = self._post("/login/device/code", fields)
        if answer.status == NOT_FOUND:
            raise ClientError(f"{self.address} does not log in by a page; it is older than this command")
        document = _document(answer)
        if answer.status != OK:
            raise ClientError(_reason(document))
        try:
            return Begun(
                document["device_code"],
                document["user_code"],
                document["verification_uri"],
                document["verification_uri_complete"],
                int(document["expires_in"]),
                max(1, int(document.get("interval", SLOWER_SECONDS))),
            )
        except (KeyError, TypeError, ValueError):
            raise ClientError(f"this is no Entrepot: {self.address} answered without codes") from None

    def ask(self, device_code: str) -> Login | int:
        """The login if somebody has confirmed it; else how much longer (seconds) to pause from now on.

        Raises ClientError where nobody will.
        """
        fields = {"client_id": CLIENT, "grant_type": GRANT, "device_code": device_code}
        answer = self._post("/login/device/token", fields)
        document = _document(answer)
        if answer.status == OK:
            ca = self.login.ca if self.login else ""
            return Login(str(document.get("username", "")), str(document.get("access_token", "")), ca)
        match document.get("error"):
            case "authorization_pending":
                return 0
            case "slow_down" | "temporarily_unavailable":
                return SLOWER_SECONDS
            case error:
                raise ClientError(ENDINGS.get(str(error)) or _reason(document))

    def advise(self, status: int) -> str:
        del status
        return ""

    def _post(self, path: str, fields: dict[str, str]) -> Answer:
        return self.send("POST", path, urlencode(fields).encode())

    def _headers(self, body: bytes | None) -> dict[str, str]:
        del body
        form = "application/x-www-form-urlencoded"
        return {"accept": "application/json", "user-agent": CLIENT, "content-type": form}


def _document(answer: Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise ClientError(f"this is no Entrepot: it answered {answer.status} without JSON") from None


def _reason(document: dict[str, Any]) -> str:
    return str(document.get("error_description") or document.get("error") or "the server refused")[:LONGEST_MESSAGE]
