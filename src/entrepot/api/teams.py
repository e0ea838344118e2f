"""Teams of an organisation: `/organisations/…/teams`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, TheTeam, created
from entrepot.api.types import Answer, Description, Document, Label, time_of
from entrepot.core import teams
from entrepot.metadata.teams import TeamMemberRow, TeamRow


class Team(Answer, frozen=True):
    """Some of the members of an organisation, to whom roles are granted together."""

    organisation: str
    name: str
    description: str
    created_at: datetime


class Teams(Answer, frozen=True):
    """A page of teams, by name."""

    teams: list[Team]


class NewTeam(Document, frozen=True):
    """A team to be made."""

    name: Label
    description: Description = ""


class TeamChange(Document, frozen=True):
    """What is to be said of a team."""

    description: Description


class TeamMember(Answer, frozen=True):
    """Somebody in a team. `source` is `local`, or names the directory that the row is kept by."""

    user: str
    source: str
    added_at: datetime


class TeamMembers(Answer, frozen=True):
    """A page of members, by name."""

    members: list[TeamMember]


class NewTeamMember(Document, frozen=True):
    """How somebody gets into a team; with `join`, whoever is not in the organisation joins it too."""

    join: bool = False


def _team(row: TeamRow) -> Team:
    return Team(row.organisation, row.name, row.description, time_of(row.created_at))


def _member(row: TeamMemberRow) -> TeamMember:
    return TeamMember(row.user, row.source, time_of(row.added_at))


async def list_page(registry: TheRegistry, caller: TheCaller, organisation: InPath, names: Names) -> Response[Teams]:
    """The teams of an organisation, by name."""
    rows, following = await teams.list_teams(registry, caller, organisation, names.page)
    return names.answer(Teams([_team(row) for row in rows]), following)


async def create(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, data: JSONBody[NewTeam]
) -> Response[Team]:
    """Make a team."""
    name = teams.TeamName(organisation, data.name)
    made = await teams.create_team(registry, caller, name, data.description)
    return created(f"/organisations/{made.organisation}/teams/{made.name}", _team(made))


async def get(registry: TheRegistry, caller: TheCaller, place: TheTeam) -> Team:
    """One team."""
    return _team(await teams.get_team(registry, caller, place))


async def change(registry: TheRegistry, caller: TheCaller, place: TheTeam, data: JSONBody[TeamChange]) -> Team:
    """Describe a team."""
    return _team(await teams.describe_team(registry, caller, place, data.description))


async def remove(registry: TheRegistry, caller: TheCaller, place: TheTeam) -> None:
    """Remove a team with what was granted to it."""
    await teams.remove_team(registry, caller, place)


async def list_members(registry: TheRegistry, caller: TheCaller, place: TheTeam, names: Names) -> Response[TeamMembers]:
    """Who is in a team, by name."""
    rows, following = await teams.list_members(registry, caller, place, names.page)
    return names.answer(TeamMembers([_member(row) for row in rows]), following)


async def put_member(
    registry: TheRegistry, caller: TheCaller, place: TheTeam, user: InPath, data: JSONBody[NewTeamMember]
) -> TeamMember:
    """Let a member of the organisation into a team."""
    return _member(await teams.put_member(registry, caller, place, user, joins=data.join))


async def remove_member(registry: TheRegistry, caller: TheCaller, place: TheTeam, user: InPath) -> None:
    """Let somebody go out of a team; they stay in the organisation."""
    await teams.remove_member(registry, caller, place, user)
