"""Manifests that are not as they were pushed: found, and healed from their own bytes or from a source's.

The bytes of a manifest lie in the database, so that healing one is a single transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from entrepot.core.heal import Remedy, SourceError, told
from entrepot.core.registry import Registry
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import ManifestInvalid
from entrepot.domain.events import Event
from entrepot.domain.manifest import Manifest, parse_manifest
from entrepot.metadata import audit, events, manifests, repositories
from entrepot.ports.database import Tx
from entrepot.ports.source import Source, Wanted

HOMES: Final = 20
# Whatever `limits.manifest_bytes` was when it was pushed.
MOST_BYTES: Final = 32 << 20
OWN: Final = "its own bytes"


class Damage(msgspec.Struct, frozen=True):
    """A manifest as it is stored and what is wrong with it; `is_whole` if its bytes are right and edges are missing."""

    digest: Digest
    media_type: str
    raw: bytes
    problem: str
    is_whole: bool


async def prove_manifest(registry: Registry, digest: Digest) -> Damage | None:
    """What is wrong with a manifest; None if nothing is, or it is not there."""
    stored = await registry.database.read(lambda tx: audit.find_raw(tx, digest))
    if stored is None:
        return None
    media_type, raw = stored
    found = digest_of(raw, digest.algorithm)
    if found != digest:
        return Damage(digest, media_type, raw, f"its bytes have the digest {found}", is_whole=False)
    manifest = _parse(registry, digest, media_type, raw)
    if manifest is None:
        return None
    known = await registry.database.read(lambda tx: audit.list_children(tx, digest))
    lost = [edge.digest for edge in manifest.edges if (str(edge.digest), str(edge.kind)) not in known]
    if not lost:
        return None
    return Damage(digest, media_type, raw, f"the graph lacks its edges to {', '.join(lost)}", is_whole=True)


async def find_manifest_remedy(registry: Registry, damage: Damage, sources: Sequence[Source]) -> tuple[Remedy, bytes]:
    """Who has the right bytes, and these, proved; nothing is changed."""
    if damage.is_whole:
        return Remedy(OWN), damage.raw
    homes = await registry.database.read(lambda tx: repositories.find_home(tx, damage.digest, HOMES, "manifest"))
    return await fetch_manifest(Wanted(damage.digest, len(damage.raw), (), tuple(homes), damage.media_type), sources)


async def fetch_manifest(wanted: Wanted, sources: Sequence[Source]) -> tuple[Remedy, bytes]:
    """Who has the bytes of a manifest, and these, proved."""
    refusals = []
    for source in sources:
        try:
            async with aclosing(told(source, wanted, MOST_BYTES)) as content:
                raw = b"".join([chunk async for chunk in content])
        except SourceError as error:
            refusals.append(f"{source.name}: {error}")
            continue
        found = digest_of(raw, wanted.digest.algorithm)
        if found == wanted.digest:
            return Remedy(source.name, refusals=tuple(refusals)), raw
        refusals.append(f"{source.name}: its bytes have the digest {found}")
    return Remedy(refusals=tuple(refusals)), b""


async def heal_manifest(registry: Registry, actor: str, damage: Damage, sources: Sequence[Source]) -> Remedy:
    """Put a manifest right, if anybody has its bytes. Raises Unavailable."""
    remedy, raw = await find_manifest_remedy(registry, damage, sources)
    if not remedy.source:
        return remedy
    now, manifest = registry.clock.now(), _parse(registry, damage.digest, damage.media_type, raw)

    async def record(tx: Tx) -> bool:
        if not await manifests.replace_raw(tx, damage.digest, damage.raw, raw):
            # Collected, or healed by a push, while this was fetched.
            return False
        if manifest is not None:
            await manifests.put_edges(tx, manifest)
        healed = Event("manifest.healed", actor, damage.digest, {"source": remedy.source})
        await events.add_event(tx, healed, now, SYSTEM)
        return True

    return msgspec.structs.replace(remedy, is_done=await registry.database.transact(record))


def _parse(registry: Registry, digest: Digest, media_type: str, raw: bytes) -> Manifest | None:
    try:
        return parse_manifest(media_type, raw, algorithm=digest.algorithm, optional=registry.rules.optional_edges)
    except ManifestInvalid:
        # Accepted by the rules of another version: its edges cannot be told again.
        return None
