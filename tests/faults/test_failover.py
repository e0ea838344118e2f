"""The primary of the database is lost under pushes, and its synchronous stand-by takes over."""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.faults.machine import check, end
from tests.faults.pusher import Crowd, Ledger, list_losses
from tests.support.postgresql import Postgres
from tests.support.server import Server

PUSHERS = 16
FAIL_OVERS = 2
PUSHES = 20


@pytest.fixture
def pair() -> Iterator[list[Postgres]]:
    """A primary and, behind it, its synchronous stand-by."""
    with Postgres() as primary, Postgres() as stand_by:
        yield [primary, stand_by]


def test_a_lost_primary_loses_nothing_acknowledged(tmp_path: pathlib.Path, pair: list[Postgres], rounds: int) -> None:
    """Each time the primary is killed under 16 pushers and the stand-by promoted, pushes go on by themselves; in the
    end everything that was acknowledged is there, byte for byte.
    """
    primary, stand_by = pair
    name = primary.new_database().rpartition("/")[2]
    stand_by.follow(primary)
    places = ",".join(f"127.0.0.1:{each.port}" for each in pair)
    url = f"postgresql://postgres@{places}/{name}?target_session_attrs=read-write"
    server = Server(tmp_path / "data", environment={"ENTREPOT_DATABASE__URL": url})
    server.start()
    try:
        ledger = Ledger()
        with Crowd(server, ledger, PUSHERS, largest=4096):
            for _ in range(FAIL_OVERS * rounds):
                ledger.wait_for(PUSHES)
                time.sleep(random.uniform(0, 0.5))
                primary.kill()
                stand_by.promote()
                ledger.wait_for(PUSHES)
                primary, stand_by = stand_by, primary
                stand_by.follow(primary)
        print(f"{FAIL_OVERS * rounds} fail-overs, {len(ledger.manifests)} images and {len(ledger.blobs)} blobs pushed")
        assert list_losses(server, ledger) == []
        assert check(server).report["findings"] == []
    finally:
        end(server)
