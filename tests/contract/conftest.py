"""Fixtures of the contract suites: each engine and each store, found by name."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.contract.engines import ENGINES, STORES, Held, PostgresqlUrls, SqliteUrls, Urls
from tests.support.azurite import Azurite
from tests.support.postgresql import Postgres
from tests.support.seaweedfs import SeaweedFs

Bucket = SeaweedFs | Azurite
# The fixture of each kind of object store.
BUCKETS = {"s3": "seaweed", "azure": "azurite"}


@pytest.fixture(scope="session")
def postgresql_template(postgres: Postgres) -> PostgresqlUrls:
    """Databases of that PostgreSQL, for the whole run."""
    return PostgresqlUrls(postgres)


@pytest.fixture
def postgresql_urls(postgresql_template: PostgresqlUrls) -> Iterator[PostgresqlUrls]:
    """The same for one test, after which its databases are dropped."""
    yield postgresql_template
    postgresql_template.drop_all()


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Urls:
    """Fresh databases of one engine."""
    if request.param == "sqlite":
        return SqliteUrls(tmp_path)
    if request.param == "postgresql":
        found: PostgresqlUrls = request.getfixturevalue("postgresql_urls")
        return found
    return pytest.fail(f"tests/contract/conftest.py does not know where a {request.param} database is")


@pytest.fixture
def open_held() -> Iterator[Callable[[str], Held]]:
    """Opens databases, and closes them after the test."""
    opened: list[Held] = []

    def open_one(url: str) -> Held:
        opened.append(Held(url))
        return opened[-1]

    yield open_one
    for held in opened:
        held.close()


@pytest.fixture
def postgresql(postgresql_urls: PostgresqlUrls, open_held: Callable[[str], Held]) -> Held:
    """A fresh database of PostgreSQL alone: only there transactions overlap."""
    return open_held(postgresql_urls.migrated())


@pytest.fixture
def held(urls: Urls, open_held: Callable[[str], Held]) -> Held:
    """An open, migrated, empty database."""
    return open_held(urls.migrated())


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One Azure Blob Storage for the whole run."""
    with Azurite() as server:
        yield server


@pytest.fixture(params=sorted(BUCKETS))
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """A server of objects of each kind."""
    found: Bucket = request.getfixturevalue(BUCKETS[request.param])
    return found


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """Where a fresh store of one kind is."""
    if request.param in BUCKETS:
        bucket: Bucket = request.getfixturevalue(BUCKETS[request.param])
        return bucket.fresh_url()
    known = {"file": f"file://{tmp_path}/blobs", "memory": "memory://"}
    if request.param not in known:
        pytest.fail(f"tests/contract/conftest.py does not know where a {request.param} store is")
    return known[request.param]
