"""`python -m bench.audit`: the audit log under load. 20,000 events a second beside pulls; searches among many records.

`--records 1000000` (default) takes half a minute, `--records 100000000 --folder /var/tmp` an hour and 40 GB there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import msgspec

from bench.measure import say
from entrepot.cli.serve import SWITCH_SECONDS
from entrepot.core.audit import flush_audit, keep_audit
from entrepot.core.audit_read import NEWEST, Span, list_records
from entrepot.domain.audit import DAY, By, Category, Filter, Record, new_record
from entrepot.server.worker import GARBAGE_THRESHOLDS
from tests.support.images import image
from tests.support.world import World

ACTORS = 1000
DAYS = 30
BATCH = 100_000
SLICE_SECONDS = 0.001


class Moving:
    """The port Clock as it is."""

    def now(self) -> int:
        return time.time_ns() // 1000


def event(number: int, at: int) -> Record:
    actor = f"user{number % ACTORS}"
    by = By(number % ACTORS + 1, f"192.0.2.{number % 250}", "password")
    return new_record(Category.SIGN_IN, "sign-in", at, (actor, by), f"acme/app{number}")


class Beside(msgspec.Struct, frozen=True):
    """What became of pulls beside so many events: times in seconds, and how many events were noted, written or lost."""

    noted: int
    lost: int
    pulls: int
    p50: float
    p99: float
    cores: float


async def write(world: World, a_second: int, seconds: int, *, distinct: bool) -> int:
    """So many events a second, evenly, each one of its own or of ten thousand kinds; how many were noted."""
    log, clock, noted, began = world.registry.audit, world.registry.clock, 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        while noted < a_second * passed:
            log.note(event(noted if distinct else noted % 10_000, clock.now()))
            noted += 1
        await asyncio.sleep(SLICE_SECONDS)
    return noted


async def flush(world: World) -> None:
    """Write as the server does."""
    while True:
        await keep_audit(world.registry, 1)


async def pull(world: World, times: list[float]) -> None:
    client = world.client()
    while True:
        began = time.perf_counter()
        answer = await client.exchange("GET", "/v2/pub/app/manifests/v1")
        times.append(time.perf_counter() - began)
        assert answer.status == 200
        await asyncio.sleep(0.002)


async def beside(world: World, seconds: int, a_second: int, *, distinct: bool = False) -> Beside:
    """Pulls, one after the other, while events come in."""
    times: list[float] = []
    lost, cpu = world.registry.audit.counts["lost"], time.process_time()
    others = [asyncio.create_task(pull(world, times)), asyncio.create_task(flush(world))]
    noted = 0
    if a_second:
        noted = await write(world, a_second, seconds, distinct=distinct)
    else:
        await asyncio.sleep(seconds)
    cpu = time.process_time() - cpu
    for task in others:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await flush_audit(world.registry, is_last=True)
    lost = world.registry.audit.counts["lost"] - lost
    p99 = statistics.quantiles(times, n=100)[98]
    return Beside(noted, lost, len(times), statistics.median(times), p99, cpu / seconds)


# Written by the database itself, and so with hashes that are none: searches do not look at them.
FILL = f"""
insert into audit (day, at, category, action, actor, account, subject, namespace, address, method, is_allowed, reasons,
    count, first_at, last_at, detail, chain, sequence, previous, hash)
with recursive
    numbers(number) as (select $1 union all select number + 1 from numbers where number + 1 < $2),
    events as (select number, number * 7919 % 1000003 as event, ($3 + number * {DAYS} / $4) * {DAY} + number as at
        from numbers)
select at / {DAY}, at, 'sign-in', 'sign-in', 'user' || (event % {ACTORS}), event % {ACTORS} + 1, 'acme/app' || event,
    '', '192.0.2.' || (event % 250), 'password', 1, '[]', 1, at, at, '{{}}', 'bench', number + 1,
    lower(hex(randomblob(32))), lower(hex(randomblob(32)))
from events
"""


async def fill(world: World, count: int) -> None:
    """So many records of a thousand actors, over thirty days."""
    oldest = world.clock.now() // DAY - DAYS + 1
    began = time.monotonic()
    for start in range(0, count, BATCH):
        span = (start, min(start + BATCH, count), oldest, count)
        await world.database.transact(lambda tx, span=span: tx.execute(FILL, *span), durable=False)
    seconds = time.monotonic() - began
    [(size,)] = await world.database.read(
        lambda tx: tx.all("select page_count * page_size from pragma_page_count(), pragma_page_size()")
    )
    say(f"{count:,} records written in {seconds:.1f} s ({count / seconds:,.0f}/s), {size / count:.0f} bytes each")


async def search(world: World) -> list[float]:
    """Seconds of searches by actor and day."""
    today, admin = world.clock.now() // DAY, world.caller("admin")
    times: list[float] = []
    for number in range(200):
        day = today - number % DAYS
        wanted = Filter(actor=f"user{number * 37 % ACTORS}", since=day * DAY, until=(day + 1) * DAY)
        began = time.perf_counter()
        await list_records(world.registry, admin, wanted, Span(NEWEST, 100))
        times.append(time.perf_counter() - began)
    return times


@contextlib.contextmanager
def opened(folder: str | None = None) -> Iterator[World]:
    """A registry with one image, on a clock that moves; its files are in memory, or in a new folder within another."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    try:
        with World(folder=tempfile.mkdtemp(dir=folder) if folder else None) as world:
            world.push("pub/app", image((b"layer",)), "v1")
            world.clock.now = Moving().now  # type: ignore[method-assign]
            # As `entrepot serve` has them.
            sys.setswitchinterval(SWITCH_SECONDS)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GARBAGE_THRESHOLDS)
            yield world
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--folder", help="where the records are kept (default: in memory)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with opened(options.folder) as world:
        for a_second, distinct in ((0, False), (20_000, False), (20_000, True)) * options.rounds:
            found = world.run(beside(world, options.seconds, a_second, distinct=distinct))
            kind = "distinct" if distinct else "folded"
            print(
                f"{found.noted / options.seconds:8,.0f} events/s {kind}: {found.pulls} pulls, "
                f"p50 {found.p50 * 1e3:.2f} ms, p99 {found.p99 * 1e3:.2f} ms, {found.cores:.2f} cores in all, "
                f"lost {found.lost}",
                flush=True,
            )
        world.run(fill(world, options.records))
        times = world.run(search(world))
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"by actor and day: median {statistics.median(times) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
