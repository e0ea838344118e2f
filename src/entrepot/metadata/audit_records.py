"""Rows of the audit log: records, and the chains that they are linked into."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from entrepot.domain.audit import Head, Linked, Record
from entrepot.domain.json import render_json
from entrepot.ports.database import Row, Tx

# Binding so many at a time takes tens of microseconds, in which nothing else of the process goes on.
TOGETHER: Final = 25
FOREVER: Final = 2**31 - 1
LAST_ID: Final = 2**63 - 1
_FIELDS: Final = (
    "day, at, category, action, actor, account, subject, namespace, address, method, is_allowed, reasons, count, "
    "first_at, last_at, detail, chain, sequence, previous, hash"
)
_WIDTH: Final = len(_FIELDS.split(","))
_SELECT: Final = f"select id, {_FIELDS} from audit"


class ChainRow(msgspec.Struct, frozen=True):
    """A chain: where it ends, how far it is sealed, and how far it has been forwarded."""

    head: Head
    started_at: int
    sealed: int
    forwarded: int


@lru_cache(maxsize=2)
def _insert(count: int) -> str:
    rows = ("(" + ", ".join(f"${row * _WIDTH + column + 1}" for column in range(_WIDTH)) + ")" for row in range(count))
    return f"insert into audit ({_FIELDS}) values {', '.join(rows)}"


def row_of(record: Record, head: Head, previous: str) -> Row:
    """A record as `add_rows` takes it: with the head that it makes, and the hash before it."""
    return (
        record.day,
        record.at,
        record.category,
        record.action,
        record.actor,
        record.account,
        record.subject,
        record.namespace,
        record.address,
        record.method,
        int(record.is_allowed),
        render_json(record.reasons).decode(),
        record.count,
        record.first_at,
        record.last_at,
        record.detail,
        head.chain,
        head.sequence,
        previous,
        head.hash,
    )


def _linked(row: Row) -> Linked:
    number, day, at, category, action, actor, account, subject, namespace, address, method, is_allowed = row[:12]
    try:
        reasons = tuple(msgspec.json.decode(row[12], type=list[str]))
    except msgspec.DecodeError:
        # Nobody here wrote that: its hash will tell.
        reasons = (str(row[12]),)
    who = (actor, account, subject, address, method)
    record = Record(at, category, action, *who, bool(is_allowed), reasons, *row[13:17])
    filed = (record.day, record.namespace, int(record.is_allowed), render_json(reasons).decode())
    return Linked(number, record, row[17], row[18], row[19], row[20], filed == (day, namespace, is_allowed, row[12]))


async def add_record(tx: Tx, record: Record) -> None:
    """Write a record in the transaction of what it tells of; a process links it into its chain a moment later."""
    await tx.execute(_insert(1), *row_of(record, Head(""), ""))


async def add_rows(tx: Tx, rows: Sequence[Row]) -> None:
    """Write records with their places, in this order."""
    for start in range(0, len(rows) - TOGETHER + 1, TOGETHER):
        await tx.execute(_insert(TOGETHER), *itertools.chain(*rows[start : start + TOGETHER]))
    for row in rows[len(rows) // TOGETHER * TOGETHER :]:
        await tx.execute(_insert(1), *row)


async def has_unlinked(tx: Tx) -> bool:
    """Whether there are records that no chain has yet."""
    return await tx.one("select 1 from audit where chain = '' limit 1") is not None


async def count_unlinked(tx: Tx, before: int, limit: int) -> int:
    """How many records from before a time no chain has yet, so many at most."""
    row = await tx.one(
        "select count(*) from (select 1 from audit where chain = '' and at < $1 limit $2) as found", before, limit
    )
    return int(row[0]) if row else 0


async def take_unlinked(tx: Tx, limit: int) -> list[Linked]:
    """Records that no chain has yet, in the order of their ids; what another transaction has taken is passed over."""
    rows = await tx.all(f"{_SELECT} where chain = '' order by id limit $1 /*skip locked*/", limit)
    return [_linked(row) for row in rows]


async def set_place(tx: Tx, record: int, head: Head, previous: str) -> None:
    """Put a record that was taken (`take_unlinked`) into its place; one that has a place keeps it."""
    await tx.execute(
        "update audit set chain = $1, sequence = $2, previous = $3, hash = $4 where id = $5 and chain = ''",
        head.chain,
        head.sequence,
        previous,
        head.hash,
        record,
    )


async def put_head(tx: Tx, head: Head, now: int) -> None:
    """Remember where a chain ends now."""
    await tx.execute(
        "insert into audit_chain (id, started_at, sequence, hash) values ($1, $2, $3, $4) "
        "on conflict (id) do update set sequence = $3, hash = $4",
        head.chain,
        now,
        head.sequence,
        head.hash,
    )


_CHAIN: Final = "select id, sequence, hash, started_at, sealed, forwarded from audit_chain"


def _chain(row: Row) -> ChainRow:
    return ChainRow(Head(row[0], row[1], row[2]), row[3], row[4], row[5])


async def list_chains(tx: Tx, after: str, limit: int) -> list[ChainRow]:
    """Chains by id, a page."""
    return [_chain(row) for row in await tx.all(f"{_CHAIN} where id > $1 order by id limit $2", after, limit)]


async def count_written(tx: Tx) -> int:
    """How many records were ever linked, archived ones and those that are gone included."""
    row = await tx.one("select coalesce(sum(sequence), 0) from audit_chain")
    return int(row[0]) if row else 0


async def list_unsealed(tx: Tx, limit: int) -> list[ChainRow]:
    """Chains that have grown since they were sealed."""
    return [_chain(row) for row in await tx.all(f"{_CHAIN} where sequence > sealed order by id limit $1", limit)]


async def set_sealed(tx: Tx, head: Head) -> None:
    """Remember that a root holds this head."""
    await tx.execute("update audit_chain set sealed = $1 where id = $2", head.sequence, head.chain)


async def list_unforwarded(tx: Tx, limit: int) -> list[ChainRow]:
    """Chains that have grown since they were forwarded."""
    return [_chain(row) for row in await tx.all(f"{_CHAIN} where sequence > forwarded order by id limit $1", limit)]


async def set_forwarded(tx: Tx, chain: str, sequence: int) -> None:
    """Remember how far a chain has been forwarded."""
    await tx.execute("update audit_chain set forwarded = $1 where id = $2", sequence, chain)


async def list_links(tx: Tx, after: tuple[str, int], limit: int) -> list[Linked]:
    """Linked records in the order of chains and places, a page after (chain, sequence)."""
    rows = await tx.all(
        f"{_SELECT} where chain <> '' and (chain, sequence) > ($1, $2) order by chain, sequence limit $3", *after, limit
    )
    return [_linked(row) for row in rows]


async def list_of_chain(tx: Tx, chain: str, after: int, limit: int) -> list[Linked]:
    """Records of one chain in their order, a page."""
    rows = await tx.all(
        f"{_SELECT} where chain <> '' and chain = $1 and sequence > $2 order by sequence limit $3", chain, after, limit
    )
    return [_linked(row) for row in rows]


async def scan(tx: Tx, key: tuple[str, str], span: tuple[int, tuple[int, int]], limit: int) -> list[Linked]:
    """Records, the newest first: those of (`actor` or `namespace` or nothing, value), from a day on, before a place.

    One range of one index, whatever else is asked about them.
    """
    column, value = key
    oldest, (day, number) = span
    if column not in {"actor", "namespace"}:
        return await _scan_all(tx, span, limit)
    rows = await tx.all(
        f"{_SELECT} where {column} = $1 and day >= $2 and (day, id) < ($3, $4) order by day desc, id desc limit $5",
        value,
        oldest,
        day,
        number,
        limit,
    )
    return [_linked(row) for row in rows]


async def _scan_all(tx: Tx, span: tuple[int, tuple[int, int]], limit: int) -> list[Linked]:
    oldest, before = span
    rows = await tx.all(
        f"{_SELECT} where day >= $1 and (day, id) < ($2, $3) order by day desc, id desc limit $4",
        oldest,
        *before,
        limit,
    )
    return [_linked(row) for row in rows]


async def list_of_day(tx: Tx, day: int, limit: int) -> list[Linked]:
    """The first records of a day."""
    rows = await tx.all(f"{_SELECT} where day = $1 order by id limit $2", day, limit)
    return [_linked(row) for row in rows]


async def find_linked(tx: Tx, record: int) -> Linked | None:
    """A record by its id."""
    row = await tx.one(f"{_SELECT} where id = $1", record)
    return None if row is None else _linked(row)
