"""Questions that an audit asks: pages over whole tables, each a short read that holds no snapshot open."""

from __future__ import annotations

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.manifest import EdgeKind
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece


class AuditedTag(msgspec.Struct, frozen=True):
    """A tag, and whether what it points at is there and live in its repository."""

    repository: int
    repository_name: str
    name: str
    digest: str
    has_manifest: bool
    has_member: bool


class AuditedMember(msgspec.Struct, frozen=True):
    """A live member, and whether the content of that kind is there."""

    repository: int
    repository_name: str
    digest: str
    kind: str
    has_content: bool


class AuditedBlob(msgspec.Struct, frozen=True):
    """A blob with its locations as one statement saw them, whether or not they agree."""

    size: int
    is_good: bool
    pieces: tuple[Piece, ...]


# Left joins keep both planners to one walk along the primary key.
_TAGS = (
    "select t.repository, r.name, t.name, t.digest, m.digest is not null, b.digest is not null from tag t "
    "left join repository r on r.id = t.repository left join manifest m on m.digest = t.digest "
    "left join member b on b.repository = t.repository and b.digest = t.digest and b.kind = 'manifest' "
    "and b.deleted_at is null where (t.repository, t.name) > ($1, $2) order by t.repository, t.name limit $3"
)
_MEMBERS = (
    "select b.repository, r.name, b.digest, b.kind, m.digest is not null or x.digest is not null from member b "
    "left join repository r on r.id = b.repository "
    "left join manifest m on m.digest = b.digest and b.kind = 'manifest' "
    "left join blob x on x.digest = b.digest and b.kind = 'blob' "
    "where (b.repository, b.digest, b.kind) > ($1, $2, $3) and b.deleted_at is null "
    "order by b.repository, b.digest, b.kind limit $4"
)
# An index may also list blobs: BuildKit's cache export does.
_UNKNOWN = (
    "select e.child from edge e where e.parent = $1 and e.kind <> 'subject' and not exists ("
    "select 1 from member k where k.repository = $2 and k.digest = e.child and k.deleted_at is null "
    "and (k.kind = 'blob' or e.kind = 'manifest')) and exists (select 1 from member m "
    "where m.repository = $2 and m.digest = $1 and m.kind = 'manifest' and m.deleted_at is null)"
)


async def list_tags(tx: Tx, after: tuple[int, str], limit: int) -> list[AuditedTag]:
    """Tags of all repositories in order, a page after (repository, name)."""
    rows = await tx.all(_TAGS, *after, limit)
    return [AuditedTag(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5])) for row in rows]


async def list_members(tx: Tx, after: tuple[int, str, str], limit: int) -> list[AuditedMember]:
    """Live members of all repositories in order, a page after (repository, digest, kind)."""
    rows = await tx.all(_MEMBERS, *after, limit)
    return [AuditedMember(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


async def list_unknown_children(tx: Tx, repository: int, parent: str) -> list[str]:
    """What a manifest names besides its subject and its repository does not know; nothing once it does not know it."""
    return [row[0] for row in await tx.all(_UNKNOWN, parent, repository)]


async def list_manifests(tx: Tx, after: str, limit: int) -> list[str]:
    """Digests of manifests in order, a page after `after`."""
    rows = await tx.all("select digest from manifest where digest > $1 order by digest limit $2", after, limit)
    return [row[0] for row in rows]


async def find_raw(tx: Tx, digest: str) -> tuple[str, bytes] | None:
    """(media type, bytes) of a manifest."""
    row = await tx.one("select media_type, raw from manifest where digest = $1", digest)
    return None if row is None else (row[0], row[1])


async def find_parent_raw(tx: Tx, child: str) -> tuple[str, bytes] | None:
    """(media type, bytes) of one manifest that contains a digest."""
    row = await tx.one(
        "select m.media_type, m.raw from edge e join manifest m on m.digest = e.parent "
        "where e.child = $1 and e.kind <> 'subject' limit 1",
        child,
    )
    return None if row is None else (row[0], row[1])


async def list_children(tx: Tx, parent: str) -> set[tuple[str, EdgeKind]]:
    """(digest, kind) of every edge out of a manifest."""
    return {(row[0], row[1]) for row in await tx.all("select child, kind from edge where parent = $1", parent)}


async def find_blob(tx: Tx, digest: Digest) -> AuditedBlob | None:
    """A blob with its locations, if it is still there."""
    rows = await tx.all(
        "select b.size, b.state, l.key, l.size from blob b left join location l on l.blob = b.digest "
        "where b.digest = $1 order by l.ordinal",
        digest,
    )
    if not rows:
        return None
    pieces = tuple(Piece(row[2], row[3]) for row in rows if row[2] is not None)
    return AuditedBlob(rows[0][0], rows[0][1] == "good", pieces)


async def sum_blobs(tx: Tx) -> int:
    """Bytes of all blobs together."""
    row = await tx.one("select coalesce(sum(size), 0) from blob")
    return int(row[0]) if row else 0


async def list_location_keys(tx: Tx, after: tuple[str, int], limit: int) -> list[tuple[str, int, str]]:
    """(blob, ordinal, key) of locations in order, a page after (blob, ordinal)."""
    rows = await tx.all(
        "select blob, ordinal, key from location where (blob, ordinal) > ($1, $2) order by blob, ordinal limit $3",
        *after,
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def list_segment_keys(tx: Tx, after: tuple[str, int], limit: int) -> list[tuple[str, int, str]]:
    """(upload, ordinal, key) of the segments of unfinished uploads in order, a page after (upload, ordinal)."""
    rows = await tx.all(
        "select upload, ordinal, key from segment where (upload, ordinal) > ($1, $2) order by upload, ordinal limit $3",
        *after,
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def list_uploads(tx: Tx, after: str, limit: int) -> list[str]:
    """Unfinished uploads in order, a page after `after`."""
    return [row[0] for row in await tx.all("select id from upload where id > $1 order by id limit $2", after, limit)]


async def list_discards(tx: Tx, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, keys as JSON) of the jobs that are yet to delete bytes, a page after an id."""
    rows = await tx.all(
        "select id, payload from job where id > $1 and kind = 'store.discard' and state <> 'dead' order by id limit $2",
        after,
        limit,
    )
    return [(row[0], row[1]) for row in rows]
