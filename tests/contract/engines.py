"""The database engines as contract tests see them: found by module name, each test with a fresh database."""

from __future__ import annotations

import asyncio
import importlib
import pathlib
import pkgutil
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from entrepot import db, storage
from entrepot.ports.database import Row, Work
from tests.support.homes import open_database
from tests.support.postgresql import Postgres

T = TypeVar("T")


def find_adapters(package: Any, entrance: str) -> list[str]:
    """Modules of a package that have the function by which adapters are opened."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    return [name for name in names if hasattr(importlib.import_module(f"{package.__name__}.{name}"), entrance)]


ENGINES = find_adapters(db, "open_database")
# No server that speaks as Google does can be had for tests: docs/object-stores.md calls it untried.
UNTRIED = {"gs"}
STORES = [name for name in find_adapters(storage, "open_store") if name not in UNTRIED]


class Urls(Protocol):
    """Gives urls of databases."""

    def empty(self) -> str:
        """A database without any table."""

    def migrated(self) -> str:
        """A database with the tables of today and nothing in them."""

    def drop_all(self) -> None:
        """Forget those that were given."""


class SqliteUrls:
    """Files in a folder of the test."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._count = 0

    def empty(self) -> str:
        self._count += 1
        return f"sqlite://{self._folder}/{self._count}.db"

    migrated = empty

    def drop_all(self) -> None:
        pass


class PostgresqlUrls:
    """Databases of the cluster of the test run; migrated ones are copies of one."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._template = ""
        self._given: list[str] = []

    def empty(self) -> str:
        return self._give("")

    def migrated(self) -> str:
        if not self._template:
            self._template = self._postgres.new_database()
            asyncio.run(_open_and_close(self._template))
        return self._give(self._template)

    def _give(self, template: str) -> str:
        self._given.append(self._postgres.new_database(like=template))
        return self._given[-1]

    def drop_all(self) -> None:
        while self._given:
            self._postgres.drop_database(self._given.pop())


async def _open_and_close(url: str) -> None:
    await (await open_database(url)).close()


class Held:
    """An open database with a loop to use it on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = url.partition("://")[0]
        self.runner = asyncio.Runner()
        self.database = self.run(open_database(url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def transact(self, work: Work[T]) -> T:
        """One transaction."""
        return self.run(_await(self.database.transact(work)))

    def read(self, work: Work[T]) -> T:
        """One read."""
        return self.run(_await(self.database.read(work)))

    def rows(self, sql: str, *arguments: object) -> list[Row]:
        """Rows of one statement."""
        return self.read(lambda tx: tx.all(sql, *arguments))

    def execute(self, sql: str, *arguments: object) -> int:
        """One statement in a transaction."""
        return self.transact(lambda tx: tx.execute(sql, *arguments))

    def together(self, works: list[Work[Any]]) -> list[Any]:
        """Many transactions at once; what each answered or raised."""

        async def gather() -> list[Any]:
            return await asyncio.gather(*(self.database.transact(work) for work in works), return_exceptions=True)

        return self.run(gather())

    def close(self) -> None:
        """Close the database and the loop."""
        self.run(self.database.close())
        self.runner.close()


async def _await(answer: Awaitable[T]) -> T:
    return await answer


Open = Callable[[str], Held]
