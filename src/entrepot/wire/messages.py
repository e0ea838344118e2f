"""Requests and responses over plain ASGI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from entrepot.domain.access import ANONYMOUS, Caller
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.names import RepositoryName

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NOWHERE: Final = RepositoryName("")

# Whatever users uploaded is never run in a browser as if it were ours.
HARMLESS: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]

# RFC 7234, section 5.5.1: clients and caches go on, and whoever looks can tell.
STALE: Final = (b"warning", b'110 - "Response is Stale"')


class Request:
    """One HTTP request as a face sees it.

    `is_read` says that the body has ended. `parameters` come from the path; `resource` is the repository and `tag` the
    tag that they name, and `caller` whoever the guard found (`is_identified`), all set before a handler runs. `hidden`
    is the repository that was asked for, and why it is refused, where a name that nobody has stands in for it.
    """

    __slots__ = (
        "_headers",
        "_query",
        "caller",
        "hidden",
        "is_identified",
        "is_read",
        "method",
        "parameters",
        "path",
        "receive",
        "resource",
        "scope",
        "tag",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.parameters: dict[str, str] = {}
        self.resource = NOWHERE
        self.hidden: tuple[RepositoryName, tuple[str, ...]] | None = None
        self.tag = ""
        self.caller: Caller = ANONYMOUS
        self.is_identified = False
        self.is_read = False
        self._headers: dict[bytes, bytes] | None = None
        self._query: list[tuple[str, str]] | None = None

    def header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name; repeated ones are joined by a comma (RFC 9110, section 5.3)."""
        if self._headers is None:
            headers: dict[bytes, bytes] = {}
            for key, value in self.scope["headers"]:
                headers[key] = headers[key] + b", " + value if key in headers else value
            self._headers = headers
        return self._headers.get(name)

    def each_header(self, name: bytes) -> list[str]:
        """Every header of a lower-case name by itself, as text."""
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]

    def text_header(self, name: bytes) -> str:
        """The same as text, empty if it is not there."""
        value = self.header(name)
        return "" if value is None else value.decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """The parameters behind the question mark, in order. Raises RequestInvalid."""
        if self._query is None:
            self._query = self._parse_query()
        return self._query

    def _parse_query(self) -> list[tuple[str, str]]:
        raw: bytes = self.scope["query_string"]
        if not raw:
            return []
        if b"%00" in raw or b"\0" in raw:
            raise RequestInvalid("the query string holds a NUL, which nothing here can be named with")
        try:
            return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError as error:
            raise RequestInvalid("the query string is not readable", reason=str(error)) from None

    def query_values(self, name: str) -> list[str]:
        """Every value of one parameter."""
        return [value for key, value in self.query() if key == name]

    def query_value(self, name: str) -> str | None:
        """The first value of one parameter."""
        return next(iter(self.query_values(name)), None)


class FileSpan(msgspec.Struct, frozen=True):
    """Bytes of an open file that the server sends by itself; whoever sends the response closes the descriptor."""

    descriptor: int
    start: int
    count: int


@dataclass(slots=True)
class Response:
    """A status, headers, and one of: bytes, a stream, or a span of a file."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    span: FileSpan | None = None

    async def send(self, send: Send, *, is_head: bool) -> None:
        """Write the response; to HEAD, everything but the body."""
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            if is_head:
                await send({"type": "http.response.body", "body": b""})
            elif self.span is not None:
                await send(_zero_copy(self.span))
            elif self.stream is not None:
                async for chunk in self.stream:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            else:
                await send({"type": "http.response.body", "body": self.body})
        finally:
            if self.span is not None:
                os.close(self.span.descriptor)


def _zero_copy(span: FileSpan) -> Message:
    # ASGI's extension "Zero Copy Send".
    return {
        "type": "http.response.zerocopysend",
        "file": span.descriptor,
        "offset": span.start,
        "count": span.count,
    }


def headers_of(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Headers written as text."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in pairs]


def empty(status: int, *pairs: tuple[str, str]) -> Response:
    """A response without a body, its length said."""
    return Response(status, [*headers_of(pairs), (b"content-length", b"0")])


def document(status: int, media_type: str, body: bytes, *pairs: tuple[str, str]) -> Response:
    """A response with a body in memory."""
    headers = headers_of([("content-type", media_type), ("content-length", str(len(body))), *pairs])
    return Response(status, headers, body)
