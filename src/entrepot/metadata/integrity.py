"""Rows about the soundness of bytes: when blobs were verified, which are damaged, and who scrubs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from entrepot.domain.digests import Digest
from entrepot.ports.database import Tx


class DueBlob(msgspec.Struct, frozen=True):
    """A blob and when it was verified last; times are microseconds since 1970, 0 for never."""

    digest: Digest
    size: int
    verified_at: int


class DamagedBlob(msgspec.Struct, frozen=True):
    """A blob that is served to nobody."""

    digest: Digest
    size: int
    verified_at: int


class ScrubRow(msgspec.Struct, frozen=True):
    """Who re-reads blobs until when, since when a round is asked for, and what all of them have read so far."""

    holder: str
    lease_until: int
    asked_at: int
    read_blobs: int
    read_bytes: int
    damaged_blobs: int
    unreadable_blobs: int


class Scrubbed(msgspec.Struct):
    """What a scrub has read since it last said so."""

    blobs: int = 0
    bytes: int = 0
    damaged: int = 0
    unreadable: int = 0


# From a manifest, or from what contains a blob, up through indexes to every tag of a repository that has one. Engines
# go up no further than the inner limit: an empty config may be in every image there is.
_BROKEN_TAGS = (
    "with recursive up(digest) as (select digest from manifest where digest = $1 "
    "union select parent from edge where child = $1 and kind <> 'subject' "
    "union select e.parent from edge e join up on e.child = up.digest where e.kind <> 'subject') "
    "select distinct r.name, t.name from (select digest from up limit 10000) as above "
    "join member m on m.digest = above.digest and m.kind = 'manifest' "
    "and m.deleted_at is null join tag t on t.repository = m.repository and t.digest = m.digest "
    "join repository r on r.id = t.repository order by r.name, t.name limit $2"
)


async def list_broken_tags(tx: Tx, digest: Digest, limit: int) -> list[str]:
    """`repository:tag` of what cannot be pulled whole without a blob or manifest, in order, `limit` at most."""
    return [f"{row[0]}:{row[1]}" for row in await tx.all(_BROKEN_TAGS, digest, limit)]


# The manifest itself counts whether or not it is there.
_TAGS_ABOVE = (
    "with recursive up(digest) as (select parent from edge where child = $1 and kind <> 'subject' "
    "union select e.parent from edge e join up on e.child = up.digest where e.kind <> 'subject') "
    "select distinct t.name from (select digest from (select digest from up limit 10000) as found "
    "union select cast($1 as text)) as above join tag t on t.repository = $2 and t.digest = above.digest "
    "order by t.name limit $3"
)


async def list_tags_above(tx: Tx, repository: int, digest: str, limit: int) -> list[str]:
    """Tags of a repository that lead to a digest, through indexes too, in order, `limit` at most."""
    return [row[0] for row in await tx.all(_TAGS_ABOVE, digest, repository, limit)]


async def list_blobs_by_digest(tx: Tx, after: str, limit: int) -> list[DueBlob]:
    """Blobs in the order of their digests, a page after `after`."""
    rows = await tx.all(
        "select digest, size, verified_at from blob where digest > $1 order by digest limit $2", after, limit
    )
    return [DueBlob(Digest(row[0]), row[1], row[2]) for row in rows]


async def list_due(tx: Tx, after: tuple[int, str], before: int, limit: int) -> list[DueBlob]:
    """Blobs verified before a time, the oldest verification first, a page after (verified_at, digest)."""
    rows = await tx.all(
        "select digest, size, verified_at from blob where (verified_at, digest) > ($1, $2) and verified_at < $3 "
        "order by verified_at, digest limit $4",
        *after,
        before,
        limit,
    )
    return [DueBlob(Digest(row[0]), row[1], row[2]) for row in rows]


async def list_sound(tx: Tx, but: Digest, limit: int) -> list[Digest]:
    """Blobs in service that are not empty, without one: as many verified last as verified the longest ago."""
    found: dict[str, None] = {}
    for order in ("desc", "asc"):
        rows = await tx.all(
            "select digest from blob where state = 'good' and size > 0 and digest <> $1 "
            f"order by verified_at {order}, digest {order} limit $2",
            but,
            limit,
        )
        found.update((row[0], None) for row in rows)
    return [Digest(each) for each in found]


async def set_verified(tx: Tx, digests: Iterable[Digest], now: int) -> None:
    """Note that these blobs were read whole and found as they should be, or found damaged and put aside."""
    for digest in digests:
        await tx.execute("update blob set verified_at = $1 where digest = $2", now, digest)


async def list_damaged(tx: Tx, after: str, limit: int) -> list[DamagedBlob]:
    """Blobs that are served to nobody in the order of their digests, a page after `after`."""
    rows = await tx.all(
        "select digest, size, verified_at from blob where state <> 'good' and digest > $1 order by digest limit $2",
        after,
        limit,
    )
    return [DamagedBlob(Digest(row[0]), row[1], row[2]) for row in rows]


async def count_damaged(tx: Tx, most: int) -> int:
    """How many blobs are served to nobody, counted up to `most`."""
    row = await tx.one("select count(*) from (select 1 from blob where state <> 'good' limit $1) as damaged", most)
    return int(row[0]) if row else 0


async def count_due(tx: Tx, before: int, most: int) -> int:
    """How many blobs were verified before a time, counted up to `most`."""
    row = await tx.one("select count(*) from (select 1 from blob where verified_at < $1 limit $2) as due", before, most)
    return int(row[0]) if row else 0


async def find_oldest(tx: Tx) -> int | None:
    """When the blob that was verified the longest ago was verified, or pushed if never; None without any blob."""
    row = await tx.one("select verified_at, created_at from blob order by verified_at, digest limit 1")
    return None if row is None else int(row[0] or row[1])


async def count_locations(tx: Tx) -> int:
    """How many keys blobs lie under."""
    row = await tx.one("select count(*) from location")
    return int(row[0]) if row else 0


async def find_scrub(tx: Tx) -> ScrubRow:
    """The one row about scrubbing."""
    row = await tx.one(
        "select holder, lease_until, asked_at, read_blobs, read_bytes, damaged_blobs, unreadable_blobs "
        "from scrub where id = 1"
    )
    return ScrubRow(*row) if row else ScrubRow("", 0, 0, 0, 0, 0, 0)


async def take_scrub(tx: Tx, holder: str, now: int, until: int) -> bool:
    """Be the one that scrubs, or go on being it, until a time; False while somebody else is."""
    return 0 < await tx.execute(
        "update scrub set holder = $1, lease_until = $2 where id = 1 and (holder = $1 or lease_until < $3)",
        holder,
        until,
        now,
    )


async def release_scrub(tx: Tx, holder: str) -> None:
    """Let somebody else scrub at once."""
    await tx.execute("update scrub set lease_until = 0 where id = 1 and holder = $1", holder)


async def ask_scrub(tx: Tx, now: int) -> None:
    """Let every blob that was verified before now be read again."""
    await tx.execute("update scrub set asked_at = $1 where id = 1", now)


async def add_scrubbed(tx: Tx, done: Scrubbed) -> None:
    """Count what was read."""
    await tx.execute(
        "update scrub set read_blobs = read_blobs + $1, read_bytes = read_bytes + $2, "
        "damaged_blobs = damaged_blobs + $3, unreadable_blobs = unreadable_blobs + $4 where id = 1",
        done.blobs,
        done.bytes,
        done.damaged,
        done.unreadable,
    )
