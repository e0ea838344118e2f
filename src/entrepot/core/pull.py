"""Pulling: one indexed read each, and the promise that a HEAD of a blob makes."""

from __future__ import annotations

from entrepot.core.registry import SECOND, Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.digests import Digest
from entrepot.domain.errors import BlobUnknown, Damaged, ManifestUnknown
from entrepot.domain.names import Reference, RepositoryName
from entrepot.metadata import blobs, manifests, pins, repositories
from entrepot.metadata.blobs import StoredBlob
from entrepot.metadata.manifests import StoredManifest
from entrepot.ports.database import Tx


async def get_manifest(
    registry: Registry, repository: RepositoryName, reference: Reference, *, with_bytes: bool
) -> StoredManifest:
    """A manifest by tag or digest. Raises NameUnknown, ManifestUnknown."""
    query = manifests.find_manifest if with_bytes else manifests.find_manifest_size
    found = await registry.database.read(lambda tx: query(tx, repository, reference))
    if found is None:
        await registry.database.read(lambda tx: get_repository(tx, repository))
        raise ManifestUnknown("the repository has no such manifest", name=repository, reference=reference)
    return found


async def get_blob(
    registry: Registry, repository: RepositoryName, digest: Digest, *, with_pin: bool = False
) -> StoredBlob:
    """A blob of a repository with its locations, and `with_pin` what `promise_blob` needs to know.

    Raises NameUnknown, BlobUnknown, Damaged.
    """
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
