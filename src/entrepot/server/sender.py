"""Files into sockets by sendfile(2), in threads that wait for many clients at once.

The kernel moves the pages by itself: a download costs the interpreter one call for each piece of a MiB, and a slow
client costs it nothing while it is slow.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final

PIECE_BYTES: Final = 256 << 10
THREADS: Final = 2
LOOK_SECONDS: Final = 1.0


class Transfer:
    """One response on its way: a head, then `count` bytes of a file from `offset`. Owns its socket, not the file."""

    def __init__(self, channel: socket.socket, head: bytes, source: tuple[int, int, int]) -> None:
        self.channel = channel
        self.head = head
        self.descriptor, self.offset, self.left = source
        self.moved_at = time.monotonic()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def move(self) -> bool:
        """Send what the socket takes now, at most one piece; whether all has been sent. Raises OSError."""
        if self.head:
            self.head = self.head[self.channel.send(self.head, socket.MSG_MORE) :]
            if self.head:
                return False
        sent = os.sendfile(self.channel.fileno(), self.descriptor, self.offset, min(self.left, PIECE_BYTES))
        if not sent:
            raise OSError("the file ended before the response did")
        self.offset += sent
        self.left -= sent
        self.moved_at = time.monotonic()
        return not self.left

    def move_at_once(self) -> bool:
        """Send what the socket takes without waiting; whether that was all, which ends this. Raises OSError."""
        try:
            is_over = self.move()
        except BlockingIOError:
            return False
        except OSError:
            self.channel.close()
            raise
        if is_over:
            self.channel.close()
        return is_over


def is_cached(descriptor: int, offset: int, count: int) -> bool:
    """Whether bytes of a file are in memory, judged by the first and the last: then nobody waits for the disk."""
    try:
        return all(os.preadv(descriptor, [bytearray(1)], at, os.RWF_NOWAIT) for at in (offset, offset + count - 1))
    except OSError:
        return False


class Sender:
    """The threads; a transfer stays with the one that got it. `idle_seconds` bounds a client that stands still."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_seconds: float) -> None:
        self._lanes = [_Lane(loop, idle_seconds) for _ in range(THREADS)]
        self._turn = 0

    async def send(self, transfer: Transfer) -> None:
        """Return when all was sent. Raises OSError: the client went away or stood still, or the file is short."""
        self._turn += 1
        lane = self._lanes[self._turn % len(self._lanes)]
        lane.add(transfer)
        try:
            await transfer.done
        except asyncio.CancelledError:
            lane.cancel(transfer)
            raise

    def close(self) -> None:
        """End the threads, transfers and all."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One thread with an epoll of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_seconds: float) -> None:
        self._loop = loop
        self._idle_seconds = idle_seconds
        self._arrivals: deque[Transfer] = deque()
        self._transfers: dict[int, Transfer] = {}
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def add(self, transfer: Transfer) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
            self._thread.start()
        self._arrivals.append(transfer)
        os.eventfd_write(self._bell, 1)

    def cancel(self, transfer: Transfer) -> None:
        # The thread may be inside sendfile with this socket: it is shut down here and closed there.
        with suppress(OSError):
            transfer.channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_closed = True
        os.eventfd_write(self._bell, 1)
        if self._thread is not None:
            self._thread.join(LOOK_SECONDS)

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._is_closed:
            for descriptor, _ in self._epoll.poll(LOOK_SECONDS):
                if descriptor == self._bell:
                    self._take()
                else:
                    self._move(self._transfers[descriptor])
            if time.monotonic() - looked_at > LOOK_SECONDS:
                looked_at = time.monotonic()
                self._drop_idle(looked_at - self._idle_seconds)
        for transfer in list(self._transfers.values()):
            self._end(transfer, ConnectionAbortedError("the server stops"))

    def _take(self) -> None:
        os.eventfd_read(self._bell)
        while self._arrivals:
            transfer = self._arrivals.popleft()
            self._transfers[transfer.channel.fileno()] = transfer
            try:
                self._epoll.register(transfer.channel, select.EPOLLOUT)
                # Reading ahead twice as far as usual: whoever takes a layer takes all of it.
                os.posix_fadvise(transfer.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            except OSError as error:
                self._end(transfer, error)
            else:
                self._move(transfer)

    def _move(self, transfer: Transfer) -> None:
        try:
            is_over = transfer.move()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(transfer, error)
            return
        if is_over:
            self._end(transfer, None)

    def _drop_idle(self, before: float) -> None:
        for transfer in [each for each in self._transfers.values() if each.moved_at < before]:
            self._end(transfer, TimeoutError("the client takes nothing any more"))

    def _end(self, transfer: Transfer, error: OSError | None) -> None:
        del self._transfers[transfer.channel.fileno()]
        with suppress(OSError):
            self._epoll.unregister(transfer.channel)
        transfer.channel.close()
        # The loop may have ended meanwhile, with nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, transfer.done, error)


def _resolve(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
