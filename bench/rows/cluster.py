"""PostgreSQL and an S3 server instead of a file and a folder; two replicas; pulls while content is collected."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import ssl
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import obstore
from obstore.store import S3Store

from bench import process
from bench.client import Operation
from bench.context import KIB, LARGE_BYTES, MIB, Bench
from bench.crowd import Crowd
from bench.images import Body, Caller, Steps, Stock
from bench.load import Outcome
from bench.measure import Line, Sample, interleave, median
from bench.rows import Row
from bench.rows.pushes import LARGE_CLIENTS, REPOSITORY, SMALL_CLIENTS, pushing
from bench.rows.workers import NO_SLOWER
from bench.servers import Entrepot, Registry
from tests.support.postgresql import Postgres
from tests.support.seaweedfs import ACCESS, BUCKET, SECRET, SeaweedFs

VOLUMES = 400
MANY_WORKERS = 4
# A core is lost to the clients, one to each replica, and one to the database.
CORES_OF_TWO = 4
GARBAGE = 40


class Bucket:
    """The S3 server itself, to which objects are written by signed addresses."""

    name = "S3"
    tls: ssl.SSLContext | None = None

    def __init__(self, server: SeaweedFs) -> None:
        self.server = server
        self.port = server.port
        self._store = S3Store(
            BUCKET,
            endpoint=f"http://127.0.0.1:{server.port}",
            access_key_id=ACCESS,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    def cpu(self) -> float:
        """CPU seconds used since its start."""
        return process.cpu_seconds(self.server.pid)

    def pss(self) -> float:
        """Memory now, in MiB."""
        return process.pss_mib(self.server.pid)

    def stop(self) -> None:
        """Whoever started it ends it."""

    def target(self) -> str:
        """Path and query by which one new object may be written."""
        url = obstore.sign(self._store, "PUT", f"direct/{secrets.token_hex(12)}", datetime.timedelta(hours=1))
        parts = urllib.parse.urlsplit(url)
        return f"{parts.path}?{parts.query}"


def writing(bucket: Bucket, stock: Stock) -> Callable[[Caller], Operation]:
    """Write new objects, one PUT each, over one connection a client."""

    def put(caller: Caller, body: Body) -> Steps[None]:
        head = caller.head("PUT", bucket.target(), f"Content-Length: {body.total}\r\n")
        yield from caller.connection.send(head)
        yield from caller.connection.send_file(body.file, body.size)
        yield from caller.call(body.tail, 200)

    def prepare(caller: Caller) -> Operation:
        return lambda: put(caller, stock.take())

    return prepare


@contextlib.contextmanager
def started() -> Iterator[tuple[Postgres, SeaweedFs]]:
    """A database server and an S3 server of this row."""
    with Postgres() as postgres, SeaweedFs(VOLUMES) as seaweed:
        yield postgres, seaweed


def place(postgres: Postgres, seaweed: SeaweedFs) -> dict[str, str]:
    """Settings of replicas that share a new database and a new place in the bucket."""
    return {
        "ENTREPOT_DATABASE__URL": postgres.new_database(),
        "ENTREPOT_STORAGE__URL": seaweed.fresh_url(),
    }


def beside_others(bench: Bench) -> Iterator[Line]:
    """Manifest GETs beside distribution on its folder; pushes of 100 MiB beside writing to the S3 server itself."""
    stock = Stock(LARGE_BYTES, bench.large_file)
    count = LARGE_CLIENTS * bench.sized(1, 3)

    def gets(registry: Registry) -> Outcome:
        return bench.wrk(registry, f"/v2/{bench.small_image(registry).repository}/manifests/single")

    def pushes(side: Entrepot | Bucket) -> Outcome:
        os.sync()
        if isinstance(side, Bucket):
            return Crowd(side, "", LARGE_CLIENTS).in_all(count, writing(side, stock))
        crowd = Crowd(side, side.bearer(f"repository:{REPOSITORY}:pull,push"), LARGE_CLIENTS)
        return crowd.in_all(count, pushing(stock))

    with started() as (postgres, seaweed), bench.fresh("cluster", **place(postgres, seaweed)) as server:
        sides: tuple[Registry, Registry] = (server, bench.distribution)
        ours, theirs = bench.versus(sides, gets)
        yield Line("cluster", "manifest GET, PostgreSQL and S3", ">= 5x", ours=ours, theirs=theirs).at_least(5)
        both: tuple[Entrepot | Bucket, ...] = (server, Bucket(seaweed))
        ours, theirs = bench.versus(both, pushes)
        scale = LARGE_BYTES / MIB
        what = "push of 100 MiB to S3"
        line = Line("cluster", what, ">= 0.7x direct", " MiB/s", ours, theirs, "the S3 server", scale)
        yield line.at_least(0.7)


def two_replicas(bench: Bench) -> Iterator[Line]:
    """Manifest GETs from two replicas at once: what one costs, beside two servers that share nothing, and their rate.

    One replica alone has a core to itself: what two servers take from each other there is not what they share.
    """

    def gets(server: Entrepot) -> Outcome:
        return bench.wrk(server, f"/v2/{bench.small_image(server).repository}/manifests/single")

    def at_once(*servers: Entrepot) -> list[Sample]:
        with ThreadPoolExecutor(len(servers)) as pool:
            return list(pool.map(lambda server: bench.measure(server, lambda: gets(server)), servers))

    with started() as (postgres, seaweed), contextlib.ExitStack() as stack:
        shared = place(postgres, seaweed)
        one, two, stranger = (
            stack.enter_context(bench.fresh(name, **where, ENTREPOT_SERVER__WORKERS="1"))
            for name, where in (("replica-1", shared), ("replica-2", shared), ("stranger", place(postgres, seaweed)))
        )
        together, apart, alone = list[Sample](), list[Sample](), list[Sample]()
        for _ in range(bench.rounds):
            together += at_once(one, two)
            apart += at_once(one, stranger)
            alone += at_once(one)
        value, other = (1000 * median(samples, "cpu_per_1000") for samples in (together, apart))
        what = "CPU of a manifest GET, two replicas"
        line = Line("replicas", what, "flat: <= 1.15x", " us", ours=together, value=value, other=other)
        line.against = "two that share nothing"
        yield line.at_most(1.15 * other)
        if (os.cpu_count() or 1) >= CORES_OF_TWO:
            rate = 2 * median(together, "rate")
            line = Line("replicas", "manifest GET, two replicas", ">= 1.7x of one", value=rate, theirs=alone)
            line.against = "one replica"
            yield line.at_least(1.7)


def many_workers(bench: Bench) -> Iterator[Line]:
    """Durable pushes with four workers on one PostgreSQL beside one worker."""
    stock = Stock(10 * KIB)

    def pushes(server: Entrepot) -> Outcome:
        os.sync()
        crowd = Crowd(server, server.bearer(f"repository:{REPOSITORY}:pull,push"), SMALL_CLIENTS)
        return crowd.for_seconds(bench.seconds, pushing(stock))

    with Postgres() as postgres, contextlib.ExitStack() as stack:
        sides = []
        for workers in (MANY_WORKERS, 1):
            environment = {
                "ENTREPOT_DATABASE__URL": postgres.new_database(),
                "ENTREPOT_SERVER__WORKERS": str(workers),
            }
            sides.append(stack.enter_context(bench.fresh(f"postgresql-{workers}", **environment)))
        ours, theirs = bench.versus(sides, pushes)
        line = Line("postgresql", "push of 10 KiB, 4 workers", "no slower than 1", ours=ours, theirs=theirs)
        line.against = "1 worker"
        yield line.at_least(NO_SLOWER)


def collecting(bench: Bench) -> Iterator[Line]:
    """The p99 of manifest GETs while content is collected and all blobs are read again, beside quiet ones."""
    kept = {"TRASH_DAYS": "0", "HISTORY_DAYS": "0", "HISTORY_DIGESTS": "0", "GRACE_SECONDS": "1"}
    environment = {f"ENTREPOT_KEEP__{name}": value for name, value in kept.items()}
    stock = Stock(KIB)
    with bench.fresh("collecting", **environment) as server:
        path = f"/v2/{bench.small_image(server).repository}/manifests/single"
        bearer = server.bearer("repository:bench/garbage:pull,push,delete")

        def leave_garbage() -> None:
            def prepare(caller: Caller) -> Operation:
                def push() -> Steps[None]:
                    yield from caller.push_image("bench/garbage", "moving", [stock.take()])

                return push

            Crowd(server, bearer, SMALL_CLIENTS).in_all(bench.sized(GARBAGE, 10 * GARBAGE), prepare)

        def quiet() -> Sample:
            return bench.measure(server, lambda: bench.wrk(server, path))

        def busy() -> Sample:
            leave_garbage()
            for target in ("collection", "integrity/scrub"):
                server.request("POST", f"/api/v1/{target}", {})
            return bench.measure(server, lambda: bench.wrk(server, path))

        beside, alone = interleave(bench.rounds, [busy, quiet])
        value, other = (1000 * median(samples, "p99") for samples in (beside, alone))
        what = "p99 beside collection and scrub"
        line = Line("collecting", what, "<= 1.5x", " ms", ours=beside, value=value, other=other)
        line.against = "without"
        yield line.at_most(1.5 * other)


ROWS = (
    Row("cluster", "PostgreSQL and an S3 server", beside_others),
    Row("replicas", "two replicas beside one", two_replicas),
    Row("postgresql", "four workers on one PostgreSQL", many_workers),
    Row("collecting", "pulls while content is collected and read again", collecting),
)
