"""Garbage collection, while pushes and pulls go on: what neither a tag nor a pin keeps is forgotten, then its bytes.

Pins that have ended are the queue: whoever lets go of something leaves one behind (a moved tag its history, a deletion
its trash, an upload its promise). What such a pin kept is judged again in the transaction that forgets it, so that a
push at the same moment either finds it or brings it anew. A manifest keeps what it contains, a subject its referrers;
what a forgotten manifest kept is queued in turn. The store is never walked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.recurrence import find_rule
from entrepot.core.registry import SECOND, Progress, Registry
from entrepot.core.upload import DISCARD
from entrepot.domain.access import Caller
from entrepot.domain.audit import REGISTRY, SYSTEM
from entrepot.domain.digests import Digest
from entrepot.domain.errors import Unavailable
from entrepot.domain.events import Event
from entrepot.domain.json import render_json
from entrepot.metadata import blobs, collect, events, instance, jobs, pins
from entrepot.metadata.collect import EndedPin
from entrepot.metadata.jobs import JobDetailRow
from entrepot.ports.database import Tx

COLLECT: Final = "content.collect"
AUDIT: Final = "content.audit"
BATCH: Final = 20
PAGE: Final = 100
AUDIT_PAGE: Final = 500
RUNS: Final = "collection"
# One run of the job; the next one goes on.
RUN_SECONDS: Final = 45
GO_ON_SECONDS: Final = 60
MOST_PLANNED: Final = 20_000
MOST_COUNTED: Final = 100_000
HOMES: Final = 1000

Place = tuple[int, str]


class Collected(msgspec.Struct, frozen=True):
    """What was forgotten: manifests and blobs of repositories, and bytes that nobody names any more."""

    manifests: int = 0
    blobs: int = 0
    freed_bytes: int = 0

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            self.manifests + other.manifests, self.blobs + other.blobs, self.freed_bytes + other.freed_bytes
        )


class Runs(msgspec.Struct, frozen=True):
    """When the last run that freed anything began and ended (microseconds), what it freed, and what all did."""

    began_at: int
    ended_at: int
    last: Collected
    all: Collected


class Status(msgspec.Struct, frozen=True):
    """The job that collects now, if it does; how many pins have ended, up to 100,000; and what was freed."""

    running: JobDetailRow | None
    waiting: int
    runs: Runs | None


class Plan(msgspec.Struct, frozen=True):
    """What a collection would forget now, and what besides once the grace window is over, unless it is wanted again.

    Without `is_whole` there is more than was looked at.
    """

    collected: Collected
    after_grace: Collected
    waiting: int
    is_whole: bool


class _Sight(msgspec.Struct, frozen=True):
    """What is taken as it would be: what has gone, what has its grace window, and which pins do not count any more.

    With `has_grace`, what follows waits for a window of its own.
    """

    gone: set[Place]
    graced: set[Place]
    but: str = ""
    has_grace: bool = False


class _Foreseen(msgspec.Struct, frozen=True):
    """What would be forgotten, what would have to go before, and what would be looked at afterwards."""

    collected: Collected = Collected()
    first: list[Place] = []
    following: list[Place] = []


AS_IT_IS: Final = _Sight(set(), set())


async def run_collection(registry: Registry, seconds: int = RUN_SECONDS) -> Collected:
    """Forget what ended pins have kept, batch by batch, for some time at most. Raises Unavailable."""
    began = registry.clock.now()
    waiting = await registry.database.read(lambda tx: collect.count_ended_pins(tx, began, MOST_COUNTED))
    judged, total, batch, is_done = 0, Collected(), BATCH, False
    while not is_done and registry.clock.now() < began + seconds * SECOND:
        try:
            ended, collected = await collect_batch(registry, batch, began)
        except Unavailable:
            # Too much at once, perhaps: one pin may be of an index with very many children.
            if batch == 1:
                raise
            batch //= 2
            continue
        total += collected
        judged += ended
        registry.report(Progress(judged, max(waiting, judged), msgspec.to_builtins(total)))
        # What was judged may have queued what has to go first, and without a grace window what follows.
        is_done = not ended
    if total != Collected() or not is_done:
        await registry.database.transact(partial(_end, total=total, is_done=is_done, now=registry.clock.now()))
    return total


async def _end(tx: Tx, total: Collected, *, is_done: bool, now: int) -> None:
    if total != Collected():
        await events.add_event(tx, Event("collection.ended", REGISTRY, "", msgspec.to_builtins(total)), now, SYSTEM)
    rule = await find_rule(tx, COLLECT, None, now)
    if not is_done and not rule.is_paused:
        # By its rule it may come back in a day only.
        soon = now + GO_ON_SECONDS * SECOND
        await jobs.add_job(tx, COLLECT, "", {}, min(soon, rule.next_after(now) or soon))


async def find_runs(tx: Tx) -> Runs | None:
    """When anything was freed last, and what was in all; None where nothing ever was."""
    text = await instance.find_value(tx, RUNS)
    return None if text is None else msgspec.json.decode(text, type=Runs)


async def get_status(registry: Registry, caller: Caller) -> Status:
    """What the collector is at, what waits for it, and what it has freed. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    now = registry.clock.now()

    async def look(tx: Tx) -> Status:
        running = await jobs.list_jobs(tx, ("running", COLLECT), 0, 1)
        waiting = await collect.count_ended_pins(tx, now, MOST_COUNTED)
        return Status(running[0] if running else None, waiting, await find_runs(tx))

    return await registry.database.read(look)


