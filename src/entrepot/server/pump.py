"""Bodies out of sockets in a thread: received, hashed and written where they arrive, without the event loop.

A thread works as long as bytes keep coming and gives the connection back when they do not: a thousand slow clients do
not hold a thousand threads.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | memoryview
Consume: TypeAlias = Callable[[Sequence[Buffer]], None]

BUFFER_BYTES: Final = 1 << 20
TURN_BYTES: Final = 64 << 20
PATIENCE_MILLISECONDS: Final = 10
WORTH_WAKING_BYTES: Final = 512 << 10


class _Local(threading.local):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(BUFFER_BYTES))


_LOCAL: Final = _Local()


def read_some(channel: socket.socket, most: int) -> memoryview | None:
    """What a non-blocking socket has, in this thread's buffer, valid until the next call; None if it stays silent.

    Raises ConnectionResetError at its end.
    """
    view = _LOCAL.view[: min(most, BUFFER_BYTES)]
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.poll(PATIENCE_MILLISECONDS)
    try:
        count = channel.recv_into(view)
    except BlockingIOError:
        return None
    if not count:
        raise ConnectionResetError("the client went away in mid-body")
    return view[:count]


def wake_at(channel: socket.socket, size: int) -> None:
    """Have the socket wake nobody for less than `size` bytes: fewer, larger pieces are worth the wait (socket(7))."""
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(size, WORTH_WAKING_BYTES))
