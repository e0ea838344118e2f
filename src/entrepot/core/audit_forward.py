"""The audit log as it is told to somebody else: every record at least once, in order, and the roots."""

from __future__ import annotations

import socket
from typing import Final

from entrepot.core.registry import Registry
from entrepot.domain.syslog import render_record, render_root
from entrepot.metadata import audit_records, audit_roots
from entrepot.metadata.audit_records import ChainRow
from entrepot.ports.forwarder import Forwarder

BATCH: Final = 500
MOST_CHAINS: Final = 100


async def forward(registry: Registry, receiver: Forwarder) -> int:
    """Send what has come since the last time, a bounded part of it; how many messages. Raises Unavailable."""
    chains = await registry.database.read(lambda tx: audit_records.list_unforwarded(tx, MOST_CHAINS))
    sent = 0
    for chain in chains:
        sent += await _forward_chain(registry, receiver, chain)
    return sent + await _forward_roots(registry, receiver)


async def _forward_chain(registry: Registry, receiver: Forwarder, chain: ChainRow) -> int:
    name, host = chain.head.chain, socket.gethostname()

    found = await registry.database.read(lambda tx: audit_records.list_of_chain(tx, name, chain.forwarded, BATCH))
    if found:
        await receiver.send([render_record(each, host) for each in found])
    # What is archived by now is not sent any more.
    until = found[-1].sequence if found else chain.head.sequence
    await registry.database.transact(lambda tx: audit_records.set_forwarded(tx, name, until), durable=False)
    return len(found)


async def _forward_roots(registry: Registry, receiver: Forwarder) -> int:
    host = socket.gethostname()
    rows = await registry.database.read(lambda tx: audit_roots.list_unforwarded_roots(tx, BATCH))
    if not rows:
        return 0
    await receiver.send([render_root(row.at, row.document, row.signature, host) for row in rows])
    await registry.database.transact(lambda tx: audit_roots.set_roots_forwarded(tx, rows[-1].number), durable=False)
    return len(rows)