async def collect_batch(registry: Registry, batch: int, began: int = 0) -> tuple[int, Collected]:
    """Judge so many ended pins in one transaction; how many there were, and what was forgotten. Raises Unavailable.

    `began` is when the run began that it is of. What was forgotten is counted there and then: a run may be broken off.
    """
    return await registry.database.transact(lambda tx: _collect(tx, registry, batch, began))


async def audit(registry: Registry) -> int:
    """Look at everything, and queue what nothing keeps although no pin has ended; how much there was.

    Nothing should be found: whoever lets go leaves a pin. Raises Unavailable.
    """
    found, looked, after = 0, 0, (0, "")
    total = await registry.database.read(collect.count_members)
    while True:
        now = registry.clock.now()
        marked = partial(collect.mark_members_after, after=after, now=now, limit=AUDIT_PAGE)
        page = await registry.database.read(marked)
        if not page:
            return found
        # Nearly all is kept plainly, and said to be so by one statement. The rest is judged by itself, with pushes
        # between; what is queued is judged once more.
        doubtful = [place for place, is_kept in page if not is_kept]
        if doubtful:
            found += await registry.database.transact(partial(_queue, page=doubtful, now=now))
        after, looked = page[-1][0], looked + len(page)
        registry.report(Progress(looked, max(total, looked), {"found": found}))
        await asyncio.sleep(0)


async def request(registry: Registry, caller: Caller, *, with_audit: bool) -> int:
    """Let the job run as soon as a worker is free, after an audit if wanted; how many pins have ended, up to 100,000.

    Raises Denied, InsufficientScope.
    """
    require_admin(caller, registry.policy.snapshot)
    now = registry.clock.now()

    act = registry.act(caller)

    async def record(tx: Tx) -> int:
        detail: dict[str, object] = {"audit": with_audit}
        await events.add_event(tx, Event("collection.requested", act.actor, "", detail), now, act.by)
        if with_audit:
            await jobs.hasten_job(tx, AUDIT, now)
        await jobs.hasten_job(tx, COLLECT, now)
        return await collect.count_ended_pins(tx, now, MOST_COUNTED)

    return await registry.database.transact(record)


