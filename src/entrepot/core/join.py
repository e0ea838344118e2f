"""Joining a blob that came in chunks: a store that keeps each chunk by itself gets one object instead of several.

Such a blob is read with one request, and may be fetched from the store by whoever pulls it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from entrepot.core.registry import SECOND, Registry
from entrepot.core.upload import DISCARD
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest
from entrepot.domain.errors import Damaged
from entrepot.domain.events import Event
from entrepot.metadata import blobs, events, jobs
from entrepot.ports.database import Tx
from entrepot.ports.store import BlobStore, Piece

ACTOR: Final = "entrepot join"
PROBLEM: Final = "the bytes are not what the digest says"


async def join_pieces(registry: Registry, payload: str) -> None:
    """Write the pieces of a blob into one and name that instead; nothing where there is nothing to join any more.

    Raises Damaged, after taking the blob out of service, and what the store raises.
    """
    digest = Digest(msgspec.json.decode(payload, type=str))
    pieces = await registry.database.read(lambda tx: _find_sound(tx, digest))
    if len(pieces) <= 1:
        return
    written = await registry.store.write(secrets.token_hex(16), _content(registry.store, pieces), digest.algorithm)
    now = registry.clock.now()

    async def record(tx: Tx) -> bool:
        if await _find_sound(tx, digest) != pieces:
            return False
        if written.digest != digest:
            await blobs.set_damaged(tx, digest)
            await events.add_event(tx, Event("blob.damaged", ACTOR, digest, {"problem": PROBLEM}), now, SYSTEM)
            return False
        old = await blobs.replace_locations(tx, digest, written.pieces)
        # Whoever reads them now, at whatever pace, is to come to the end.
        await jobs.add_job(tx, DISCARD, old[0], old, now + registry.rules.promise_seconds * SECOND)
        return True

    await registry.store.settle(written.keys)
    # An error leaves open what has been named: then the bytes stay, as garbage at worst.
    if not await registry.database.transact(record):
        await registry.store.delete(written.keys)
    if written.digest != digest:
        raise Damaged(PROBLEM, digest=digest)


async def _find_sound(tx: Tx, digest: Digest) -> list[Piece]:
    """Where a blob lies; nowhere if it is not there, or not sound."""
    return await blobs.list_locations(tx, digest) if await blobs.find_state(tx, digest) == "good" else []


async def _content(store: BlobStore, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
    for piece in pieces:
        async for chunk in store.read(piece.key, 0, piece.size):
            yield chunk
