"""Judging one blob: whether its bytes are there and what its digest says, and what follows from it.

What is certainly not as it was pushed is put aside (quarantine): nobody is served it, and a new push of the same bytes
heals it. Bytes that are right again are served again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from entrepot.core.registry import Registry
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import BlobUnknown, Damaged, Unavailable
from entrepot.domain.events import Event
from entrepot.metadata import audit, blobs, events, integrity
from entrepot.metadata.audit import AuditedBlob
from entrepot.ports.database import Tx

# Hashing less than this is done before a thread has heard of it.
THREAD_BYTES: Final = 256 << 10
# So many that were verified last, and so many of the others, are looked for before one is said to be lost.
OTHERS: Final = 10
SEVERAL: Final = 3
MOST_TAGS: Final = 20

BlobKind = Literal["blob.unlocated", "blob.missing", "blob.short", "blob.damaged", "blob.unreadable"]
Pace = Callable[[int], Awaitable[None]]


class Judged(msgspec.Struct, frozen=True):
    """What a blob was found to be. Without `kind` its bytes are right, as far as they were looked at.

    `is_aside`: it is served to nobody. `is_revived`: it was not served before, and is again.
    """

    blob: AuditedBlob
    kind: BlobKind | None = None
    problem: str = ""
    is_aside: bool = False
    is_revived: bool = False


async def judge(registry: Registry, digest: Digest, actor: str, pace: Pace | None) -> Judged | None:
    """Look at a blob as it is now: with `pace`, which hears of each chunk, every byte, without it the last one.

    One that was healed, moved or collected while it was read is judged again; None when it is gone. What is missing as
    all others are is not put aside: the store is more likely not there.
    Raises Unavailable when the database cannot be reached.
    """
    while blob := await registry.database.read(lambda tx: audit.find_blob(tx, digest)):
        kind, problem = await _examine(registry, digest, blob, pace)
        if kind is None and blob.is_good:
            return Judged(blob)
        is_certain = pace is not None and kind != "blob.unreadable"
        if is_certain and kind == "blob.missing" and blob.is_good:
            is_certain = await _has_others(registry, digest)
        if not await _put_down(registry, (digest, actor), blob, problem if is_certain else None):
            continue
        if kind is None and is_certain:
            return Judged(blob, is_revived=True)
        if kind is None:
            kind, problem = "blob.damaged", "found damaged before and not served since; push its bytes again to heal it"
        return Judged(blob, kind, problem, is_aside=is_certain or not blob.is_good)
    return None


async def _examine(
    registry: Registry, digest: Digest, blob: AuditedBlob, pace: Pace | None
) -> tuple[BlobKind | None, str]:
    if not blob.pieces:
        return "blob.unlocated", "nothing says where its bytes lie"
    held = sum(piece.size for piece in blob.pieces)
    if held != blob.size:
        return "blob.short", f"its locations hold {held} bytes of {blob.size}"
    return await _read(registry, digest, blob, pace)


async def _read(
    registry: Registry, digest: Digest, blob: AuditedBlob, pace: Pace | None
) -> tuple[BlobKind | None, str]:
    try:
        if pace is None:
            await _touch(registry, blob)
            return None, ""
        found = await _hash(registry, blob, digest.algorithm, pace)
    except Damaged as error:
        return "blob.short", f"{error.message}: {_places(blob)}"
    except BlobUnknown as error:
        return "blob.missing", f"{error.message}: {_places(blob)}"
    except Unavailable as error:
        return "blob.unreadable", f"{error.message} ({error.detail.get('reason', '')}): {_places(blob)}"
    return (None, "") if found == digest else ("blob.damaged", f"its bytes have the digest {found}: {_places(blob)}")


async def _has_others(registry: Registry, but: Digest) -> bool:
    """Whether any other blob is where it should be; in a folder that is not mounted each one looks lost.

    Where there are not several, nothing can be told by that.
    """

    async def look(tx: Tx) -> list[AuditedBlob | None]:
        return [await audit.find_blob(tx, each) for each in await integrity.list_sound(tx, but, OTHERS)]

    others = [each for each in await registry.database.read(look) if each is not None and each.pieces]
    for each in others:
        try:
            await _touch(registry, each)
        except Damaged:
            return True
        except (BlobUnknown, Unavailable):
            continue
        return True
    return len(others) + 1 < SEVERAL


async def _touch(registry: Registry, blob: AuditedBlob) -> None:
    for piece in blob.pieces:
        async for _ in registry.store.read(piece.key, max(0, piece.size - 1), piece.size):
            pass


async def _hash(registry: Registry, blob: AuditedBlob, algorithm: str, pace: Pace) -> Digest:
    state = new_hash(algorithm)
    for piece in blob.pieces:
        async for chunk in registry.store.read(piece.key, 0, piece.size):
            if len(chunk) < THREAD_BYTES:
                state.update(chunk)
            else:
                await asyncio.to_thread(state.update, chunk)
            await pace(len(chunk))
    return Digest(f"{algorithm}:{state.hexdigest()}")


async def _put_down(registry: Registry, whose: tuple[Digest, str], blob: AuditedBlob, problem: str | None) -> bool:
    """Write what was found, if the blob is still the one that was read; whether it is.

    None for `problem` changes nothing, an empty one puts a blob back into service.
    """
    now = registry.clock.now()
    digest, actor = whose
    tags: list[str] = []
    if problem and blob.is_good:
        tags = await registry.database.read(lambda tx: integrity.list_broken_tags(tx, digest, MOST_TAGS))

    async def record(tx: Tx) -> bool:
        if await audit.find_blob(tx, digest) != blob:
            return False
        if problem and blob.is_good:
            await blobs.set_damaged(tx, digest)
            await events.add_event(
                tx, Event("blob.damaged", actor, digest, {"problem": problem, "tags": tags}), now, SYSTEM
            )
        elif problem == "" and not blob.is_good:
            await blobs.replace_locations(tx, digest, blob.pieces)
            await events.add_event(tx, Event("blob.healed", actor, digest), now, SYSTEM)
        return True

    if problem is None:
        return await registry.database.read(lambda tx: audit.find_blob(tx, digest)) == blob
    return await registry.database.transact(record)


def _places(blob: AuditedBlob) -> str:
    return ", ".join(piece.key for piece in blob.pieces)
