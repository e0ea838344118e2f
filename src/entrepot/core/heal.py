"""Healing a blob: the same bytes from somewhere else, proved while they are written, and named last.

Whatever moment a process dies at, the blob is as it was or whole; the worst that is left is a file that nothing names.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from entrepot.core.registry import DAY, Registry
from entrepot.core.upload import DISCARD
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest
from entrepot.domain.errors import BlobUnknown, EntrepotError, Unavailable
from entrepot.domain.events import Event
from entrepot.metadata import audit, blobs, events, integrity, jobs, repositories
from entrepot.metadata.audit import AuditedBlob
from entrepot.ports.database import Tx
from entrepot.ports.source import Source, Wanted
from entrepot.ports.store import Written

HOMES: Final = 20


class Remedy(msgspec.Struct, frozen=True):
    """Where the right bytes were found, or why nowhere; `is_done` when they are in service."""

    source: str = ""
    is_done: bool = False
    refusals: tuple[str, ...] = ()


class SourceError(Exception):
    """A source broke off, which is not an error of our own store."""


async def find_remedy(registry: Registry, digest: Digest, blob: AuditedBlob, sources: Sequence[Source]) -> Remedy:
    """Which source says that it has the bytes; nothing is changed, and nothing is proved."""
    return await seek(await _want(registry, digest, blob), sources)


async def seek(wanted: Wanted, sources: Sequence[Source]) -> Remedy:
    """Which source says that it has some bytes; nothing is proved."""
    refusals = []
    for source in sources:
        try:
            async with aclosing(told(source, wanted, wanted.size)) as content:
                async for _ in content:
                    break
        except SourceError as error:
            refusals.append(f"{source.name}: {error}")
        else:
            return Remedy(source.name, refusals=tuple(refusals))
    return Remedy(refusals=tuple(refusals))


async def heal(registry: Registry, whose: tuple[Digest, str], blob: AuditedBlob, sources: Sequence[Source]) -> Remedy:
    """Take the bytes of a damaged blob from the first source that has them; `whose` is (digest, who heals).

    What is wrong or breaks off is dropped, and the next source is asked. Raises StorageFull, Unavailable.
    """
    digest, actor = whose
    remedy, written = await fetch(registry, await _want(registry, digest, blob), sources)
    if written is None:
        return remedy
    is_done = await _name(registry, (digest, actor, remedy.source), blob, written)
    return msgspec.structs.replace(remedy, is_done=is_done)


async def fetch(registry: Registry, wanted: Wanted, sources: Sequence[Source]) -> tuple[Remedy, Written | None]:
    """Write bytes from the first source that has them, proved, for the caller to settle and to name.

    Raises StorageFull, Unavailable.
    """
    refusals: list[str] = []
    for source in sources:
        try:
            written = await registry.store.write(
                secrets.token_hex(16), told(source, wanted, wanted.size), wanted.digest.algorithm
            )
        except SourceError as error:
            refusals.append(f"{source.name}: {error}")
            continue
        if written.digest != wanted.digest:
            await registry.store.delete(written.keys)
            refusals.append(f"{source.name}: its bytes have the digest {written.digest}")
            continue
        return Remedy(source.name, refusals=tuple(refusals)), written
    return Remedy(refusals=tuple(refusals)), None


async def _want(registry: Registry, digest: Digest, blob: AuditedBlob) -> Wanted:
    homes = await registry.database.read(lambda tx: repositories.find_home(tx, digest, HOMES))
    return Wanted(digest, blob.size, blob.pieces, tuple(homes))


async def told(source: Source, wanted: Wanted, most: int) -> AsyncGenerator[bytes, None]:
    """What a source gives, `most` bytes at most. Raises SourceError for whatever goes wrong there."""
    left = most
    try:
        async for chunk in source.read(wanted):
            left -= len(chunk)
            if left < 0:
                # Nor would one that never ends fill the store.
                raise SourceError(f"gives more than {most} bytes")
            yield chunk
    except BlobUnknown:
        raise SourceError("has no such bytes") from None
    except (Unavailable, OSError) as error:
        raise SourceError(str(error)) from error


async def _name(registry: Registry, whose: tuple[Digest, str, str], blob: AuditedBlob, written: Written) -> bool:
    digest, actor, source = whose
    now = registry.clock.now()

    async def record(tx: Tx) -> bool:
        current = await audit.find_blob(tx, digest)
        if current is None or current.pieces != blob.pieces:
            # Collected, or healed by a push, while this was fetched.
            return False
        old = await blobs.replace_locations(tx, digest, written.pieces)
        await integrity.set_verified(tx, [digest], now)
        if old:
            # What is replaced may be all that tells why it was damaged.
            await jobs.add_job(tx, DISCARD, old[0], old, now + DAY)
        await events.add_event(tx, Event("blob.healed", actor, digest, {"source": source}), now, SYSTEM)
        return True

    try:
        await registry.store.settle(written.keys)
        is_named = await registry.database.transact(record)
    except EntrepotError as error:
        if not isinstance(error, Unavailable):
            await registry.store.delete(written.keys)
        raise
    if not is_named:
        await registry.store.delete(written.keys)
    return is_named
