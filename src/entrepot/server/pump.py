"""Bodies out of sockets in a thread: received, hashed and written where they arrive, without the event loop.

A thread works as long as bytes keep coming and gives the connection back when they do not: a thousand slow clients do
not hold a thousand threads.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | memoryview
Consume: TypeAlias = Callable[[Sequence[Buffer]], None]

BUFFER_BYTES: Final = 1 << 20
TURN_BYTES: Final = 64 << 20
PATIENCE_MILLISECONDS: Final = 10


class _Local(threading.local):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(BUFFER_BYTES))


_LOCAL: Final = _Local()


def read_some(descriptor: int, most: int) -> memoryview | None:
    """What a non-blocking socket has, in this thread's buffer, valid until the next call; None if it stays silent.

    Raises ConnectionResetError at its end.
    """
    view = _LOCAL.view[: min(most, BUFFER_BYTES)]
    try:
        count = os.readv(descriptor, [view])
    except BlockingIOError:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(PATIENCE_MILLISECONDS):
            return None
        return read_some(descriptor, most)
    if not count:
        raise ConnectionResetError("the client went away in mid-body")
    return view[:count]
