"""What lies in the store and no row names: bytes that crashes left, which may be all that is left of a damaged blob.

Only keys of the form that this registry gives, a day old at least, are ever deleted: what is being pushed is younger,
and files of somebody else look different.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec

from entrepot.core.pages import pages
from entrepot.core.registry import DAY, Registry
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import BlobUnknown
from entrepot.domain.events import Event
from entrepot.metadata import audit, audit_segments, events, integrity
from entrepot.ports.source import Wanted
from entrepot.ports.store import ListsStored, StoredKey

MOST_NAMES: Final = 1_000_000
MOST_KEPT: Final = 100_000
FEW: Final = 1000
DELETED_AT_ONCE: Final = 1000
OURS: Final = re.compile(r"(?:[0-9a-f]{2}/)?[0-9a-f]{32}\.[0-9a-f]{16,32}")

T = TypeVar("T")


class Keys(msgspec.Struct):
    """What lies in the store, by who names it. Bytes without a name harm nobody; those that may go are `removable`."""

    held: int = 0
    uploading: int = 0
    unreferenced: int = 0
    unreferenced_bytes: int = 0
    removable: int = 0
    removed: int = 0
    removed_bytes: int = 0
    refusal: str = ""


class Orphans:
    """The keys that nobody names, and the port Source over what lies under them."""

    name = "a file that nothing names"

    def __init__(self, registry: Registry, keys: Keys, found: dict[str, StoredKey]) -> None:
        self._registry = registry
        self.keys = keys
        self._found = found
        self._by_size: dict[int, list[StoredKey]] = {}
        self._digests: dict[tuple[str, str], Digest] = {}
        for each in found.values():
            self._by_size.setdefault(each.size, []).append(each)

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """The bytes, copied: whoever clears away orphans at the same time can break this off, and no name."""
        for each in self._by_size.get(wanted.size, ()):
            if await self._digest(each, wanted.digest.algorithm) == wanted.digest:
                async for chunk in self._registry.store.read(each.key, 0, each.size):
                    yield chunk
                return
        raise BlobUnknown("no file without a name has these bytes", digest=wanted.digest)

    async def close(self) -> None:
        """Nothing: the store belongs to the registry."""

    async def remove(self, actor: str, only: frozenset[str] | None) -> None:
        """Delete those that may go, of `only` where that is given, once it is seen that still nobody names them.

        Raises Unavailable.
        """
        keys = self.keys
        going = {each.key: each for each in self._list_removable() if only is None or each.key in only}
        unseen = keys.unreferenced - len(self._found)
        if len(going) > FEW and (len(going) + unseen) * 2 > keys.held:
            keys.refusal = "more than half of the store has no name: is this the database that belongs to it?"
            return
        async for page in _named_keys(self._registry):
            for key in page:
                going.pop(key, None)
        for batch in _batches(list(going.values())):
            await self._registry.store.delete([each.key for each in batch])
            keys.removed += len(batch)
            keys.removed_bytes += sum(each.size for each in batch)
        if keys.removed:
            detail: dict[str, object] = {"files": keys.removed, "bytes": keys.removed_bytes}
            event, now = Event("store.cleaned", actor, "", detail), self._registry.clock.now()
            await self._registry.database.transact(lambda tx: events.add_event(tx, event, now, SYSTEM))

    def _list_removable(self) -> list[StoredKey]:
        before = self._registry.clock.now() - DAY
        return [each for each in self._found.values() if is_removable(each, before)]

    def list_removable(self, most: int) -> list[str]:
        """Keys of those that may go, in order, `most` at most."""
        return sorted(each.key for each in self._list_removable())[:most]

    async def _digest(self, each: StoredKey, algorithm: str) -> Digest | None:
        known = self._digests.get((each.key, algorithm))
        if known is None:
            state = new_hash(algorithm)
            try:
                async for chunk in self._registry.store.read(each.key, 0, each.size):
                    state.update(chunk)
            except BlobUnknown:
                return None
            known = self._digests[each.key, algorithm] = Digest(f"{algorithm}:{state.hexdigest()}")
        return known


def is_removable(each: StoredKey, before: int) -> bool:
    """Whether a key that nobody names is one of ours, and older than a time."""
    return each.written_at < before and OURS.fullmatch(each.key) is not None


async def find_orphans(registry: Registry, store: ListsStored) -> Orphans:
    """Sort what the store holds into named, being uploaded, and named by nobody.

    Names are read before each listing and, for what seems to have none, once more after it: what a push wrote and named
    meanwhile is not counted as left over. Of a name only its hash is held, of a million names at once: a larger
    registry is listed several times. Of orphans 100,000 are held, and the others counted. Raises Unavailable.
    """
    keys = Keys()
    found: dict[str, StoredKey] = {}
    parts = 1 + await registry.database.read(integrity.count_locations) // MOST_NAMES
    for part in range(parts):
        named = {hash(key) async for page in _named_keys(registry) for key in page if hash(key) % parts == part}
        async for each in store.stored():
            if hash(each.key) % parts == part:
                _sort(keys, found, each, is_named=hash(each.key) in named)
    if found:
        await _strike_named(registry, keys, found)
    before = registry.clock.now() - DAY
    keys.removable = sum(is_removable(each, before) for each in found.values())
    return Orphans(registry, keys, found)


def _sort(keys: Keys, found: dict[str, StoredKey], each: StoredKey, *, is_named: bool) -> None:
    keys.held += 1
    if is_named:
        return
    keys.unreferenced += 1
    keys.unreferenced_bytes += each.size
    if len(found) < MOST_KEPT:
        found[each.key] = each


async def _strike_named(registry: Registry, keys: Keys, found: dict[str, StoredKey]) -> None:
    uploads = {upload async for page in pages(registry, audit.list_uploads, "", str) for upload in page}
    uploading = {key for key in found if key.rpartition("/")[2].partition(".")[0] in uploads}
    named = {key async for page in _named_keys(registry) for key in page if key in found}
    for key in uploading | named:
        each = found.pop(key)
        keys.unreferenced -= 1
        keys.unreferenced_bytes -= each.size
    keys.uploading = len(uploading - named)


def _batches(whole: list[StoredKey]) -> list[list[StoredKey]]:
    return [whole[start : start + DELETED_AT_ONCE] for start in range(0, len(whole), DELETED_AT_ONCE)]


async def _named_keys(registry: Registry) -> AsyncIterator[list[str]]:
    def place(row: tuple[str, int, str]) -> tuple[str, int]:
        return row[0], row[1]

    def number(row: tuple[int, Any]) -> int:
        return row[0]

    for query in (audit.list_location_keys, audit.list_segment_keys):
        async for rows in pages(registry, query, ("", -1), place):
            yield [row[2] for row in rows]
    async for parts in pages(registry, audit_segments.list_segment_pieces, 0, number):
        yield [key for _, pieces in parts for key, _ in msgspec.json.decode(pieces, type=list[tuple[str, int]])]
    async for waiting in pages(registry, audit.list_discards, 0, number):
        for _, payload in waiting:
            yield msgspec.json.decode(payload, type=list[str])
