"""What this process has seen and not written yet, and how it is written: in order, as one chain of this process.

Records of changes are written by the changes themselves (`metadata.events.add_event`) and only linked here.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Final

import msgspec

from entrepot import __version__
from entrepot.core.audit_log import AuditLog
from entrepot.core.registry import Registry
from entrepot.domain.audit import REGISTRY, STARTED, SYSTEM, Category, Head, Linked, Record, link, new_record
from entrepot.domain.errors import EntrepotError
from entrepot.domain.json import render_json
from entrepot.domain.policy import AccountPolicy
from entrepot.metadata import audit_records, audit_roots
from entrepot.ports.database import Tx

BATCH: Final = 500


class _Written(msgspec.Struct, frozen=True):
    """What one transaction has done: where the chain ends, and what it took in, by category."""

    head: Head
    counts: dict[str, int]


async def flush_audit(registry: Registry, *, is_last: bool = False) -> None:
    """Write what is due, and link what changes have written. Raises Unavailable; what was held is tried again."""
    log, now = registry.audit, registry.clock.now()
    log.settle(now, _names(registry.policy.snapshot.accounts), is_last=is_last)
    while await _write(registry, log, now):
        pass


def _names(accounts: Mapping[int, AccountPolicy]) -> dict[int, str]:
    return {number: account.name for number, account in accounts.items()}


async def _write(registry: Registry, log: AuditLog, now: int) -> bool:
    """One transaction of bounded size; whether there may be more to write."""
    waiting: list[Linked] = []
    if await registry.database.read(audit_records.has_unlinked):
        # Read before the transaction: inside, on PostgreSQL, every change would conflict with having looked at all.
        waiting = await registry.database.read(lambda tx: audit_records.list_unlinked(tx, BATCH))
    batch = log.first(BATCH)
    if not batch and not waiting:
        return False
    gap = log.gap(now)
    records = [*batch, *([gap] if gap else [])]
    start = log.head

    async def record(tx: Tx) -> _Written:
        return await _link_all(tx, await _begin(tx, start, log.broken, now), waiting, records)

    try:
        written = await registry.database.transact(record, durable=False)
    except EntrepotError:
        # Whether it was written is not known for certain: what comes is a chain of its own, which names this one.
        log.abandon()
        raise
    log.written(written.head, len(batch), written.counts, gap)
    return len(batch) == BATCH or len(waiting) == BATCH


async def _begin(tx: Tx, head: Head | None, broken: Head | None, now: int) -> Head:
    """The head to go on from; a new chain begins with who writes it, what went before, and the last signed root."""
    if head is not None:
        return head
    root = await audit_roots.find_last_root(tx)
    detail = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "version": __version__,
        "after": [broken.chain, broken.sequence, broken.hash] if broken else None,
        "root": [root.number, root.hash] if root else None,
    }
    first = new_record(Category.AUDIT, STARTED, now, (REGISTRY, SYSTEM))
    first = msgspec.structs.replace(first, detail=render_json(detail).decode())
    new, previous = link(Head(secrets.token_hex(8)), first)
    await audit_records.add_linked(tx, [(first, new, previous)])
    return new


async def _link_all(tx: Tx, head: Head, waiting: list[Linked], records: list[Record]) -> _Written:
    counts: dict[str, int] = {}
    for each in waiting:
        following, previous = link(head, each.record)
        # Another process may have taken it a moment ago.
        if await audit_records.set_place(tx, each.id, following, previous):
            head = following
            _count(counts, each.record)
    placed: list[tuple[Record, Head, str]] = []
    for record in records:
        head, previous = link(head, record)
        placed.append((record, head, previous))
        _count(counts, record)
    await audit_records.add_linked(tx, placed)
    await audit_records.put_head(tx, head, records[-1].at if records else waiting[-1].record.at)
    return _Written(head, counts)


def _count(counts: dict[str, int], record: Record) -> None:
    counts[record.category] = counts.get(record.category, 0) + record.count
