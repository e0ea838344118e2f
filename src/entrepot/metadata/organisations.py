"""Rows of organisations and of their members."""

from __future__ import annotations

import msgspec

from entrepot.domain.policy import Membership
from entrepot.metadata.accounts import remove_account
from entrepot.ports.database import Tx


class OrganisationRow(msgspec.Struct, frozen=True):
    """An organisation as stored; `role` is what the account that asked is in it. Times are microseconds since 1970."""

    id: int
    name: str
    description: str
    created_at: int
    role: Membership | None


class MemberRow(msgspec.Struct, frozen=True):
    """Somebody in an organisation; `source` says who keeps the row: `local`, or a directory that it is read from."""

    user: str
    role: Membership
    source: str
    added_at: int


_SELECT = (
    "select a.id, a.name, a.description, a.created_at, m.role from account a "
    "left join organisation_member m on m.organisation = a.id and m.account = $1 where a.kind = 'organisation' "
)


async def find_organisation(tx: Tx, name: str, account: int) -> OrganisationRow | None:
    """An organisation by name, as an account sees it."""
    row = await tx.one(f"{_SELECT} and a.name = $2", account, name)
    return None if row is None else OrganisationRow(*row)


async def list_organisations(tx: Tx, account: int, after: str, limit: int) -> list[OrganisationRow]:
    """Every organisation by name, a page after `after`."""
    rows = await tx.all(f"{_SELECT} and a.name > $2 order by a.name limit $3", account, after, limit)
    return [OrganisationRow(*row) for row in rows]


async def list_organisations_of(tx: Tx, account: int, after: str, limit: int) -> list[OrganisationRow]:
    """Those that an account is in, by name, a page after `after`."""
    rows = await tx.all(
        "select a.id, a.name, a.description, a.created_at, m.role from organisation_member m "
        "join account a on a.id = m.organisation where m.account = $1 and a.name > $2 order by a.name limit $3",
        account,
        after,
        limit,
    )
    return [OrganisationRow(*row) for row in rows]


async def set_description(tx: Tx, organisation: int, description: str) -> None:
    """Say something else of an organisation."""
    await tx.execute("update account set description = $1 where id = $2", description, organisation)


async def remove_organisation(tx: Tx, organisation: int) -> None:
    """Forget an organisation with its teams, their grants, its members and invitations."""
    teams = "select id from team where organisation = $1"
    await tx.execute(f"delete from \"grant\" where subject_kind = 'team' and subject in ({teams})", organisation)
    await tx.execute(f"delete from team_member where team in ({teams})", organisation)
    for table in ("team", "organisation_member", "invitation", "mail_code"):
        await tx.execute(f"delete from {table} where organisation = $1", organisation)
    await remove_account(tx, organisation)


async def list_members(tx: Tx, organisation: int, after: str, limit: int) -> list[MemberRow]:
    """Who is in an organisation, by name, a page after `after`."""
    rows = await tx.all(
        "select a.name, m.role, m.source, m.added_at from organisation_member m join account a on a.id = m.account "
        "where m.organisation = $1 and a.name > $2 order by a.name limit $3",
        organisation,
        after,
        limit,
    )
    return [MemberRow(*row) for row in rows]


async def find_member(tx: Tx, organisation: int, account: int) -> MemberRow | None:
    """One member."""
    row = await tx.one(
        "select a.name, m.role, m.source, m.added_at from organisation_member m join account a on a.id = m.account "
        "where m.organisation = $1 and m.account = $2",
        organisation,
        account,
    )
    return None if row is None else MemberRow(*row)


async def put_member(tx: Tx, organisation: int, account: int, role: Membership, now: int) -> None:
    """Let somebody in, or make them something else; from now on the row is kept here, not by a directory."""
    await tx.execute(
        "insert into organisation_member (organisation, account, role, source, added_at) "
        "values ($1, $2, $3, 'local', $4) "
        "on conflict (organisation, account) do update set role = excluded.role, source = excluded.source",
        organisation,
        account,
        role,
        now,
    )


async def remove_member(tx: Tx, organisation: int, account: int) -> None:
    """Let somebody go, out of the organisation's teams too."""
    await tx.execute(
        "delete from team_member where account = $1 and team in (select id from team where organisation = $2)",
        account,
        organisation,
    )
    await tx.execute("delete from organisation_member where account = $1 and organisation = $2", account, organisation)


async def has_other_owner(tx: Tx, organisation: int, account: int) -> bool:
    """Whether somebody beside this account owns an organisation and can log in."""
    row = await tx.one(
        "select 1 from organisation_member m join account a on a.id = m.account "
        "where m.organisation = $1 and m.account <> $2 and m.role = 'owner' and a.is_disabled = 0 limit 1",
        organisation,
        account,
    )
    return row is not None


async def list_owned_alone(tx: Tx, account: int) -> list[str]:
    """Names of the organisations that nobody but this account owns."""
    rows = await tx.all(
        "select o.name from organisation_member m join account o on o.id = m.organisation "
        "where m.account = $1 and m.role = 'owner' and not exists (select 1 from organisation_member other "
        "join account a on a.id = other.account where other.organisation = m.organisation "
        "and other.account <> m.account and other.role = 'owner' and a.is_disabled = 0) order by o.name",
        account,
    )
    return [row[0] for row in rows]
