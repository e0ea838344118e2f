"""Tokens of a job: where its CI system keeps them, and what the registry gives for them."""

from __future__ import annotations

import http.client
import pathlib
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from entrepot.client.api import call
from entrepot.client.errors import ClientError
from entrepot.client.http import LIMIT_SECONDS, Server
from entrepot.domain.aws import QUESTION, SERVER_ID, render_signed_request

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
AWS: Final = "urn:entrepot:grant-type:aws-caller-identity"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a kind of token, not one
GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the name of a variable
VARIABLE: Final = "ENTREPOT_ID_TOKEN"
PROJECTED: Final = pathlib.Path("/var/run/secrets/entrepot/token")
OK: Final = 200
LARGEST_ANSWER: Final = 1 << 20


class TokenDoor(Server):
    """The token service of a registry, which takes forms and no login."""

    def exchange(self, form: Mapping[str, str], scopes: list[str]) -> dict[str, Any]:
        """What the registry answers to an exchange. Raises ClientError."""
        body = urlencode([*form.items(), *(("scope", scope) for scope in scopes)])
        answer: dict[str, Any] = call(_Form(self, body.encode()), "POST", "/token")
        return answer

    def advise(self, status: int) -> str:
        del status
        return ""

    def _headers(self, body: bytes | None) -> dict[str, str]:
        del body
        form = "application/x-www-form-urlencoded"
        return {"accept": "application/json", "user-agent": "entrepot-cli", "content-type": form}


class _Form:
    """One form as the port Api, so that errors of the token service read like all others."""

    def __init__(self, door: TokenDoor, form: bytes) -> None:
        self._door = door
        self._form = form
        self.advise = door.advise

    def send(self, method: str, path: str, body: bytes | None) -> Any:
        del body
        return self._door.send(method, path, self._form)


def find_token(environment: Mapping[str, str], variable: str, audience: str) -> str:
    """The ID token of the job that this runs in: GitHub's, a variable's as in GitLab, or a projected file's.

    Raises ClientError.
    """
    if environment.get(variable):
        return environment[variable].strip()
    if environment.get(GITHUB_URL) and environment.get(GITHUB_TOKEN):
        return _ask_github(environment[GITHUB_URL], environment[GITHUB_TOKEN], audience)
    if PROJECTED.is_file():
        return read_token(PROJECTED)
    raise ClientError(
        f"there is no token of a job here: neither {variable} (GitLab: id_tokens), nor {GITHUB_URL} (GitHub: "
        f"permissions: id-token: write), nor {PROJECTED} (Kubernetes: a projected volume); give --token-file"
    )


def read_token(path: pathlib.Path) -> str:
    """A token out of a file. Raises ClientError."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no token'}") from None


def sign_aws(audience: str, region: str, endpoint: str) -> str:
    """A request to STS, signed with whatever credentials of AWS this machine has. Raises ClientError."""
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra that only this needs
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - the same
        from botocore.session import Session  # noqa: PLC0415 - the same
    except ModuleNotFoundError:
        raise ClientError("to sign for AWS, botocore is needed: pip install 'entrepot[aws]'") from None
    credentials = Session().get_credentials()
    if credentials is None:
        raise ClientError("there are no credentials of AWS here: no variables, profile, role of a pod or of a machine")
    url, body = (endpoint or f"https://sts.{region}.amazonaws.com").rstrip("/") + "/", urlencode(QUESTION)
    headers = {"Content-Type": "application/x-www-form-urlencoded", SERVER_ID: audience, "Host": urlsplit(url).netloc}
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    SigV4Auth(credentials.get_frozen_credentials(), "sts", region).add_auth(request)
    return render_signed_request("POST", url, dict(request.headers.items()), body)


def _ask_github(url: str, token: str, audience: str) -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, f"audience={quote(audience, safe='')}") if part)
    kind = http.client.HTTPConnection if parts.scheme == "http" else http.client.HTTPSConnection
    connection = kind(parts.hostname or "", parts.port, timeout=LIMIT_SECONDS)
    try:
        headers = {"authorization": f"bearer {token}", "accept": "application/json", "user-agent": "entrepot-cli"}
        connection.request("GET", f"{parts.path or '/'}?{query}", headers=headers)
        response = connection.getresponse()
        content = response.read(LARGEST_ANSWER)
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        raise ClientError(f"GitHub gives no token: {error or type(error).__name__}") from None
    finally:
        connection.close()
    try:
        return str(msgspec.json.decode(content)["value"]) if response.status == OK else _no_token(response.status)
    except (msgspec.DecodeError, LookupError, TypeError):
        raise ClientError("GitHub answered something that holds no token") from None


def _no_token(status: int) -> str:
    raise ClientError(f"GitHub gives no token (status {status}); the job needs `permissions: id-token: write`")
