"""Rows about the instance itself: its site name and keys."""

from __future__ import annotations

from entrepot.ports.database import Tx


async def find_value(tx: Tx, name: str) -> str | None:
    """A value by name."""
    row = await tx.one("select value from instance where name = $1", name)
    return None if row is None else str(row[0])


async def put_value(tx: Tx, name: str, value: str) -> None:
    """Keep a value in the place of the one that there may be."""
    await tx.execute(
        "insert into instance (name, value) values ($1, $2) on conflict (name) do update set value = $2", name, value
    )


async def add_value(tx: Tx, name: str, value: str) -> None:
    """Keep a value unless there is one already; whoever is first wins."""
    await tx.execute("insert into instance (name, value) values ($1, $2) on conflict (name) do nothing", name, value)
