"""What the audit log costs pulls, and how long one looks for something in it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.audit import Beside, beside, fill, opened, search
from bench.context import Bench
from bench.measure import Line
from bench.rows import Row

A_SECOND = 20_000
SLOWER = 1.2
SEARCH_SECONDS = 0.2


def pulls(bench: Bench, *, distinct: bool) -> Line:
    """The slowest hundredth of pulls beside so many events, and without any, in turns."""
    calm: list[Beside] = []
    busy: list[Beside] = []
    seconds = bench.sized(2, 4)
    with opened() as world:
        for _ in range(bench.rounds):
            calm.append(world.run(beside(world, seconds, 0)))
            busy.append(world.run(beside(world, seconds, A_SECOND, distinct=distinct)))
    ours, theirs = (1000 * statistics.median(each.p99 for each in side) for side in (busy, calm))
    what = f"pulls beside {A_SECOND:,} events/s, {'each different' if distinct else 'of 10,000 kinds'}: p99"
    line = Line("audit", what, f"<= {SLOWER}x without", " ms", against="without", value=ours, other=theirs)
    line.require(f"ratio {ours / theirs:.2f} of {SLOWER}", holds=ours <= SLOWER * theirs)
    lost = sum(each.lost for each in busy)
    return line.require(f"{lost} lost", holds=lost == 0)


def searches(bench: Bench) -> Line:
    """Records of one actor on one day, the slowest hundredth."""
    count = bench.sized(100_000, 1_000_000)
    with opened() as world:
        world.run(fill(world, count))
        times = world.run(search(world))
    line = Line("audit", f"by actor and day among {count:,}: p99", "<= 200 ms", " ms")
    line.value = 1000 * statistics.quantiles(times, n=100)[98]
    return line.at_most(1000 * SEARCH_SECONDS)


def row(bench: Bench) -> Iterator[Line]:
    """All."""
    yield pulls(bench, distinct=False)
    yield pulls(bench, distinct=True)
    yield searches(bench)


ROWS = (Row("audit", "pulls while 20,000 events a second are written down; searches by actor and day", row),)
