"""What this process has seen and not written yet, and how it is written: in order, as one chain of this process.

Records of changes are written by the changes themselves (`metadata.events.add_event`) and only linked here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import Final

import msgspec

from entrepot import __version__
from entrepot.core.audit_log import AuditLog
from entrepot.core.registry import Registry
from entrepot.domain.audit import REGISTRY, STARTED, SYSTEM, Category, Head, Record, link, new_record
from entrepot.domain.errors import EntrepotError
from entrepot.domain.json import render_json
from entrepot.metadata import audit_records, audit_roots
from entrepot.metadata.audit_roots import RootRow
from entrepot.ports.database import Row, Tx

BATCH: Final = 500
# What changes have written is linked by so many at a time.
CHANGES: Final = 100
# So many records are hashed before whatever else waits has its turn: some tens of microseconds.
SLICE: Final = 4


class _Placed(msgspec.Struct):
    """Records with their places in a chain, ready to be written: rows, the end that they make, how many by category."""

    head: Head
    rows: list[Row] = []
    counts: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """One more."""
        self.head, previous = link(self.head, record)
        self.rows.append(audit_records.row_of(record, self.head, previous))
        _count(self.counts, record)


class _Written(msgspec.Struct, frozen=True):
    """What one transaction has done: where the chain ends, and what it took in, by category; how many were changes."""

    head: Head
    counts: dict[str, int]
    changes: int


async def keep_audit(registry: Registry, seconds: float) -> None:
    """Wait so long, or until much is held, and write what is due. Raises Unavailable; call it again in any case."""
    await registry.audit.wait(seconds)
    await flush_audit(registry)


async def flush_audit(registry: Registry, *, is_last: bool = False) -> None:
    """Write what is due, and link what changes have written. Raises Unavailable; what was held is tried again."""
    log, now = registry.audit, registry.clock.now()
    async with log.turn:
        log.settle(now, registry.policy.snapshot.accounts, is_last=is_last)
        while await _write(registry, log, now):
            pass


async def _write(registry: Registry, log: AuditLog, now: int) -> bool:
    """One transaction of bounded size; whether there may be more to write."""
    changes = CHANGES if await registry.database.read(audit_records.has_unlinked) else 0
    batch = log.first(BATCH)
    if not batch and not changes:
        return False
    gap = log.gap(now)
    records = [*batch, *([gap] if gap else [])]
    try:
        if log.head is None:
            root = await registry.database.read(audit_roots.find_last_root)
            records.insert(0, _started(log.broken, root, now))
        placed = await _place(log.head or Head(secrets.token_hex(8)), records)
        # The chain is this process's own, and a record goes to whoever takes it first: others pass over it.
        written = await registry.database.transact(
            lambda tx: _link_all(tx, placed, changes, now), durable=False, isolated=False
        )
    except (EntrepotError, asyncio.CancelledError):
        # Whether it was written is not known for certain: what comes is a chain of its own, which names this one.
        log.abandon()
        raise
    log.written(written.head, len(batch), written.counts, gap)
    return len(batch) == BATCH or written.changes == CHANGES


def _started(broken: Head | None, root: RootRow | None, now: int) -> Record:
    """What a new chain begins with: who writes it, what went before, and the last signed root."""
    detail = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "version": __version__,
        "after": [broken.chain, broken.sequence, broken.hash] if broken else None,
        "root": [root.number, root.hash] if root else None,
    }
    first = new_record(Category.AUDIT, STARTED, now, (REGISTRY, SYSTEM))
    return msgspec.structs.replace(first, detail=render_json(detail).decode())


async def _place(head: Head, records: list[Record]) -> _Placed:
    """The records in their places."""
    # Not in the transaction: its thread would keep the interpreter from pulls for half a millisecond at a time.
    placed = _Placed(head)
    for start in range(0, len(records), SLICE):
        for record in records[start : start + SLICE]:
            placed.add(record)
        await asyncio.sleep(0)
    return placed


async def _link_all(tx: Tx, placed: _Placed, most: int, now: int) -> _Written:
    # A transaction may be tried again: what was placed stays as it is.
    head, counts = placed.head, dict(placed.counts)
    await audit_records.add_rows(tx, placed.rows)
    changes = await audit_records.take_unlinked(tx, most) if most else []
    for each in changes:
        head, previous = link(head, each.record)
        await audit_records.set_place(tx, each.id, head, previous)
        _count(counts, each.record)
    await audit_records.put_head(tx, head, now)
    return _Written(head, counts, len(changes))


def _count(counts: dict[str, int], record: Record) -> None:
    counts[record.category] = counts.get(record.category, 0) + record.count
