"""A registry at the other end of a network, by the standard library."""

from __future__ import annotations

import base64
import http.client
import ssl
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from entrepot.client.api import Answer
from entrepot.client.credentials import Login
from entrepot.client.errors import ClientError

LIMIT_SECONDS: Final = 30
LARGEST_ANSWER: Final = 64 << 20


def parse_server(text: str) -> str:
    """The address of a registry without a slash at the end; a bare host is https. Raises ClientError."""
    address = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise ClientError(f"{text!r} is no address of a registry; write it like https://registry.example.com")
    if parts.username is not None or parts.password is not None:
        raise ClientError("an address with a password shows it to everybody; use: entrepot login")
    return address.rstrip("/")


class Server:
    """One registry and how we log in there, perhaps with a one-time code; the port Api of the command line."""

    def __init__(self, address: str, login: Login | None, code: str = "") -> None:
        self.address = address
        self.login = login
        self._code = code
        self._parts = urlsplit(address)

    def send(self, method: str, path: str, body: bytes | None) -> Answer:
        connection = self._connect()
        try:
            connection.request(method, self._parts.path + path, body, self._headers(body))
            response = connection.getresponse()
            content = response.read(LARGEST_ANSWER)
        except ssl.SSLCertVerificationError as error:
            raise ClientError(
                f"the certificate of {self.address} is not trusted ({error.verify_message}); give its CA with --ca FILE"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(f"nobody answers at {self.address} ({reason}); is the server running?") from None
        finally:
            connection.close()
        if response.status in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
            target = response.getheader("location", "somewhere else")
            raise ClientError(f"{self.address} redirects to {target}; use that address")
        return Answer(response.status, response.getheader("link", ""), content)

    def advise(self, status: int) -> str:
        if status != HTTPStatus.UNAUTHORIZED:
            return ""
        return f"log in{' again' if self.login else ''} with: entrepot login {self.address}"

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"accept": "application/json", "user-agent": "entrepot-cli"}
        if body is not None:
            headers["content-type"] = "application/json"
        if self.login is not None and self.login.username:
            pair = f"{self.login.username}:{self.login.password}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        if self._code:
            headers["entrepot-otp"] = self._code
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        host = self._parts.hostname or ""
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, self._parts.port, timeout=LIMIT_SECONDS)
        return http.client.HTTPSConnection(host, self._parts.port, timeout=LIMIT_SECONDS, context=self._trust())

    def _trust(self) -> ssl.SSLContext:
        ca = self.login.ca if self.login else ""
        try:
            return ssl.create_default_context(cafile=ca or None)
        except (OSError, ssl.SSLError) as error:
            raise ClientError(f"cannot read certificates from {ca} ({error}); give a PEM file with --ca") from None
