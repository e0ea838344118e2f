"""Doing jobs: several at once, taken and settled by batches, so that none waits behind a long one of another kind.

A worker holds what it does by a lease that it extends while it lives: of whoever dies, another one takes it over.
Kinds share the places: while one has its share, only others are taken.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import msgspec

from entrepot.core.recurrence import find_rule
from entrepot.core.registry import SECOND, Progress, Registry
from entrepot.domain.errors import EntrepotError, Unsupported
from entrepot.domain.json import render_json
from entrepot.domain.text import storable
from entrepot.metadata import jobs
from entrepot.metadata.jobs import Claim, JobRow
from entrepot.ports.database import T, Tx, Work

LEASE_SECONDS: Final = 30
BEAT_SECONDS: Final = 5
BATCH: Final = 50
PLACES: Final = 100
SHARE: Final = 50
MOST_ATTEMPTS: Final = 8
LONGEST_WAIT_SECONDS: Final = 3600
LONGEST_ERROR: Final = 300
# Clocks of replicas may differ by so much, and transactions take so long, before a job is found later only.
MARGIN_SECONDS: Final = 5
LOOK_SECONDS: Final = 60
DEATH_SECONDS: Final = 10
STOP_SECONDS: Final = 5
WORKER_DIED: Final = "its worker died"
TAKEN: Final = "taken by another worker"
BROKEN_OFF: Final = "it was broken off"

Handler = Callable[[Registry, str], Awaitable[None]]


class Trade(msgspec.Struct, frozen=True):
    """What a crew can do.

    `handlers` by kind; `recurring`, which come back after so many seconds, or (None) only where somebody said when;
    `together`, of which many are one call with a list of payloads; `endless`, which are never given up; `few`, of which
    no more than so many run at once.
    """

    handlers: Mapping[str, Handler]
    recurring: Mapping[str, int | None] = {}
    together: Mapping[str, Callable[[Registry, Sequence[str]], Awaitable[None]]] = {}
    endless: frozenset[str] = frozenset()
    few: Mapping[str, int] = {}


class Outcome(msgspec.Struct, frozen=True):
    """What became of a job: an empty `error` is success; a `is_dead` one is not tried again.

    `flaw` is what the handler raised that no verb raises: a mistake of ours, to be logged with where it happened.
    """

    job: JobRow
    error: str
    is_dead: bool = False
    is_cancelled: bool = False
    flaw: Exception | None = None


@dataclass(slots=True, eq=False)
class _Held:
    """A job in hand: its task, what it told of its progress, and whether somebody wants it to stop."""

    job: JobRow
    task: asyncio.Task[None] | None = None
    progress: str = ""
    is_cancelled: bool = False
    is_lost: bool = False

    def hear(self, progress: Progress) -> None:
        self.progress = render_json(msgspec.to_builtins(progress)).decode()


@dataclass(slots=True)
class _Marks:
    """Up to when all was taken, and when (by the loop's clock) what is not done at each step is done again.

    `since` of all kinds, `since_of` one kind beyond that.
    """

    since: int = 0
    since_of: dict[str, int] = field(default_factory=dict)
    expired_since: int = 0
    beat_at: float = 0.0
    look_at: float = 0.0
    death_at: float = 0.0
    limits: dict[str, asyncio.Semaphore] = field(default_factory=dict)


class Crew:
    """What one process does. Nothing is shared between processes but the rows."""

    def __init__(self, registry: Registry, name: str, trade: Trade) -> None:
        self._registry = registry
        self._name = name
        self._trade = trade
        self._held: set[_Held] = set()
        self._marks = _Marks()
        for kind, most in trade.few.items():
            self._marks.limits[kind] = asyncio.Semaphore(most)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand."""
        return not self._held

    async def step(self, seconds: float) -> list[Outcome]:
        """Take what is due, wait at most so long until something has ended, and settle it. Raises Unavailable."""
        await self._beat()
        await self._take()
        await self._wait(seconds)
        return await self._settle()

    async def finish(self) -> list[Outcome]:
        """Do what is in hand to its end, and take nothing more. Raises Unavailable."""
        outcomes = []
        while self._held:
            await self._beat()
            await self._wait(BEAT_SECONDS)
            outcomes += await self._settle()
        return outcomes

    async def stop(self, seconds: float = STOP_SECONDS) -> list[Outcome]:
        """Let what is in hand end within some time, and give the rest back for others to take at once."""
        await self._wait(seconds, is_all=True)
        outcomes = await self._settle()
        tasks = [held.task for held in self._held if held.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now = self._registry.clock.now()
        await self._transact(partial(self._release, now=now, given=list(self._held)))
        self._held.clear()
        return outcomes

    async def _release(self, tx: Tx, now: int, given: list[_Held]) -> None:
        for held in given:
            if await jobs.extend_lease(tx, held.job.id, self._name, now):
                await jobs.release_job(tx, held.job.id, now)

    def _transact(self, work: Work[T], *, isolated: bool = True) -> Awaitable[T]:
        # A job that is done twice after a loss of power does no harm, as it must not after any other death.
        return self._registry.database.transact(work, durable=False, isolated=isolated)

    async def _wait(self, seconds: float, *, is_all: bool = False) -> None:
        tasks = {held.task for held in self._held if held.task is not None}
        if tasks:
            when = asyncio.ALL_COMPLETED if is_all else asyncio.FIRST_COMPLETED
            await asyncio.wait(tasks, timeout=min(seconds, BEAT_SECONDS), return_when=when)

    async def _beat(self) -> None:
        """Tell of all in hand that it is alive, and hear of each whether it shall stop."""
        moment = asyncio.get_running_loop().time()
        if not self._held or moment < self._marks.beat_at:
            return
        until = self._registry.clock.now() + LEASE_SECONDS * SECOND
        running = list(self._held)
        answers = await self._transact(partial(self._extend, running=running, until=until), isolated=False)
        self._marks.beat_at = moment + BEAT_SECONDS
        for held, is_asked in zip(running, answers, strict=True):
            held.is_lost = is_asked is None
            held.is_cancelled = bool(is_asked)
            if (held.is_lost or held.is_cancelled) and held.task is not None:
                held.task.cancel()

    async def _extend(self, tx: Tx, running: list[_Held], until: int) -> list[bool | None]:
        return [await jobs.beat(tx, held.job.id, self._name, held.progress, until) for held in running]

    async def _take(self) -> None:
        moment, now = asyncio.get_running_loop().time(), self._registry.clock.now()
        if moment >= self._marks.look_at:
            self._marks.since = self._marks.expired_since = 0
            self._marks.since_of.clear()
            self._marks.look_at = moment + LOOK_SECONDS
        # What is left of many that died together is taken back at the next step, before the mark passes over it.
        if moment >= self._marks.death_at and await self._transact(partial(self._take_back, now=now)) < BATCH:
            self._marks.death_at = moment + DEATH_SECONDS
            self._marks.expired_since = now - LEASE_SECONDS * SECOND
        free = min(BATCH, PLACES - len(self._held))
        if free <= 0:
            return
        counts = Counter(held.job.kind for held in self._held)
        room = SHARE - max(counts.values(), default=0)
        until = now + LEASE_SECONDS * SECOND
        # All that is claimed may be of one kind, which then has its share and no more.
        claim = Claim(self._name, now, until, min(free, room) if room > 0 else free, self._marks.since)
        if room > 0:
            claimed = await self._transact(partial(jobs.claim_jobs, claim=claim), isolated=False)
            self._marks.since = _passed(self._marks.since, claimed, now)
        else:
            found = await self._transact(partial(self._claim, claim=claim, counts=counts), isolated=False)
            for kind, mine in found.items():
                self._marks.since_of[kind] = _passed(self._marks.since_of.get(kind, 0), mine, now)
            claimed = [job for mine in found.values() for job in mine]
        self._begin(sorted(claimed, key=lambda job: (job.run_at, job.id)))

    async def _claim(self, tx: Tx, claim: Claim, counts: Counter[str]) -> dict[str, list[JobRow]]:
        """Kind by kind, those first of which the fewest are in hand."""
        claimed: dict[str, list[JobRow]] = {}
        left, since_of = claim.limit, self._marks.since_of
        kinds = self._trade.handlers.keys() | self._trade.together.keys()
        for kind in sorted(kinds, key=lambda kind: (counts[kind], kind)):
            limit = min(left, SHARE - counts[kind])
            if limit > 0:
                since = max(claim.since, since_of.get(kind, 0))
                mine = msgspec.structs.replace(claim, kind=kind, limit=limit, since=since)
                claimed[kind] = await jobs.claim_jobs(tx, mine)
                left -= len(claimed[kind])
        return claimed

    def _begin(self, claimed: list[JobRow]) -> None:
        if not self._held:
            self._marks.beat_at = asyncio.get_running_loop().time() + BEAT_SECONDS
        for kind, do in self._trade.together.items():
            many = [_Held(job) for job in claimed if job.kind == kind]
            if many:
                task = asyncio.ensure_future(do(self._registry, [held.job.payload for held in many]))
                for held in many:
                    held.task = task
                self._held.update(many)
        for job in claimed:
            if job.kind not in self._trade.together:
                held = _Held(job)
                held.task = asyncio.ensure_future(self._do(held))
                self._held.add(held)

    async def _do(self, held: _Held) -> None:
        kind = held.job.kind
        handler = self._trade.handlers.get(kind)
        if handler is None:
            raise Unsupported(f"no handler for jobs of the kind {kind}")
        async with self._marks.limits.get(kind) or nullcontext():
            await handler(replace(self._registry, report=held.hear), held.job.payload)

    async def _settle(self) -> list[Outcome]:
        """Write down what became of all that has ended, in one transaction."""
        ended = [held for held in self._held if held.task is not None and held.task.done()]
        if not ended:
            return []
        results = [(held, *_result_of(held)) for held in sorted(ended, key=lambda held: held.job.id)]
        outcomes = await self._transact(partial(self._write, results=results, now=self._registry.clock.now()))
        self._held.difference_update(ended)
        return outcomes

    async def _write(self, tx: Tx, results: list[tuple[_Held, str, Exception | None]], now: int) -> list[Outcome]:
        done = [held.job.id for held, error, _ in results if not error or held.is_cancelled]
        finished = await jobs.finish_jobs(tx, self._name, done) if done else set()
        outcomes = []
        for held, error, flaw in results:
            job = held.job
            if job.id in finished:
                await _come_back(tx, self._trade, job, now)
                outcomes.append(Outcome(job, "", is_cancelled=held.is_cancelled))
            elif job.id in done or not await jobs.extend_lease(tx, job.id, self._name, now):
                # The lease ran out meanwhile and somebody else has the job: it is theirs to end.
                outcomes.append(Outcome(job, TAKEN))
            else:
                is_dead = await _fail(tx, self._trade, job, error, now)
                outcomes.append(Outcome(job, error, is_dead=is_dead, flaw=flaw))
        return outcomes

    async def _take_back(self, tx: Tx, now: int) -> int:
        """Let the jobs of workers that died run again: at once, for most workers die of something else; how many."""
        expired = await jobs.list_expired(tx, now, BATCH, self._marks.expired_since)
        for job in expired:
            if job.attempts < MOST_ATTEMPTS:
                await jobs.retry_job(tx, job.id, WORKER_DIED, now)
            elif job.kind in self._trade.endless:
                await jobs.retry_job(tx, job.id, WORKER_DIED, now + LONGEST_WAIT_SECONDS * SECOND)
            else:
                # A job that kills whoever takes it must end some day.
                await jobs.bury_job(tx, job.id, WORKER_DIED, now)
                await _come_back(tx, self._trade, job, now)
        return len(expired)


def _passed(since: int, claimed: list[JobRow], now: int) -> int:
    """Where the next claim begins; a little before what was taken last, for others write down later what is earlier."""
    newest = max((job.run_at for job in claimed), default=now)
    return max(since, newest - MARGIN_SECONDS * SECOND)


def _result_of(held: _Held) -> tuple[str, Exception | None]:
    """Why a job has failed, empty if it has not, and what was raised if no verb raises it."""
    if held.task is None or held.task.cancelled():
        return BROKEN_OFF, None
    failure = held.task.exception()
    if failure is None:
        return "", None
    if isinstance(failure, EntrepotError):
        return storable(failure.message[:LONGEST_ERROR]), None
    # It may quote what another server has answered. What no database takes would keep all that has ended from being
    # written down, again and again.
    error = storable(f"{type(failure).__name__}: {failure}"[:LONGEST_ERROR])
    return error, failure if isinstance(failure, Exception) else None


async def _come_back(tx: Tx, trade: Trade, job: JobRow, now: int) -> None:
    # One that was given up is a dead letter to look at, not the end of what has to be done again and again.
    if job.kind in trade.recurring:
        rule = await find_rule(tx, job.kind, trade.recurring[job.kind], now)
        following = rule.next_after(now)
        if following is not None:
            await jobs.add_job(tx, job.kind, job.key, {}, following)


async def _fail(tx: Tx, trade: Trade, job: JobRow, error: str, now: int) -> bool:
    # A kind that is not known here may be known to a newer version that runs beside this one.
    is_known = job.kind in trade.handlers or job.kind in trade.together
    if job.attempts >= MOST_ATTEMPTS and is_known and job.kind not in trade.endless:
        await jobs.bury_job(tx, job.id, error, now)
        await _come_back(tx, trade, job, now)
        return True
    seconds = min(LONGEST_WAIT_SECONDS, 2 ** min(job.attempts, 12)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
    await jobs.retry_job(tx, job.id, error, now + int(seconds * SECOND))
    return False
