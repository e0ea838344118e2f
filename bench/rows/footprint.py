"""What it takes to run: memory at rest and under pushes, and the time to be ready."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.context import GIB, LARGE_BYTES, MIB, Bench, PeakPss
from bench.crowd import Crowd
from bench.images import Stock, write_large_file
from bench.measure import Line
from bench.rows import Row
from bench.rows.pushes import REPOSITORY, pushing

IDLE_MIB = 200
WORKER_MIB = 70
PUSHERS = 16
PUSHES_MIB = 150


def idle(bench: Bench) -> Iterator[Line]:
    """PSS at rest: all processes at default settings, and one worker more."""
    found = {}
    for workers in (1, 2):
        with bench.fresh(f"idle{workers}", ENTREPOT_SERVER__WORKERS=str(workers)) as server:
            server.bearer("repository:bench/idle:pull")
            time.sleep(bench.sized(2, 5))
            found[workers] = server.pss()
    line = Line("memory", "idle, all processes", "<= 200 MiB", " MiB", value=found[1], other=bench.distribution.pss())
    yield line.at_most(IDLE_MIB)
    more = Line("memory", "one worker more", "<= 70 MiB", " MiB", value=found[2] - found[1])
    yield more.at_most(WORKER_MIB)


def pushes(bench: Bench) -> Iterator[Line]:
    """What parallel pushes of large blobs add."""
    size = bench.sized(LARGE_BYTES, GIB)
    file = bench.folder / "huge"
    write_large_file(file, size)
    stock = Stock(size, file)
    with bench.fresh("memory") as server:
        crowd = Crowd(server, server.bearer(f"repository:{REPOSITORY}:pull,push"), PUSHERS)
        time.sleep(1)
        with PeakPss(server) as memory:
            outcome = crowd.in_all(PUSHERS, pushing(stock))
    file.unlink()
    bench.forget("memory")
    what = f"added by {PUSHERS} pushes of {size // MIB} MiB"
    line = Line("memory", what, "<= 150 MiB", " MiB", value=memory.added)
    line.note = f"{outcome.rate * size / MIB:.0f} MiB/s"
    yield line.require(f"{outcome.errors} errors {outcome.message}", holds=outcome.errors == 0).at_most(PUSHES_MIB)


def memory(bench: Bench) -> Iterator[Line]:
    """Both."""
    yield from idle(bench)
    yield from pushes(bench)


ROWS = (Row("memory", "memory at rest and under pushes", memory),)
