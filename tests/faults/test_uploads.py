"""Uploads that break off, race, or lie on bytes that a cut or a failed sync may have lost."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.faults.behind import Bytes, everywhere, over
from tests.faults.machine import build_shim, check, end
from tests.faults.pusher import Answer, Content, Door, abandon, digest_of, image_of
from tests.support.engines import Engines
from tests.support.server import Server

REPOSITORY = "faults/uploads"
DATA = Content(3, 3 << 20).data
ROUNDS = 10
LIMIT_SECONDS = 30


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that the server does on its own time."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.02)


def at_once(works: list[Callable[[], Answer]]) -> list[Answer]:
    """Do each in a thread of its own, all let go together."""
    answers: list[Answer] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Answer]) -> None:
        barrier.wait()
        answers.append(work())

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@everywhere
def test_a_client_that_goes_leaves_nothing(server: Server, rounds: int) -> None:
    """A client gone in the middle of PATCH, PUT or POST leaves no bytes, no blob, and its upload where it was."""
    digest = digest_of(DATA)
    with Door(server) as door:
        location = door.start(REPOSITORY)
        assert door.append(location, DATA[:1000]).status == 202
        for part in [*range(1, len(DATA) - 1000, len(DATA) // ROUNDS)] * rounds:
            abandon(server, "PATCH", location, DATA[1000 : 1000 + part], len(DATA) - 1000)
            abandon(server, "PUT", f"{location}?digest={digest}", DATA[1000 : 1000 + part], len(DATA) - 1000)
            abandon(server, "POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", DATA[:part], len(DATA))
        wait_until(lambda: len(Bytes(server).list_keys()) == 1)
        assert door.ask("GET", location).headers["range"] == "0-999"
        assert door.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
        assert door.append(location, DATA[1000:]).status == 202
        assert door.finish(location, digest).status == 201
    assert check(server, deep=True).code == 0


@everywhere
def test_same_bytes_at_once_are_stored_once(server: Server) -> None:
    """Eight pushes of the same bytes at the same time, by all ways, are all 201, and one object is left."""
    with Door(server) as door:
        assert door.push(REPOSITORY, b"the repository is there").status == 201

    def push(number: int) -> Answer:
        with Door(server) as door:
            push_it = door.push if number % 2 else door.push_chunked
            return push_it(f"faults/writer{number % 4}", DATA)

    answers = at_once([partial(push, number) for number in range(8)])
    assert {answer.status for answer in answers} == {201}
    report = check(server, deep=True).report
    assert (report["blobs"], report["findings"]) == (2, [])
    # The others wait for the job that deletes them, in case a server was just handed their path.
    assert report["keys"]["unreferenced"] == 0


@over("sqlite-file", "postgresql-file")
def test_two_writers_to_one_tag(server: Server, rounds: int) -> None:
    """Writers that saw the tag at the same place: exactly one moves it, and the others hear that they lost; without
    a condition all are accepted, and the tag is at one of them.
    """
    raws = [image_of(DATA, [DATA] * number) for number in range(1, 9)]
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
        at = door.put_manifest(REPOSITORY, "race", raws[0]).headers["docker-content-digest"]

    def put(raw: bytes, condition: dict[str, str]) -> Answer:
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", **condition}
        with Door(server) as door:
            return door.ask("PUT", f"/v2/{REPOSITORY}/manifests/race", raw, headers)

    for _ in range(ROUNDS * rounds):
        movers = [raw for raw in raws if digest_of(raw) != at]
        answers = at_once([partial(put, raw, {"If-Match": f'"{at}"'}) for raw in movers])
        assert sorted(answer.status for answer in answers) == [201] + [412] * (len(movers) - 1)
        with Door(server) as door:
            at = door.ask("HEAD", f"/v2/{REPOSITORY}/manifests/race").headers["docker-content-digest"]
        assert [a.headers["docker-content-digest"] for a in answers if a.status == 201] == [at]
    answers = at_once([partial(put, raw, {}) for raw in raws])
    assert {answer.status for answer in answers} == {201}
    assert check(server).code == 0


@over("sqlite-file", "postgresql-file")
def test_unfinished_bytes_are_proved_after_a_restart(server: Server) -> None:
    """Bytes that were acknowledged with 202 and then lost (as in a cut, where a file keeps its length and reads as
    zeros) never become a blob; the same upload with sound bytes does.
    """
    with Door(server) as door:
        lost, sound = door.start(REPOSITORY), door.start(REPOSITORY)
        for location in (lost, sound):
            assert door.append(location, DATA).status == 202
    end(server)
    upload = lost.rpartition("/")[2]
    store = Bytes(server)
    (key,) = [key for key in store.list_keys() if key.rpartition("/")[2].startswith(upload)]
    store.write(key, bytes(len(DATA)))
    server.start()
    with Door(server) as door:
        assert door.finish(lost, digest_of(DATA)).status == 400
        assert door.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").status == 404
        assert door.finish(sound, digest_of(DATA)).status == 201
    assert check(server, deep=True).code == 0


@over("sqlite-file", "postgresql-file")
def test_a_failed_sync_is_never_taken_back(tmp_path: pathlib.Path, engines: Engines) -> None:
    """When fsync fails, the push is refused, and no retry may finish that upload: the kernel has forgotten that the
    bytes are not on the disk. A new upload works.
    """
    flag = tmp_path / "broken"
    environment = engines.settings() | {"LD_PRELOAD": str(build_shim(tmp_path)), "FAULT_SYNC_FAILS": str(flag)}
    digest = digest_of(DATA)
    with Server(tmp_path / "data", environment=environment) as server, Door(server) as door:
        location = door.start(REPOSITORY)
        assert door.append(location, DATA).status == 202
        flag.touch()
        assert door.finish(location, digest).status == 503
        assert door.push(REPOSITORY, DATA).status == 503
        flag.unlink()
        assert door.finish(location, digest).status == 404
        assert door.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
        assert door.push_chunked(REPOSITORY, DATA).status == 201
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").body == DATA
        assert check(server, deep=True).report["findings"] == []
