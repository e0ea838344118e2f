"""Requests and responses over plain ASGI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from entrepot.wire.messages import FileSpan, Message, Request, Response, document, empty
from tests.support.asgi import run


async def nothing() -> Message:
    """A body that nobody reads."""
    return {"type": "http.disconnect"}


def sent(response: Response, *, is_head: bool = False) -> list[Message]:
    """The messages that a response sends."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    run(response.send(send, is_head=is_head))
    return messages


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body in pieces."""
    for part in parts:
        yield part


def test_headers_are_found_by_their_lower_case_name() -> None:
    """Repeated ones are joined, missing ones are None or empty."""
    headers = [(b"accept", b"a"), (b"x", b"\xe9"), (b"accept", b"b")]
    request = Request({"method": "GET", "path": "/", "query_string": b"", "headers": headers}, nothing)
    assert request.header(b"accept") == b"a, b"
    assert (request.text_header(b"x"), request.text_header(b"y"), request.header(b"y")) == ("é", "", None)


def test_query_parameters_keep_their_order_and_blanks() -> None:
    """All of them, all values of one, the first of one."""
    query = b"a=1&b=&a=%C3%A9&c"
    request = Request({"method": "GET", "path": "/", "query_string": query, "headers": []}, nothing)
    assert request.query() == [("a", "1"), ("b", ""), ("a", "é"), ("c", "")]
    assert request.query_values("a") == ["1", "é"]
    assert (request.query_value("b"), request.query_value("d")) == ("", None)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200, [], b"abc"), b"abc"),
        (empty(204), b""),
        (document(200, "text/plain", b"abc"), b"abc"),
        (Response(200, [], stream=chunks(b"ab", b"c")), b"abc"),
        (Response(200, [], stream=chunks(b"abc")), b"abc"),
        (Response(200, [], stream=chunks()), b""),
    ],
)
def test_bodies_are_sent(response: Response, expected: bytes) -> None:
    """From memory in one message, from a stream as it comes, and with one end."""
    start, *bodies = sent(response)
    assert start["status"] == response.status
    assert b"".join(message["body"] for message in bodies) == expected
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]


def test_files_are_left_to_the_server() -> None:
    """A span of an open file is handed over in one message, and the file is closed."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    message = {"type": "http.response.zerocopysend", "file": descriptor, "offset": 3, "count": 4}
    assert sent(Response(206, [], span=FileSpan(descriptor, 3, 4)))[1] == message
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_head_is_answered_without_a_body() -> None:
    """Whatever the body would have been."""
    span = FileSpan(os.open("/dev/null", os.O_RDONLY), 0, 3)
    for response in (Response(200, [], b"abc"), Response(200, [], span=span)):
        assert sent(response, is_head=True)[1:] == [{"type": "http.response.body", "body": b""}]
