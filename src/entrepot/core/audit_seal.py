"""Signed roots: each minute the ends of all chains, and what was archived, under one signature; each names the last."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from entrepot.core.audit import flush_audit
from entrepot.core.audit_archive import is_whole, read_segment
from entrepot.core.audit_key import AuditKey, is_signed
from entrepot.core.registry import SECOND, Registry
from entrepot.domain.audit import summary_hash
from entrepot.domain.errors import AlreadyExists, Unavailable
from entrepot.domain.json import render_json
from entrepot.metadata import audit_records, audit_roots, audit_segments
from entrepot.metadata.audit_roots import RootRow
from entrepot.metadata.audit_segments import SegmentRow
from entrepot.ports.database import Tx

MOST_HEADS: Final = 1000
# Each is read before.
MOST_SEGMENTS: Final = 100
# What is not linked after so long is said in the root: something does not run that should.
LATE_SECONDS: Final = 10
MOST_LATE: Final = 10_000


class Root(msgspec.Struct, frozen=True):
    """What is signed: heads as (chain, sequence, hash), segments as (id, hash of the summary).

    `late` is how many records no chain had `LATE_SECONDS` after they were written.
    """

    number: int
    at: int
    previous: str
    heads: tuple[tuple[str, Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)], str], ...]
    segments: tuple[tuple[int, str], ...] = ()
    late: int = 0


async def seal(registry: Registry) -> RootRow | None:
    """A job, each minute: sign what has come since the last root; None if that is nothing. Raises Unavailable."""
    await flush_audit(registry)
    now, key = registry.clock.now(), registry.audit_key
    key.public  # noqa: B018 - who cannot sign says so before a transaction begins
    whole = await _list_whole_segments(registry)

    with suppress(AlreadyExists):
        return await registry.database.transact(lambda tx: _seal(tx, key, now, whole))
    # Another job process has just done it.
    return None


async def get_last_root(registry: Registry) -> RootRow | None:
    """The newest signed root."""
    return await registry.database.read(audit_roots.find_last_root)


def problem_of_root(row: RootRow, before: RootRow | None) -> str:
    """What is wrong with a root that should follow another one; empty if nothing is."""
    try:
        root = msgspec.json.decode(row.document, type=Root)
    except msgspec.MsgspecError:
        return "the root cannot be read: it was changed"
    if (root.number, root.at) != (row.number, row.at) or row.hash != _hash(row.document):
        return "the root is not what its hash was made of: it was changed"
    if not is_signed(row.key, row.hash, row.signature):
        return "the signature is not of this root"
    if row.number != (before.number if before else 0) + 1:
        return "roots before this one are gone"
    if root.previous != (before.hash if before else ""):
        return "it does not follow the root before it: one was exchanged"
    return ""


def document_of(row: RootRow) -> Root:
    """What a root says. Raises msgspec.MsgspecError for one that nobody here wrote."""
    return msgspec.json.decode(row.document, type=Root)


async def _list_whole_segments(registry: Registry) -> list[SegmentRow]:
    """The archived parts that may be signed: of others, whoever verifies is told."""
    rows = await registry.database.read(lambda tx: audit_segments.list_unsealed_segments(tx, MOST_SEGMENTS))
    return [row for row in rows if await _can_be_signed(registry, row)]


async def _can_be_signed(registry: Registry, row: SegmentRow) -> bool:
    # What a root says of it stands for its records once they are removed: it must be true while they can be read.
    try:
        return is_whole(row, await read_segment(registry, row))
    except Unavailable:
        return False


async def _seal(tx: Tx, key: AuditKey, now: int, whole: Sequence[SegmentRow]) -> RootRow | None:
    chains = await audit_records.list_unsealed(tx, MOST_HEADS)
    unsealed = await audit_segments.list_unsealed_segments(tx, MOST_SEGMENTS)
    segments = [row for row in unsealed if row in whole]
    last = await audit_roots.find_last_root(tx)
    late = await audit_records.count_unlinked(tx, now - LATE_SECONDS * SECOND, MOST_LATE)
    if not chains and not segments and not late:
        return None
    root = Root(
        number=last.number + 1 if last else 1,
        at=now,
        previous=last.hash if last else "",
        heads=tuple((chain.head.chain, chain.head.sequence, chain.head.hash) for chain in chains),
        segments=tuple((row.id, summary_hash(row.new.day, row.new.digest, row.new.summary)) for row in segments),
        late=late,
    )
    document = render_json(root).decode()
    digest = _hash(document)
    signed = RootRow(root.number, now, document, digest, key.public, key.sign(digest))
    await audit_roots.add_root(tx, signed)
    for chain in chains:
        await audit_records.set_sealed(tx, chain.head)
    for row in segments:
        await audit_segments.set_segment_sealed(tx, row.id, root.number)
    return signed


def _hash(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()
