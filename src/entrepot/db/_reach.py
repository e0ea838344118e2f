"""Whether a server of databases can be reached, found out beside those who need it: while it is away, nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from entrepot.domain.errors import Unavailable

# How long one attempt may take, and the pause before the next: together well below the five seconds in which
# everything has to go on once the server is back.
PROBE_SECONDS: Final = 1.5
PAUSE_SECONDS: Final = 0.5
# Whoever waits as long as this has somebody look whether anyone is there.
DOUBT_SECONDS: Final = 1.0


class Reach:
    """Looks, when in doubt, whether the server answers; `is_away` from the first time that it does not until it does.

    `probe` raises where it cannot be reached. `cut` lets go of all connections at once, and `renew` gets ready for
    new ones.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[None]], cut: Callable[[], None], renew: Callable[[], Awaitable[None]]
    ) -> None:
        self._probe = probe
        self._cut = cut
        self._renew = renew
        self._looking: asyncio.Task[None] | None = None
        self._clocks: set[asyncio.Timeout] = set()
        self.is_away = False

    def require(self) -> None:
        """Raise Unavailable while the server is away."""
        if self.is_away:
            raise Unavailable("the database cannot be reached now")

    def doubt(self) -> None:
        """Begin to look, unless somebody does."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    @contextmanager
    def watched(self, clock: asyncio.Timeout) -> Iterator[None]:
        """Something that lasts: doubted after a while, and ended by its clock as soon as the server is found away."""
        doubt = asyncio.get_running_loop().call_later(DOUBT_SECONDS, self.doubt)
        self._clocks.add(clock)
        try:
            yield
        finally:
            self._clocks.discard(clock)
            doubt.cancel()

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while not await self._is_there():
            self._fall()
            await asyncio.sleep(PAUSE_SECONDS)
        if self.is_away:
            await self._renew()
            self.is_away = False

    async def _is_there(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe()
        except Exception:  # noqa: BLE001 - whatever is wrong, nobody could be served
            return False
        return True

    def _fall(self) -> None:
        if self.is_away:
            return
        self.is_away = True
        # First what hangs in a connection, which then ends by itself; then those who wait for one.
        self._cut()
        now = asyncio.get_running_loop().time()
        for clock in self._clocks:
            if not clock.expired():
                clock.reschedule(now)
