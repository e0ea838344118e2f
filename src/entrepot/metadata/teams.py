"""Rows of teams and of who is in them."""

from __future__ import annotations

import msgspec

from entrepot.metadata.grants import remove_of
from entrepot.ports.database import Tx


class TeamRow(msgspec.Struct, frozen=True):
    """A team of an organisation as stored. Times are microseconds since 1970."""

    id: int
    organisation: str
    name: str
    description: str
    created_at: int


class TeamMemberRow(msgspec.Struct, frozen=True):
    """Somebody in a team; `source` says who keeps the row: `local`, or a directory that it is read from."""

    user: str
    source: str
    added_at: int


_SELECT = (
    "select t.id, o.name, t.name, t.description, t.created_at from team t join account o on o.id = t.organisation "
    "where t.organisation = $1 "
)


async def find_team(tx: Tx, organisation: int, name: str) -> TeamRow | None:
    """A team by name."""
    row = await tx.one(f"{_SELECT} and t.name = $2", organisation, name)
    return None if row is None else TeamRow(*row)


async def find_team_id(tx: Tx, organisation: str, name: str) -> int | None:
    """A team by the name of its organisation and its own."""
    row = await tx.one(
        "select t.id from team t join account a on a.id = t.organisation where a.name = $1 and t.name = $2",
        organisation,
        name,
    )
    return int(row[0]) if row else None


async def list_teams(tx: Tx, organisation: int, after: str, limit: int) -> list[TeamRow]:
    """The teams of an organisation by name, a page after `after`."""
    rows = await tx.all(f"{_SELECT} and t.name > $2 order by t.name limit $3", organisation, after, limit)
    return [TeamRow(*row) for row in rows]


async def list_teams_of(tx: Tx, account: int, limit: int) -> list[str]:
    """The first teams that an account is in, as `organisation/team`."""
    rows = await tx.all(
        "select o.name, t.name from team_member m join team t on t.id = m.team "
        "join account o on o.id = t.organisation where m.account = $1 order by o.name, t.name limit $2",
        account,
        limit,
    )
    return [f"{organisation}/{team}" for organisation, team in rows]


async def add_team(tx: Tx, organisation: int, name: str, description: str, now: int) -> bool:
    """A new team, if there is none of that name; whether it is new."""
    return 1 == await tx.execute(
        "insert into team (organisation, name, description, created_at) values ($1, $2, $3, $4) "
        "on conflict (organisation, name) do nothing",
        organisation,
        name,
        description,
        now,
    )


async def set_description(tx: Tx, team: int, description: str) -> None:
    """Say something else of a team."""
    await tx.execute("update team set description = $1 where id = $2", description, team)


async def remove_team(tx: Tx, team: int) -> None:
    """Forget a team with its grants."""
    await remove_of(tx, ("team", team))
    await tx.execute("delete from team_member where team = $1", team)
    await tx.execute("delete from team where id = $1", team)


async def list_members(tx: Tx, team: int, after: str, limit: int) -> list[TeamMemberRow]:
    """Who is in a team, by name, a page after `after`."""
    rows = await tx.all(
        "select a.name, m.source, m.added_at from team_member m join account a on a.id = m.account "
        "where m.team = $1 and a.name > $2 order by a.name limit $3",
        team,
        after,
        limit,
    )
    return [TeamMemberRow(*row) for row in rows]


async def find_member(tx: Tx, team: int, account: int) -> TeamMemberRow | None:
    """One member."""
    row = await tx.one(
        "select a.name, m.source, m.added_at from team_member m join account a on a.id = m.account "
        "where m.team = $1 and m.account = $2",
        team,
        account,
    )
    return None if row is None else TeamMemberRow(*row)


async def put_member(tx: Tx, team: int, account: int, now: int) -> None:
    """Let somebody in; from now on the row is kept here, not by a directory."""
    await tx.execute(
        "insert into team_member (team, account, source, added_at) values ($1, $2, 'local', $3) "
        "on conflict (team, account) do update set source = excluded.source",
        team,
        account,
        now,
    )


async def remove_member(tx: Tx, team: int, account: int) -> bool:
    """Let somebody go; whether they were in it."""
    return await tx.execute("delete from team_member where team = $1 and account = $2", team, account) > 0
