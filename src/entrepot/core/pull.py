"""Pulling: one indexed read each, or none where it is remembered; and the promise that a HEAD of a blob makes."""

from __future__ import annotations

import msgspec

from entrepot.core.recall import Recall
from entrepot.core.registry import SECOND, Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.digests import Digest
from entrepot.domain.errors import BlobUnknown, Damaged, ManifestUnknown, Unavailable
from entrepot.domain.names import Reference, RepositoryName
from entrepot.metadata import blobs, manifests, pins, repositories
from entrepot.metadata.blobs import StoredBlob
from entrepot.metadata.manifests import StoredManifest
from entrepot.ports.database import Tx


async def get_manifest(
    registry: Registry, repository: RepositoryName, reference: Reference, *, with_bytes: bool
) -> StoredManifest:
    """A manifest by tag or digest. Raises NameUnknown, ManifestUnknown, and Unavailable."""
    recall = registry.recall
    if recall is None:
        return await _read_manifest(registry, repository, reference, with_bytes=with_bytes)
    if isinstance(reference, Digest) and recall.is_current:
        known = recall.find_manifest(repository, reference, with_bytes=with_bytes)
        if known is not None:
            recall.counts["remembered"] += 1
            return known
    stamp = recall.stamp
    try:
        found = await _read_manifest(registry, repository, reference, with_bytes=with_bytes)
    except Unavailable:
        known = recall.find_manifest(repository, reference, with_bytes=with_bytes)
        if known is None or not await _serves_away(registry, recall, repository):
            raise
        return msgspec.structs.replace(known, is_stale=True)
    recall.keep_manifest(stamp, repository, reference, found)
    return found


async def _read_manifest(
    registry: Registry, repository: RepositoryName, reference: Reference, *, with_bytes: bool
) -> StoredManifest:
    query = manifests.find_manifest if with_bytes else manifests.find_manifest_size
    found = await registry.database.read(lambda tx: query(tx, repository, reference))
    if found is None:
        await registry.database.read(lambda tx: get_repository(tx, repository))
        raise ManifestUnknown("the repository has no such manifest", name=repository, reference=reference)
    return found


async def _serves_away(registry: Registry, recall: Recall, repository: RepositoryName) -> bool:
    """Whether the database is away and what is remembered of a repository serves meanwhile; if so it is counted."""
    namespace = registry.policy.snapshot.namespaces.get(repository.namespace)
    serves = recall.is_lasting and namespace is not None and namespace.away_pulls and await recall.is_gone()
    recall.counts["stale"] += serves
    return serves


async def get_blob(
    registry: Registry, repository: RepositoryName, digest: Digest, *, with_pin: bool = False
) -> StoredBlob:
    """A blob of a repository with its locations, and `with_pin` what `promise_blob` needs to know.

    Raises NameUnknown, BlobUnknown, Damaged, and Unavailable.
    """
    recall = registry.recall
    if recall is None:
        return await _read_blob(registry, repository, digest, with_pin=with_pin)
    try:
        if not with_pin and (known := await _recalled_blob(recall, repository, digest)) is not None:
            return known
        stamp = recall.stamp
        found = await _read_blob(registry, repository, digest, with_pin=with_pin)
    except Unavailable:
        known = recall.find_blob(repository, digest)
        if known is None or not await _serves_away(registry, recall, repository):
            raise
        # It is no promise to a push: none would be taken now.
        return msgspec.structs.replace(known, is_stale=True, pinned_until=0)
    recall.keep_blob(stamp, repository, found)
    return found


async def _recalled_blob(recall: Recall, repository: RepositoryName, digest: Digest) -> StoredBlob | None:
    if not recall.is_current or recall.find_blob(repository, digest) is None:
        return None
    if not recall.is_sure(repository, digest):
        await recall.renew_blobs(repository)
    known = recall.find_blob(repository, digest) if recall.is_sure(repository, digest) else None
    recall.counts["remembered"] += known is not None
    return known


async def _read_blob(registry: Registry, repository: RepositoryName, digest: Digest, *, with_pin: bool) -> StoredBlob:
    found = await registry.database.read(lambda tx: blobs.find_blob(tx, repository, digest, with_pin=with_pin))
    if found is None:
        await registry.database.read(lambda tx: get_repository(tx, repository))
        raise BlobUnknown("the repository has no such blob", digest=digest)
    if not found.is_good:
        raise Damaged(
            "the stored bytes were found damaged and are not served; push the same bytes again to heal them",
            digest=digest,
        )
    return found


async def promise_blob(registry: Registry, repository: RepositoryName, blob: StoredBlob) -> None:
    """After a HEAD 200: keep a blob that only a promise keeps, so that the push that asked can rely on it.

    Raises BlobUnknown where the collector has just forgotten it.
    """
    if not blob.pinned_until:
        return
    now = registry.clock.now()
    until = now + registry.rules.promise_seconds * SECOND
    if blob.pinned_until > until - registry.rules.promise_seconds * SECOND // 24:
        return

    async def renew(tx: Tx) -> None:
        known = await get_repository(tx, repository)
        if not await repositories.has_member(tx, known, Digest(blob.digest), "blob"):
            raise BlobUnknown("the repository has no such blob", digest=blob.digest)
        await pins.put_pin(tx, known, Digest(blob.digest), ("upload", ""), until)

    await registry.database.transact(renew)
