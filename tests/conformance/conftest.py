"""The registry under test, in process or running, and a repository of its own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from entrepot.app import build
from entrepot.settings import load
from tests.support.engines import Engines

from . import data
from .mapping import HERE, Run
from .transport import InProcess, OverHTTP, Transport
from .verbs import Repository, push_all
from .wire import Client, Credentials

RUN_ID = os.urandom(4).hex()
PASSWORD = "correct-horse-battery"
RUN = pytest.StashKey[Run]()
LAST = HERE / "test_mapping.py"

Stored = tuple[Repository, data.DataSet, set[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that point the suite at a running server; without them it runs in process."""
    group = parser.getgroup("conformance")
    group.addoption("--registry", help="URL of a running registry; in process when not given")
    group.addoption("--username", help="a user that may push anywhere and delete")
    group.addoption("--password", help="the user's password")
    group.addoption("--auth", choices=("bearer", "basic"), default="bearer", help="how to authenticate")
    group.addoption("--keep-alive", action="store_true", help="keep one connection instead of one per request")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the record of this run."""
    config.stash[RUN] = Run()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that read the record last."""
    items.sort(key=lambda item: item.path == LAST)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember what was selected, to tell a full run from a part of one."""
    ours = [(item.path.name, item.name) for item in session.items if item.path.parent == HERE]
    session.config.stash[RUN].selected = ours


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note that something was left out."""
    items[0].config.stash[RUN].is_partial = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write the running test's name on the requests it makes."""
    item.config.stash[RUN].begin(f"{item.path.name}::{item.name}")
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests failed: what they should have sent is not asked of them."""
    report = yield
    if report.failed:
        item.config.stash[RUN].failed.add(f"{item.path.name}::{item.name}")
    return report


def option(config: pytest.Config, name: str, default: object = None) -> Any:
    """An option of ours, or the default where this folder is only a part of what is run and its options are unknown."""
    return config.getoption(name, default)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    """The record of this run."""
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def transport(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, behind: dict[str, str]
) -> Iterator[Transport]:
    """The way to the registry: over HTTP when `--registry` names one, else an application in this process."""
    url = option(pytestconfig, "--registry")
    carrier: Transport
    if url:
        carrier = OverHTTP(url, keep_alive=option(pytestconfig, "--keep-alive"))
    else:
        environment = {"ENTREPOT_ADMIN_PASSWORD": PASSWORD, "ENTREPOT_LOG__ACCESS": "false"} | behind
        settings = load(config=None, data=tmp_path_factory.mktemp("data"), listen=None, environment=environment)
        carrier = InProcess(build(settings))
    yield carrier
    carrier.close()


@pytest.fixture(scope="session")
def behind(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of the database and the store that the options name."""
    database, store = request.config.getoption("--database"), request.config.getoption("--store")
    return Engines(database, store, request.getfixturevalue).settings()


@pytest.fixture(scope="session")
def client(pytestconfig: pytest.Config, transport: Transport, run: Run) -> Client:
    """A client with the credentials of the options, or of the administrator in process."""
    username, password = option(pytestconfig, "--username"), option(pytestconfig, "--password")
    if not option(pytestconfig, "--registry"):
        username, password = "admin", PASSWORD
    if not username:
        return Client(transport, run.recorder)
    mode = option(pytestconfig, "--auth", "bearer")
    return Client(transport, run.recorder, Credentials(username, password or ""), mode)


@pytest.fixture(scope="session")
def new_repository(client: Client) -> Callable[[], Repository]:
    """Names a repository that nothing has been pushed to."""
    numbers = itertools.count(1)
    return lambda: Repository(client, f"conformance/r{RUN_ID}-{next(numbers)}")


@pytest.fixture
def repository(new_repository: Callable[[], Repository]) -> Repository:
    """A repository of the test's own, still empty."""
    return new_repository()


@pytest.fixture(scope="session")
def stored(new_repository: Callable[[], Repository]) -> Callable[[str, str], Stored]:
    """Answers a repository that holds a data set, the set, and what the registry refused of it; for reading only."""
    known: dict[tuple[str, str], Stored] = {}

    def get(name: str, algorithm: str) -> Stored:
        """Push a data set when it is first asked for."""
        if (name, algorithm) not in known:
            made, place = data.make(name, algorithm), new_repository()
            known[name, algorithm] = (place, made, push_all(place, made))
        return known[name, algorithm]

    return get
