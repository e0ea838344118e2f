"""Several worker processes on one SQLite file: nothing may get slower for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bench.context import KIB, Bench
from bench.crowd import Crowd
from bench.images import Stock
from bench.load import Outcome
from bench.measure import Line
from bench.rows import Row
from bench.rows.pushes import REPOSITORY, SMALL_CLIENTS, pushing
from bench.servers import Entrepot

# Two medians of the same thing differ by this much here; "no slower" cannot be judged closer.
NO_SLOWER = 0.95


def two_workers(bench: Bench) -> Iterator[Line]:
    """Manifest GETs and durable pushes with two workers beside one."""
    stock = Stock(10 * KIB)

    def gets(server: Entrepot) -> Outcome:
        return bench.wrk(server, f"/v2/{bench.small_image(server).repository}/manifests/single")

    def pushes(server: Entrepot) -> Outcome:
        os.sync()
        crowd = Crowd(server, server.bearer(f"repository:{REPOSITORY}:pull,push"), SMALL_CLIENTS)
        return crowd.for_seconds(bench.seconds, pushing(stock))

    with (
        bench.fresh("one", ENTREPOT_SERVER__WORKERS="1") as one,
        bench.fresh("two", ENTREPOT_SERVER__WORKERS="2") as two,
    ):
        for what, load in (("manifest GET", gets), ("push of 10 KiB", pushes)):
            ours, theirs = bench.versus((two, one), load)
            line = Line("workers", f"{what}, 2 workers", "no slower than 1", ours=ours, theirs=theirs)
            line.against = "1 worker"
            yield line.at_least(NO_SLOWER)


ROWS = (Row("workers", "two workers on one SQLite file", two_workers),)
