"""Tags: `/repositories/…/tags`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from entrepot.api.request import Expected, Ids, InPath, Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, DigestText, Document, time_of
from entrepot.core import tags
from entrepot.core.tags import PastMove, TagMove
from entrepot.domain.digests import Digest, parse_digest
from entrepot.domain.names import parse_repository_name, parse_tag
from entrepot.metadata.tags import DeletedTagRow, TagDetailRow


class Tag(Answer, frozen=True):
    """A movable name for a manifest. `size` is that of the manifest in bytes; `generation` counts the moves."""

    name: str
    digest: str
    media_type: str
    size: int
    generation: int
    moved_at: datetime


class Tags(Answer, frozen=True):
    """A page of tags, in byte order."""

    tags: list[Tag]


class TagEvent(Answer, frozen=True, rename={"from_": "from"}):
    """One move. `from` is null where the tag was new, `to` where it was deleted.

    `via` is the way: `oci` for a push or delete of a client, `api`, or `rollback`. `restorable` says whether the
    digest that the tag left is still in the repository.
    """

    id: int
    from_: str | None
    to: str | None
    actor: str
    via: str
    at: datetime
    restorable: bool


class History(Answer, frozen=True):
    """A page of moves, the newest first."""

    events: list[TagEvent]


class DeletedTag(Answer, frozen=True):
    """A tag that was deleted and can be rolled back to `digest`, which it pointed at.

    Its history keeps that manifest `until` then; null where only something else keeps it, such as another tag.
    """

    name: str
    digest: str
    actor: str
    via: str
    deleted_at: datetime
    until: datetime | None


class DeletedTags(Answer, frozen=True):
    """A page of deleted tags, in byte order."""

    tags: list[DeletedTag]


class NewTarget(Document, frozen=True):
    """Where the tag is to point. `expected` is where it must stand now, null for not there at all; else 412."""

    digest: DigestText
    expected: DigestText | UnsetType | None = UNSET


class Rollback(Document, frozen=True):
    """A former digest of the tag; without `digest`, the one before its last move. `expected` as for a move."""

    digest: DigestText | None = None
    expected: DigestText | UnsetType | None = UNSET


def _tag(row: TagDetailRow) -> Tag:
    return Tag(row.name, row.digest, row.media_type, row.size, row.generation, time_of(row.moved_at))


def _deleted(row: DeletedTagRow) -> DeletedTag:
    until = time_of(row.until) if row.until else None
    return DeletedTag(row.name, row.digest, row.actor, row.via, time_of(row.deleted_at), until)


def _event(move: PastMove) -> TagEvent:
    event = move.event
    at = time_of(event.at)
    return TagEvent(event.id, event.from_digest, event.to_digest, event.actor, event.via, at, move.is_restorable)


def _expected(text: str | UnsetType | None) -> Digest | UnsetType | None:
    return parse_digest(text) if isinstance(text, str) else text


async def list_page(registry: TheRegistry, repository: InPath, names: Names) -> Response[Tags]:
    """The tags of a repository with what they point at, in byte order."""
    rows, following = await tags.list_tags(registry, parse_repository_name(repository), names.page)
    return names.answer(Tags([_tag(row) for row in rows]), following)


async def list_deleted(registry: TheRegistry, repository: InPath, names: Names) -> Response[DeletedTags]:
    """The tags of a repository that were deleted and can be rolled back, in byte order."""
    rows, following = await tags.list_deleted(registry, parse_repository_name(repository), names.page)
    return names.answer(DeletedTags([_deleted(row) for row in rows]), following)


async def get(registry: TheRegistry, repository: InPath, tag: InPath) -> Tag:
    """One tag with what it points at."""
    return _tag(await tags.get_tag(registry, parse_repository_name(repository), parse_tag(tag)))


async def list_history(registry: TheRegistry, repository: InPath, tag: InPath, ids: Ids) -> Response[History]:
    """Every move of a tag, the newest first; also of one that was deleted."""
    name = parse_repository_name(repository)
    moves, following = await tags.list_history(registry, name, parse_tag(tag), (ids.after or None, ids.limit))
    return ids.answer(History([_event(move) for move in moves]), following)


async def put(
    registry: TheRegistry, caller: TheCaller, repository: InPath, tag: InPath, data: JSONBody[NewTarget]
) -> Tag:
    """Point a tag at a manifest of the repository, if it stands where `expected` says."""
    digest, expected = parse_digest(data.digest), _expected(data.expected)
    move = TagMove(parse_repository_name(repository), parse_tag(tag), digest, expected)
    return _tag(await tags.put_tag(registry, caller, move))


async def remove(
    registry: TheRegistry, caller: TheCaller, repository: InPath, tag: InPath, expected: Expected = ""
) -> None:
    """Remove a tag; its manifest stays, as history."""
    wanted = parse_digest(expected) if expected else UNSET
    move = TagMove(parse_repository_name(repository), parse_tag(tag), None, wanted)
    await tags.remove_tag(registry, caller, move)


async def roll_back(
    registry: TheRegistry, caller: TheCaller, repository: InPath, tag: InPath, data: JSONBody[Rollback]
) -> Tag:
    """Point a tag at a digest of its own history that is still there."""
    digest = parse_digest(data.digest) if data.digest else None
    move = TagMove(parse_repository_name(repository), parse_tag(tag), digest, _expected(data.expected))
    return _tag(await tags.roll_back(registry, caller, move))
