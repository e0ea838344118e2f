"""PostgreSQL is away, dead or standing still: three replicas go on serving what they have served before."""

from __future__ import annotations

import base64
import itertools
import json
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest

from tests.faults.machine import LIMIT_SECONDS, end
from tests.faults.pusher import GONE, Answer, Door, digest_of, image_of
from tests.support.postgresql import Postgres
from tests.support.server import ADMIN_PASSWORD, Server

REPLICAS = 3
PULLERS = 12
STALE = '110 - "Response is Stale"'
REPOSITORY = "faults/app"
# In CI, of each round; ten rounds are 10 minutes over 500 images at 200 pulls/s.
IMAGES = 50
PULLS_PER_SECOND = 20
CI_SECONDS = 15
ROUND_SECONDS = 60


@dataclass
class Tally:
    """What became of pulls and pushes while the database was away; times in seconds."""

    pulled: int = 0
    failed: list[str] = field(default_factory=list)
    stale: int = 0
    refusals: list[Answer] = field(default_factory=list)
    refused_after: list[float] = field(default_factory=list)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of databases of the test's own."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def replicas(tmp_path: pathlib.Path, postgres: Postgres) -> Iterator[list[Server]]:
    """Three replicas over one database and one store."""
    environment = {
        "ENTREPOT_DATABASE__URL": postgres.new_database(),
        "ENTREPOT_STORAGE__URL": f"file://{tmp_path}/blobs",
        # Each worker remembers by itself what it has served.
        "ENTREPOT_SERVER__WORKERS": "1",
        "ENTREPOT_LOG__ACCESS": "false",
    }
    servers = [Server(tmp_path / f"data{number}", environment=environment) for number in range(REPLICAS)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            end(server)


def push_images(server: Server, number: int) -> list[bytes]:
    """So many images of a config and a layer, under the tags v0, v1 ...; their manifests."""
    raws = []
    with Door(server) as door:
        for each in range(number):
            config, layer = b"config %d" % each, b"layer %d" % each * 100
            for content in (config, layer):
                assert door.push(REPOSITORY, content).status == 201
            raws.append(image_of(config, [layer]))
            assert door.put_manifest(REPOSITORY, f"v{each}", raws[-1]).status == 201
    return raws


class Puller:
    """Pulls images one after another from one replica after another: token, manifest by tag, blobs."""

    def __init__(self, servers: list[Server], raws: list[bytes]) -> None:
        self._doors = [Door(server) for server in servers]
        self._raws = raws

    def close(self) -> None:
        """Hang up."""
        for door in self._doors:
            door.__exit__()

    def pull(self, replica: int, number: int) -> bool:
        """One image whole, with a token of its own; whether any of it was said to be stale. Raises AssertionError."""
        door, raw = self._doors[replica], self._raws[number]
        given = door.ask("GET", f"/token?scope=repository:{REPOSITORY}:pull", headers=basic())
        assert given.status == 200, given
        bearer = {"Authorization": f"Bearer {json.loads(given.body)['token']}"}
        answers = [door.ask("GET", f"/v2/{REPOSITORY}/manifests/v{number}", headers=bearer)]
        assert answers[0].status == 200, answers
        assert answers[0].body == raw
        document = json.loads(raw)
        for each in (document["config"], *document["layers"]):
            answers.append(door.ask("GET", f"/v2/{REPOSITORY}/blobs/{each['digest']}", headers=bearer))
            assert answers[-1].status == 200, answers[-1]
            assert digest_of(answers[-1].body) == each["digest"]
        return any(answer.headers.get("warning") == STALE for answer in answers)


def basic() -> dict[str, str]:
    """Credentials, as docker shows them to the token service."""
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()}


@contextmanager
def pulling(servers: list[Server], raws: list[bytes], rate: float) -> Iterator[Tally]:
    """Pull and try to push at a rate, from every replica, until the block ends; what became of it."""
    tally, stop, turns = Tally(), threading.Event(), itertools.count()

    def pull() -> None:
        with closing(Puller(servers, raws)) as puller:
            pull_by(puller)

    def pull_by(puller: Puller) -> None:
        while not stop.wait(PULLERS / rate):
            turn = next(turns)
            try:
                is_stale = puller.pull(turn % REPLICAS, turn // REPLICAS % len(raws))
                tally.stale += is_stale
                tally.pulled += 1
            except (*GONE, AssertionError) as error:
                tally.failed.append(repr(error)[:300])

    def push() -> None:
        while not stop.wait(0.5):
            with Door(servers[next(turns) % REPLICAS]) as door:
                began = time.monotonic()
                tally.refusals.append(door.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/"))
                tally.refused_after.append(time.monotonic() - began)

    threads = [threading.Thread(target=pull) for _ in range(PULLERS)] + [threading.Thread(target=push)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def lost(postgres: Postgres) -> Iterator[None]:
    """The server of the database is gone at once, and started again afterwards."""
    postgres.kill()
    try:
        yield
    finally:
        postgres.start()


@pytest.mark.parametrize("way", ["lost", "standing still"])
def test_pulls_go_on_without_the_database(replicas: list[Server], postgres: Postgres, rounds: int, way: str) -> None:
    """Of pulls of images that each replica has served before, with a fresh token each, at least 999 of 1000 succeed
    while the database is away; pushes are 503 with Retry-After; soon after it is back all is as before.
    """
    raws = push_images(replicas[0], IMAGES * rounds)
    with closing(Puller(replicas, raws)) as puller:
        for replica, number in itertools.product(range(REPLICAS), range(len(raws))):
            puller.pull(replica, number)
    seconds = CI_SECONDS if rounds == 1 else ROUND_SECONDS * rounds
    with postgres.standing_still() if way == "standing still" else lost(postgres):
        # Whoever asks in the very second in which it goes waits until it is noticed.
        wait_until(lambda: all(is_degraded(server) for server in replicas))
        with pulling(replicas, raws, PULLS_PER_SECOND * rounds) as tally:
            time.sleep(seconds)
    back = time.monotonic()
    wait_until(lambda: all(is_ready(server) for server in replicas))
    ready_after = time.monotonic() - back
    slowest = max(tally.refused_after)
    print(
        f"{way}: {tally.pulled} pulls in {seconds} s, {len(tally.failed)} failed; {len(tally.refusals)} pushes "
        f"refused, the slowest after {slowest * 1000:.0f} ms; ready {ready_after:.1f} s after its return"
    )
    assert tally.pulled > seconds
    assert len(tally.failed) <= tally.pulled / 999, tally.failed[:3]
    assert tally.stale == tally.pulled
    assert {(answer.status, answer.headers.get("retry-after")) for answer in tally.refusals} == {(503, "5")}
    for replica, server in enumerate(replicas):
        with Door(server) as door:
            assert door.push(REPOSITORY, b"again %d" % replica).status == 201
    with closing(Puller(replicas, raws)) as puller:
        assert not any(puller.pull(replica, 0) for replica in range(REPLICAS))


def is_degraded(server: Server) -> bool:
    """Whether a replica knows that the database is away, and is ready for pulls all the same."""
    with Door(server) as door:
        report = json.loads(door.ask("GET", "/readyz?full=1").body)
    return "database" in report["away"] and report["status"] == "degraded"


def is_ready(server: Server) -> bool:
    """Whether nothing is away, as far as a replica knows."""
    with Door(server) as door:
        return bool(json.loads(door.ask("GET", "/readyz?full=1").body)["status"] == "ready")


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < limit, "it has not come about"
        time.sleep(0.05)
