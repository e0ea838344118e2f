"""Rows of grants."""

from __future__ import annotations

import msgspec

from entrepot.domain.grants import Conditions, Effect, Subject, SubjectKind
from entrepot.ports.database import Row, Tx

PLAIN = "effect = 'allow' and actions = '' and tags = '' and conditions = ''"


class NewGrantRow(msgspec.Struct, frozen=True):
    """A grant about to be stored: a role, or actions where `role` is empty."""

    subject: Subject
    resource: str
    role: str = ""
    actions: tuple[str, ...] = ()
    effect: Effect = "allow"
    tags: str = ""
    conditions: Conditions | None = None


class GrantRow(msgspec.Struct, frozen=True):
    """A grant as stored. `name` is the account's, or the team's as `organisation/team`; times are microseconds."""

    id: int
    kind: SubjectKind
    name: str
    account_kind: str
    effect: Effect
    role: str
    actions: tuple[str, ...]
    resource: str
    tags: str
    conditions: Conditions | None
    granted_by: str
    granted_at: int


_SELECT = (
    "select g.id, g.subject_kind, coalesce(a.name, o.name || '/' || t.name, ''), coalesce(a.kind, ''), g.effect, "
    'g.role, g.actions, g.resource, g.tags, g.conditions, g.granted_by, g.granted_at from "grant" g '
    "left join account a on g.subject_kind = 'account' and a.id = g.subject "
    "left join team t on g.subject_kind = 'team' and t.id = g.subject left join account o on o.id = t.organisation "
)


async def add_grant(tx: Tx, grant: NewGrantRow, granted_by: str, now: int) -> int | None:
    """A new grant; its id, or None where there is exactly such a one already."""
    row = await tx.one(
        'insert into "grant" (subject_kind, subject, effect, role, actions, resource, tags, conditions, granted_by, '
        "granted_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing returning id",
        *grant.subject,
        grant.effect,
        grant.role,
        msgspec.json.encode(sorted(grant.actions)).decode() if grant.actions else "",
        grant.resource,
        grant.tags,
        msgspec.json.encode(grant.conditions).decode() if grant.conditions else "",
        granted_by,
        now,
    )
    return int(row[0]) if row else None


async def find_grant(tx: Tx, number: int) -> GrantRow | None:
    """A grant by its id."""
    row = await tx.one(f"{_SELECT} where g.id = $1", number)
    return None if row is None else _row(row)


async def list_grants(tx: Tx, span: tuple[str, str], after: int, limit: int) -> list[GrantRow]:
    """Grants on resources from and below two texts, in the order of their ids, a page after an id."""
    rows = await tx.all(
        f"{_SELECT} where g.id > $1 and g.resource >= $2 and g.resource < $3 order by g.id limit $4",
        after,
        *span,
        limit,
    )
    return [_row(row) for row in rows]


async def list_grants_of(tx: Tx, subject: Subject, span: tuple[str, str], after: int, limit: int) -> list[GrantRow]:
    """Those of them that are for one subject."""
    rows = await tx.all(
        f"{_SELECT} where g.subject_kind = $1 and g.subject = $2 and g.id > $3 and g.resource >= $4 "
        "and g.resource < $5 order by g.id limit $6",
        *subject,
        after,
        *span,
        limit,
    )
    return [_row(row) for row in rows]


async def remove_grant(tx: Tx, number: int) -> bool:
    """Take a grant away; whether there was one."""
    return await tx.execute('delete from "grant" where id = $1', number) > 0


async def put_role(tx: Tx, grant: NewGrantRow, granted_by: str, now: int) -> bool:
    """Give a plain role, which replaces the one that the subject had on the same resource; whether it is new."""
    held = await tx.all(
        f'select role from "grant" where subject_kind = $1 and subject = $2 and resource = $3 and {PLAIN}',
        *grant.subject,
        grant.resource,
    )
    if held == [(grant.role,)]:
        return False
    await remove_roles(tx, grant.subject, grant.resource)
    await add_grant(tx, grant, granted_by, now)
    return True


async def remove_roles(tx: Tx, subject: Subject, resource: str) -> bool:
    """Take the plain roles of a subject on exactly one resource away; whether there was one."""
    sql = f'delete from "grant" where subject_kind = $1 and subject = $2 and resource = $3 and {PLAIN}'
    return await tx.execute(sql, *subject, resource) > 0


async def list_roles(tx: Tx, resource: str) -> list[tuple[str, str]]:
    """(user, role) of every user with a plain role on exactly this resource."""
    rows = await tx.all(
        'select a.name, g.role from "grant" g join account a on a.id = g.subject '
        f"where g.subject_kind = 'account' and g.resource = $1 and {PLAIN} order by a.name",
        resource,
    )
    return [(row[0], row[1]) for row in rows]


async def remove_of(tx: Tx, subject: Subject) -> None:
    """Forget every grant of a subject that is going away."""
    await tx.execute('delete from "grant" where subject_kind = $1 and subject = $2', *subject)


def _row(row: Row) -> GrantRow:
    number, kind, name, account_kind, effect, role, actions, resource, tags, conditions, granted_by, granted_at = row
    return GrantRow(
        number,
        kind,
        name,
        account_kind,
        effect,
        role,
        tuple(msgspec.json.decode(actions, type=list[str])) if actions else (),
        resource,
        tags,
        msgspec.json.decode(conditions, type=Conditions) if conditions else None,
        granted_by,
        granted_at,
    )
