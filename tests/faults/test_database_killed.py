"""PostgreSQL, or a part of it, is killed under clients that push and pull: what was acknowledged is there."""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.machine import check, end
from tests.faults.pusher import list_losses
from tests.faults.replicas import customers
from tests.support.postgresql import Postgres
from tests.support.server import Server

CUSTOMERS = 6
KILLS = 3
IMAGES = 6
AWAY_SECONDS = 2


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of databases of the test's own."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def server(tmp_path: pathlib.Path, postgres: Postgres) -> Iterator[Server]:
    """A server over it."""
    server = Server(tmp_path / "data", environment={"ENTREPOT_DATABASE__URL": postgres.new_database()})
    server.start()
    yield server
    end(server)


def kill_backend(postgres: Postgres, url: str) -> None:
    """One connection's process dies: PostgreSQL cuts all the others, recovers, and goes on."""
    postgres.kill_one(url)


def cut_connections(postgres: Postgres, url: str) -> None:
    """An administrator ends every connection."""
    postgres.query(
        postgres.url("postgres"),
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{url.rpartition('/')[2]}'",
    )


def kill_main(postgres: Postgres, url: str) -> None:
    """The process that starts the others dies, and is started again a moment later."""
    del url
    postgres.kill_main()
    time.sleep(random.uniform(0, AWAY_SECONDS))
    postgres.start()


def kill_all(postgres: Postgres, url: str) -> None:
    """All of PostgreSQL dies at once, and is started again a moment later."""
    del url
    postgres.kill()
    time.sleep(random.uniform(0, AWAY_SECONDS))
    postgres.start()


@pytest.mark.parametrize("harm", [kill_backend, cut_connections, kill_main, kill_all])
def test_a_killed_postgresql_loses_nothing(
    postgres: Postgres, server: Server, rounds: int, harm: Callable[[Postgres, str], None]
) -> None:
    """Clients get lost connections and 502, 503 or 504 at most, begin again and get through; everything that was
    acknowledged is there byte for byte, and names and bytes agree.
    """
    with customers(server, CUSTOMERS) as account:
        for _ in range(KILLS * rounds):
            account.wait_for_more(IMAGES)
            time.sleep(random.uniform(0, 0.3))
            harm(postgres, server.environment["ENTREPOT_DATABASE__URL"])
        account.wait_for_more(IMAGES)
    print(
        f"{KILLS * rounds} times: {len(account.ledger.manifests)} images pushed, {len(account.disturbed)} begun again"
    )
    assert account.wrong == []
    assert list_losses(server, account.ledger) == []
    checked = check(server, deep=True)
    assert (checked.code, checked.kinds) == (0, []), checked.report
