"""The crowd of the soak: pushers of which half push again what was just freed, and a collector that never rests."""

from __future__ import annotations

import collections
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.pusher import GONE, Content, Door, digest_of, image_of
from tests.support.server import Server

WINDOW_SECONDS = 2.0
# A promise is renewed when a twenty-fourth of it has passed, and clocks tick.
MARGIN_SECONDS = 0.2
REPOSITORIES = 4
SHARED = 16
LIVE_TAGS = 3
MOST_FREED = 300
COLLECT_SECONDS = 1.0
ENVIRONMENT = {
    "ENTREPOT_KEEP__GRACE_SECONDS": "2",
    "ENTREPOT_KEEP__PROMISE_SECONDS": "2",
    "ENTREPOT_KEEP__DISCARD_SECONDS": "1",
    "ENTREPOT_KEEP__HISTORY_DIGESTS": "0",
    "ENTREPOT_SERVER__WORKERS": "1",
    "ENTREPOT_LOG__ACCESS": "false",
}


@dataclass(frozen=True)
class Built:
    """An image that can be made again: a layer of its own, one that others have too, and a config."""

    repository: str
    layer: Content
    shared: Content
    config: Content

    @property
    def contents(self) -> tuple[Content, Content, Content]:
        """All three."""
        return self.layer, self.shared, self.config

    @property
    def raw(self) -> bytes:
        """The manifest."""
        return image_of(self.config.data, [self.layer.data, self.shared.data])


