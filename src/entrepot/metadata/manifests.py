"""Rows of manifests, their edges, and who refers to whom."""

from __future__ import annotations

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.manifest import Manifest
from entrepot.domain.names import Reference, RepositoryName, Tag
from entrepot.ports.database import Tx


class StoredManifest(msgspec.Struct, frozen=True):
    """A manifest as it was pushed; `raw` is empty where only its size was asked for.

    `is_stale`: from memory, while the database is away.
    """

    digest: str
    media_type: str
    size: int
    raw: bytes
    is_stale: bool = False


_BY_TAG = (
    "from repository r join tag t on t.repository = r.id and t.name = $2 join manifest m on m.digest = t.digest "
    "where r.name = $1"
)
_BY_DIGEST = (
    "from repository r join member b on b.repository = r.id and b.digest = $2 and b.kind = 'manifest' "
    "and b.deleted_at is null join manifest m on m.digest = b.digest where r.name = $1"
)
_GET_BY_TAG = f"select m.digest, m.media_type, length(m.raw), m.raw {_BY_TAG}"
_GET_BY_DIGEST = f"select m.digest, m.media_type, length(m.raw), m.raw {_BY_DIGEST}"
_HEAD_BY_TAG = f"select m.digest, m.media_type, length(m.raw) {_BY_TAG}"
_HEAD_BY_DIGEST = f"select m.digest, m.media_type, length(m.raw) {_BY_DIGEST}"


async def find_manifest(tx: Tx, repository: RepositoryName, reference: Reference) -> StoredManifest | None:
    """A manifest with its bytes, in one indexed read."""
    row = await tx.one(_GET_BY_TAG if isinstance(reference, Tag) else _GET_BY_DIGEST, repository, reference)
    return None if row is None else StoredManifest(row[0], row[1], row[2], row[3])


async def find_manifest_size(tx: Tx, repository: RepositoryName, reference: Reference) -> StoredManifest | None:
    """A manifest without its bytes, in one indexed read."""
    row = await tx.one(_HEAD_BY_TAG if isinstance(reference, Tag) else _HEAD_BY_DIGEST, repository, reference)
    return None if row is None else StoredManifest(row[0], row[1], row[2], b"")


async def add_manifest(tx: Tx, manifest: Manifest, now: int) -> bool:
    """A manifest with its edges, unless these very bytes are there; True where damaged ones were, which are healed."""
    # Looked at before it is written: PostgreSQL tells nobody of a conflict with an insert that did nothing, and the
    # collector might be forgetting these very bytes.
    known = await tx.one("select raw = $1 from manifest where digest = $2", manifest.raw, manifest.digest)
    if known is not None:
        is_damaged = not known[0]
        if is_damaged:
            await tx.execute("update manifest set raw = $1 where digest = $2", manifest.raw, manifest.digest)
            await put_edges(tx, manifest)
        return is_damaged
    is_new = await tx.execute(
        "insert into manifest (digest, media_type, artifact_type, raw, created_at) values ($1, $2, $3, $4, $5) "
        "on conflict (digest) do nothing",
        manifest.digest,
        manifest.media_type,
        manifest.artifact_type,
        manifest.raw,
        now,
    )
    if is_new:
        await put_edges(tx, manifest)
    return False


async def replace_raw(tx: Tx, digest: Digest, old: bytes, new: bytes) -> bool:
    """Store other bytes of a manifest, if it has these old ones."""
    return await tx.execute("update manifest set raw = $1 where digest = $2 and raw = $3", new, digest, old) > 0


async def put_edges(tx: Tx, manifest: Manifest) -> None:
    """Those edges of a manifest that are not there yet."""
    for edge in manifest.edges:
        is_subject = edge.kind == "subject"
        await tx.execute(
            "insert into edge (parent, child, kind, artifact_type, descriptor) values ($1, $2, $3, $4, $5) "
            "on conflict (parent, child, kind) do nothing",
            manifest.digest,
            edge.digest,
            edge.kind,
            manifest.artifact_type if is_subject else "",
            manifest.describe().decode() if is_subject else None,
        )


async def list_users_of_blob(tx: Tx, repository: int, digest: Digest, limit: int) -> list[str]:
    """Live manifests of a repository that name a blob as config or layer."""
    rows = await tx.all(
        "select e.parent from edge e join member m on m.digest = e.parent and m.repository = $1 "
        "and m.kind = 'manifest' and m.deleted_at is null "
        "where e.child = $2 and e.kind in ('config', 'layer') order by e.parent limit $3",
        repository,
        digest,
        limit,
    )
    return [row[0] for row in rows]


async def has_subject_there(tx: Tx, repository: int, digest: Digest) -> bool:
    """Whether a manifest is about another one that is live in a repository."""
    row = await tx.one(
        "select 1 from edge e cross join member m where e.parent = $1 and e.kind = 'subject' and m.repository = $2 "
        "and m.digest = e.child and m.kind = 'manifest' and m.deleted_at is null",
        digest,
        repository,
    )
    return row is not None


# `cross join` keeps SQLite's planner to this order: a range of the edges, then one look-up each.
_REFERRERS = (
    "select e.parent, e.descriptor from repository r cross join edge e cross join member m "
    "where r.name = $1 and e.child = $2 and e.kind = 'subject' and e.parent > $3 {filter}"
    "and m.repository = r.id and m.digest = e.parent and m.kind = 'manifest' and m.deleted_at is null "
    "order by e.parent limit $4"
)
_ALL_REFERRERS = _REFERRERS.format(filter="")
_FILTERED_REFERRERS = _REFERRERS.format(filter="and e.artifact_type = $5 ")


async def list_referrers(
    tx: Tx, repository: RepositoryName, subject: Digest, artifact_type: str | None, page: tuple[str, int]
) -> list[tuple[str, str]]:
    """(digest, descriptor as JSON) of the live referrers, a page (after, limit) in the order of their digests."""
    after, limit = page
    if artifact_type is None:
        rows = await tx.all(_ALL_REFERRERS, repository, subject, after, limit)
    else:
        rows = await tx.all(_FILTERED_REFERRERS, repository, subject, after, limit, artifact_type)
    return [(row[0], row[1]) for row in rows]
