"""Many clients at once: slow readers, a herd that starts one image, a cluster that restarts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from bench.client import Connection, Engine, Lane, Operation, Tally, WrongAnswer, clock
from bench.context import GIB, KIB, LARGE_BYTES, MIB, Bench, PeakPss
from bench.crowd import Crowd, evenly
from bench.images import ACCEPT, Caller, Steps, Stock, bearer_in, caller_of
from bench.load import Outcome, Running, drive
from bench.measure import Line, Sample, measure, median
from bench.rows import Row
from bench.servers import Nginx, Target

READ_BYTES_A_SECOND = 10 * KIB
READ_STEP_SECONDS = 0.5
READER_BUFFER_BYTES = 16 * KIB
READERS_MEMORY_MIB = 400
RETURN_SECONDS = 60
RETURNED_MIB = 40
WORSE = 2.0

HERD_LAYER_BYTES = 8 * MIB
HERD_SECONDS = 1.0
HERD_WALL = 1.2
HERD_SLOWEST = 1.5

NODES = 500
STORM_P99_SECONDS = 1.0


def slow_reader(connection: Connection, request: bytes, until: float) -> Lane:
    """Ask for a large body and take 10 KiB of it a second."""
    connection.receive_buffer_bytes = READER_BUFFER_BYTES
    yield from connection.send(request)
    step = round(READ_BYTES_A_SECOND * READ_STEP_SECONDS)
    moment = clock() + random.random() * READ_STEP_SECONDS
    while moment < until:
        yield moment
        yield from connection.drop(step)
        moment += READ_STEP_SECONDS
    connection.close()


def reading(bench: Bench, count: int, seconds: float) -> Running:
    """So many slow readers, half of whole blobs, half of ranges of 8 MiB."""
    registry = bench.entrepot
    image = bench.large_image(registry)
    path = f"/v2/{image.repository}/blobs/{image.blobs[1]}"
    authorization = registry.bearer(f"repository:{image.repository}:pull")

    def lanes(engine: Engine, tally: Tally) -> Iterator[Lane]:
        until = clock() + seconds
        for number in range(count):
            caller = caller_of(engine, registry, authorization)
            start = random.randrange(0, LARGE_BYTES - 8 * MIB)
            fields = f"Range: bytes={start}-{start + 8 * MIB - 1}\r\n" if number % 2 else ""
            yield counted(tally, slow_reader(caller.connection, caller.head("GET", path, fields), until))

    return Running(lanes)


def counted(tally: Tally, lane: Lane) -> Lane:
    """A lane whose end is counted, whichever way it ends."""
    began = clock()
    try:
        yield from lane
    except (OSError, WrongAnswer) as reason:
        tally.fail(reason)
    else:
        tally.add(began)


def readers(bench: Bench) -> Iterator[Line]:
    """Memory that 1,000 slow readers cost, whether it comes back, and the p99 of manifests beside them."""
    registry = bench.entrepot
    count = 1000
    image = bench.small_image(registry)
    path = f"/v2/{image.repository}/manifests/single"
    bench.large_image(registry)
    rounds = bench.sized(2, 5)
    calm = [bench.measure(registry, lambda: bench.wrk(registry, path)) for _ in range(rounds)]
    with PeakPss(registry) as memory:
        crowd = reading(bench, count, 4 + rounds * (max(1, bench.seconds) + 0.5))
        time.sleep(2)
        beside = [measure(registry, lambda: bench.wrk(registry, path)) for _ in range(rounds)]
        outcome = crowd.outcome()
    left, waited = returned(registry, memory.before)
    added = Line("readers", f"memory added by {count} slow readers", "<= 400 MiB", " MiB", value=memory.added)
    if outcome.errors:
        added.require(f"{outcome.errors} readers failed: {outcome.message}", holds=False)
    yield added.at_most(READERS_MEMORY_MIB)
    back = Line("readers", "memory kept after they went", "returned in 60 s", " MiB", value=left)
    back.note = f"{waited:.0f} s after the last reader went; returned means within {RETURNED_MIB} MiB of before"
    yield back.at_most(RETURNED_MIB)
    times = median(beside, "p99") / median(calm, "p99")
    line = Line("readers", "manifest GET beside them", "p99 <= 2x", ours=beside, theirs=calm, against="without")
    yield line.require(f"p99 {times:.2f}x of {WORSE:g}x", holds=times <= WORSE)


def returned(target: Target, before: float) -> tuple[float, float]:
    """How much is kept above `before`, once it has come back or a minute has passed."""
    began = time.monotonic()
    while True:
        left = target.pss() - before
        waited = time.monotonic() - began
        if left <= RETURNED_MIB or waited > RETURN_SECONDS:
            return left, waited
        time.sleep(0.5)


def starting(paths: list[str], accept: str) -> Callable[[Caller], Operation]:
    """HEAD of the first path, then GET of all: what a node does that starts an image."""

    def prepare(caller: Caller) -> Operation:
        requests = [caller.head("HEAD", paths[0], accept), *(caller.head("GET", path, accept) for path in paths)]

        def start() -> Steps[None]:
            for request in requests:
                yield from caller.call(request, 200)

        return start

    return prepare


def herd(bench: Bench) -> Iterator[Line]:
    """Clients that start one image within a second, beside nginx with the same files."""
    count = bench.sized(250, 1000)
    stock = Stock(HERD_LAYER_BYTES)
    layers = [stock.take(), stock.take()]
    for number, layer in enumerate(layers):
        (bench.nginx.root / f"herd{number}").write_bytes(layer.tail)
    (bench.nginx.root / "manifest").write_bytes(b"{}" * 400)

    def load(target: Target) -> Outcome:
        if isinstance(target, Nginx):
            authorization, paths = "", ["/manifest", "/herd0", "/herd1"]
        else:
            image = bench.image(bench.entrepot, "herd", lambda: layers)
            root = f"/v2/{image.repository}"
            paths = [f"{root}/manifests/single", *(f"{root}/blobs/{blob}" for blob in image.blobs[1:])]
            authorization = bench.entrepot.bearer(f"repository:{image.repository}:pull")
        crowd = Crowd(target, authorization)
        return drive(crowd.arriving(evenly(count, HERD_SECONDS), starting(paths, f"Accept: {ACCEPT}\r\n")))

    targets: tuple[Target, ...] = (bench.entrepot, bench.nginx)
    ours, limit = bench.versus(targets, load)
    wall, least = median(ours, "seconds"), median(limit, "seconds")
    line = Line("herd", f"{count} clients start 2 x 8 MiB, wall", "<= 1.2x nginx, slowest <= 1.5x median", " s")
    line.ours, line.theirs, line.against, line.value, line.other = ours, limit, "nginx", wall, least
    line.require_errorless()
    tail = median(ours, "slowest") / median(ours, "p50")
    line.note = f"{count * 2 * HERD_LAYER_BYTES / GIB / wall:.2f} GiB/s; slowest {median(ours, 'slowest'):.1f} s"
    line.require(f"wall {wall / least:.2f}x", holds=wall <= HERD_WALL * least)
    yield line.require(f"slowest {tail:.2f}x median", holds=tail <= HERD_SLOWEST)


def storm(bench: Bench) -> Iterator[Line]:
    """A cold server, and a cluster whose every pod asks for a token and a manifest."""
    pods, seconds = bench.sized(5, 30), bench.sized(5, 30)
    with bench.fresh("storm") as server:
        image = bench.small_image(server)
        server.stop()
        server.start()
        service = server.token_service(f"repository:{image.repository}:pull")

        def prepare(caller: Caller) -> Operation:
            def start() -> Steps[None]:
                yield from caller.connection.send(service.request())
                reply = yield from caller.connection.receive(keep=True, is_head=False)
                caller.connection.close()
                if reply.status != 200:
                    raise WrongAnswer(f"/token answered {reply.status}")
                bearer = Caller(caller.connection, bearer_in(reply), close=True)
                fields = f"Accept: {ACCEPT}\r\n"
                yield from bearer.call(bearer.head("HEAD", f"/v2/{image.repository}/manifests/single", fields), 200)

            return start

        load = Crowd(server, close=True).arriving(evenly(NODES * pods, seconds), prepare)
        found = bench.measure(server, lambda: drive(load))
    yield storm_line(found, NODES * pods, seconds)


def storm_line(found: Sample, count: int, seconds: float) -> Line:
    """What the storm must show."""
    what = f"cold, {count} x (token + HEAD) in {seconds:g} s"
    line = Line("storm", what, "0 errors, p99 <= 1 s", ours=[found])
    return line.require(f"p99 {found.p99:.2f} s", holds=found.p99 <= STORM_P99_SECONDS)


ROWS = (
    Row("readers", "1,000 slow readers of large blobs", readers),
    Row("herd", "1,000 clients start one image", herd),
    Row("storm", "restart storm on a cold server", storm),
)
