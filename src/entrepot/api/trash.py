"""What was deleted and can be brought back: `/repositories/…/trash`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, DigestText, Document, time_of
from entrepot.core import trash
from entrepot.core.trash import Trashed
from entrepot.domain.digests import parse_digest
from entrepot.domain.names import parse_repository_name


class Deleted(Answer, frozen=True):
    """A deleted `manifest` or `blob`, which can be brought back `until` then; `tags` are those that went with it."""

    digest: str
    kind: str
    media_type: str
    size: int
    tags: list[str]
    deleted_at: datetime
    until: datetime


class Trash(Answer, frozen=True):
    """A page of what was deleted, in the order of the digests."""

    trash: list[Deleted]


class Restore(Document, frozen=True):
    """What is to be brought back."""

    digest: DigestText


class Restored(Answer, frozen=True):
    """What was brought back, as `manifest`, `blob` or both, and the tags that point at it again.

    `contents` are the other digests that it needs, had been deleted as well, and came back with it.
    """

    digest: str
    kinds: list[str]
    tags: list[str]
    contents: list[str]


def _deleted(found: Trashed) -> Deleted:
    row, names = found.row, [str(tag) for tag in found.tags]
    return Deleted(row.digest, row.kind, row.media_type, row.size, names, time_of(row.deleted_at), time_of(row.until))


async def list_page(registry: TheRegistry, repository: InPath, names: Names) -> Response[Trash]:
    """What was deleted in a repository and can be brought back."""
    found, following = await trash.list_trash(registry, parse_repository_name(repository), names.page)
    return names.answer(Trash([_deleted(each) for each in found]), following)


async def restore(registry: TheRegistry, caller: TheCaller, repository: InPath, data: JSONBody[Restore]) -> Restored:
    """Bring a deleted manifest or blob back, with what it needs and the tags that point nowhere now."""
    found = await trash.restore(registry, caller, parse_repository_name(repository), parse_digest(data.digest))
    return Restored(found.digest, list(found.kinds), [str(tag) for tag in found.tags], list(found.contents))