@dataclass
class Tally:
    """What happened, counted by all threads."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    violations: list[str] = field(default_factory=list)
    freed: collections.deque[Built] = field(default_factory=lambda: collections.deque(maxlen=MOST_FREED))
    live: dict[tuple[str, str], Built] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        """One more."""
        with self.lock:
            self.counts[what] += 1


class Worker(threading.Thread):
    """Does something again and again until told to stop; each request may go to another replica."""

    def __init__(self, name: str, replicas: list[Server], tally: Tally) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.tally = tally
        self.random = random.Random(name)
        self._doors = [Door(replica, timeout=60) for replica in replicas]

    @property
    def door(self) -> Door:
        """A connection to one of the replicas."""
        return self.random.choice(self._doors)

    def run(self) -> None:
        """One turn after the other."""
        while not self.stopping.is_set():
            try:
                self.turn()
            except (*GONE, AssertionError) as error:
                # An answer that says to come again, such as 503, is none that breaks a promise.
                self.tally.add(f"retried: {type(error).__name__}")
                self.stopping.wait(0.05)
        for door in self._doors:
            door.__exit__(None, None, None)

    def turn(self) -> None:
        """What is to be done."""
        raise NotImplementedError


class SoakPusher(Worker):
    """Pushes as clients do: ask for each blob, push what is not there, then the manifest, within the window."""

    def __init__(self, number: int, replicas: list[Server], tally: Tally) -> None:
        super().__init__(f"soak-{number}", replicas, tally)
        self._number = number
        self._count = 0
        self._tags: collections.deque[tuple[str, str]] = collections.deque()

    def turn(self) -> None:
        self._count += 1
        built = self._choose()
        tag = f"p{self._number}-{self._count}"
        if self._push(built, tag):
            self._tags.append((built.repository, tag))
            with self.tally.lock:
                self.tally.live[built.repository, tag] = built
        if self._count % 4 == 0 and self._tags:
            self._pull(*self.random.choice(self._tags))
        while len(self._tags) > LIVE_TAGS:
            self._remove(*self._tags.popleft())

    def _choose(self) -> Built:
        if self._number % 2 and self.tally.freed:
            self.tally.add("pushed again")
            with self.tally.lock:
                return self.tally.freed.pop()
        seed = self.random.getrandbits(48)
        shared = Content(self.random.randrange(SHARED), 20_000)
        repository = f"soak/app{self.random.randrange(REPOSITORIES)}"
        return Built(repository, Content(seed, self.random.randint(1, 50_000)), shared, Content(seed + 1, 300))

    def _push(self, built: Built, tag: str) -> bool:
        began = time.monotonic()
        for content in built.contents:
            path = f"/v2/{built.repository}/blobs/{content.digest}"
            answer = self.door.ask("HEAD", path)
            if answer.status == 404:
                answer = self.door.push_chunked(built.repository, content.data)
                assert answer.status == 201, answer
                self.tally.add("blobs pushed")
            else:
                assert answer.status == 200, answer
                self.tally.add("blobs found")
        answer = self.door.put_manifest(built.repository, tag, built.raw)
        if answer.status == 201:
            self.tally.add("images pushed")
            return True
        assert answer.status == 400, answer
        if time.monotonic() - began < WINDOW_SECONDS - MARGIN_SECONDS:
            self.tally.violations.append(f"unknown blob inside the window: {answer}")
        self.tally.add("too late")
        return False

    def _pull(self, repository: str, tag: str) -> None:
        built = self.tally.live[repository, tag]
        for path, wanted in list_paths(built, tag):
            answer = self.door.ask("GET", path)
            assert answer.status < 500, answer
            if (answer.status, answer.body) != (200, wanted):
                self.tally.violations.append(f"lost: {path} is {answer.status}")
        self.tally.add("images pulled")

    def _remove(self, repository: str, tag: str) -> None:
        with self.tally.lock:
            built = self.tally.live.pop((repository, tag))
        # By its tag alone: the collector finds the manifest, and then what it kept.
        answer = self.door.ask("DELETE", f"/v2/{repository}/manifests/{tag}")
        assert answer.status == 202, answer
        with self.tally.lock:
            self.tally.freed.append(built)
        self.tally.add("tags deleted")


class Collector(Worker):
    """Has garbage collected each second."""

    def turn(self) -> None:
        answer = self.door.ask("POST", "/api/v1/collection", b"{}", {"Content-Type": "application/json"})
        assert answer.status == 202, answer
        self.tally.add("collections asked for")
        self.stopping.wait(COLLECT_SECONDS)


def list_paths(built: Built, tag: str) -> list[tuple[str, bytes]]:
    """What a pull of an image asks for, with what must be answered."""
    base = f"/v2/{built.repository}"
    manifests = [(f"{base}/manifests/{reference}", built.raw) for reference in (tag, digest_of(built.raw))]
    return [*manifests, *((f"{base}/blobs/{content.digest}", content.data) for content in built.contents)]


def soak(replicas: list[Server], tally: Tally, pushers: int, seconds: float) -> None:
    """Let all of them at the replicas for some time; raises what a thread raised that no client may see."""
    crowd: list[Worker] = [SoakPusher(number, replicas, tally) for number in range(pushers)]
    crowd.append(Collector("soak-collector", replicas, tally))
    for worker in crowd:
        worker.start()
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not tally.violations and all(worker.is_alive() for worker in crowd):
        time.sleep(0.2)
    dead = [worker.name for worker in crowd if not worker.is_alive()]
    for worker in crowd:
        worker.stopping.set()
    for worker in crowd:
        worker.join(120)
    assert dead == []


def status_of(server: Server) -> dict[str, Any]:
    """What the collector is at, and what it has freed."""
    with Door(server) as door:
        found: dict[str, Any] = json.loads(door.ask("GET", "/api/v1/collection/status").body)
        return found


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.2)


def list_jobs(server: Server, query: str) -> list[dict[str, object]]:
    """Jobs as the API shows them."""
    with Door(server) as door:
        found: list[dict[str, object]] = json.loads(door.ask("GET", f"/api/v1/jobs{query}").body)["jobs"]
        return found


def is_at_rest(server: Server) -> bool:
    """Whether the collector has nothing left to look at and no bytes to delete; else it is asked to go on."""
    status = status_of(server)
    if status["running"] or status["waiting"] or list_jobs(server, "?kind=store.discard"):
        with Door(server) as door:
            door.ask("POST", "/api/v1/collection", b"{}", {"Content-Type": "application/json"})
        time.sleep(COLLECT_SECONDS)
        return False
    return True