async def plan(registry: Registry, caller: Caller) -> Plan:
    """What a collection would forget now, and what after that; nothing is changed. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    now = registry.clock.now()
    until = now + registry.rules.grace_seconds * SECOND
    waiting = await registry.database.read(lambda tx: collect.count_ended_pins(tx, now, MOST_COUNTED))
    ended = await registry.database.read(lambda tx: collect.list_ended_pins(tx, now, MOST_PLANNED))
    held = await registry.database.read(lambda tx: collect.list_reviews(tx, now, until, MOST_PLANNED))
    sight = _Sight(set(), set(), has_grace=registry.rules.grace_seconds > 0)
    due = [(pin.repository, str(pin.digest)) for pin in ended]
    collected, is_whole = await _foresee_all(registry, due, now, sight)
    # Reviews hold nothing any more by then.
    later = _Sight(sight.gone, set(), but="review")
    after_grace, has_all = await _foresee_all(registry, [*held, *sorted(sight.graced)], now, later)
    is_whole = is_whole and has_all and max(len(ended), len(held)) < MOST_PLANNED
    return Plan(collected, after_grace, waiting, is_whole)


async def _foresee_all(registry: Registry, places: list[Place], now: int, sight: _Sight) -> tuple[Collected, bool]:
    """What would be forgotten of some places and of what follows, and whether that is all; `sight` is added to."""
    queue, total, looked = deque(dict.fromkeys(places)), Collected(), 0
    while queue and looked < MOST_PLANNED:
        batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        looked += len(batch)
        # Pulls go on between.
        await asyncio.sleep(0)
        work = partial(_foresee_batch, places=batch, now=now, sight=sight, newly=_Sight(set(), set()))
        found, queued = await registry.database.read(work)
        total += found
        queue.extend(queued)
    return total, not queue


async def _queue(tx: Tx, page: list[Place], now: int) -> int:
    unkept = [place for place in page if not await _is_kept(tx, place, now, AS_IT_IS)]
    for repository, digest in unkept:
        await pins.put_pin(tx, repository, Digest(digest), ("review", ""), now)
    return len(unkept)


async def _collect(tx: Tx, registry: Registry, batch: int, began: int) -> tuple[int, Collected]:
    now = registry.clock.now()
    ended = await collect.list_ended_pins(tx, now, batch)
    total, keys = Collected(), list[str]()
    for pin in ended:
        await collect.remove_ended_pin(tx, pin, now)
        if not await _is_kept(tx, (pin.repository, pin.digest), now, AS_IT_IS) and not await _waits(tx, pin, now):
            total += await _forget(tx, registry, pin, keys)
    if keys:
        # Readers that were told where the bytes lie have this long to open them.
        await jobs.add_job(tx, DISCARD, keys[0], keys, now + registry.rules.discard_seconds * SECOND)
    if total != Collected():
        await _count(tx, total, began or now, now)
    return len(ended), total


async def _count(tx: Tx, total: Collected, began: int, now: int) -> None:
    before = await find_runs(tx) or Runs(began, now, Collected(), Collected())
    last = before.last + total if before.began_at == began else total
    after = Runs(began, now, last, before.all + total)
    await instance.put_value(tx, RUNS, render_json(msgspec.to_builtins(after)).decode())


async def _waits(tx: Tx, pin: EndedPin, now: int) -> bool:
    """Whether manifests that nothing keeps either must go first."""
    first = await _list_first(tx, (pin.repository, pin.digest), set())
    for other in first:
        # Whichever of them goes queues what it contains and what is about it, this one too.
        await pins.put_pin(tx, pin.repository, Digest(other), ("review", ""), now)
    return bool(first)


async def _list_first(tx: Tx, place: Place, gone: set[Place]) -> list[str]:
    """Manifests that have to go before what they lead to: no name may lead to what is gone.

    Nor is a subject, which may be wanted again until it goes, to lose what is about it.
    """
    repository, digest = place
    after = ""
    while page := await collect.list_parents(tx, repository, digest, (after, PAGE)):
        if left := [parent for parent in page if (repository, parent) not in gone]:
            return left
        after = page[-1]
    subjects = await collect.list_subjects(tx, repository, digest)
    return [each for each in subjects if await _goes_before(tx, (repository, each), place, gone)]


async def _goes_before(tx: Tx, subject: Place, place: Place, gone: set[Place]) -> bool:
    """Whether a subject is there, and not kept by what is about it: one of them has to be first."""
    if subject in gone or "manifest" not in await collect.list_kinds(tx, *subject):
        return False
    return place[1] not in [keeper async for keeper in _walk_up(tx, subject, gone)]


async def _is_kept(tx: Tx, place: Place, now: int, sight: _Sight) -> bool:
    """Whether a way leads from a tag or a pin: through manifests that contain it, or through its subject."""
    repository, _ = place
    async for digest in _walk_up(tx, place, sight.gone):
        if (repository, digest) in sight.graced:
            return True
        if await collect.is_rooted(tx, repository, digest, now, sight.but):
            return True
        if await collect.has_rooted_parent(tx, repository, digest, now, sight.but):
            return True
    return False


async def _walk_up(tx: Tx, place: Place, gone: set[Place]) -> AsyncIterator[str]:
    """A digest, and whatever would keep it if it were kept itself, each once."""
    repository, start = place
    seen, left = {start}, deque([start])
    while left:
        digest = left.popleft()
        yield digest
        for other in await _keepers(tx, (repository, digest)):
            if other not in seen and (repository, other) not in gone:
                seen.add(other)
                left.append(other)


async def _keepers(tx: Tx, place: Place) -> list[str]:
    repository, digest = place
    found, after = await collect.list_subjects(tx, repository, digest), ""
    while page := await collect.list_parents(tx, repository, digest, (after, PAGE)):
        found += page
        after = page[-1]
    return found


async def _forget(tx: Tx, registry: Registry, pin: EndedPin, keys: list[str]) -> Collected:
    """Forget a digest in its repository; `keys` are added where bytes lie that nobody names any more."""
    now = registry.clock.now()
    kinds = await collect.list_kinds(tx, pin.repository, pin.digest)
    await collect.remove_member(tx, pin.repository, pin.digest)
    total = Collected()
    if "manifest" in kinds:
        # Whoever was told a moment ago that it is there has this long to push what needs it.
        until = now + registry.rules.grace_seconds * SECOND
        await collect.queue_kept(tx, pin.repository, pin.digest, until)
        if not await collect.list_homes(tx, pin.digest, "manifest", 1):
            await collect.remove_manifest(tx, pin.digest)
        name = await collect.find_repository_name(tx, pin.repository)
        await events.add_event(tx, Event("manifest.collected", REGISTRY, name, {"digest": pin.digest}), now, SYSTEM)
        total += Collected(manifests=1)
    if "blob" in kinds:
        freed = 0
        if not await collect.list_homes(tx, pin.digest, "blob", 1):
            freed = await collect.find_blob_size(tx, pin.digest)
            keys += [piece.key for piece in await blobs.list_locations(tx, pin.digest)]
            await collect.remove_blob(tx, pin.digest)
        total += Collected(blobs=1, freed_bytes=freed)
    return total


async def _foresee_batch(
    tx: Tx, places: list[Place], now: int, sight: _Sight, newly: _Sight
) -> tuple[Collected, list[Place]]:
    """What would be forgotten of some places, one after the other, and what is to be looked at then."""
    # This may run again.
    sight.gone.difference_update(newly.gone)
    sight.graced.difference_update(newly.graced)
    newly.gone.clear()
    newly.graced.clear()
    total, queued = Collected(), list[Place]()
    for place in places:
        found = _Foreseen() if place in sight.gone else await _foresee(tx, place, now, sight)
        if found.collected != Collected():
            total += found.collected
            newly.gone.add(place)
            sight.gone.add(place)
        queued += found.first
        if sight.has_grace:
            newly.graced.update(each for each in found.following if each not in sight.graced)
            sight.graced.update(newly.graced)
        else:
            queued += found.following
    return total, queued


async def _foresee(tx: Tx, place: Place, now: int, sight: _Sight) -> _Foreseen:
    """What would become of a place whose pin has ended."""
    repository, digest = place
    kinds = await collect.list_kinds(tx, repository, digest)
    if not kinds or await _is_kept(tx, place, now, sight):
        return _Foreseen()
    # Once the grace windows are over all of it has gone, whichever went first.
    if not sight.but and (first := await _list_first(tx, place, sight.gone)):
        return _Foreseen(first=[(repository, other) for other in first])
    following = await collect.list_kept(tx, repository, digest) if "manifest" in kinds else []
    freed = 0
    if "blob" in kinds:
        homes = await collect.list_homes(tx, digest, "blob", HOMES)
        is_last = len(homes) < HOMES and all((home, digest) in sight.gone or home == repository for home in homes)
        freed = await collect.find_blob_size(tx, digest) if is_last else 0
    total = Collected("manifest" in kinds, "blob" in kinds, freed)
    return _Foreseen(total, following=[(repository, kept) for kept in following])
