"""Deleting: a tag is only a pointer, a manifest goes to the trash, a blob goes when nothing live names it."""

from __future__ import annotations

from entrepot.core.push import move_tag
from entrepot.core.registry import DAY, Act, Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.access import Caller
from entrepot.domain.digests import Digest
from entrepot.domain.errors import BlobUnknown, InUse, ManifestUnknown
from entrepot.domain.events import Event
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import events, manifests, pins, repositories, tags
from entrepot.ports.database import Tx


async def delete_tag(registry: Registry, caller: Caller, repository: RepositoryName, tag: Tag) -> None:
    """Remove a tag; the manifest stays, as history. Raises NameUnknown, ManifestUnknown."""
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        known = await get_repository(tx, repository)
        old = await tags.find_tag_digest(tx, known, tag)
        if old is None:
            raise ManifestUnknown("the repository has no such tag", name=repository, reference=tag)
        await move_tag(tx, act, known, repository, tags.Move(tag, old, None, act.actor, act.via))

    await registry.database.transact(record)


async def delete_manifest(registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest) -> None:
    """Make a manifest and every tag on it 404 at once; it stays in the trash for the grace time.

    Raises NameUnknown, ManifestUnknown.
    """
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        known = await get_repository(tx, repository)
        if not await repositories.delete_member(tx, known, digest, "manifest", act.now):
            raise ManifestUnknown("the repository has no such manifest", name=repository, reference=digest)
        for tag in await tags.list_tags_of(tx, known, digest):
            await move_tag(tx, act, known, repository, tags.Move(tag, digest, None, act.actor, act.via))
        # No rollback leads to what is deleted: the trash alone keeps it.
        await pins.end_pins(tx, known, digest, "history", act.now)
        await _trash(tx, act, known, digest)
        await events.add_event(
            tx, Event("manifest.deleted", act.actor, repository, {"digest": digest}), act.now, act.by
        )

    await registry.database.transact(record)
    await _settle(registry, repository, digest)


async def delete_blob(registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest) -> None:
    """Hide a blob from a repository. Raises NameUnknown, BlobUnknown, and InUse while a live manifest names it."""
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        known = await get_repository(tx, repository)
        if not await repositories.has_member(tx, known, digest, "blob"):
            raise BlobUnknown("the repository has no such blob", digest=digest)
        users = await manifests.list_users_of_blob(tx, known, digest, 5)
        if users:
            raise InUse("a manifest of this repository needs this blob; delete the manifest first", manifests=users)
        await repositories.delete_member(tx, known, digest, "blob", act.now)
        await pins.remove_pins(tx, known, digest, "upload")
        await _trash(tx, act, known, digest)
        await events.add_event(tx, Event("blob.deleted", act.actor, repository, {"digest": digest}), act.now, act.by)

    await registry.database.transact(record)
    await _settle(registry, repository, digest)


async def _settle(registry: Registry, repository: RepositoryName, digest: Digest) -> None:
    """Before it is said to be gone, it is gone everywhere."""
    if registry.recall is not None:
        registry.recall.forget(repository, digest)
        await registry.recall.settle()


async def _trash(tx: Tx, act: Act, repository: int, digest: Digest) -> None:
    await pins.put_pin(tx, repository, digest, ("trash", ""), act.now + act.rules.trash_days * DAY)
