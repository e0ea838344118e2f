"""One request and its response, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Final

from entrepot.server.heads import BODILESS, CONTINUE, LAST_CHUNK, date_line, render_chunk, render_head
from entrepot.server.pump import Consume
from entrepot.server.sender import Transfer, is_cached

if TYPE_CHECKING:
    from entrepot.server.connection import Connection
    from entrepot.server.hub import Message, Scope

MOST_BUFFERED: Final = 256 << 10
# Up to here copying a file into the response is cheaper than to send it by a call of its own.
TINY_FILE: Final = 16 << 10
# Up to here it is not worth another thread, if it is in memory.
SMALL_FILE: Final = 128 << 10
WORTH_A_THREAD: Final = 64 << 10
GONE: Final = "the client went away"


class Exchange:
    """Body in, head and body out. `length` is the announced length of the request's body, None for chunks.

    `is_over` says that the response has been written whole, or that nobody waits for it any more.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_has_begun",
        "_head",
        "_is_chunked",
        "_is_drained",
        "_waiter",
        "buffered",
        "expects",
        "is_complete",
        "is_gone",
        "is_over",
        "keeps",
        "length",
        "received",
        "scope",
    )

    def __init__(self, connection: Connection, scope: Scope, *, keeps: bool, length: int | None) -> None:
        self.scope = scope
        self.keeps = keeps
        self.expects = False
        self.length = length
        self.received = 0
        self.buffered = 0
        self.is_complete = False
        self.is_gone = False
        self.is_over = False
        self._connection = connection
        self._chunks: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._head: Message | None = None
        self._is_chunked = False
        self._is_drained = False
        self._has_begun = False

    # What the connection calls.

    def feed(self, body: bytes) -> None:
        """A piece of the body has arrived."""
        self._chunks.append(body)
        self.buffered += len(body)
        self.received += len(body)

    def wake(self) -> None:
        """Something has changed that `receive` or `pour` may wait for."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def lose(self) -> None:
        """The client is gone."""
        self.is_gone = self.is_over = True
        self.wake()

    def drain(self) -> list[bytes]:
        """Take what has arrived."""
        chunks, self._chunks = self._chunks, []
        self.buffered = 0
        return chunks

    @property
    def has_begun(self) -> bool:
        """Whether a part of the response has been written."""
        return self._has_begun

    # What the application calls.

    async def receive(self) -> Message:
        """The next piece of the body; after its end, the end of the connection or of the response."""
        self._invite()
        while True:
            has_ended = self.is_complete and not self._is_drained
            if self._chunks or has_ended:
                body = self._take()
                self._is_drained = self.is_complete
                return {"type": "http.request", "body": b"".join(body), "more_body": not self.is_complete}
            if self.is_over:
                return {"type": "http.disconnect"}
            await self._arrival()

    async def pour(self, consume: Consume, watch: Callable[[int], None], idle_seconds: float) -> list[bytes]:
        """Have the body consumed in a thread as it arrives; the last pieces are left for the caller.

        `watch` is told how many bytes have arrived in all, and may raise. Raises TimeoutError when nothing came for so
        long, ConnectionResetError, and whatever `consume` and `watch` raise.
        """
        self._invite()
        while True:
            while not self.is_complete and self._is_better_awaited():
                await self._arrived(idle_seconds)
                watch(self.received)
            chunks = self._take()
            if self.is_complete:
                self._is_drained = True
                return chunks
            if self.is_gone:
                raise ConnectionResetError(GONE)
            await self._connection.pump(self, chunks, consume)

    def send(self, message: Message) -> Awaitable[None]:
        """Write a part of the response. Raises ConnectionResetError when the client is gone."""
        if message["type"] == "http.response.start":
            self._head = message
            return DONE
        return self._send(message)

    async def _send(self, message: Message) -> None:
        if self.is_gone:
            raise ConnectionResetError(GONE)
        more = message.get("more_body", False)
        if message["type"] == "http.response.zerocopysend":
            await self._send_file(message["file"], message["offset"], message["count"], more=more)
        else:
            self._write(message.get("body", b""), more=more)
        if not more:
            self.is_over = True
            self.wake()
            self._connection.finish(self)
        elif self._connection.is_full:
            await self._connection.writable()

    def _is_better_awaited(self) -> bool:
        # A small body, the end of a large one, and what drips are not worth a thread. But nobody reads on before what
        # fills the buffer is taken.
        is_nearly_complete = self.length is not None and self.length - self.received < WORTH_A_THREAD
        return self.buffered < WORTH_A_THREAD or (is_nearly_complete and self.buffered < MOST_BUFFERED)

    async def _arrived(self, idle_seconds: float) -> None:
        before = self.received
        async with asyncio.timeout(idle_seconds):
            while self.received == before and not self.is_complete and not self.is_gone:
                await self._arrival()
        if self.is_gone and not self.is_complete:
            raise ConnectionResetError(GONE)

    def _invite(self) -> None:
        if self.expects:
            self.expects = False
            self._connection.write(CONTINUE)

    async def _arrival(self) -> None:
        self._waiter = self._connection.loop.create_future()
        await self._waiter

    def _take(self) -> list[bytes]:
        chunks = self.drain()
        self._connection.regulate()
        return chunks

    def _write(self, body: bytes, *, more: bool) -> None:
        head = b"" if self._head is None else self._begin(None if more else len(body))
        if self._is_chunked and body:
            body = render_chunk(body)
        if self._is_chunked and not more:
            body += LAST_CHUNK
        if self.scope["method"] == "HEAD":
            body = b""
        self._connection.write(head + body if head else body)

    async def _send_file(self, descriptor: int, offset: int, count: int, *, more: bool) -> None:
        content = _cached(descriptor, offset, count) if count <= TINY_FILE else None
        if content is not None:
            self._write(content, more=more)
            return
        head = b"" if self._head is None else self._begin(None if more else count)
        await self._connection.flushed()
        transfer = Transfer(self._connection.channel(), head, (descriptor, offset, count))
        try:
            if count <= SMALL_FILE and is_cached(descriptor, offset, count) and transfer.move_at_once():
                return
            await self._connection.hub.sender.send(transfer)
        except OSError as error:
            self._connection.abort()
            raise ConnectionResetError(GONE) from error

    def _begin(self, length: int | None) -> bytes:
        """The head, with the framing that it needs; `length` of the body where all of it is known."""
        assert self._head is not None, "a body came before the response began"
        status, headers = self._head["status"], self._head["headers"]
        self._head = None
        self._has_begun = True
        head = render_head(status, headers, date_line(int(time.time())))
        is_old = self.scope["http_version"] == "1.0"
        extra = b""
        if b"\r\ncontent-length: " not in head and status not in BODILESS:
            if length is not None:
                extra = b"content-length: %d\r\n" % length
            elif is_old:
                self.keeps = False
            else:
                self._is_chunked = True
                extra = b"transfer-encoding: chunked\r\n"
        is_told = b"\r\nconnection: close\r\n" in head
        self.keeps = self.keeps and not is_told and self._connection.keeps_alive(self)
        if not self.keeps and not is_told:
            extra += b"connection: close\r\n"
        elif self.keeps and is_old:
            extra += b"connection: keep-alive\r\n"
        return b"%b%b\r\n" % (head, extra)


class _Done:
    """An awaitable that has nothing to wait for."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


DONE: Final = _Done()


def _cached(descriptor: int, offset: int, count: int) -> bytes | None:
    """Bytes of a file if all of them are in memory, so that reading does not wait for the disk."""
    buffer = bytearray(count)
    try:
        if os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT) == count:
            return bytes(buffer)
    except OSError:
        return None
    return None
