"""Tags by hand: details, history, moving with compare-and-swap, removing, and going back."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from entrepot.core.decide import require
from entrepot.core.listing import Page
from entrepot.core.push import move_tag
from entrepot.core.registry import Act, Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.access import Action, Caller
from entrepot.domain.digests import Digest
from entrepot.domain.errors import Conflict, ManifestUnknown, PreconditionFailed, Unmet
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import repositories, tags
from entrepot.metadata.tags import DeletedTagRow, Move, TagDetailRow, TagEventRow
from entrepot.ports.database import Tx

VIA: Final = "api"
VIA_ROLLBACK: Final = "rollback"
NEWEST: Final = 2**62
BATCH: Final = 200


class TagMove(msgspec.Struct, frozen=True):
    """Which tag is to point at which digest, None for nowhere.

    `expected` guards it: where the tag must stand, None for not there at all, UNSET for anywhere.
    """

    repository: RepositoryName
    tag: Tag
    digest: Digest | None
    expected: Digest | UnsetType | None = UNSET


class PastMove(msgspec.Struct, frozen=True):
    """An event of a tag; `is_restorable` says whether the digest that it left is still in the repository."""

    event: TagEventRow
    is_restorable: bool


async def list_tags(
    registry: Registry, repository: RepositoryName, page: Page
) -> tuple[list[TagDetailRow], str | None]:
    """Tags with what they point at, and after which name the next page begins. Raises NameUnknown."""

    async def collect(tx: Tx) -> list[TagDetailRow]:
        known = await get_repository(tx, repository)
        return await tags.list_tag_details(tx, known, page.after, page.limit + 1)

    rows = await registry.database.read(collect)
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def list_deleted(
    registry: Registry, repository: RepositoryName, page: Page
) -> tuple[list[DeletedTagRow], str | None]:
    """Tags that a rollback brings back, and after which name the next page begins. Raises NameUnknown."""
    now = registry.clock.now()

    async def collect(tx: Tx) -> list[DeletedTagRow]:
        known = await get_repository(tx, repository)
        return await tags.list_deleted_tags(tx, known, now, (page.after, page.limit + 1))

    rows = await registry.database.read(collect)
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_tag(registry: Registry, repository: RepositoryName, tag: Tag) -> TagDetailRow:
    """A tag with what it points at. Raises NameUnknown, ManifestUnknown."""

    async def find(tx: Tx) -> TagDetailRow:
        return await _get(tx, await get_repository(tx, repository), repository, tag)

    return await registry.database.read(find)


async def list_history(
    registry: Registry, repository: RepositoryName, tag: Tag, page: tuple[int | None, int]
) -> tuple[list[PastMove], int | None]:
    """Moves of a tag, the newest first, a page (below an event's id, limit), and where the next one begins.

    Raises NameUnknown, and ManifestUnknown for a tag that never was.
    """
    before, limit = page

    async def collect(tx: Tx) -> tuple[list[TagEventRow], set[str]]:
        known = await get_repository(tx, repository)
        found = await tags.list_tag_events(tx, known, tag, before or NEWEST, limit + 1)
        if not found and before is None:
            raise _unknown(repository, tag)
        left = [Digest(event.from_digest) for event in found if event.from_digest]
        return found, await repositories.list_known(tx, known, left, "manifest")

    found, there = await registry.database.read(collect)
    moves = [PastMove(event, event.from_digest in there) for event in found[:limit]]
    return moves, moves[-1].event.id if len(found) > limit else None


async def put_tag(registry: Registry, caller: Caller, move: TagMove) -> TagDetailRow:
    """Point a tag at a manifest of its repository.

    Raises NameUnknown, Unmet, PreconditionFailed, Denied.
    """
    act = _act(registry, caller, VIA)

    async def record(tx: Tx) -> TagDetailRow:
        known = await get_repository(tx, move.repository)
        old = await _require_expected(tx, known, move)
        require(caller, act.snapshot, Action.TAG_MOVE if old else Action.TAG_CREATE, f"{move.repository}:{move.tag}")
        await _point(tx, act, known, move, old)
        return await _get(tx, known, move.repository, move.tag)

    return await registry.database.transact(record)


async def remove_tag(registry: Registry, caller: Caller, move: TagMove) -> None:
    """Remove a tag; what it pointed at stays, as history.

    Raises NameUnknown, ManifestUnknown, PreconditionFailed, Denied.
    """
    act = _act(registry, caller, VIA)
    require(caller, act.snapshot, Action.TAG_DELETE, f"{move.repository}:{move.tag}")

    async def record(tx: Tx) -> None:
        known = await get_repository(tx, move.repository)
        old = await _require_expected(tx, known, move)
        if old is None:
            raise _unknown(move.repository, move.tag)
        await move_tag(tx, act, known, move.repository, Move(move.tag, old, None, act.actor, act.via))

    await registry.database.transact(record)


async def roll_back(registry: Registry, caller: Caller, move: TagMove) -> TagDetailRow:
    """Point a tag at a digest of its own history: `move.digest`, or None for the one before its last move.

    Raises NameUnknown, ManifestUnknown, Unmet, PreconditionFailed, Denied, and Conflict where nothing is left to go to.
    """
    act = _act(registry, caller, VIA_ROLLBACK)

    async def record(tx: Tx) -> TagDetailRow:
        known = await get_repository(tx, move.repository)
        old = await _require_expected(tx, known, move)
        require(caller, act.snapshot, Action.TAG_MOVE if old else Action.TAG_CREATE, f"{move.repository}:{move.tag}")
        target = await _find_past(tx, known, move, old)
        await _point(tx, act, known, msgspec.structs.replace(move, digest=target), old)
        return await _get(tx, known, move.repository, move.tag)

    return await registry.database.transact(record)


def _act(registry: Registry, caller: Caller, via: str) -> Act:
    return msgspec.structs.replace(registry.act(caller), via=via)


def _unknown(repository: RepositoryName, tag: Tag) -> ManifestUnknown:
    return ManifestUnknown("the repository has no such tag", name=repository, reference=tag)


async def _get(tx: Tx, known: int, repository: RepositoryName, tag: Tag) -> TagDetailRow:
    row = await tags.find_tag_detail(tx, known, tag)
    if row is None:
        raise _unknown(repository, tag)
    return row


async def _require_expected(tx: Tx, known: int, move: TagMove) -> Digest | None:
    old = await tags.find_tag_digest(tx, known, move.tag)
    if move.expected is not UNSET and move.expected != old:
        raise PreconditionFailed("the tag is not where the request expects it", tag=move.tag, found=old)
    return old


async def _point(tx: Tx, act: Act, known: int, move: TagMove, old: Digest | None) -> None:
    digest = move.digest
    if digest is None or not await _is_there(tx, known, digest):
        raise Unmet("the repository has no such manifest; push it first", field="digest", name=move.repository)
    if digest == old:
        return
    await move_tag(tx, act, known, move.repository, Move(move.tag, old, digest, act.actor, act.via))


async def _find_past(tx: Tx, known: int, move: TagMove, old: Digest | None) -> Digest:
    if old is not None and move.digest == old:
        return old
    before = NEWEST
    while batch := await tags.list_tag_events(tx, known, move.tag, before, BATCH):
        left = [Digest(event.from_digest) for event in batch if event.from_digest]
        for digest in left:
            if digest == move.digest or (move.digest is None and digest != old and await _is_there(tx, known, digest)):
                return digest
        before = batch[-1].id
    if before == NEWEST:
        raise _unknown(move.repository, move.tag)
    raise Conflict("the history of this tag has no such digest to go back to", tag=move.tag, digest=move.digest)


async def _is_there(tx: Tx, known: int, digest: Digest) -> bool:
    return await repositories.has_member(tx, known, digest, "manifest")
