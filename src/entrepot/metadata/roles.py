"""Rows of the roles that an instance adds to the built-in ones."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from entrepot.domain.access import Action
from entrepot.metadata.policy import read_actions
from entrepot.ports.database import Row, Tx


class RoleRow(msgspec.Struct, frozen=True):
    """A role as stored. Times are microseconds since 1970."""

    name: str
    actions: frozenset[Action]
    description: str
    created_at: int


async def find_role(tx: Tx, name: str) -> RoleRow | None:
    """A role by name."""
    row = await tx.one("select name, actions, description, created_at from role where name = $1", name)
    return None if row is None else _role(row)


async def list_roles(tx: Tx, after: str, limit: int) -> list[RoleRow]:
    """Roles by name, a page after `after`."""
    rows = await tx.all(
        "select name, actions, description, created_at from role where name > $1 order by name limit $2", after, limit
    )
    return [_role(row) for row in rows]


async def add_role(tx: Tx, role: RoleRow) -> bool:
    """A new role, if there is none of that name; whether it is new."""
    return 1 == await tx.execute(
        "insert into role (name, actions, description, created_at) values ($1, $2, $3, $4) "
        "on conflict (name) do nothing",
        role.name,
        _written(role.actions),
        role.description,
        role.created_at,
    )


async def set_role(tx: Tx, role: RoleRow) -> None:
    """Change what can change of a role."""
    await tx.execute(
        "update role set actions = $1, description = $2 where name = $3",
        _written(role.actions),
        role.description,
        role.name,
    )


async def remove_role(tx: Tx, name: str) -> None:
    """Forget a role that no grant uses."""
    await tx.execute("delete from role where name = $1", name)


async def count_grants(tx: Tx, name: str) -> int:
    """How many grants give a role."""
    row = await tx.one('select count(*) from "grant" where role = $1', name)
    return int(row[0]) if row else 0


def _role(row: Row) -> RoleRow:
    return RoleRow(row[0], read_actions(row[1]), row[2], row[3])


def _written(actions: Collection[Action]) -> str:
    return msgspec.json.encode(sorted(actions)).decode()
