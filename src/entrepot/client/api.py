"""`/api/v1` as the command line uses it, whether it is behind a network or in this process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from entrepot.client.errors import ClientError, sentence_of

PREFIX: Final = "/api/v1"
NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next"')
LONGEST_MESSAGE: Final = 1000
FAILED: Final = 400


class Answer(msgspec.Struct, frozen=True):
    """A status, the Link header, and the body."""

    status: int
    link: str
    body: bytes


class Api(Protocol):
    """Somewhere to send requests of `/api/v1`. Raises ClientError where nobody can be reached."""

    def send(self, method: str, path: str, body: bytes | None) -> Answer:
        """One request, with the credentials that belong to it; `path` begins with `/api/v1`."""

    def advise(self, status: int) -> str:
        """What to do about a refusal, empty if there is nothing more to say."""


def path_of(*segments: str) -> str:
    """A path below the API; each segment is escaped, so that the name of a repository is one."""
    return PREFIX + "".join(f"/{quote(segment, safe='')}" for segment in segments)


def call(api: Api, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
    """The JSON that a request is answered with; None for an empty answer. Raises ClientError."""
    return _document(api, api.send(method, path, None if document is None else msgspec.json.encode(document)))


def collect(api: Api, path: str, key: str) -> list[dict[str, Any]]:
    """Every entry of a listing, page by page. Raises ClientError."""
    return [entry for page in pages(api, path, key) for entry in page]


def pages(api: Api, path: str, key: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a listing, each when it is asked for. Raises ClientError."""
    following: str | None = path
    while following is not None:
        answer = api.send("GET", following, None)
        yield _document(api, answer)[key]
        match = NEXT.search(answer.link)
        following = match[1] if match else None


def _document(api: Api, answer: Answer) -> Any:
    if answer.status >= FAILED:
        raise ClientError(_explain(api, answer), _code(answer))
    if not answer.body:
        return None
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        raise ClientError(f"this is no Entrepot: it answered {answer.status} without JSON") from None


def _code(answer: Answer) -> str:
    try:
        return str(msgspec.json.decode(answer.body)["errors"][0]["code"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def _explain(api: Api, answer: Answer) -> str:
    try:
        problem = msgspec.json.decode(answer.body)["errors"][0]
        detail, message = problem.get("detail") or {}, str(problem["message"])
        parts = [
            sentence_of(message, detail),
            *(str(reason) for reason in detail.get("reasons") or [] if str(reason) not in message),
        ]
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        parts = [f"it answered {answer.status}, and not as an Entrepot would"]
    advice = api.advise(answer.status)
    return "; ".join([*parts, advice] if advice else parts)[:LONGEST_MESSAGE]
