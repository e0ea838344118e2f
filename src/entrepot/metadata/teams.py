"""Rows of teams."""

from __future__ import annotations

from entrepot.ports.database import Tx


async def find_team_id(tx: Tx, organisation: str, name: str) -> int | None:
    """A team by the name of its organisation and its own."""
    row = await tx.one(
        "select t.id from team t join account a on a.id = t.organisation where a.name = $1 and t.name = $2",
        organisation,
        name,
    )
    return int(row[0]) if row else None
