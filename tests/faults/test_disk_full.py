"""A disk that fills up: a clear 507, nothing half-written, and back to work as soon as there is room."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.faults.machine import check, end, open_place, small_disk
from tests.faults.pusher import Answer, Content, Door, digest_of, image_of
from tests.faults.soak import wait_until
from tests.support.postgresql import Postgres
from tests.support.server import Server

pytestmark = pytest.mark.root

REPOSITORY = "faults/room"
SMALL = Content(1, 10_000).data
LARGE = Content(2, 8 << 20).data
ENOUGH = 4000


@pytest.fixture(params=["together", "blobs", "database", "blobs beside postgresql", "tables of postgresql"])
def disk(request: pytest.FixtureRequest) -> Iterator[tuple[str, pathlib.Path]]:
    """A disk of 24 MiB and what lies on it: everything, only the blobs, or only the database."""
    with open_place() as home, small_disk(home / "small", "24m") as folder:
        yield request.param, folder


@pytest.fixture
def behind(request: pytest.FixtureRequest, disk: tuple[str, pathlib.Path]) -> Iterator[dict[str, str]]:
    """The settings that put this on that disk, and PostgreSQL's log of what is written elsewhere."""
    layout, folder = disk
    blobs = {"ENTREPOT_STORAGE__URL": f"file://{folder}/blobs"}
    if layout == "tables of postgresql":
        with request.getfixturevalue("postgres").database_at(folder / "tables") as url:
            yield {"ENTREPOT_DATABASE__URL": url}
    elif layout == "blobs beside postgresql":
        yield blobs | {"ENTREPOT_DATABASE__URL": request.getfixturevalue("postgres").new_database()}
    elif layout == "database":
        yield {"ENTREPOT_DATABASE__URL": f"sqlite://{folder}/entrepot.db"}
    else:
        yield blobs if layout == "blobs" else {}


@pytest.fixture
def full(disk: tuple[str, pathlib.Path], behind: dict[str, str], tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server whose small disk holds one image."""
    layout, folder = disk
    server = Server(folder if layout == "together" else tmp_path / "data", environment=behind)
    try:
        server.start()
        with Door(server) as door:
            assert door.push(REPOSITORY, SMALL).status == 201
            assert door.put_manifest(REPOSITORY, "first", image_of(SMALL, [SMALL])).status == 201
        yield server
    finally:
        end(server)


@contextlib.contextmanager
def filled(folder: pathlib.Path, left: int) -> Iterator[None]:
    """Only `left` bytes of room on a disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        file.truncate(max(0, file.tell() - left))
    try:
        yield
    finally:
        filler.unlink()


def until_full(push: Callable[[int], Answer]) -> Answer:
    """Repeat a small push until the database has no room for its rows."""
    for number in range(ENOUGH):
        answer = push(number)
        if answer.status not in {201, 202}:
            return answer
    raise AssertionError("the disk did not fill up")


def require_full(answer: Answer) -> None:
    """The answer is a 507 of the specification's form whose message says what is full."""
    assert answer.status == 507, answer
    assert answer.error["code"] == "STORAGE_FULL"
    assert "full" in str(answer.error["message"])


def require_clean(server: Server, uploading: int = 0) -> None:
    """Nothing named is missing, and no file is left over but those of unfinished uploads."""
    done = check(server, deep=True)
    assert done.report["findings"] == []
    assert done.report["keys"]["unreferenced"] == 0, done.report
    assert done.report["keys"]["uploading"] <= uploading


@pytest.mark.parametrize("disk", ["together", "blobs", "blobs beside postgresql"], indirect=True)
def test_every_request_with_data_is_refused_and_recovers(full: Server, disk: tuple[str, pathlib.Path]) -> None:
    """PATCH, PUT and POST of a blob without room are 507, leave no file behind, pulls go on, and the same upload
    continues when there is room again.
    """
    digest = digest_of(LARGE)
    with Door(full) as door:
        location = door.start(REPOSITORY)
        assert door.append(location, LARGE[:1000]).status == 202
        with filled(disk[1], 1 << 20):
            require_full(door.append(location, LARGE[1000:]))
            require_full(door.finish(location, digest, LARGE[1000:]))
            require_full(door.push(REPOSITORY, LARGE))
            assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
            assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(SMALL)}").body == SMALL
            assert door.ask("GET", location).headers["range"] == "0-999"
        require_clean(full)
        assert door.append(location, LARGE[1000:]).status == 202
        assert door.finish(location, digest).status == 201
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").body == LARGE
    require_clean(full)


