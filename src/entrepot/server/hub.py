"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from entrepot.server.heads import Refusal
from entrepot.server.sender import Sender

if TYPE_CHECKING:
    from entrepot.server.connection import Connection

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SWEEPS: Final = 4
POUR_THREADS: Final = 16


@dataclass(frozen=True)
class Options:
    """Bounds that every connection is held to; seconds, bytes, and a number of connections.

    A certificate and its key are two files: whoever writes them anew has them apart for a moment, and a worker that
    starts just then tries again for `files_seconds`.
    """

    header_seconds: float = 30.0
    header_bytes: int = 131_072
    write_seconds: float = 60.0
    drain_seconds: float = 0.0
    stop_seconds: float = 30.0
    connections: int = 8192
    files_seconds: float = 2.0


@dataclass
class Hub:
    """The application, its limits, the threads that move bodies, and who is connected."""

    application: Application
    options: Options
    loop: asyncio.AbstractEventLoop
    sender: Sender = field(init=False)
    pool: ThreadPoolExecutor = field(init=False)
    connections: set[Connection] = field(default_factory=set)
    # In the order in which they fell silent: whoever has been idle longest makes room first.
    idle: dict[Connection, None] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    turned_away: dict[str, int] = field(default_factory=dict)
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.sender = Sender(self.loop, self.options.write_seconds)
        self.pool = ThreadPoolExecutor(POUR_THREADS, thread_name_prefix="pour")
        self._log = structlog.get_logger()

    def has_room(self) -> bool:
        """Whether one more connection may stay; an idle one is closed for it if need be."""
        if len(self.connections) < self.options.connections:
            return True
        if not self.idle:
            return False
        longest = next(iter(self.idle))
        del self.idle[longest]
        longest.close()
        return True

    def note(self, refusal: Refusal, client: tuple[str, int] | None) -> None:
        """Count and log what no application will ever see."""
        status = str(refusal.status)
        self.refused[status] = self.refused.get(status, 0) + 1
        self._log.info("request refused", status=refusal.status, reason=str(refusal), client=client and client[0])

    def turn_away(self, listener: str, reason: str, peer: tuple[str, int] | None) -> None:
        """Count and log a connection that never gets as far as a request."""
        key = f"{listener} {reason}"
        self.turned_away[key] = self.turned_away.get(key, 0) + 1
        self._log.info("connection refused", listener=listener, reason=reason, client=peer and peer[0])

    def sweep(self) -> None:
        """Close whoever has passed a time limit; goes on by itself."""
        now = self.loop.time()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()
        self.loop.call_later(min(self.options.header_seconds, self.options.write_seconds) / SWEEPS, self.sweep)

    async def stop(self) -> None:
        """Let everybody finish within `stop_seconds`, then cut off who has not."""
        self.is_stopping = True
        for connection in list(self.connections):
            connection.retire()
        limit = self.loop.time() + self.options.stop_seconds
        while self.connections and self.loop.time() < limit:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        self.sender.close()
        self.pool.shutdown(wait=False, cancel_futures=True)
