"""Bodies: streamed, within limits of size, length and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from entrepot.domain.errors import (
    EntrepotError,
    RequestInvalid,
    SizeInvalid,
    TooLarge,
    TooSlow,
)
from entrepot.wire.bodies import Body, Limits, content_length, drain, has_body, read
from entrepot.wire.messages import Headers, Message, Request
from tests.support.asgi import DISCONNECT, Listener, Part, Pause, run

PATIENT = Limits(idle_seconds=60)
STRICT = Limits(idle_seconds=0.03, slowest_bytes_per_second=1_000_000)
CHUNKED: Headers = [(b"transfer-encoding", b"chunked")]


def length(value: str) -> Headers:
    """A Content-Length header."""
    return [(b"content-length", value.encode())]


def request(headers: Headers, parts: Sequence[Part] = ()) -> Request:
    """A request whose body arrives in parts."""
    scope = {"method": "PUT", "path": "/", "query_string": b"", "headers": headers}
    return Request(scope, Listener(parts).receive)


@pytest.mark.parametrize(
    ("headers", "expected", "is_there"),
    [([], None, False), (CHUNKED, None, True), (length("0"), 0, False), (length("12"), 12, True)],
)
def test_whether_a_body_was_announced(headers: Headers, expected: int | None, is_there: bool) -> None:
    """By its length, or by its chunks."""
    assert content_length(request(headers)) == expected
    assert has_body(request(headers)) is is_there


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "1, 1", "9" * 19, "\u00b2"])
def test_lengths_that_are_none(value: str) -> None:
    """What is no number of bytes is RequestInvalid."""
    with pytest.raises(RequestInvalid):
        content_length(request(length(value)))


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        (length("5"), [b"hello"]),
        (length("5"), [b"he", b"", b"llo"]),
        (CHUNKED, [b"hello"]),
        (CHUNKED, [b"he", Pause(0.001), b"llo", b""]),
        ([], [b"hello"]),
    ],
)
def test_whole_bodies(headers: Headers, parts: list[Part]) -> None:
    """All of the bytes, however they arrive."""
    assert run(read(request(headers, parts), PATIENT, 5)) == b"hello"


def test_no_limit_is_no_limit() -> None:
    """A most of zero lets everything through."""
    assert run(read(request(CHUNKED, [b"x" * 1000]), PATIENT, 0)) == b"x" * 1000


@pytest.mark.parametrize(
    ("headers", "parts", "error"),
    [
        (length("6"), [b"hello!"], TooLarge),
        (length("999"), [DISCONNECT], TooLarge),
        (CHUNKED, [b"hello", b"!"], TooLarge),
        (length("5"), [b"hell"], SizeInvalid),
        (length("3"), [b"hell"], SizeInvalid),
        (length("5"), [b"hell", DISCONNECT], SizeInvalid),
        (CHUNKED, [DISCONNECT], SizeInvalid),
        (length("5"), [Pause(0.2), b"hello"], TooSlow),
        (CHUNKED, [b"h", Pause(0.2), b"ello"], TooSlow),
        (CHUNKED, [b"h", Pause(0.02), b"e", Pause(0.02), b"l", Pause(0.02), b"o"], TooSlow),
    ],
)
def test_bodies_that_are_refused(headers: Headers, parts: list[Part], error: type[EntrepotError]) -> None:
    """Too large by announcement or by arrival, of another length than announced, cut off, stopped, or dripping."""
    with pytest.raises(error):
        run(read(request(headers, parts), STRICT, 5))


def test_a_body_that_is_announced_too_large_is_not_read() -> None:
    """The refusal comes before the first byte."""
    listener = Listener([b"hello!"])
    scope = {"method": "PUT", "path": "/", "query_string": b"", "headers": length("6")}
    with pytest.raises(TooLarge):
        run(read(Request(scope, listener.receive), STRICT, 5))
    assert run(listener.receive())["body"] == b"hello!"


def test_empty_messages_are_not_handed_on() -> None:
    """Whoever reads the stream sees bytes or the end."""

    async def collect() -> list[bytes]:
        return [chunk async for chunk in Body(request(CHUNKED, [b"", b"a", b"", b"b", b""]), PATIENT, 0)]

    assert run(collect()) == [b"a", b"b"]


def test_messages_without_a_body_are_empty() -> None:
    """ASGI lets a server leave out `body` and `more_body`."""

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"method": "PUT", "path": "/", "query_string": b"", "headers": []}
    assert run(read(Request(scope, receive), PATIENT, 0)) == b""


class Pourer:
    """A server that pours these parts, all but the last, which it leaves."""

    def __init__(self, parts: Sequence[bytes], error: Exception | None = None, drips: int = 0) -> None:
        self.parts = parts
        self.drips = drips
        self.error = error

    async def pour(
        self, consume: Callable[[Sequence[bytes]], None], watch: Callable[[int], None], idle_seconds: float
    ) -> list[bytes]:
        assert idle_seconds > 0
        for _ in range(self.drips):
            await asyncio.sleep(0.02)
            watch(1)
        for part in self.parts[:-1]:
            consume([part])
        if self.error is not None:
            raise self.error
        return [self.parts[-1]]


def poured(headers: Headers, pourer: Pourer | None, most: int = 5, exact: int | None = None) -> bytes | None:
    """What a body pours and leaves; None where it cannot be poured."""
    asked = request(headers, [b"hello"])
    if pourer is not None:
        asked.scope["entrepot.pour"] = pourer.pour
    consumed: list[bytes] = []
    rest = run(Body(asked, STRICT, most, exact).pour(lambda pieces: consumed.extend(map(bytes, pieces))))
    assert asked.is_read is (rest is not None)
    return None if rest is None else b"".join([*consumed, *rest])


def test_bodies_are_poured_where_the_server_can() -> None:
    """Through the limits; elsewhere the caller is told to iterate."""
    assert poured(CHUNKED, Pourer([b"he", b"l", b"lo"])) == b"hello"
    assert poured(length("5"), Pourer([b"he", b"llo"]), exact=5) == b"hello"
    assert poured(CHUNKED, None) is None


@pytest.mark.parametrize(
    ("headers", "pourer", "exact", "error"),
    [
        (length("6"), Pourer([b"hello!"]), None, TooLarge),
        (CHUNKED, Pourer([b"hel", b"lo!"]), None, TooLarge),
        (CHUNKED, Pourer([b"hello!", b""]), None, TooLarge),
        (length("5"), Pourer([b"hell"]), None, SizeInvalid),
        (CHUNKED, Pourer([b"he", b"llo"]), 4, SizeInvalid),
        (CHUNKED, Pourer([b"he", b""], TimeoutError()), None, TooSlow),
        (CHUNKED, Pourer([b"hello"], drips=20), None, TooSlow),
        (CHUNKED, Pourer([b"he", b""], ConnectionResetError()), None, SizeInvalid),
    ],
)
def test_poured_bodies_that_are_refused(
    headers: Headers, pourer: Pourer, exact: int | None, error: type[EntrepotError]
) -> None:
    """The same limits as for those that are read piece by piece."""
    with pytest.raises(error):
        poured(headers, pourer, exact=exact)


def test_the_rest_of_a_refused_body_is_thrown_away() -> None:
    """Within bounds; one that waits to be invited is not invited for that."""
    assert run(drain(request(length("5"), [b"hello"])))
    assert run(drain(request([], [])))
    assert not run(drain(request(CHUNKED, [b"x" * (9 << 20), b"y"])))
    assert not run(drain(request([*length("5"), (b"expect", b"100-continue")], [b"hello"])))
