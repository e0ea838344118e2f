"""Rows of archived parts of days, and what moves records out of the table of today."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.ports.database import Row, Tx


class NewSegment(msgspec.Struct, frozen=True):
    """Records of one day in the store: where, how many, their ids; who and what is in them; their stretches of chains.

    `pieces` is a JSON list of (key, size). `actors` and `namespaces` are JSON lists; "null" says that there are too
    many to tell.
    """

    day: int
    pieces: str
    digest: str
    records: int
    first_id: int
    last_id: int
    actors: str
    namespaces: str
    summary: str


class SegmentRow(msgspec.Struct, frozen=True):
    """A segment as stored. `sealed` is the root that holds it, 0 for none yet; `removed_at` is when its bytes went."""

    id: int
    new: NewSegment
    sealed: int
    removed_at: int | None


_COLUMNS: Final = "day, pieces, digest, records, first_id, last_id, actors, namespaces, summary"
_SELECT: Final = f"select id, {_COLUMNS}, sealed, removed_at from audit_segment"


def _segment(row: Row) -> SegmentRow:
    return SegmentRow(row[0], NewSegment(*row[1:10]), row[10], row[11])


async def find_oldest_day(tx: Tx) -> int | None:
    """The oldest day of which records are still in the database."""
    row = await tx.one("select day from audit order by day, id limit 1")
    return None if row is None else int(row[0])


async def add_segment(tx: Tx, new: NewSegment) -> int:
    """Add a segment and forget the records that it holds; how many there were."""
    await tx.execute(
        f"insert into audit_segment ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        *msgspec.structs.astuple(new),
    )
    return await tx.execute(
        "delete from audit where day = $1 and id >= $2 and id <= $3", new.day, new.first_id, new.last_id
    )


async def list_segments(tx: Tx, span: tuple[int, tuple[int, int]], limit: int) -> list[SegmentRow]:
    """Segments that are still there, the newest first, from a day on, with records before a place (day, id)."""
    oldest, (day, number) = span
    rows = await tx.all(
        f"{_SELECT} where day >= $1 and (day, first_id) < ($2, $3) and removed_at is null "
        "order by day desc, last_id desc limit $4",
        oldest,
        day,
        number,
        limit,
    )
    return [_segment(row) for row in rows]


async def list_all_segments(tx: Tx, after: int, limit: int) -> list[SegmentRow]:
    """Every segment by id, a page."""
    return [_segment(row) for row in await tx.all(f"{_SELECT} where id > $1 order by id limit $2", after, limit)]


async def list_unsealed_segments(tx: Tx, limit: int) -> list[SegmentRow]:
    """Segments that no root holds yet and that are still there."""
    rows = await tx.all(f"{_SELECT} where sealed = 0 and removed_at is null order by id limit $1", limit)
    return [_segment(row) for row in rows]


async def set_segment_sealed(tx: Tx, segment: int, root: int) -> None:
    """Remember which root holds a segment."""
    await tx.execute("update audit_segment set sealed = $1 where id = $2", root, segment)


async def list_expired_segments(tx: Tx, before: int, limit: int) -> list[SegmentRow]:
    """Sealed segments of days before one that are still there."""
    rows = await tx.all(
        f"{_SELECT} where day < $1 and removed_at is null and sealed > 0 order by day, last_id limit $2", before, limit
    )
    return [_segment(row) for row in rows]


async def set_removed(tx: Tx, segment: int, now: int) -> None:
    """Remember that the bytes of a segment go; what it says of chains stays."""
    await tx.execute("update audit_segment set removed_at = $1 where id = $2", now, segment)


async def list_segment_pieces(tx: Tx, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, pieces) of segments that are still in the store, a page."""
    rows = await tx.all(
        "select id, pieces from audit_segment where id > $1 and removed_at is null order by id limit $2", after, limit
    )
    return [(row[0], row[1]) for row in rows]


async def find_last_change(tx: Tx) -> tuple[int, int]:
    """The id of the newest segment, and when one was last removed; 0 where there is none."""
    row = await tx.one("select coalesce(max(id), 0), coalesce(max(removed_at), 0) from audit_segment")
    return (0, 0) if row is None else (row[0], row[1])
