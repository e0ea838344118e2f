"""What lies behind a server, past it: the rows of its database and the bytes of its store, of any kind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
import asyncpg
import obstore
import pytest
from obstore.store import LocalStore, S3Store

from tests.support.server import Server

Rows = list[tuple[Any, ...]]
KINDS = ("sqlite-file", "postgresql-file", "postgresql-s3")


def over(*kinds: str) -> pytest.MarkDecorator:
    """Run a test once over each of these databases and stores; without it the server is on SQLite and a folder."""
    return pytest.mark.parametrize("engines", kinds, indirect=True)


everywhere = over(*KINDS)


@contextlib.contextmanager
def open_rows(server: Server) -> Iterator[Callable[[str], Rows]]:
    """A connection of our own to the database of a server: what each statement answers."""
    url = server.environment.get("ENTREPOT_DATABASE__URL", "")
    if is_postgresql(server):
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(url))
            try:
                yield lambda sql: [tuple(row) for row in runner.run(connection.fetch(sql))]
            finally:
                runner.run(connection.close())
        return
    path = url.removeprefix("sqlite://") or str(server.data / "entrepot.db")
    with contextlib.closing(apsw.Connection(path)) as file:
        file.set_busy_timeout(5000)
        yield lambda sql: list(file.execute(sql))


def rows(server: Server, sql: str) -> Rows:
    """What one statement answers."""
    with open_rows(server) as ask:
        return ask(sql)


def is_postgresql(server: Server) -> bool:
    """Whether its database is PostgreSQL."""
    return server.environment.get("ENTREPOT_DATABASE__URL", "").startswith("postgresql:")


class Bytes:
    """The store of a server, key by key, as nobody but an accident touches it."""

    def __init__(self, server: Server) -> None:
        url = urlsplit(server.environment.get("ENTREPOT_STORAGE__URL", f"file://{server.data}/blobs"))
        self._store: LocalStore | S3Store
        if url.scheme == "file":
            self._store = LocalStore(url.path)
        else:
            endpoint = parse_qs(url.query)["endpoint"][0]
            self._store = S3Store(
                url.netloc, prefix=url.path.strip("/"), endpoint=endpoint, client_options={"allow_http": True}
            )

    def list_keys(self) -> list[str]:
        """Every key."""
        return [entry["path"] for batch in obstore.list(self._store) for entry in batch]

    def read(self, key: str) -> bytes:
        """What lies under a key."""
        return bytes(obstore.get(self._store, key).bytes())

    def write(self, key: str, data: bytes) -> None:
        """Put something else there."""
        obstore.put(self._store, key, data)

    def delete(self, key: str) -> None:
        """Take it away."""
        obstore.delete(self._store, key)

    def flip(self, key: str) -> None:
        """Turn one bit over in the middle of it."""
        data = bytearray(self.read(key))
        data[len(data) // 2] ^= 1
        self.write(key, bytes(data))


def key_of(server: Server, digest: str) -> str:
    """The key under which a blob lies."""
    ((key,),) = rows(server, f"select key from location where blob = '{digest}'")
    return str(key)
