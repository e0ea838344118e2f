"""Pushing a manifest: names last, all in one transaction."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.decide import require
from entrepot.core.registry import DAY, SECOND, Act, Registry
from entrepot.core.repositories import open_repository
from entrepot.domain.access import Action, Caller
from entrepot.domain.digests import DEFAULT_ALGORITHM, Digest
from entrepot.domain.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    PreconditionFailed,
)
from entrepot.domain.events import Event, EventKind
from entrepot.domain.manifest import Manifest, parse_manifest
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import events, manifests, pins, repositories, tags
from entrepot.metadata.namespaces import get_untagged_days
from entrepot.ports.database import Tx

ANYWHERE: Final = frozenset({"*"})


class ManifestPush(msgspec.Struct, frozen=True):
    """What a client asks for: bytes, the digest it claims, and the tags to point at them.

    `expected` guards a tag: the digests it may stand at, "" among them for not there at all; `ANYWHERE` is any
    digest, and None is no guard.
    """

    repository: RepositoryName
    media_type: str
    raw: bytes
    tags: tuple[Tag, ...]
    claimed: Digest | None = None
    expected: frozenset[str] | None = None


async def push_manifest(registry: Registry, caller: Caller, push: ManifestPush) -> Manifest:
    """Store a manifest and point its tags, durably; the manifest as it was understood.

    Raises ManifestInvalid, DigestInvalid, ManifestBlobUnknown, PreconditionFailed, Denied, NameInvalid.
    """
    manifest = parse_manifest(
        push.media_type,
        push.raw,
        algorithm=push.claimed.algorithm if push.claimed else DEFAULT_ALGORITHM,
        optional=registry.rules.optional_edges,
    )
    if push.claimed is not None and push.claimed != manifest.digest:
        raise DigestInvalid(
            "the content does not match the digest in the address", want=push.claimed, got=manifest.digest
        )
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        repository = await open_repository(tx, act, push.repository)
        await _require_references(tx, repository, manifest)
        if await manifests.add_manifest(tx, manifest, act.now):
            await events.add_event(tx, Event("manifest.healed", act.actor, manifest.digest), act.now, act.by)
        await repositories.put_member(tx, repository, manifest.digest, "manifest", act.now)
        for tag in push.tags:
            old = await _require_expected(tx, repository, tag, push.expected)
            await _point(tx, act, repository, push.repository, tags.Move(tag, old, manifest.digest, act.actor, act.via))
        if not push.tags:
            await keep_untagged(tx, act, repository, manifest.digest)
        detail: dict[str, object] = {"digest": manifest.digest, "tags": list(push.tags)}
        await events.add_event(tx, Event("manifest.pushed", act.actor, push.repository, detail), act.now, act.by)

    await registry.database.transact(record)
    await registry.policy.catch_up(push.repository.namespace)
    return manifest


async def _require_references(tx: Tx, repository: int, manifest: Manifest) -> None:
    blobs = [edge.digest for edge in manifest.edges if edge.kind in {"config", "layer"} and not edge.is_optional]
    children = [edge.digest for edge in manifest.edges if edge.kind == "manifest" and not edge.is_optional]
    missing = set(blobs) - await repositories.list_known(tx, repository, blobs, "blob")
    # An index may also list blobs: BuildKit's cache export does.
    absent = set(children) - await repositories.list_known(tx, repository, children, "manifest")
    missing |= absent - await repositories.list_known(tx, repository, [Digest(child) for child in absent], "blob")
    if missing:
        raise ManifestBlobUnknown(
            "the manifest names content that this repository does not have; push it first", digests=sorted(missing)
        )


async def _require_expected(tx: Tx, repository: int, tag: Tag, expected: frozenset[str] | None) -> Digest | None:
    digest = await tags.find_tag_digest(tx, repository, tag)
    is_met = expected is None or (digest or "") in expected or (digest is not None and expected == ANYWHERE)
    if not is_met:
        raise PreconditionFailed("the tag is not where the request expects it", tag=tag, found=digest)
    return digest


async def _point(tx: Tx, act: Act, repository: int, name: RepositoryName, move: tags.Move) -> None:
    action = Action.TAG_MOVE if move.from_digest else Action.TAG_CREATE
    require(act.caller, act.snapshot, action, f"{name}:{move.tag}")
    if move.from_digest != move.to_digest:
        await move_tag(tx, act, repository, name, move)


async def keep_untagged(tx: Tx, act: Act, repository: int, digest: Digest) -> None:
    """Keep a manifest that no tag points at for the days of its namespace, and never less than the grace window.

    What is about a manifest that is there is kept by it, for as long as it is, and goes after it.
    """
    if await manifests.has_subject_there(tx, repository, digest):
        return
    days = await get_untagged_days(tx, repository)
    until = act.now + max(days * DAY, act.rules.grace_seconds * SECOND)
    await pins.put_pin(tx, repository, digest, ("untagged", ""), until)


async def move_tag(tx: Tx, act: Act, repository: int, name: RepositoryName, move: tags.Move) -> None:
    """Point a tag elsewhere or, without a `to_digest`, nowhere; what it pointed at is kept as history."""
    if move.from_digest is not None and act.rules.history_digests > 0:
        until = act.now + act.rules.history_days * DAY
        await pins.put_pin(tx, repository, move.from_digest, ("history", move.tag), until)
        await pins.trim_history(tx, repository, move.tag, act.rules.history_digests, act.now)
    elif move.from_digest is not None:
        await pins.put_pin(tx, repository, move.from_digest, ("review", ""), act.now)
    if move.to_digest is None:
        await tags.delete_tag(tx, repository, move.tag)
    else:
        await tags.point(tx, repository, move.tag, move.to_digest, act.now)
    await tags.add_tag_event(tx, repository, move, act.now)
    detail: dict[str, object] = {"tag": move.tag, "from": move.from_digest, "to": move.to_digest, "via": move.via}
    kind: EventKind = "tag.deleted" if move.to_digest is None else "tag.moved"
    await events.add_event(tx, Event(kind, move.actor, name, detail), act.now, act.by)
