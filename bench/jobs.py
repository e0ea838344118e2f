"""`python -m bench.jobs`: 1,200 jobs a second beside a long snapshot, and claims in front of a million that wait.

`--seconds 600` is the full length; `--engine postgresql` (default) or `sqlite`. The snapshot is a transaction that is
open all the time, so that no row of what is done can be cleared away. Ends with 1 where claims are slower than
20 ms (p99), or jobs are left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import pathlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import apsw
import asyncpg

from entrepot.app import open_registry
from entrepot.core.crew import Crew, Trade
from entrepot.core.registry import Registry
from entrepot.metadata import jobs
from entrepot.ports.database import Database, T, Tx, Work
from entrepot.settings import load
from tests.support.postgresql import Postgres

SLICE_SECONDS: Final = 0.05
KIND: Final = "bench.work"
ROWS_AT_ONCE: Final = 200
CLAIM_SECONDS: Final = 0.020
# What may wait at most, in seconds of what comes.
BACKLOG_SECONDS: Final = 5


class Timed:
    """The port Database that remembers how long claims took."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read, self.close = database.read, database.close
        self.claims: list[float] = []

    async def transact(self, work: Work[T], **how: bool) -> T:
        began = time.monotonic()
        try:
            return await self._database.transact(work, **how)
        finally:
            if isinstance(work, partial) and work.func.__name__ in ("_claim", "claim_jobs"):
                self.claims.append(time.monotonic() - began)

    def slowest_of(self, share: float) -> float:
        """Seconds within which such a share of the claims was done."""
        ordered = sorted(self.claims)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def told(self) -> str:
        """The middle and the slowest hundredth, in milliseconds."""
        p50, p99 = (1000 * self.slowest_of(share) for share in (0.5, 0.99))
        return f"{len(self.claims)} claims, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[None]:
    """A transaction that has read something and stays open."""
    if url.startswith("sqlite"):
        held = apsw.Connection(url.removeprefix("sqlite://"))
        held.execute("begin; select count(*) from job").fetchall()
        yield
        held.close()
        return
    connection = await asyncpg.connect(url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetch("select count(*) from job")
        yield
    await connection.close()


async def produce(registry: Registry, a_second: int, seconds: float) -> int:
    """Queue so many a second, evenly; how many."""
    queued, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        first, last = queued, int(a_second * passed)
        if last > first:
            now = registry.clock.now()
            rows = [value for number in range(first, last) for value in (KIND, str(number), "{}", now, now)]
            await registry.database.transact(partial(_insert, rows=rows), durable=False)
            queued = last
        await asyncio.sleep(SLICE_SECONDS)
    return queued


async def work(registry: Registry, payload: str) -> None:
    """As little as a job can do."""
    del registry, payload


async def consume(registry: Registry, timed: Timed, stop: asyncio.Event) -> int:
    """Do jobs until told to stop; how many."""
    crew, done = Crew(replace(registry, database=timed), "bench", Trade({KIND: work})), 0
    while not stop.is_set():
        outcomes = await crew.step(0.05)
        done += len(outcomes)
        if crew.is_idle and not outcomes:
            await asyncio.sleep(0.01)
    return done


async def rate(registry: Registry, url: str, options: argparse.Namespace) -> bool:
    """So many jobs a second for some time, beside a snapshot; whether the queue keeps up."""
    timed, stop, backlog = Timed(registry.database), asyncio.Event(), [0]

    async def watch() -> None:
        while True:
            counts = await registry.database.read(jobs.count_jobs)
            backlog.append(counts.get("pending", 0))
            await asyncio.sleep(1)

    async with snapshot(url):
        watching, consuming = asyncio.create_task(watch()), asyncio.create_task(consume(registry, timed, stop))
        cpu = time.process_time()
        queued = await produce(registry, options.rate, options.seconds)
        await asyncio.sleep(1)
        stop.set()
        done = await consuming
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    spent = (time.process_time() - cpu) / max(1, done) * 1e6
    print(
        f"{options.engine}: {queued} jobs queued in {options.seconds:.0f} s, {done} done, most that waited "
        f"{max(backlog)}, {timed.told()}; {spent:.0f} us of CPU a job in this process",
        flush=True,
    )
    keeps_up = done == queued and max(backlog) <= BACKLOG_SECONDS * options.rate
    return keeps_up and timed.slowest_of(0.99) <= CLAIM_SECONDS


async def flat(registry: Registry, options: argparse.Namespace) -> bool:
    """Claims of what is due while very many wait: due long ago, of a kind that has its share; whether they are fast."""
    slowest = 0.0
    for waiting in (0, options.queued):
        await _queue(registry, waiting)
        timed = Timed(registry.database)
        crew = Crew(replace(registry, database=timed), "bench", Trade({KIND: work, "bench.flood": _for_ever}))
        for number in range(200):
            await registry.database.transact(partial(_add, number=number, now=registry.clock.now()), durable=False)
            await crew.step(0.01)
        print(f"{options.engine}: {waiting} waiting: {timed.told()}", flush=True)
        slowest = max(slowest, timed.slowest_of(0.99))
        await crew.stop(0)
    return slowest <= CLAIM_SECONDS


async def _for_ever(registry: Registry, payload: str) -> None:
    del registry, payload
    await asyncio.Event().wait()


async def _add(tx: Tx, number: int, now: int) -> None:
    await jobs.add_job(tx, KIND, f"flat {number}", number, now)


async def _queue(registry: Registry, wanted: int) -> None:
    for first in range(0, wanted, ROWS_AT_ONCE):
        many = range(first, min(first + ROWS_AT_ONCE, wanted))
        rows: list[Any] = [value for number in many for value in ("bench.flood", str(number), "{}", 1, 1)]
        await registry.database.transact(partial(_insert, rows=rows), durable=False)


async def _insert(tx: Tx, rows: list[Any]) -> None:
    for first in range(0, len(rows), 5 * ROWS_AT_ONCE):
        part = rows[first : first + 5 * ROWS_AT_ONCE]
        slots = ", ".join(f"({', '.join(f'${at + column}' for column in range(5))})" for at in range(1, len(part), 5))
        await tx.execute(f"insert into job (kind, key, payload, run_at, created_at) values {slots}", *part)


async def run(options: argparse.Namespace, data: pathlib.Path, url: str) -> bool:
    """Both measurements in this process; whether the budgets are kept."""
    kept = True
    environment = {"ENTREPOT_ADMIN_PASSWORD": "benchmark", "ENTREPOT_DATABASE__URL": url}
    async with open_registry(load(None, data, None, environment)) as registry:
        if options.seconds:
            kept = await rate(registry, url, options)
        if options.queued:
            kept = await flat(registry, options) and kept
    print("all budgets are kept" if kept else "NOT KEPT: see above", flush=True)
    return kept


def main() -> int:
    """Measure on a fresh database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=int, default=1200)
    parser.add_argument("--queued", type=int, default=1_000_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        data = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite://{data}/entrepot.db"
        if options.engine == "postgresql":
            url = stack.enter_context(Postgres()).new_database()
        return 0 if asyncio.run(run(options, data, url)) else 1


if __name__ == "__main__":
    sys.exit(main())
