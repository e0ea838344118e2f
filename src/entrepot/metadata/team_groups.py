"""Rows that say which groups of a directory make members of a team."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Tx


class TeamRow(msgspec.Struct, frozen=True):
    """A team and the organisation that it is of."""

    id: int
    organisation: int


class TeamGroupRow(msgspec.Struct, frozen=True):
    """A group as it was named, under the one spelling of its name; times are microseconds since 1970."""

    key: str
    name: str
    added_by: str
    added_at: int


class MappedTeamRow(msgspec.Struct, frozen=True):
    """A team that a group makes members of, named `organisation/team`."""

    key: str
    team: int
    organisation: int
    name: str


async def find_organisation(tx: Tx, name: str) -> int | None:
    """An organisation by name."""
    row = await tx.one("select id from account where name = $1 and kind = 'organisation'", name)
    return None if row is None else int(row[0])


async def find_team(tx: Tx, organisation: int, name: str) -> TeamRow | None:
    """A team of an organisation by name."""
    row = await tx.one("select id, organisation from team where organisation = $1 and name = $2", organisation, name)
    return None if row is None else TeamRow(*row)


async def list_team_groups(tx: Tx, team: int, after: str, limit: int) -> list[TeamGroupRow]:
    """The groups of a team by their keys, a page after `after`."""
    rows = await tx.all(
        "select key, name, added_by, added_at from team_group where team = $1 and key > $2 order by key limit $3",
        team,
        after,
        limit,
    )
    return [TeamGroupRow(*row) for row in rows]


async def add_team_group(tx: Tx, team: int, group: TeamGroupRow) -> bool:
    """Let a group make members of a team; whether it did not yet."""
    return 0 < await tx.execute(
        "insert into team_group (team, key, name, added_by, added_at) values ($1, $2, $3, $4, $5) "
        "on conflict do nothing",
        team,
        group.key,
        group.name,
        group.added_by,
        group.added_at,
    )


async def remove_team_group(tx: Tx, team: int, key: str) -> bool:
    """A group makes no members of a team any more; whether it did."""
    return 0 < await tx.execute("delete from team_group where team = $1 and key = $2", team, key)


async def list_mapped_teams(tx: Tx) -> list[MappedTeamRow]:
    """Every team with each group that makes members of it."""
    rows = await tx.all(
        "select g.key, t.id, t.organisation, o.name || '/' || t.name from team_group g "
        "join team t on t.id = g.team join account o on o.id = t.organisation order by g.key, t.id"
    )
    return [MappedTeamRow(*row) for row in rows]
