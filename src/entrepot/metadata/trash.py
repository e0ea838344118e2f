"""Rows of what was deleted and can still be brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.names import Tag
from entrepot.metadata.repositories import QUESTION_SIZE, MemberKind
from entrepot.ports.database import Tx


class TrashRow(msgspec.Struct, frozen=True):
    """A deleted manifest or blob; `media_type` is empty for a blob, `size` in bytes, times microseconds since 1970."""

    digest: str
    kind: str
    deleted_at: int
    until: int
    media_type: str
    size: int


# What is both is listed as the manifest; `manifest` is the greater word.
_LIST: Final = (
    "select p.digest, m.kind, m.deleted_at, p.until, coalesce(f.media_type, ''), coalesce(length(f.raw), b.size, 0) "
    "from pin p join member m on m.repository = p.repository and m.digest = p.digest and m.kind = ("
    "select max(o.kind) from member o where o.repository = p.repository and o.digest = p.digest "
    "and o.deleted_at is not null) "
    "left join manifest f on f.digest = m.digest and m.kind = 'manifest' left join blob b on b.digest = m.digest "
    "where p.repository = $1 and p.reason = 'trash' and p.until > $2 and p.digest > $3 order by p.digest limit $4"
)


async def list_trash(tx: Tx, repository: int, now: int, after: str, limit: int) -> list[TrashRow]:
    """What can be brought back, in the order of the digests, a page after one."""
    return [TrashRow(*row) for row in await tx.all(_LIST, repository, now, after, limit)]


async def list_deleted(tx: Tx, repository: int, digest: Digest, now: int) -> list[tuple[MemberKind, int]]:
    """As what a digest was deleted and can be brought back, and when it was deleted."""
    rows = await tx.all(
        "select m.kind, m.deleted_at from member m join pin p on p.repository = m.repository and p.digest = m.digest "
        "and p.reason = 'trash' where m.repository = $1 and m.digest = $2 and m.deleted_at is not null "
        "and p.until > $3 order by m.kind",
        repository,
        digest,
        now,
    )
    return [(row[0], row[1]) for row in rows]


async def list_lost_tags(tx: Tx, repository: int, digest: Digest, at: int) -> list[Tag]:
    """The tags that went with a manifest when it was deleted."""
    rows = await tx.all(
        "select distinct name from tag_event where repository = $1 and from_digest = $2 and to_digest is null "
        "and at = $3 order by name",
        repository,
        digest,
        at,
    )
    return [Tag(row[0]) for row in rows]


async def list_hidden(tx: Tx, repository: int, digests: Sequence[Digest]) -> list[tuple[Digest, MemberKind]]:
    """Those of `digests` that were deleted in a repository and have their content still, as what, in order."""
    found: list[tuple[Digest, MemberKind]] = []
    for start in range(0, len(digests), QUESTION_SIZE):
        part = digests[start : start + QUESTION_SIZE]
        slots = ", ".join(f"${number}" for number in range(2, len(part) + 2))
        rows = await tx.all(
            "select m.digest, m.kind from member m left join manifest f on f.digest = m.digest and m.kind = 'manifest' "
            "left join blob b on b.digest = m.digest and m.kind = 'blob' and b.state = 'good' "
            "where m.repository = $1 and m.deleted_at is not null and coalesce(f.digest, b.digest) is not null "
            f"and m.digest in ({slots}) order by m.digest, m.kind",
            repository,
            *part,
        )
        found += [(Digest(row[0]), row[1]) for row in rows]
    return found
