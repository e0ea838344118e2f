"""Which database and which store a server of the tests is over: by name, each time fresh and empty.

`pytest --database postgresql --store s3` has the suites of `tests/conformance` and `tests/clients` run over these. The
database is also that of every `World`, and so of `tests/properties`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.postgresql import Postgres
from tests.support.seaweedfs import SeaweedFs

Find = Callable[[str], Any]


def add_options(parser: pytest.Parser) -> None:
    """`--database` and `--store`."""
    group = parser.getgroup("engines", "what servers of tests/conformance and tests/clients are over")
    words = "over which database; of tests/properties too"
    group.addoption("--database", choices=("sqlite", "postgresql"), default="sqlite", help=words)
    group.addoption("--store", choices=("file", "s3"), default="file", help="over which store")


class Engines:
    """A kind of database and a kind of store; `find` gives the fixtures `postgres` and `seaweed` when they are needed.

    SQLite and a folder are what a server makes by itself, in its data folder.
    """

    def __init__(self, database: str, store: str, find: Find) -> None:
        self.database = database
        self.store = store
        self._find = find
        self._made: list[str] = []

    def forget(self) -> None:
        """Drop the databases that it gave out, cutting whoever still uses them."""
        for url in self._made:
            self._find("postgres").drop_database(url)
        self._made.clear()

    @property
    def is_redirecting(self) -> bool:
        """Whether clients may fetch blobs from the store by themselves."""
        return self.store == "s3"

    def settings(self) -> dict[str, str]:
        """Settings of a server over a new, empty database and a new, empty place of the store."""
        return self._database() | ({"ENTREPOT_STORAGE__URL": self._seaweed.fresh_url()} if self.store == "s3" else {})

    def redirecting(self, *, secure: bool = False) -> dict[str, str]:
        """The same; and where the store can, clients fetch large blobs from it by themselves, over TLS if so asked."""
        if not self.is_redirecting:
            return self._database()
        url = self._seaweed.public_url(secure=secure)
        return self._database() | {"ENTREPOT_STORAGE__URL": url, "ENTREPOT_STORAGE__REDIRECT": "always"}

    def _database(self) -> dict[str, str]:
        if self.database == "sqlite":
            return {}
        postgres: Postgres = self._find("postgres")
        self._made.append(postgres.new_database())
        return {"ENTREPOT_DATABASE__URL": self._made[-1]}

    @property
    def _seaweed(self) -> SeaweedFs:
        seaweed: SeaweedFs = self._find("seaweed")
        return seaweed
