"""Random bytes, in random cuts: nothing raises, and whatever is answered is HTTP."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.connection import Connection
from entrepot.server.hub import Hub, Options
from tests.server.applications import echo

FRAGMENTS = [
    b"GET ", b"PUT ", b"CONNECT ", b"/ ", b"/v2/?a=b ", b"* ", b"http://h/ ", b"HTTP/1.1\r\n", b"HTTP/1.0\r\n",
    b"HTTP/2.0\r\n", b"Host: x\r\n", b"host:y\r\n", b"Content-Length: 3\r\n", b"Content-Length: 70000\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b" folded\r\n", b"\r\n", b"\n", b"\r", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n",
    b"ffffffffffffffff\r\n", b"abc", b"\0", b"\xff", b":", b"a" * 70_000,
]  # fmt: skip


class Pipe:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.is_shut = False

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else "not plain" if name == "ssl_object" else None

    def write(self, data: bytes) -> None:
        assert not self.is_shut, "written after the end"
        self.written += data

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self.is_shut

    def close(self) -> None:
        """Begin the end."""
        self.is_shut = True

    abort = close

    def get_write_buffer_size(self) -> int:
        """Everything is taken at once."""
        return 0

    def can_write_eof(self) -> bool:
        """As TLS cannot."""
        return False

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    resume_reading = pause_reading


async def feed(data: bytes, cuts: list[int]) -> tuple[Pipe, list[dict[str, Any]]]:
    """A connection that is given these bytes in pieces; its transport, and what went wrong."""
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    hub = Hub(echo, Options(), loop)
    pipe, connection = Pipe(), Connection(hub)
    connection.connection_made(pipe)  # type: ignore[arg-type]
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(edges):
        if not pipe.is_shut and stop > start:
            connection.data_received(data[start:stop])
        for _ in range(4):
            await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)
    await hub.stop()
    return pipe, problems


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=20), max_size=40), st.lists(st.integers(0), max_size=6))
def test_no_bytes_are_too_strange(fragments: list[bytes], cuts: list[int]) -> None:
    """Every request is answered by the application, refused, or waited for."""
    pipe, problems = asyncio.run(feed(b"".join(fragments), cuts))
    assert not [each for each in problems if not isinstance(each.get("exception"), AssertionError)], problems
    assert pipe.written == b"" or pipe.written.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4", b"HTTP/1.1 100 "))


@given(st.integers(1, 5), st.lists(st.integers(0), max_size=8))
def test_cuts_do_not_matter(count: int, cuts: list[int]) -> None:
    """Good requests are all answered, wherever the packets end."""
    chunked = b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    whole = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + chunked
    pipe, problems = asyncio.run(feed(whole * count, [*cuts, 10**6]))
    assert problems == []
    assert pipe.written.count(b"HTTP/1.1 200 OK") == 2 * count
