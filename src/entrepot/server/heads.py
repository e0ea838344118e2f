"""The bytes around a body: request targets in, response heads and refusals out (RFC 9112)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
BODILESS: Final = frozenset({204, 304})


class Refusal(Exception):
    """A request that the server answers by itself, without the application; the connection closes afterwards."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def parse_target(raw: bytes) -> tuple[str, bytes, bytes]:
    """(path decoded, path as sent, query string) of a request target in origin or absolute form.

    Raises Refusal. Source: RFC 9112, section 3.2; in `OPTIONS *` the path is `*`.
    """
    if not raw.startswith((b"/", b"*")):
        scheme, separator, rest = raw.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise Refusal(400, "the request target is neither a path nor an http address")
        raw = b"/" + rest.partition(b"/")[2]
    path, _, query = raw.partition(b"#")[0].partition(b"?")
    if not path.isascii() or not query.isascii():
        raise Refusal(400, "the request target has bytes outside ASCII; percent-encode them")
    text = path.decode("ascii")
    return (unquote(text) if "%" in text else text), path, query


def render_head(status: int, headers: Iterable[tuple[bytes, bytes]], date: bytes) -> bytes:
    """A response head without the empty line that ends it; `date` is a whole header line.

    Raises ValueError where a header would end its line early (response splitting).
    """
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    lines += [b"%b: %b" % header for header in headers]
    lines += (date, b"")
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        raise ValueError("a response header holds a line break")
    return head


def render_chunk(body: bytes) -> bytes:
    """One chunk of a body whose length was not announced (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def render_refusal(refusal: Refusal) -> bytes:
    """A whole response in the form of the distribution specification's errors, which its clients print."""
    code = "UNAVAILABLE" if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else "UNSUPPORTED"
    body = json.dumps({"errors": [{"code": code, "message": str(refusal)}]}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"1"))
    return render_head(refusal.status, headers, date_line(int(time.time()))) + b"\r\n" + body


@lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    """The Date header of one second since 1970 (RFC 9110, section 6.6.1)."""
    return time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode("ascii")
