"""Pushes: large and small blobs, durable, and many clients on one repository."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from bench.client import Operation
from bench.context import KIB, LARGE_BYTES, MIB, Bench
from bench.crowd import Crowd
from bench.images import Caller, Steps, Stock
from bench.load import Outcome
from bench.measure import Line, Sample, interleave, median
from bench.receiver import sync_folder
from bench.rows import Row
from bench.servers import Registry

LARGE_CLIENTS = 4
SMALL_CLIENTS = 32
MANY_CLIENTS = 200
REPOSITORY = "bench/pushes"


def pushing(stock: Stock) -> Callable[[Caller], Operation]:
    """Push new blobs, POST, PATCH, PUT, over one connection a client."""

    def prepare(caller: Caller) -> Operation:
        def push() -> Steps[None]:
            yield from caller.push_blob(REPOSITORY, stock.take())

        return push

    return prepare


def large(bench: Bench) -> Iterator[Line]:
    """100 MiB each: beside distribution (which does not sync), the reference receiver and the bare loop."""
    stock = Stock(LARGE_BYTES, bench.large_file)
    count = LARGE_CLIENTS * bench.sized(1, 3)

    def load(registry: Registry) -> Outcome:
        os.sync()
        crowd = Crowd(registry, registry.bearer(f"repository:{REPOSITORY}:pull,push"), LARGE_CLIENTS)
        return crowd.in_all(count, pushing(stock))

    sides: tuple[Registry, ...] = (*bench.registries, bench.receiver)
    runs = [functools.partial(bench.measure, side, functools.partial(load, side)) for side in sides]
    ours, theirs, reference, bare = interleave(bench.rounds, [*runs, lambda: bare_loop(bench, count)])
    scale = LARGE_BYTES / MIB
    what = "push of 100 MiB, 4 connections"
    unit = " MiB/s"
    yield Line("push-large", what, ">= 2x", unit, ours, theirs, scale=scale).at_least(2)
    yield Line("push-large", what, ">= 0.9x receiver", unit, ours, reference, "receiver", scale).at_least(0.9)
    yield Line(
        "push-large", "the same beside the bare loop", "the ceiling", unit, ours, bare, "hash+write+fsync", scale
    )


def bare_loop(bench: Bench, count: int) -> Sample:
    """Hash, write and sync the same bytes without a socket, as many threads as clients."""
    os.sync()
    began, used = time.monotonic(), time.process_time()

    def work(number: int) -> None:
        for _ in range(count // LARGE_CLIENTS):
            bare_write(bench, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(LARGE_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    cpu = 1000 * (time.process_time() - used) / count
    return Sample(count / seconds, cpu, 0, 0, 0, 0, 0, "", 0, 0, seconds)


def bare_write(bench: Bench, number: int) -> None:
    """One file as the receiver would write it."""
    path = bench.folder / f"bare-{number}"
    hashed = hashlib.sha256()
    buffer = bytearray(MIB)
    with bench.large_file.open("rb", buffering=0) as source, path.open("wb", buffering=0) as target:
        while size := source.readinto(buffer):
            piece = memoryview(buffer)[:size]
            hashed.update(piece)
            target.write(piece)
        os.fsync(target.fileno())
    sync_folder(bench.folder)
    path.unlink()


def small(bench: Bench) -> Iterator[Line]:
    """10 KiB each at 32 connections: ours durable, theirs not."""
    stock = Stock(10 * KIB)

    def load(registry: Registry) -> Outcome:
        os.sync()
        crowd = Crowd(registry, registry.bearer(f"repository:{REPOSITORY}:pull,push"), SMALL_CLIENTS)
        return crowd.for_seconds(bench.seconds, pushing(stock))

    sides: tuple[Registry, ...] = (*bench.registries, bench.receiver)
    ours, theirs, reference = bench.versus(sides, load)
    what = "push of 10 KiB, 32 connections"
    yield Line("push-small", what, ">= 5x", ours=ours, theirs=theirs).at_least(5)
    yield Line("push-small", what, "for comparison", ours=ours, theirs=reference, against="receiver")


def one_repository(bench: Bench) -> Iterator[Line]:
    """200 clients push 1 KiB images to one repository, or each to its own."""
    registry = bench.entrepot
    stock = Stock(KIB)

    def load(repositories: int) -> Sample:
        os.sync()
        names = [f"bench/many{number}" for number in range(repositories)]
        bearers = [registry.bearer(f"repository:{name}:pull,push") for name in names]
        turn = iter(range(MANY_CLIENTS))

        def prepare(caller: Caller) -> Operation:
            number = next(turn)
            pusher = Caller(caller.connection, bearers[number % repositories])

            def push() -> Steps[None]:
                yield from pusher.push_image(names[number % repositories], f"tag{number}", [stock.take()])

            return push

        crowd = Crowd(registry, clients=MANY_CLIENTS)
        return bench.measure(registry, lambda: crowd.for_seconds(bench.seconds, prepare))

    one, many = interleave(bench.rounds, [lambda: load(1), lambda: load(MANY_CLIENTS)])
    line = Line("one-repository", "200 clients push images of 1 KiB", ">= 0.8x of 200", ours=one, theirs=many)
    line.against = "200 repositories"
    line.note = f"p99 {1000 * median(one, 'p99'):.0f} ms"
    yield line.at_least(0.8)


ROWS = (
    Row("push-large", "large blob push, the reference receiver as the limit", large),
    Row("push-small", "small blob push, durable", small),
    Row("one-repository", "200 clients push to one repository", one_repository),
)
