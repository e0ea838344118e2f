"""Where the databases of worlds are: one that has users and namespaces is copied sooner than it is filled again."""

from __future__ import annotations

import asyncio
import functools
import importlib
import pathlib
import shutil
import tempfile
from typing import Protocol

from entrepot.core.start import FirstAdministrator, prepare
from entrepot.metadata import accounts, grants, namespaces, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Database, Tx
from tests.support.clock import FrozenClock
from tests.support.postgresql import Postgres

MEMORY_FOLDER = pathlib.Path("/dev/shm")
USERS = ("admin", "alice", "bob", "carol")


def new_folder() -> str:
    """A temporary folder, in memory where the machine has such a place: syncing it is free there."""
    return tempfile.mkdtemp(prefix="entrepot-test-", dir=MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None)


def password_of(user: str) -> str:
    """The password of a user of the world."""
    return f"{user}-password"


class PlainHasher:
    """The port PasswordHasher without the cost."""

    async def hash(self, password: str) -> str:
        return f"plain:{password}"

    async def verify(self, encoded: str, password: str) -> bool:
        return encoded == f"plain:{password}"


async def open_database(url: str) -> Database:
    """Open the database behind a url, as the application does."""
    module = importlib.import_module(f"entrepot.db.{url.partition('://')[0]}")
    opened = module.open_database(url)
    database: Database = await opened if asyncio.iscoroutine(opened) else opened
    return database


class Home(Protocol):
    """Gives databases that have the users and namespaces of a world."""

    def new_database(self, folder: str) -> tuple[str, dict[str, int]]:
        """The url of a new one, whose files may lie in this folder, and the ids of the users."""

    def drop_database(self, url: str) -> None:
        """Forget one that was given."""


class SqliteHome:
    """Files in the folder of each world."""

    def new_database(self, folder: str) -> tuple[str, dict[str, int]]:
        files, ids = self._filled
        for name, content in files.items():
            (pathlib.Path(folder) / name).write_bytes(content)
        return f"sqlite://{folder}/entrepot.db", dict(ids)

    def drop_database(self, url: str) -> None:
        """It goes with its folder."""

    @functools.cached_property
    def _filled(self) -> tuple[dict[str, bytes], dict[str, int]]:
        folder = pathlib.Path(new_folder())
        try:
            ids = asyncio.run(_fill(f"sqlite://{folder}/entrepot.db"))
            return {path.name: path.read_bytes() for path in folder.iterdir()}, ids
        finally:
            shutil.rmtree(folder)


class PostgresqlHome:
    """Databases of the PostgreSQL of the test run, which copies them from a template."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def new_database(self, folder: str) -> tuple[str, dict[str, int]]:
        template, ids = self._filled
        return self._postgres.new_database(like=template), dict(ids)

    def drop_database(self, url: str) -> None:
        self._postgres.drop_database(url)

    @functools.cached_property
    def _filled(self) -> tuple[str, dict[str, int]]:
        url = self._postgres.new_database()
        return url, asyncio.run(_fill(url))


async def _fill(url: str) -> dict[str, int]:
    database, clock = await open_database(url), FrozenClock()
    try:
        await prepare(database, clock, PlainHasher(), FirstAdministrator(password_of("admin"), ""))
        return await database.transact(lambda tx: _add_users(tx, clock.now()))
    finally:
        await database.close()


async def _add_users(tx: Tx, now: int) -> dict[str, int]:
    ids = {}
    for name in USERS[1:]:
        await accounts.add_account(tx, name, f"plain:{password_of(name)}", is_admin=False, now=now)
    for name in USERS:
        account = await accounts.find_account(tx, name)
        assert account is not None
        ids[name] = account.id
    await namespaces.add_namespace(tx, "pub", ids["alice"], "public", now)
    await namespaces.add_namespace(tx, "priv", ids["alice"], "private", now)
    await grants.put_role(tx, NewGrantRow(("account", ids["carol"]), "priv", "reader"), "alice", now)
    await policy.bump_policy_version(tx)
    return ids
