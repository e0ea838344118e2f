"""Rounds, servers and root for the fault tests."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.machine import end
from tests.faults.soak import ENVIRONMENT
from tests.support.engines import Engines
from tests.support.postgresql import Postgres
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
def engines(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """SQLite and a folder, or what the test is marked to run over (`behind.over`)."""
    database, store = getattr(request, "param", "sqlite-file").split("-")
    engines = Engines(database, store, request.getfixturevalue)
    yield engines
    engines.forget()


@pytest.fixture
def make_server(tmp_path: pathlib.Path, engines: Engines) -> Iterator[Callable[..., Server]]:
    """Makes and starts a server with settings, written as `limits__blob_bytes=...`, on an empty folder; whatever the
    test did to it, none of its processes outlives the test.
    """
    made: list[Server] = []

    def make(**settings: object) -> Server:
        environment = {f"ENTREPOT_{name.upper()}": str(value) for name, value in settings.items()}
        server = Server(tmp_path / "data", environment=engines.settings() | environment)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        end(server)


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A server with the settings that it has by itself."""
    return make_server()


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
