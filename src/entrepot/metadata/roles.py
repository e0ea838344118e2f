"""Rows of roles that an instance adds to its own four."""

from __future__ import annotations

from entrepot.domain.access import Action
from entrepot.metadata.policy import read_actions
from entrepot.ports.database import Tx


async def find_role(tx: Tx, name: str) -> frozenset[Action] | None:
    """The actions of an added role."""
    row = await tx.one("select actions from role where name = $1", name)
    return None if row is None else read_actions(row[0])
