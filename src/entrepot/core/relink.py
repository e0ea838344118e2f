"""Rows that lead nowhere: what a repository ought to know is made known to it again, from what lies in this store.

What is not there either comes from files that nothing names, or from a source. Bytes come first, and are proved; then
one transaction names all of it. A manifest of an index that people have deleted stays deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from entrepot.core.heal import Remedy, fetch, seek
from entrepot.core.heal_manifest import fetch_manifest
from entrepot.core.judge import judge
from entrepot.core.registry import SECOND, Registry
from entrepot.core.upload import DISCARD
from entrepot.core.whole import Row
from entrepot.domain import media_types
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest
from entrepot.domain.errors import EntrepotError, ManifestInvalid, StorageFull, Unavailable
from entrepot.domain.events import Event, EventKind
from entrepot.domain.manifest import Edge, Manifest, parse_manifest
from entrepot.metadata import audit, blobs, collect, events, jobs, manifests, repositories, tags
from entrepot.metadata.repositories import MemberKind
from entrepot.ports.database import Tx
from entrepot.ports.source import Source, Wanted
from entrepot.ports.store import Written

HERE: Final = "this store"
HOMES: Final = 20
ACCEPTED: Final = ", ".join(sorted(media_types.MANIFESTS))

Content = tuple[Digest, MemberKind]


class Lost(msgspec.Struct, frozen=True):
    """What a repository ought to know whole: because a tag points at it, or because it is said to be there."""

    repository: int
    name: str
    content: Content


async def find_links(registry: Registry, lost: Lost, sources: Sequence[Source]) -> Remedy:
    """Where all that is missing would come from; nothing is changed."""
    return await _Search(registry, lost, sources).survey()


async def relink(registry: Registry, actor: str, lost: Lost, sources: Sequence[Source]) -> Remedy:
    """Make known what can be had, even if something else cannot. Raises StorageFull, Unavailable."""
    search = _Search(registry, lost, sources, writes=True)
    try:
        remedy = await search.survey()
        is_done = bool(search.links) and await search.name(actor)
    except EntrepotError as error:
        if isinstance(error, StorageFull) or not isinstance(error, Unavailable):
            await search.drop()
        raise
    if not is_done:
        await search.drop()
    return msgspec.structs.replace(remedy, is_done=is_done)


class _Search:
    """Looks for all that one manifest or blob lacks in its repository."""

    def __init__(self, registry: Registry, lost: Lost, sources: Sequence[Source], *, writes: bool = False) -> None:
        self._registry = registry
        self._lost = lost
        self._sources = sources
        self._writes = writes
        self._used: dict[str, None] = {}
        self._refusals: list[str] = []
        self._fetched: dict[Digest, Manifest] = {}
        self._written: dict[Digest, Written] = {}
        self.links: dict[Content, None] = {}

    async def survey(self) -> Remedy:
        """Look for everything, and write what is not here if that is wanted."""
        digest, kind = self._lost.content
        if kind == "blob":
            await self._look_for_blob(digest, await self._find_size(digest))
        else:
            await self._follow(digest)
        return Remedy(", ".join(self._used), refusals=tuple(self._refusals))

    async def _follow(self, root: Digest) -> None:
        left, seen = [root], {root}
        while left:
            digest = left.pop()
            for edge in await self._look_for_manifest(digest, is_root=digest == root):
                if edge.digest in seen or await self._is_known(edge):
                    continue
                seen.add(edge.digest)
                if edge.kind == "manifest" and not await self._is_blob(edge.digest):
                    left.append(edge.digest)
                else:
                    await self._look_for_blob(edge.digest, edge.size)

    async def _is_known(self, edge: Edge | Row) -> bool:
        async def look(tx: Tx) -> bool:
            kinds: list[MemberKind] = ["blob", "manifest"] if edge.kind == "manifest" else ["blob"]
            return any([await repositories.has_member(tx, self._lost.repository, edge.digest, each) for each in kinds])

        return await self._registry.database.read(look)

    async def _is_blob(self, digest: Digest) -> bool:
        # An index may also list blobs: BuildKit's cache export does.
        async def look(tx: Tx) -> bool:
            return await audit.find_raw(tx, digest) is None and await audit.find_blob(tx, digest) is not None

        return await self._registry.database.read(look)

    async def _look_for_manifest(self, digest: Digest, *, is_root: bool) -> Iterable[Edge | Row]:
        """A manifest, to be linked if it is not known; what it needs."""
        repository = self._lost.repository

        async def look(tx: Tx) -> tuple[tuple[str, bytes] | None, bool, bool]:
            is_live = await repositories.has_member(tx, repository, digest, "manifest")
            was_deleted = not is_live and "manifest" in await collect.list_kinds(tx, repository, digest)
            return await audit.find_raw(tx, digest), is_live, was_deleted

        stored, is_live, was_deleted = await self._registry.database.read(look)
        if was_deleted and not is_root:
            self._refuse(digest, f"was deleted: entrepot trash restore {self._lost.name}@{digest} brings it back")
            return ()
        edges = await self._fetch_manifest(digest) if stored is None else await self._list_edges(digest, stored)
        if edges is None:
            return ()
        if stored is None or not is_live:
            self.links[digest, "manifest"] = None
        if stored is not None and not is_live:
            self._used[HERE] = None
        return [edge for edge in edges if edge.kind != "subject" and not edge.is_optional]

    async def _list_edges(self, digest: Digest, stored: tuple[str, bytes]) -> Sequence[Edge | Row]:
        try:
            return parse_manifest(*stored, optional=self._registry.rules.optional_edges).edges
        except ManifestInvalid:
            # Accepted by the rules of another version: the graph alone tells what it names.
            found = await self._registry.database.read(lambda tx: audit.list_children(tx, digest))
            return [Row(kind, Digest(child), is_optional=False) for child, kind in sorted(found)]

    async def _fetch_manifest(self, digest: Digest) -> Sequence[Edge | Row] | None:
        remedy, raw = await fetch_manifest(await self._want(digest, 0, ACCEPTED), self._sources)
        self._note(digest, remedy)
        if not remedy.source:
            return None
        rules = self._registry.rules.optional_edges
        try:
            manifest = parse_manifest("", raw, algorithm=digest.algorithm, optional=rules)
        except ManifestInvalid as error:
            self._refuse(digest, error.message)
            return None
        self._fetched[digest] = manifest
        return manifest.edges

    async def _look_for_blob(self, digest: Digest, size: int) -> None:
        judged = await judge(self._registry, digest, "", None)
        if judged is not None and judged.kind is None:
            self.links[digest, "blob"] = None
            self._used[HERE] = None
        elif judged is not None:
            self._refuse(digest, judged.problem)
        else:
            await self._fetch_blob(await self._want(digest, size, None))

    async def _fetch_blob(self, wanted: Wanted) -> None:
        if self._writes:
            remedy, written = await fetch(self._registry, wanted, self._sources)
            if written is not None:
                self._written[wanted.digest] = written
        else:
            remedy = await seek(wanted, self._sources)
        self._note(wanted.digest, remedy)
        if remedy.source:
            self.links[wanted.digest, "blob"] = None

    async def _find_size(self, digest: Digest) -> int:
        stored = await self._registry.database.read(lambda tx: audit.find_parent_raw(tx, digest))
        edges = await self._list_edges(digest, stored) if stored is not None else ()
        return next((edge.size for edge in edges if edge.digest == digest), 0)

    async def _want(self, digest: Digest, size: int, media_type: str | None) -> Wanted:
        kind: MemberKind = "blob" if media_type is None else "manifest"
        homes = await self._registry.database.read(lambda tx: repositories.find_home(tx, digest, HOMES, kind))
        names = dict.fromkeys((self._lost.name, *homes))
        return Wanted(digest, size, (), tuple(names), media_type)

    def _note(self, digest: Digest, remedy: Remedy) -> None:
        if remedy.source:
            self._used[remedy.source] = None
            return
        self._refuse(digest, "is gone")
        self._refusals += remedy.refusals

    def _refuse(self, digest: Digest, why: str) -> None:
        self._refusals.append(f"{digest}: {why}")

    async def name(self, actor: str) -> bool:
        """Name all that was found in one transaction; False where it is not wanted, or not there, any more."""
        now, lost = self._registry.clock.now(), self._lost

        async def record(tx: Tx) -> bool:
            if not await _is_wanted(tx, lost) or not await self._is_there(tx):
                return False
            for digest, written in self._written.items():
                await self._add_blob(tx, digest, written, now)
            for manifest in self._fetched.values():
                await manifests.add_manifest(tx, manifest, now)
            for digest, kind in self.links:
                await repositories.put_member(tx, lost.repository, digest, kind, now)
                what: EventKind = "manifest.restored" if kind == "manifest" else "blob.restored"
                detail: dict[str, object] = {"digest": digest, "tags": [], "with": lost.content[0]}
                await events.add_event(tx, Event(what, actor, lost.name, detail), now, SYSTEM)
            return True

        await self._registry.store.settle(self._list_keys())
        return await self._registry.database.transact(record)

    async def _is_there(self, tx: Tx) -> bool:
        for digest, kind in self.links:
            if kind == "blob" and digest not in self._written and await blobs.find_state(tx, digest) != "good":
                return False
            if kind == "manifest" and digest not in self._fetched and await audit.find_raw(tx, digest) is None:
                return False
        return True

    async def _add_blob(self, tx: Tx, digest: Digest, written: Written, now: int) -> None:
        if await blobs.find_state(tx, digest) is None:
            await blobs.add_blob(tx, digest, written.pieces, now)
        else:
            # Pushed while this was fetched.
            until = now + self._registry.rules.discard_seconds * SECOND
            await jobs.add_job(tx, DISCARD, written.keys[0], written.keys, until)

    async def drop(self) -> None:
        """Delete what was written and is not named."""
        await self._registry.store.delete(self._list_keys())

    def _list_keys(self) -> list[str]:
        return [key for each in self._written.values() for key in each.keys]


async def _is_wanted(tx: Tx, lost: Lost) -> bool:
    digest, kind = lost.content
    is_known = await repositories.has_member(tx, lost.repository, digest, kind)
    return is_known or bool(await tags.list_tags_of(tx, lost.repository, digest))
