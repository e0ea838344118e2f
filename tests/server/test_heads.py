"""Request targets, response heads and refusals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.heads import Refusal, date_line, parse_target, render_chunk, render_head, render_refusal


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", ("/", b"/", b"")),
        (b"/v2/a/b?n=1&x=%2f", ("/v2/a/b", b"/v2/a/b", b"n=1&x=%2f")),
        (b"/a%20b%C3%A9", ("/a bé", b"/a%20b%C3%A9", b"")),
        (b"/a?b#c", ("/a", b"/a", b"b")),
        (b"/%", ("/%", b"/%", b"")),
        (b"*", ("*", b"*", b"")),
        (b"http://host:1/v2/?a", ("/v2/", b"/v2/", b"a")),
        (b"HTTPS://host", ("/", b"/", b"")),
    ],
)
def test_targets(raw: bytes, expected: tuple[str, bytes, bytes]) -> None:
    """Paths are decoded, queries are not; proxies send whole addresses."""
    assert parse_target(raw) == expected


@pytest.mark.parametrize("raw", [b"", b"v2/", b"ftp://host/", b"host:443", b"/\xff", b"/?\xe9"])
def test_targets_that_are_refused(raw: bytes) -> None:
    """What is neither a path nor an http address, and bytes that should have been encoded."""
    with pytest.raises(Refusal) as refused:
        parse_target(raw)
    assert refused.value.status == 400


@given(st.binary(max_size=60))
def test_no_target_is_too_strange(raw: bytes) -> None:
    """Any bytes are understood or refused."""
    try:
        path, sent, query = parse_target(raw)
    except Refusal:
        return
    assert path.startswith(("/", "*"))
    assert sent.isascii()
    assert query.isascii()


def test_heads_are_lines() -> None:
    """Status, headers in their order, date; statuses without a name too."""
    head = render_head(200, [(b"a", b"b"), (b"c", b"\xe9")], b"date: now")
    assert head == b"HTTP/1.1 200 OK\r\na: b\r\nc: \xe9\r\ndate: now\r\n"
    assert render_head(299, [], b"date: now") == b"HTTP/1.1 299 \r\ndate: now\r\n"


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x", b"a\nb", b"a\rb"])
def test_no_header_splits_a_response(value: bytes) -> None:
    """A line break inside a header is an error, not a second header."""
    with pytest.raises(ValueError, match="line break"):
        render_head(200, [(b"location", value)], b"date: now")


def test_refusals_are_errors_that_clients_print() -> None:
    """The distribution specification's JSON, with what to do about it, on a connection that closes."""
    head, _, body = render_refusal(Refusal(431, "too many headers")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"\r\nconnection: close" in head
    assert json.loads(body) == {"errors": [{"code": "UNSUPPORTED", "message": "too many headers"}]}
    assert b"\r\nretry-after: 1\r\n" in render_refusal(Refusal(503, "full"))


def test_small_pieces() -> None:
    """Dates as RFC 9110 writes them, chunks with their length in hexadecimal."""
    assert date_line(784111777) == b"date: Sun, 06 Nov 1994 08:49:37 GMT"
    assert render_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
