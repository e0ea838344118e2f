"""Reading every blob again in the background, the one that was verified the longest ago first, at a bounded rate.

One process of all replicas does it, by a lease in the database; it reads beside the jobs, so that none of them waits,
however large a blob is. What it finds damaged it puts aside. What it has verified is written down every few blobs:
whoever goes on after a restart begins with the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.judge import judge
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.domain.access import Caller
from entrepot.domain.audit import REGISTRY, SYSTEM, By
from entrepot.domain.digests import Digest
from entrepot.domain.errors import Conflict, EntrepotError, Unavailable
from entrepot.domain.events import Event
from entrepot.metadata import events, integrity
from entrepot.metadata.integrity import DamagedBlob, DueBlob, Scrubbed, ScrubRow
from entrepot.ports.database import Tx

ACTOR: Final = "scrub"
BATCH: Final = 20
FLUSH_BYTES: Final = 64 << 20
# Small blobs cost more than their bytes.
LEAST_BYTES: Final = 64 << 10
LEASE_SECONDS: Final = 60
BEAT_SECONDS: Final = 20
MOST_UNREADABLE: Final = 3
MOST_COUNTED: Final = 100_000
MOST_TAGS: Final = 100

Sleep = Callable[[float], Awaitable[None]]
START: Final = (-1, "")


class Pacer:
    """Holds a reader to so many bytes a second on the average; of `clock`, in seconds, only differences count."""

    def __init__(self, bytes_per_second: int, clock: Callable[[], float], sleep: Sleep = asyncio.sleep) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def spend(self, amount: int) -> None:
        """Return when so many bytes more may be read; what was not read in time is not made up for."""
        now = self._clock()
        self._free_at = max(now, self._free_at) + amount / self._rate
        await self._sleep(self._free_at - now)


class Status(msgspec.Struct, frozen=True):
    """How sound everything is; times are microseconds since 1970, counts go up to 100,000."""

    scrub: ScrubRow
    is_running: bool
    damaged: int
    oldest: int | None
    due: int = 0


class Broken(msgspec.Struct, frozen=True):
    """A damaged blob and the tags that cannot be pulled whole without it, 100 at most."""

    blob: DamagedBlob
    tags: list[str]


class Scrubber:
    """Reads what is due, in one process; `holder` is its name among all of them."""

    def __init__(self, registry: Registry, holder: str, pacer: Pacer) -> None:
        self._registry = registry
        self._holder = holder
        self._pacer = pacer
        self._after: tuple[int, str] = START
        self._done = Scrubbed()
        self._verified: list[Digest] = []
        self._failed = 0

    async def run(self) -> int:
        """Verify some blobs that are due, if nobody else does; how many were read. Raises Unavailable."""
        due = await self._list_due()
        if not due or not await self._take():
            return 0
        beat = asyncio.create_task(self._beat())
        try:
            for number, blob in enumerate(due):
                if beat.done():
                    return number
                await self._verify(blob)
        finally:
            beat.cancel()
            with suppress(EntrepotError):
                await self._flush(is_last=True)
        return len(due)

    async def _list_due(self) -> list[DueBlob]:
        registry = self._registry

        async def look(tx: Tx) -> list[DueBlob]:
            before = threshold(registry, await integrity.find_scrub(tx))
            return await integrity.list_due(tx, self._after, before, BATCH)

        due = await registry.database.read(look)
        if not due:
            # What could not be read is tried again in the next round.
            self._after = START
        return due

    async def _verify(self, due: DueBlob) -> None:
        self._after = (due.verified_at, due.digest)
        if due.size < LEAST_BYTES:
            await self._pacer.spend(LEAST_BYTES - due.size)
        judged = await judge(self._registry, due.digest, ACTOR, self._pace)
        if judged is None:
            return
        if judged.kind == "blob.missing" and not judged.is_aside:
            raise Unavailable("not one of several blobs is there: is the store what it was?")
        if judged.kind == "blob.unreadable":
            self._done.unreadable += 1
            self._failed += 1
            if self._failed >= MOST_UNREADABLE:
                self._failed = 0
                raise Unavailable("several blobs in a row cannot be read", reason=judged.problem)
            return
        self._failed = 0
        self._done.damaged += judged.kind is not None and judged.blob.is_good
        self._done.blobs += 1
        self._verified.append(due.digest)
        if self._done.bytes >= FLUSH_BYTES:
            await self._flush()

    async def _pace(self, amount: int) -> None:
        self._done.bytes += amount
        await self._pacer.spend(amount)

    async def _flush(self, *, is_last: bool = False) -> None:
        done, verified, now = self._done, self._verified, self._registry.clock.now()
        self._done, self._verified = Scrubbed(), []

        async def record(tx: Tx) -> None:
            await integrity.set_verified(tx, verified, now)
            await integrity.add_scrubbed(tx, done)
            if is_last:
                await integrity.release_scrub(tx, self._holder)

        await self._registry.database.transact(record)

    async def _take(self) -> bool:
        now = self._registry.clock.now()
        take = partial(integrity.take_scrub, holder=self._holder, now=now, until=now + LEASE_SECONDS * SECOND)
        return await self._registry.database.transact(take)

    async def _beat(self) -> None:
        """Ends when somebody else has the lease."""
        is_held = True
        while is_held:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(EntrepotError):
                is_held = await self._take()


def threshold(registry: Registry, scrub: ScrubRow) -> int:
    """Whoever was verified before this time is due: long ago, or before somebody asked for a round."""
    return max(registry.clock.now() - registry.rules.scrub_days * DAY, scrub.asked_at)


async def request(registry: Registry, caller: Caller) -> int:
    """Let every blob be read again; how many there are, up to 100,000. Raises Denied, InsufficientScope, Conflict."""
    require_admin(caller, registry.policy.snapshot)
    act = registry.act(caller)
    return await _begin_round(registry, act.actor, act.by)


async def begin_round(registry: Registry) -> int:
    """The same as a job, where somebody has said at which times. Raises Conflict."""
    return await _begin_round(registry, REGISTRY, SYSTEM)


async def _begin_round(registry: Registry, actor: str, by: By) -> int:
    if not registry.rules.scrub_bytes_per_second:
        raise Conflict("nothing is read in the background: scrub.bytes_per_second is 0")
    now = registry.clock.now()

    async def record(tx: Tx) -> int:
        await integrity.ask_scrub(tx, now)
        await events.add_event(tx, Event("scrub.requested", actor, "", {}), now, by)
        return await integrity.count_due(tx, now, MOST_COUNTED)

    return await registry.database.transact(record)


async def get_status(registry: Registry, caller: Caller) -> Status:
    """How sound everything is, as far as it was looked at. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    found = await look(registry)
    before = threshold(registry, found.scrub)
    due = await registry.database.read(lambda tx: integrity.count_due(tx, before, MOST_COUNTED))
    return msgspec.structs.replace(found, due=due)


async def look(registry: Registry) -> Status:
    """The same for whoever renders metrics, who need not know what is due."""

    async def ask(tx: Tx) -> Status:
        scrub = await integrity.find_scrub(tx)
        return Status(
            scrub,
            scrub.lease_until > registry.clock.now(),
            await integrity.count_damaged(tx, MOST_COUNTED),
            await integrity.find_oldest(tx),
        )

    return await registry.database.read(ask)


async def list_damaged(registry: Registry, caller: Caller, after: str, limit: int) -> list[Broken]:
    """Blobs that are served to nobody, in the order of their digests. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)

    async def ask(tx: Tx) -> list[Broken]:
        rows = await integrity.list_damaged(tx, after, limit)
        return [Broken(row, await integrity.list_broken_tags(tx, row.digest, MOST_TAGS)) for row in rows]

    return await registry.database.read(ask)
