"""A database whose users meet: what else would depend on who is a moment faster."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from entrepot.ports.database import Database, Work

T = TypeVar("T")


class Together:
    """The port Database over another one. The first so many reads, or transactions, begin when all of them are there.

    The reads after those take a moment, as over a network.
    """

    def __init__(self, database: Database, *, reads: int = 0, transactions: int = 0) -> None:
        self._database = database
        self._left = {"read": reads, "transact": transactions}
        self._barriers = {"read": asyncio.Barrier(reads or 1), "transact": asyncio.Barrier(transactions or 1)}
        self.reads = 0

    async def read(self, work: Work[T]) -> T:
        self.reads += 1
        if not await self._met("read"):
            await asyncio.sleep(0.01)
        return await self._database.read(work)

    async def transact(self, work: Work[T], **how: bool) -> T:
        await self._met("transact")
        return await self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()

    async def _met(self, what: str) -> bool:
        if not self._left[what]:
            return False
        self._left[what] -= 1
        await self._barriers[what].wait()
        return True
