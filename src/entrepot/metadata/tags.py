"""Rows of tags and the events of their moves."""

from __future__ import annotations

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.names import RepositoryName, Tag
from entrepot.ports.database import Tx


class TagRow(msgspec.Struct, frozen=True):
    """A tag as stored; `moved_at` is microseconds since 1970."""

    name: str
    kind: str
    digest: str
    generation: int
    moved_at: int


class TagEventRow(msgspec.Struct, frozen=True):
    """One move of a tag: None stands for "was not there" and "was deleted"."""

    id: int
    name: str
    from_digest: str | None
    to_digest: str | None
    actor: str
    via: str
    at: int


async def find_tag_digest(tx: Tx, repository: int, tag: Tag) -> Digest | None:
    """Where a tag points."""
    row = await tx.one("select digest from tag where repository = $1 and name = $2", repository, tag)
    return None if row is None else Digest(row[0])


async def list_tag_names(tx: Tx, repository: RepositoryName, after: str, limit: int) -> list[str]:
    """Names of tags in byte order, a page after `after`."""
    rows = await tx.all(
        "select t.name from repository r join tag t on t.repository = r.id "
        "where r.name = $1 and t.name > $2 order by t.name limit $3",
        repository,
        after,
        limit,
    )
    return [row[0] for row in rows]


async def list_tags(tx: Tx, repository: int, after: str, limit: int) -> list[TagRow]:
    """Tags in byte order, a page after `after`."""
    rows = await tx.all(
        "select name, kind, digest, generation, moved_at from tag "
        "where repository = $1 and name > $2 order by name limit $3",
        repository,
        after,
        limit,
    )
    return [TagRow(*row) for row in rows]


async def list_tags_of(tx: Tx, repository: int, digest: Digest) -> list[Tag]:
    """The tags that point at a digest."""
    rows = await tx.all("select name from tag where repository = $1 and digest = $2 order by name", repository, digest)
    return [Tag(row[0]) for row in rows]


async def point(tx: Tx, repository: int, tag: Tag, digest: Digest, now: int) -> None:
    """Make a tag point at a digest."""
    await tx.execute(
        "insert into tag (repository, name, digest, generation, moved_at) values ($1, $2, $3, 1, $4) "
        "on conflict (repository, name) do update set digest = $3, generation = tag.generation + 1, moved_at = $4",
        repository,
        tag,
        digest,
        now,
    )


async def delete_tag(tx: Tx, repository: int, tag: Tag) -> None:
    """Remove the pointer, and nothing else."""
    await tx.execute("delete from tag where repository = $1 and name = $2", repository, tag)


class Move(msgspec.Struct, frozen=True):
    """What an event of a tag tells: from where, to where, by whom and by which way."""

    tag: Tag
    from_digest: Digest | None
    to_digest: Digest | None
    actor: str
    via: str


async def add_tag_event(tx: Tx, repository: int, move: Move, now: int) -> None:
    """Remember a move for ever."""
    await tx.execute(
        "insert into tag_event (repository, name, from_digest, to_digest, actor, via, at) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        repository,
        move.tag,
        move.from_digest,
        move.to_digest,
        move.actor,
        move.via,
        now,
    )


async def list_tag_events(tx: Tx, repository: int, tag: Tag, before: int, limit: int) -> list[TagEventRow]:
    """Moves of a tag, the newest first, a page below the id `before`."""
    rows = await tx.all(
        "select id, name, from_digest, to_digest, actor, via, at from tag_event "
        "where repository = $1 and name = $2 and id < $3 order by id desc limit $4",
        repository,
        tag,
        before,
        limit,
    )
    return [TagEventRow(*row) for row in rows]


class TagDetailRow(msgspec.Struct, frozen=True):
    """A tag with what it points at; `size` is that of the manifest itself, in bytes."""

    name: str
    digest: str
    generation: int
    moved_at: int
    media_type: str
    size: int


class DeletedTagRow(msgspec.Struct, frozen=True):
    """A tag that was deleted, and the manifest that it left, which is there still.

    `until` is how long its history keeps that, 0 where only something else does; times are microseconds since 1970.
    """

    name: str
    digest: str
    actor: str
    via: str
    deleted_at: int
    until: int


# `cross join` keeps SQLite's planner to this order: what is there, and not every tag that ever was. What the newest
# event of a tag says holds now.
_DELETED = (
    "select e.name, e.from_digest, e.actor, e.via, e.at, coalesce((select max(p.until) from pin p "
    "where p.repository = e.repository and p.digest = e.from_digest and p.reason = 'history' and p.holder = e.name "
    "and p.until > $1), 0) from member m cross join tag_event e where m.repository = $2 and m.kind = 'manifest' "
    "and m.deleted_at is null and e.repository = m.repository and e.from_digest = m.digest and e.to_digest is null "
    "and e.name > $3 and not exists (select 1 from tag_event l where l.repository = e.repository and l.name = e.name "
    "and l.id > e.id) and not exists (select 1 from tag t where t.repository = e.repository and t.name = e.name) "
    "order by e.name limit $4"
)


async def list_deleted_tags(tx: Tx, repository: int, now: int, page: tuple[str, int]) -> list[DeletedTagRow]:
    """Tags that were deleted and can go back to where they pointed last, in byte order, a page (after, limit)."""
    after, limit = page
    return [DeletedTagRow(*row) for row in await tx.all(_DELETED, now, repository, after, limit)]


_DETAIL = (
    "select t.name, t.digest, t.generation, t.moved_at, m.media_type, length(m.raw) "
    "from tag t join manifest m on m.digest = t.digest where t.repository = $1 and t.name "
)


async def list_tag_details(tx: Tx, repository: int, after: str, limit: int) -> list[TagDetailRow]:
    """Tags with what they point at, in byte order, a page after `after`."""
    rows = await tx.all(f"{_DETAIL}> $2 order by t.name limit $3", repository, after, limit)
    return [TagDetailRow(*row) for row in rows]


async def find_tag_detail(tx: Tx, repository: int, tag: Tag) -> TagDetailRow | None:
    """A tag with what it points at."""
    row = await tx.one(f"{_DETAIL}= $2", repository, tag)
    return None if row is None else TagDetailRow(*row)
