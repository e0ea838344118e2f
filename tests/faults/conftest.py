"""Rounds, servers and root for the fault tests."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.machine import end
from tests.faults.soak import ENVIRONMENT
from tests.support.postgresql import Postgres
from tests.support.seaweedfs import SeaweedFs
from tests.support.server import Server

SECONDS_PER_ROUND = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fault-rounds N`: how many times each random fault is tried."""
    parser.addoption("--fault-rounds", type=int, default=1, help="how often each random fault is tried (CI: 1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """More rounds may take more time; what needs root skips loudly without it."""
    rounds = config.getoption("--fault-rounds", default=1)
    folder = pathlib.Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS_PER_ROUND * rounds))
            if item.get_closest_marker("root") and os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root for mounts: sudo make faults"))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a random fault is tried."""
    number: int = request.config.getoption("--fault-rounds", default=1)
    return number


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server on an empty folder; whatever the test did to it, none of its processes outlives the test."""
    made = Server(tmp_path / "data")
    made.start()
    yield made
    end(made)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFs]:
    """One S3 server for the whole run."""
    with SeaweedFs() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> str:
    """A kind of store."""
    found: str = request.param
    return found


@pytest.fixture
def store_url(request: pytest.FixtureRequest, store: str, tmp_path: pathlib.Path) -> str:
    """Where a fresh store of that kind is."""
    if store == "s3":
        found: str = request.getfixturevalue("seaweed").fresh_url()
        return found
    return f"file://{tmp_path}/blobs"


@pytest.fixture
def cluster(postgres: Postgres, store_url: str, tmp_path: pathlib.Path) -> Iterator[list[Server]]:
    """Three replicas on one database and one store, which collect what was freed two seconds ago."""
    environment = {
        **ENVIRONMENT,
        "ENTREPOT_DATABASE__URL": postgres.new_database(),
        "ENTREPOT_STORAGE__URL": store_url,
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(Server(tmp_path / f"replica{number}", environment=environment)) for number in range(3)
        ]
