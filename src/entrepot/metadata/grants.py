"""Rows of grants: a role of a user on a namespace or repository."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Tx


class GrantRow(msgspec.Struct, frozen=True):
    """A role of an account on a resource (`acme` or `acme/app`), and who gave it."""

    account: int
    resource: str
    role: str
    granted_by: str


async def put_grant(tx: Tx, grant: GrantRow, now: int) -> None:
    """Give a role; it replaces what the user had on the same resource."""
    await tx.execute(
        'insert into "grant" (account, resource, role, granted_by, granted_at) values ($1, $2, $3, $4, $5) '
        "on conflict (account, resource) do update set role = $3, granted_by = $4, granted_at = $5",
        grant.account,
        grant.resource,
        grant.role,
        grant.granted_by,
        now,
    )


async def remove_grant(tx: Tx, account: int, resource: str) -> bool:
    """Take a role away; whether there was one."""
    return 0 < await tx.execute('delete from "grant" where account = $1 and resource = $2', account, resource)


async def list_grants(tx: Tx, resource: str) -> list[tuple[str, str]]:
    """(user, role) of everybody with a grant on exactly this resource."""
    rows = await tx.all(
        'select a.name, g.role from "grant" g join account a on a.id = g.account where g.resource = $1 order by a.name',
        resource,
    )
    return [(row[0], row[1]) for row in rows]
