"""What every test may ask for: a registry of its own in memory, and clients of it."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from entrepot.app import build
from entrepot.settings import Settings, load
from tests.support.asgi import Client, Lifespan
from tests.support.engines import add_options
from tests.support.homes import PostgresqlHome
from tests.support.postgresql import Postgres
from tests.support.seaweedfs import SeaweedFs
from tests.support.world import World, password_of

# `--hypothesis-profile heavy` looks longer than anybody waits for, `brief` is for a database that is a server;
# no profile measures time.
for name, examples in (("brief", 50), ("suite", 200), ("heavy", 10_000)):
    hypothesis_settings.register_profile(
        name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
hypothesis_settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Over which database and which store suites run that can run over any."""
    add_options(parser)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run; tests that stop it start one of their own."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFs]:
    """One S3 server for the whole run."""
    with SeaweedFs() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def home_of_worlds(request: pytest.FixtureRequest) -> None:
    """Every world of the run is over the database that `--database` names."""
    if request.config.getoption("--database") == "postgresql":
        World.home = PostgresqlHome(request.getfixturevalue("postgres"))


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """No test leaves loggers behind that write to a place which is closed after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def world() -> Iterator[World]:
    """A registry behind its OCI face, over memory and a database, with users, namespaces and a frozen clock."""
    with World() as world:
        yield world


@pytest.fixture
def settings(tmp_path: pathlib.Path) -> Settings:
    """Settings of a server in memory."""
    environment = {"ENTREPOT_STORAGE__URL": "memory://", "ENTREPOT_ADMIN_PASSWORD": password_of("admin")}
    return load(None, tmp_path, None, environment)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client of the whole application, started as a server starts it."""
    application = build(settings)
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        assert runner.run(lifespan.start()) == {"type": "lifespan.startup.complete"}
        yield Client(application, runner)
        assert runner.run(lifespan.stop()) == {"type": "lifespan.shutdown.complete"}
