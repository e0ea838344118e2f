"""Rows that come from a directory: its accounts, and their memberships."""

from __future__ import annotations

import msgspec

from entrepot.domain.directory import LDAP
from entrepot.ports.database import Row, Tx


class LinkedRow(msgspec.Struct, frozen=True):
    """An account of the directory as stored; `gone_at` (microseconds) is None while the directory has it."""

    id: int
    name: str
    external: str
    is_disabled: bool
    gone_at: int | None
    credentials_since: int = 0


class MembershipRow(msgspec.Struct, frozen=True):
    """A team that an account is in, named `organisation/team`; `source` is who put it there."""

    team: int
    organisation: int
    name: str
    source: str


_SELECT = "select id, name, external, is_disabled, gone_at, credentials_since from account where source = 'ldap'"


async def find_linked(tx: Tx, name: str) -> LinkedRow | None:
    """An account of the directory by name."""
    row = await tx.one(f"{_SELECT} and name = $1", name)
    return None if row is None else _linked(row)


async def list_linked(tx: Tx, after: str, limit: int) -> list[LinkedRow]:
    """Accounts of the directory by name, a page after `after`."""
    return [_linked(row) for row in await tx.all(f"{_SELECT} and name > $1 order by name limit $2", after, limit)]


async def add_linked(tx: Tx, name: str, external: str, now: int, source: str = LDAP) -> int:
    """A new account of the directory or another source, without a password here; its id."""
    row = await tx.one(
        "insert into account (name, password_hash, source, external, credentials_since, created_at) "
        "values ($1, '', $2, $3, $4, $4) returning id",
        name,
        source,
        external,
        now,
    )
    return int(row[0]) if row else 0


async def set_gone(tx: Tx, account: int, now: int) -> None:
    """The directory has not got it any more: it may not act, and every token made before is void."""
    await tx.execute(
        "update account set is_disabled = 1, gone_at = $1, credentials_since = $1 where id = $2", now, account
    )


async def set_back(tx: Tx, account: int) -> None:
    """The directory has it again."""
    await tx.execute("update account set is_disabled = 0, gone_at = null where id = $1", account)


async def list_memberships(tx: Tx, account: int) -> list[MembershipRow]:
    """The teams that an account is in."""
    rows = await tx.all(
        "select t.id, t.organisation, o.name || '/' || t.name, m.source from team_member m "
        "join team t on t.id = m.team join account o on o.id = t.organisation where m.account = $1 order by t.id",
        account,
    )
    return [MembershipRow(*row) for row in rows]


async def list_organisations(tx: Tx, account: int) -> dict[int, str]:
    """The organisations that an account is in, with who put it there."""
    rows = await tx.all("select organisation, source from organisation_member where account = $1", account)
    return {row[0]: row[1] for row in rows}


async def add_membership(tx: Tx, team: int, account: int, now: int, source: str = LDAP) -> None:
    """Put an account into a team, by the directory; whoever is there stays as they are."""
    await tx.execute(
        "insert into team_member (team, account, source, added_at) values ($1, $2, $3, $4) on conflict do nothing",
        team,
        account,
        source,
        now,
    )


async def remove_membership(tx: Tx, team: int, account: int, source: str = LDAP) -> None:
    """Take an account out of a team that the directory has put it into."""
    await tx.execute("delete from team_member where team = $1 and account = $2 and source = $3", team, account, source)


async def add_to_organisation(tx: Tx, organisation: int, account: int, now: int, source: str = LDAP) -> None:
    """Make an account a member of an organisation, by the directory; whoever is one stays as they are."""
    await tx.execute(
        "insert into organisation_member (organisation, account, role, source, added_at) "
        "values ($1, $2, 'member', $3, $4) on conflict do nothing",
        organisation,
        account,
        source,
        now,
    )


async def remove_from_organisation(tx: Tx, organisation: int, account: int, source: str = LDAP) -> None:
    """Take an account out of an organisation that the directory has put it into."""
    await tx.execute(
        "delete from organisation_member where organisation = $1 and account = $2 and source = $3",
        organisation,
        account,
        source,
    )


def _linked(row: Row) -> LinkedRow:
    return LinkedRow(row[0], row[1], row[2], bool(row[3]), row[4], row[5])
