"""The collector and its workers, killed in mid-work."""

from __future__ import annotations

import os
import pathlib
import signal
import time

from tests.faults.behind import over
from tests.faults.machine import check
from tests.faults.pusher import Content, Door
from tests.faults.soak import ENVIRONMENT, Built, list_jobs, list_paths, wait_until
from tests.support.engines import Engines
from tests.support.postgresql import Postgres
from tests.support.server import Server

PINS = 30_000
TAKE_OVER_SECONDS = 90


@over("sqlite-file", "postgresql-s3")
def test_a_blob_that_is_pushed_again_before_its_bytes_go(engines: Engines, tmp_path: pathlib.Path) -> None:
    """Killed between the rows and the bytes of a collected blob: the late delete spares the same, pushed again."""
    environment = ENVIRONMENT | engines.settings() | {"ENTREPOT_KEEP__DISCARD_SECONDS": "20"}
    built = Built("soak/again", Content(1, 50_000), Content(2, 20_000), Content(3, 300))
    server = Server(tmp_path / "data", environment=environment)
    server.start()
    try:
        _push(server, built)
        with Door(server) as door:
            assert door.ask("DELETE", f"/v2/{built.repository}/manifests/v1").status == 202
            wait_until(lambda: _collect(door) and _is_forgotten(door, built))
        assert list_jobs(server, "?kind=store.discard&state=pending") != []
        server.kill_group()
        server.start()
        _push(server, built)
        wait_until(lambda: not list_jobs(server, "?kind=store.discard"))
        with Door(server) as door:
            for path, wanted in list_paths(built, "v1"):
                answer = door.ask("GET", path)
                assert (answer.status, answer.body) == (200, wanted)
        assert check(server, deep=True).code == 0
    finally:
        server.stop()


def test_a_killed_worker_is_replaced(postgres: Postgres, tmp_path: pathlib.Path) -> None:
    """Of two workers on one database, the one that collects is killed: the other one takes its job and goes on."""
    url = postgres.new_database()
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_STORAGE__URL": f"file://{tmp_path}/blobs"}
    server = Server(tmp_path / "one", environment=environment)
    other = Server(tmp_path / "two", environment=environment)
    with server, other:
        # Ended pins of what is not there: work for a while, and nothing to free.
        postgres.query(
            url,
            "insert into pin (repository, digest, reason, holder, until) "
            f"select 1, 'sha256:' || md5(n::text) || md5(n::text), 'review', '', n from generate_series(1, {PINS}) n",
        )
        with Door(server) as door:
            assert _collect(door)
        running = "?kind=content.collect&state=running"
        wait_until(lambda: bool(list_jobs(server, running)))
        (job,) = list_jobs(server, running)
        os.kill(int(str(job["worker"]).split(":")[1]), signal.SIGKILL)
        assert postgres.query(url, "select count(*) > 0 from pin where reason = 'review'") == "t"

        def is_taken_over() -> bool:
            found = list_jobs(server, running)
            return bool(found) and found[0]["worker"] != job["worker"]

        wait_until(is_taken_over, TAKE_OVER_SECONDS)
        (taken,) = list_jobs(server, running)
        assert (taken["id"], taken["attempts"]) == (job["id"], 2)
        left = int(postgres.query(url, "select count(*) from pin where reason = 'review'"))
        wait_until(lambda: int(postgres.query(url, "select count(*) from pin where reason = 'review'")) < left)


def _push(server: Server, built: Built) -> None:
    with Door(server) as door:
        for content in built.contents:
            assert door.push_chunked(built.repository, content.data).status == 201
        assert door.put_manifest(built.repository, "v1", built.raw).status == 201


def _collect(door: Door) -> bool:
    time.sleep(0.2)
    return door.ask("POST", "/api/v1/collection", b"{}", {"Content-Type": "application/json"}).status == 202


def _is_forgotten(door: Door, built: Built) -> bool:
    paths = [f"/v2/{built.repository}/blobs/{content.digest}" for content in built.contents]
    # HEAD would be a promise to keep them.
    return all(door.ask("GET", path).status == 404 for path in paths)
