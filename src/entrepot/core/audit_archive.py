"""Old days of the audit log: moved into the store as zstd JSON lines, read from there, and in the end removed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from entrepot.core.audit import flush_audit
from entrepot.core.registry import SECOND, Registry
from entrepot.core.upload import DISCARD
from entrepot.domain.audit import DAY, REGISTRY, SYSTEM, Category, Linked, Run, new_record, runs_of
from entrepot.domain.errors import BlobUnknown, Conflict, Unavailable
from entrepot.domain.json import render_json
from entrepot.metadata import audit_records, audit_segments, jobs
from entrepot.metadata.audit_segments import NewSegment, SegmentRow
from entrepot.ports.database import Tx

PREFIX: Final = "audit"
SEGMENT: Final = 5_000
# Other jobs wait meanwhile: what is left is for the next time.
MOST_SEGMENTS: Final = 100
MOST_NAMES: Final = 500
REMOVED: Final = "audit.removed"


class Summary(msgspec.Struct, frozen=True):
    """What stays of a segment when its bytes go: how many records, and which stretches of which chains."""

    records: int
    runs: tuple[Run, ...]


async def archive(registry: Registry) -> int:
    """A job: move days that are old enough into the store, and remove those that are too old; how many segments moved.

    Raises Unavailable, StorageFull.
    """
    today, rules = registry.clock.now() // DAY, registry.rules
    moved = 0
    while moved < MOST_SEGMENTS:
        day = await registry.database.read(audit_segments.find_oldest_day)
        if day is None or day >= today - rules.audit_days_in_database or not await _move(registry, day):
            break
        moved += 1
    if rules.audit_keep_days:
        await _expire(registry, today - rules.audit_keep_days)
    return moved


async def read_segment(registry: Registry, row: SegmentRow) -> list[Linked]:
    """The records of a segment, the oldest first. Raises Unavailable where the bytes are gone or changed."""
    try:
        content = b"".join(
            [chunk for key, size in _pieces_of(row) async for chunk in registry.store.read(key, 0, size)]
        )
    except BlobUnknown:
        raise _unreadable(row, "its bytes are gone") from None
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != row.new.digest:
        raise _unreadable(row, "its bytes were changed")
    try:
        records = await asyncio.to_thread(_unpack, content)
    except ValueError:
        raise _unreadable(row, "its bytes are no records") from None
    if not records:
        raise _unreadable(row, "it holds nothing")
    return records


def is_whole(row: SegmentRow, records: list[Linked]) -> bool:
    """Whether the records that a segment holds are those of its day, and all that is known of it is of them."""
    is_of_day = all(each.record.day == row.new.day for each in records)
    return is_of_day and describe(records) == msgspec.structs.replace(row.new, pieces="", digest="")


def describe(records: list[Linked]) -> NewSegment:
    """What is known of a segment with these records, but for where they lie."""
    return NewSegment(
        day=records[0].record.day,
        pieces="",
        digest="",
        records=len(records),
        first_id=records[0].id,
        last_id=records[-1].id,
        actors=_names({each.record.actor for each in records}),
        namespaces=_names({each.record.namespace for each in records}),
        summary=render_json(Summary(len(records), runs_of(records))).decode(),
    )


def summary_of(row: SegmentRow) -> Summary:
    """The summary of a segment. Raises msgspec.MsgspecError for one that nobody here wrote."""
    return msgspec.json.decode(row.new.summary, type=Summary)


def may_hold(names: str, name: str) -> bool:
    """Whether a name may be among those of a segment."""
    listed = msgspec.json.decode(names, type=list[str] | None)
    return listed is None or name in listed


async def _move(registry: Registry, day: int) -> bool:
    """One segment; whether it could be made."""
    records = await registry.database.read(lambda tx: audit_records.list_of_day(tx, day, SEGMENT))
    if any(not each.chain for each in records):
        await flush_audit(registry)
        records = await registry.database.read(lambda tx: audit_records.list_of_day(tx, day, SEGMENT))
    if not records or any(not each.chain for each in records):
        return False
    content = await asyncio.to_thread(_pack, records)
    written = await registry.store.write(PREFIX, _once(content), "sha256")
    await registry.store.settle(written.keys)
    pieces = render_json([(piece.key, piece.size) for piece in written.pieces]).decode()
    new = msgspec.structs.replace(describe(records), day=day, pieces=pieces, digest=written.digest)

    async def record(tx: Tx) -> None:
        if await audit_segments.add_segment(tx, new) != new.records:
            raise Conflict("another process archives the same day")

    try:
        await registry.database.transact(record)
    except Conflict:
        await registry.store.delete(written.keys)
        return False
    return True


async def _expire(registry: Registry, before: int) -> None:
    rows = await registry.database.read(lambda tx: audit_segments.list_expired_segments(tx, before, MOST_SEGMENTS))
    for row in rows:
        await registry.database.transact(lambda tx: _remove(tx, registry, row))  # noqa: B023 - awaited before the next


async def _remove(tx: Tx, registry: Registry, row: SegmentRow) -> None:
    now = registry.clock.now()
    detail = {"segment": row.id, "day": row.new.day, "records": row.new.records}
    removal = new_record(Category.AUDIT, REMOVED, now, (REGISTRY, SYSTEM), str(row.id))
    await audit_segments.set_removed(tx, row.id, now)
    await audit_records.add_record(tx, msgspec.structs.replace(removal, detail=render_json(detail).decode()))
    keys = [key for key, _ in _pieces_of(row)]
    if keys:
        # Whoever reads or verifies it meanwhile can end.
        await jobs.add_job(tx, DISCARD, keys[0], keys, now + registry.rules.discard_seconds * SECOND)


def _pieces_of(row: SegmentRow) -> list[tuple[str, int]]:
    try:
        return msgspec.json.decode(row.new.pieces, type=list[tuple[str, int]])
    except msgspec.MsgspecError:
        raise _unreadable(row, "nobody knows where its bytes are") from None


def _pack(records: list[Linked]) -> bytes:
    from backports import zstd  # noqa: PLC0415 - only whoever archives or looks into old days needs it

    return zstd.compress(msgspec.json.Encoder().encode_lines(records))


def _unpack(content: bytes) -> list[Linked]:
    from backports import zstd  # noqa: PLC0415

    try:
        return msgspec.json.Decoder(Linked).decode_lines(zstd.decompress(content))
    except (zstd.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(str(error)) from error


def _names(names: set[str]) -> str:
    return render_json(sorted(names) if len(names) <= MOST_NAMES else None).decode()


def _unreadable(row: SegmentRow, why: str) -> Unavailable:
    return Unavailable(f"part {row.id} of the archived audit log cannot be read: {why}", segment=row.id)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
