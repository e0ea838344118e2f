"""Three replicas over one PostgreSQL and one S3 behind a load balancer, and clients that note their answers."""

from __future__ import annotations

import itertools
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.faults.machine import end
from tests.faults.pusher import (
    GONE,
    AckedBlob,
    AckedManifest,
    Answer,
    Content,
    Door,
    Ledger,
    Listening,
    digest_of,
    image_of,
)
from tests.support.haproxy import Balancer
from tests.support.postgresql import Postgres
from tests.support.seaweedfs import SeaweedFs
from tests.support.server import Server

NAMES = ("one", "two", "three")
# What a client may get when a replica dies under it, and comes again with: the connection lost, or one of these.
RETRYABLE = frozenset({502, 503, 504})
LIMIT_SECONDS = 30
DRAIN_SECONDS = 1


@dataclass(frozen=True)
class Site:
    """The replicas, what is in front of them, and what is behind."""

    replicas: dict[str, Server]
    balancer: Balancer
    postgres: Postgres
    database_url: str

    def require_all_up(self) -> None:
        """Wait until the balancer gives requests to every replica."""
        limit = time.monotonic() + LIMIT_SECONDS
        seen: set[str] = set()
        with Door(self.balancer) as door:
            while seen != set(self.replicas):
                assert time.monotonic() < limit, (seen, self.balancer.output())
                answers = [door.ask("GET", "/healthz") for _ in self.replicas]
                seen = {answer.headers.get("x-replica", "") for answer in answers}

    def query(self, sql: str) -> list[str]:
        """Lines of what psql prints for a statement."""
        return self.postgres.query(self.database_url, sql).splitlines()


@contextmanager
def open_site(folder: pathlib.Path) -> Iterator[Site]:
    """Start everything, the replicas all at once on an empty database."""
    with ExitStack() as stack:
        seaweed, postgres = stack.enter_context(SeaweedFs()), stack.enter_context(Postgres())
        database = postgres.new_database()
        environment = {
            "ENTREPOT_DATABASE__URL": database,
            "ENTREPOT_STORAGE__URL": seaweed.fresh_url(),
            "ENTREPOT_SERVER__WORKERS": "1",
            "ENTREPOT_SERVER__DRAIN_SECONDS": str(DRAIN_SECONDS),
        }
        replicas = {name: Server(folder / name, environment=environment) for name in NAMES}
        for server in replicas.values():
            stack.callback(end, server)
        with ThreadPoolExecutor(len(NAMES)) as pool:
            list(pool.map(Server.start, replicas.values()))
        ports = {name: server.port for name, server in replicas.items()}
        balancer = stack.enter_context(Balancer(folder, ports))
        site = Site(replicas, balancer, postgres, database)
        site.require_all_up()
        yield site


@dataclass
class Account:
    """What clients were told: what was acknowledged, and every answer that was not what it should be."""

    ledger: Ledger = field(default_factory=Ledger)
    disturbed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def wait_for_more(self, images: int) -> None:
        """Wait until so many more images are acknowledged."""
        wanted, limit = len(self.ledger.manifests) + images, time.monotonic() + LIMIT_SECONDS
        while len(self.ledger.manifests) < wanted:
            assert time.monotonic() < limit, (self.disturbed[-5:], self.wrong[-5:])
            time.sleep(0.02)


class _AgainError(Exception):
    """A push or pull was disturbed: a client begins it again."""


class Customer(threading.Thread):
    """Pushes images, each request by another replica, and pulls each at once; begins again when it is disturbed."""

    def __init__(self, front: Listening, account: Account, number: int) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._front = front
        self._account = account
        self._repository = f"faults/customer{number}"
        self._seeds = itertools.count(number * 1_000_000)
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """End after the present image."""
        self._stop_asked.set()

    def run(self) -> None:
        """One image after another."""
        with Door(self._front) as door:
            while not self._stop_asked.is_set():
                seed = next(self._seeds)
                contents = [Content(seed, 40_000), Content(seed % 7, 20_000), Content(-seed, 300)]
                self._insist(lambda contents=contents: self._push(door, contents))  # type: ignore[misc]

    def _insist(self, work: Callable[[], None]) -> None:
        limit = time.monotonic() + LIMIT_SECONDS
        while True:
            try:
                return work()
            except _AgainError as error:
                self._account.disturbed.append(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
                self._account.wrong.append(repr(error))
                return None
            if time.monotonic() > limit:
                self._account.wrong.append("disturbed for too long")
                return None
            time.sleep(0.05)

    def _push(self, door: Door, contents: list[Content]) -> None:
        for content in contents:
            data, path = content.data, f"/v2/{self._repository}/blobs/uploads/"
            location = self._ask(door, 202, "POST", path).headers["location"]
            self._ask(door, 202, "PATCH", location, data[:150])
            self._ask(door, 202, "PATCH", location, data[150:])
            self._ask(door, 201, "PUT", f"{location}?digest={content.digest}")
            self._account.ledger.blobs.append(AckedBlob(self._repository, content.digest, content))
        raw = image_of(contents[2].data, [content.data for content in contents[:2]])
        tag = f"v{-contents[2].seed}"
        path = f"/v2/{self._repository}/manifests"
        self._ask(door, 201, "PUT", f"{path}/{tag}", raw)
        self._account.ledger.manifests.append(AckedManifest(self._repository, tag, raw))
        for reference in (tag, digest_of(raw)):
            self._require(self._ask(door, 200, "GET", f"{path}/{reference}").body == raw, "another manifest")
        blob = self._ask(door, 200, "GET", f"/v2/{self._repository}/blobs/{contents[0].digest}")
        self._require(blob.body == contents[0].data, "another blob")

    def _require(self, fact: bool, problem: str) -> None:
        if not fact:
            self._account.wrong.append(problem)

    def _ask(self, door: Door, wanted: int, method: str, path: str, body: bytes | None = None) -> Answer:
        kind = "application/vnd.oci.image.manifest.v1+json" if "/manifests/" in path else "application/octet-stream"
        try:
            answer = door.ask(method, path, body, {"Content-Type": kind} if body else None)
        except GONE as error:
            raise _AgainError(f"{method} {path}: {error!r}") from None
        if answer.status in RETRYABLE:
            raise _AgainError(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        if answer.status != wanted:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer


@contextmanager
def customers(front: Listening, number: int) -> Iterator[Account]:
    """So many clients at work meanwhile."""
    account = Account()
    threads = [Customer(front, account, each) for each in range(1, number + 1)]
    for thread in threads:
        thread.start()
    try:
        yield account
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(2 * LIMIT_SECONDS)
