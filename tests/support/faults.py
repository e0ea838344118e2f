"""Ports that fail on demand, and the promises that must hold whatever failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import StorageFull, Unavailable
from entrepot.domain.manifest import parse_manifest
from entrepot.ports.database import Database, Work
from entrepot.ports.store import BlobStore, Written
from tests.support.world import World

T = TypeVar("T")
Mode = Literal["before", "after", "full", "cancelled"]


class Saboteur:
    """Counts the calls that change something, and lets the one with the number `at` fail."""

    def __init__(self, mode: Mode = "before", at: int = 0) -> None:
        self.mode = mode
        self.at = at
        self.calls: list[str] = []

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run one call, unless its turn to fail has come; `after` and `cancelled` fail once it has had its effect."""
        self.calls.append(name)
        if len(self.calls) != self.at:
            return await work()
        if self.mode == "before":
            raise Unavailable("out of reach")
        if self.mode == "full":
            raise StorageFull("no room")
        await work()
        if self.mode == "cancelled":
            raise asyncio.CancelledError
        raise Unavailable("the connection was lost before the answer came")

    @property
    def is_done(self) -> bool:
        """Whether the scenario ended before its turn came: every call has failed once."""
        return self.at > len(self.calls)


class FaultyDatabase:
    """The port Database with a saboteur in its transactions."""

    def __init__(self, database: Database, saboteur: Saboteur) -> None:
        self._database = database
        self._saboteur = saboteur

    def read(self, work: Work[T]) -> Awaitable[T]:
        return self._database.read(work)

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        return self._saboteur.call("transact", lambda: self._database.transact(work, **how))

    async def close(self) -> None:
        await self._database.close()


class AwayDatabase(FaultyDatabase):
    """A database that can be switched off."""

    is_away = False

    def __init__(self, database: Database) -> None:
        super().__init__(database, Saboteur())

    def read(self, work: Work[T]) -> Awaitable[T]:
        if self.is_away:
            raise Unavailable("the database cannot be reached")
        return super().read(work)

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        if self.is_away:
            raise Unavailable("the database cannot be reached")
        return super().transact(work, **how)


class FaultyStore:
    """The port BlobStore with a saboteur in everything that writes or deletes."""

    def __init__(self, store: BlobStore, saboteur: Saboteur) -> None:
        self._store = store
        self._saboteur = saboteur

    async def write(self, prefix: str, chunks: AsyncIterator[bytes], algorithm: str) -> Written:
        return await self._saboteur.call("write", lambda: self._store.write(prefix, chunks, algorithm))

    async def settle(self, keys: Sequence[str]) -> None:
        await self._saboteur.call("settle", lambda: self._store.settle(keys))

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        return await self._saboteur.call("join", lambda: self._store.join(prefix, keys, algorithm))

    def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        return self._store.read(key, start, stop)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._saboteur.call("delete", lambda: self._store.delete(keys))

    async def close(self) -> None:
        await self._store.close()


def require_whole(world: World) -> None:
    """No name dangles: tags lead to manifests, these to what they need, blobs and uploads to their bytes."""
    live = {tuple(row) for row in world.rows("select repository, digest, kind from member where deleted_at is null")}
    for repository, tag, digest in world.rows("select repository, name, digest from tag"):
        assert (repository, digest, "manifest") in live, f"the tag {tag} points at nothing"
    raws: dict[str, bytes] = dict(world.rows("select digest, raw from manifest"))
    for repository, digest, kind in live:
        if kind == "blob":
            _require_bytes(world, Digest(digest))
        else:
            _require_members(world, repository, digest, raws[digest], live)
    for upload, key, size, digest in world.rows("select upload, key, size, digest from segment"):
        content = world.store.content[key]
        assert (len(content), digest_of(content, Digest(digest).algorithm)) == (size, digest), upload


def _require_bytes(world: World, digest: Digest) -> None:
    ((size, state),) = world.rows("select size, state from blob where digest = $1", digest)
    if state != "good":
        return
    keys = [row[0] for row in world.rows("select key from location where blob = $1 order by ordinal", digest)]
    content = b"".join(world.store.content[key] for key in keys)
    assert keys, f"{digest} lies nowhere"
    assert (len(content), digest_of(content, digest.algorithm)) == (size, digest)


def _require_members(world: World, repository: int, digest: str, raw: bytes, live: set[tuple[Any, ...]]) -> None:
    manifest = parse_manifest("", raw, algorithm=Digest(digest).algorithm, optional=world.rules.optional_edges)
    assert manifest.digest == digest
    stored = set(world.rows("select child, kind from edge where parent = $1", digest))
    assert stored == {(edge.digest, edge.kind) for edge in manifest.edges}
    for edge in manifest.edges:
        if edge.kind in {"config", "layer"} and not edge.is_optional:
            assert (repository, edge.digest, "blob") in live, f"{digest} needs {edge.digest}"


def require_no_lost_bytes(world: World) -> None:
    """Every key of the store is named by a location, a segment or a job that will delete it."""
    named = {row[0] for row in world.rows("select key from location union select key from segment")}
    for (payload,) in world.rows("select payload from job where kind = 'store.discard'"):
        named.update(msgspec.json.decode(payload, type=list[str]))
    assert set(world.store.content) <= named
