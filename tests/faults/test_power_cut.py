"""Loss of power, which `kill -9` cannot show: the page cache survives a kill, not a cut.

The data lies on ext4 in a file behind a loop device. What was not synced is in the page cache of the mounted file
system and not in that file, so a copy of the file is what a disk would hold after a cut. While the copy is made the
server stands still (SIGSTOP), since a copy that takes a while is a state that no disk was ever in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.faults.machine import build_shim, check, end, loop_disk, make_image, open_place, run, stopped
from tests.faults.pusher import Crowd, Ledger, finish_chunks, list_losses
from tests.support.postgresql import Postgres
from tests.support.server import Server

CLIENTS = 8
COPIES = {"sqlite": 5, "postgresql": 2}
PUSHES = 40
IMAGE_BYTES = 1 << 30
LARGEST_LAYER = 16384

pytestmark = pytest.mark.root


@dataclasses.dataclass(frozen=True)
class Site:
    """What runs on a disk: the server, and PostgreSQL where it has one."""

    server: Server
    postgres: Postgres | None

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nobody writes."""
        with stopped(self.server), self.postgres.standing_still() if self.postgres else contextlib.nullcontext():
            yield


@contextlib.contextmanager
def booted(folder: pathlib.Path, database: str, environment: dict[str, str], *, is_durable: bool) -> Iterator[Site]:
    """Both started on a disk, as it is; PostgreSQL syncs nothing unless it is to be durable."""
    with contextlib.ExitStack() as stack:
        postgres = None
        if database == "postgresql":
            postgres = stack.enter_context(Postgres(folder / "postgresql", is_durable=is_durable))
            environment = environment | {"ENTREPOT_DATABASE__URL": postgres.url("postgres")}
        server = Server(folder / "data", environment=environment)
        stack.callback(end, server)
        server.start()
        yield Site(server, postgres)


def cut_power(
    copies: int, database: str, environment: dict[str, str] | None = None, *, is_durable: bool = True
) -> Iterator[list[str]]:
    """Push with 8 clients and cut the power `copies` times at random moments; what was lost at each."""
    with open_place() as home:
        image, copy = home / "disk.img", home / "copy.img"
        make_image(image, IMAGE_BYTES)
        with (
            loop_disk(image, home / "disk") as folder,
            booted(folder, database, environment or {}, is_durable=is_durable) as site,
        ):
            ledger = Ledger()
            with Crowd(site.server, ledger, CLIENTS, largest=LARGEST_LAYER) as crowd:
                for _ in range(copies):
                    ledger.wait_for(PUSHES)
                    time.sleep(random.uniform(0, 0.5))
                    crowd.pause()
                    with site.standing_still():
                        known = ledger.copy()
                        run("cp", "--sparse=always", str(image), str(copy))
                    yield _serve_copy(copy, home / "copy", known, database)
                    crowd.resume()


def _serve_copy(copy: pathlib.Path, place: pathlib.Path, known: Ledger, database: str) -> list[str]:
    with loop_disk(copy, place) as folder, contextlib.ExitStack() as stack:
        try:
            site = stack.enter_context(booted(folder, database, {}, is_durable=True))
        except RuntimeError as error:
            return [str(error)]
        lost = list_losses(site.server, known)
        # A 202 is no promise beyond a cut; but whatever a PUT now answers 201 to is whole.
        finish_chunks(site.server, known)
        return lost + [str(finding) for finding in check(site.server, deep=True).report["findings"]]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_was_acknowledged_survives_loss_of_power(database: str, rounds: int) -> None:
    """Every push acknowledged before a cut is there whole after it, by tag and by digest, and nothing dangles."""
    for _ in range(rounds):
        for lost in cut_power(COPIES[database], database):
            assert lost == []


@pytest.mark.parametrize("part", ["/blobs/", "entrepot.db"])
def test_the_cut_shows_a_missing_sync(tmp_path: pathlib.Path, part: str, rounds: int) -> None:
    """With fsync doing nothing for the blobs, or for the database, acknowledged pushes are lost: the test can fail."""
    environment = {"LD_PRELOAD": str(build_shim(tmp_path)), "FAULT_NO_SYNC": part}
    assert any(cut_power(rounds, "sqlite", environment))


def test_the_cut_shows_a_postgresql_that_does_not_sync(rounds: int) -> None:
    """With its fsync off, acknowledged pushes are lost: the test can fail."""
    assert any(cut_power(rounds, "postgresql", is_durable=False))
