"""Rows of signed roots of the audit log."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.ports.database import Tx


class RootRow(msgspec.Struct, frozen=True):
    """A signed root: `document` is JSON, `hash` its SHA-256, `key` the public key, `signature` over the hash."""

    number: int
    at: int
    document: str
    hash: str
    key: str
    signature: str


_SELECT: Final = "select number, at, document, hash, key, signature from audit_root"


async def find_last_root(tx: Tx) -> RootRow | None:
    """The newest root."""
    row = await tx.one(f"{_SELECT} order by number desc limit 1")
    return None if row is None else RootRow(*row)


async def add_root(tx: Tx, root: RootRow) -> None:
    """Add a root. Raises AlreadyExists where another process has sealed meanwhile."""
    await tx.execute(
        "insert into audit_root (number, at, document, hash, key, signature) values ($1, $2, $3, $4, $5, $6)",
        root.number,
        root.at,
        root.document,
        root.hash,
        root.key,
        root.signature,
    )


async def list_roots(tx: Tx, after: int, limit: int) -> list[RootRow]:
    """Roots in their order, a page."""
    return [
        RootRow(*row) for row in await tx.all(f"{_SELECT} where number > $1 order by number limit $2", after, limit)
    ]


async def list_unforwarded_roots(tx: Tx, limit: int) -> list[RootRow]:
    """Roots that have not been forwarded, in their order."""
    return [RootRow(*row) for row in await tx.all(f"{_SELECT} where forwarded = 0 order by number limit $1", limit)]


async def set_roots_forwarded(tx: Tx, until: int) -> None:
    """Remember that the roots up to a number have been forwarded."""
    await tx.execute("update audit_root set forwarded = 1 where forwarded = 0 and number <= $1", until)