@pytest.mark.parametrize("disk", ["together", "database", "tables of postgresql"], indirect=True)
def test_no_room_for_rows_is_refused_and_recovers(full: Server, disk: tuple[str, pathlib.Path]) -> None:
    """Without room for rows, opening an upload, a blob and a manifest are 507; afterwards everything acknowledged is
    there, nothing else is, and the next push works.
    """
    manifests = [image_of(SMALL, [SMALL] * number) for number in range(2, 40)]
    with Door(full) as door, filled(disk[1], 0):
        require_full(until_full(lambda _: door.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")))
        require_full(until_full(lambda number: door.push(REPOSITORY, b"%d" % number)))
        require_full(until_full(lambda n: door.put_manifest(REPOSITORY, f"t{n}", manifests[n % len(manifests)])))
        assert door.ask("GET", f"/v2/{REPOSITORY}/manifests/first").status == 200
        assert door.ask("GET", "/readyz").status == 200
    require_clean(full)
    with Door(full) as door:
        assert door.push_chunked(REPOSITORY, LARGE).status == 201
        assert door.put_manifest(REPOSITORY, "second", image_of(SMALL, [LARGE])).status == 201


def test_a_restart_on_a_full_disk_serves_pulls(full: Server, disk: tuple[str, pathlib.Path]) -> None:
    """Killed and started again while the disk is full, the server pulls, refuses pushes, and recovers."""
    with filled(disk[1], 0):
        end(full)
        full.start()
        with Door(full) as door:
            assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(SMALL)}").body == SMALL
    with Door(full) as door:
        assert door.push_chunked(REPOSITORY, LARGE).status == 201
    require_clean(full)


def test_a_postgresql_that_ends_for_want_of_room(tmp_path: pathlib.Path) -> None:
    """Without room for its log PostgreSQL ends: clients hear 503 or 507 and nothing else, what was acknowledged is
    pulled meanwhile, and with room and PostgreSQL back the registry goes on by itself.
    """
    with (
        open_place() as home,
        small_disk(home / "small", "160m") as folder,
        Postgres(folder / "postgresql") as postgres,
        contextlib.ExitStack() as stack,
    ):
        environment = {"ENTREPOT_DATABASE__URL": postgres.new_database(), "ENTREPOT_SERVER__WORKERS": "1"}
        server = Server(tmp_path / "data", environment=environment)
        stack.callback(end, server)
        server.start()
        with Door(server) as door:
            assert door.push(REPOSITORY, SMALL).status == 201
            assert door.put_manifest(REPOSITORY, "first", image_of(SMALL, [SMALL])).status == 201
            assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(SMALL)}").status == 200
            with filled(folder, 0):
                postgres.end_its_log()
                refused = {door.push(REPOSITORY, b"%d" % number).status for number in range(20)}
                assert refused <= {503, 507}
                # Whoever asks before it is noticed is told to come again.
                wait_until(lambda: door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(SMALL)}").body == SMALL)
            postgres.start()
            wait_until(lambda: door.push(REPOSITORY, LARGE).status == 201)
            assert door.put_manifest(REPOSITORY, "second", image_of(SMALL, [LARGE])).status == 201
            assert door.ask("GET", f"/v2/{REPOSITORY}/manifests/first").body == image_of(SMALL, [SMALL])
        require_clean(server)


@pytest.mark.parametrize("disk", ["blobs"], indirect=True)
def test_the_log_says_why(full: Server, disk: tuple[str, pathlib.Path]) -> None:
    """The line of a 507 in the log says what is full."""
    with Door(full) as door, filled(disk[1], 0):
        require_full(door.push(REPOSITORY, LARGE))
    full.stop()
    lines = [line for line in full.output().splitlines() if '"status":507' in line]
    assert len(lines) == 1
    assert "full" in lines[0]
