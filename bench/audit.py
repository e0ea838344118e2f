"""`python -m bench.audit`: the audit log under load. 20,000 events a second beside pulls; searches among many records.

`--records 1000000` (default) takes half a minute, `--records 100000000` most of an hour and 60 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from typing import Any

import msgspec

from entrepot.core.audit import flush_audit
from entrepot.core.audit_read import NEWEST, Span, list_records
from entrepot.domain.audit import DAY, By, Category, Filter, Head, link, new_record
from entrepot.metadata import audit_records
from entrepot.ports.database import Tx
from tests.support.images import image
from tests.support.world import World

ACTORS = 1000
DAYS = 30
BATCH = 10_000


class Moving:
    """The port Clock as it is."""

    def now(self) -> int:
        return time.time_ns() // 1000


def event(number: int, at: int, *, is_allowed: bool = True) -> Any:
    actor = f"user{number % ACTORS}"
    by = By(number % ACTORS + 1, f"192.0.2.{number % 250}", "password")
    made = new_record(Category.SIGN_IN, "sign-in", at, (actor, by), f"acme/app{number}")
    return msgspec.structs.replace(made, is_allowed=is_allowed)


async def write(world: World, a_second: int, seconds: int, *, distinct: bool) -> tuple[int, float]:
    """So many events a second, each one of its own or ten thousand kinds; how many were noted, and CPU seconds."""
    log, registry, noted = world.registry.audit, world.registry, 0
    cpu = time.process_time()
    for _ in range(seconds):
        began = time.monotonic()
        for _ in range(100):
            for _ in range(a_second // 100):
                noted += 1
                log.note(event(noted if distinct else noted % 10_000, registry.clock.now()))
            await asyncio.sleep(0.001)
        await flush_audit(registry)
        await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))
    return noted, time.process_time() - cpu


async def pull(world: World, times: list[float]) -> None:
    client = world.client()
    while True:
        began = time.perf_counter()
        answer = await client.exchange("GET", "/v2/pub/app/manifests/v1")
        times.append(time.perf_counter() - began)
        assert answer.status == 200
        await asyncio.sleep(0.002)


async def beside(world: World, seconds: int, a_second: int, *, distinct: bool = False) -> None:
    times: list[float] = []
    pulling = asyncio.create_task(pull(world, times))
    noted, cpu = (await write(world, a_second, seconds, distinct=distinct)) if a_second else (0, 0.0)
    if not a_second:
        await asyncio.sleep(seconds)
    pulling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pulling
    await flush_audit(world.registry, is_last=True)
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    kind = "distinct" if distinct else "folded"
    print(
        f"{noted / seconds:8,.0f} events/s {kind}: {len(times)} pulls, p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
        f"{cpu / seconds:.2f} cores in all, lost {world.registry.audit.counts['lost']}",
        flush=True,
    )


async def fill(world: World, count: int) -> None:
    head, today = Head("bench"), world.clock.now() // DAY
    began = time.monotonic()
    for start in range(0, count, BATCH):

        async def work(tx: Tx, head: Head = head, start: int = start) -> Head:
            placed = []
            for number in range(start, min(start + BATCH, count)):
                at = (today - DAYS + 1 + number * DAYS // count) * DAY + number
                record = event(number * 7919 % 1_000_003, at)
                end, previous = link(head, record)
                head = end
                placed.append((record, end, previous))
            await audit_records.add_linked(tx, placed)
            await audit_records.put_head(tx, head, at)
            return head

        head = await world.sqlite.transact(work, durable=False)
    seconds = time.monotonic() - began
    [(size,)] = await world.sqlite.read(
        lambda tx: tx.all("select page_count * page_size from pragma_page_count(), pragma_page_size()")
    )
    print(f"{count:,} records written in {seconds:.1f} s ({count / seconds:,.0f}/s), {size / count:.0f} bytes each")


async def search(world: World) -> None:
    today, admin = world.clock.now() // DAY, world.caller("admin")
    times: list[float] = []
    for number in range(200):
        day = today - number % DAYS
        wanted = Filter(actor=f"user{number * 37 % ACTORS}", since=day * DAY, until=(day + 1) * DAY)
        began = time.perf_counter()
        await list_records(world.registry, admin, wanted, Span(NEWEST, 100))
        times.append(time.perf_counter() - began)
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"by actor and day: median {statistics.median(times) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    # As `entrepot serve` has it.
    sys.setswitchinterval(0.0005)
    with World() as world:
        world.push("pub/app", image((b"layer",)), "v1")
        world.clock.now = Moving().now  # type: ignore[method-assign]
        for a_second, distinct in ((0, False), (20_000, False), (20_000, True)):
            world.run(beside(world, options.seconds, a_second, distinct=distinct))
        world.run(fill(world, options.records))
        world.run(search(world))


if __name__ == "__main__":
    main()
