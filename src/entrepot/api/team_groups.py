"""Groups of the directory that make members of a team: `/organisations/{organisation}/teams/{team}/groups`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody, QueryParameter

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import GROUP, Answer, Document, time_of
from entrepot.core import team_groups
from entrepot.domain.directory import LONGEST_GROUP
from entrepot.metadata.team_groups import TeamGroupRow

GroupName = Annotated[
    str,
    msgspec.Meta(
        description="The distinguished name of a group of the directory, or its plain name (`cn`).",
        extra_json_schema={"minLength": 1, "maxLength": LONGEST_GROUP, "pattern": GROUP},
    ),
]
WhichGroup = Annotated[
    str, QueryParameter(name="group", description="The group as it was named, or in another spelling of the same.")
]


class TeamGroup(Answer, frozen=True):
    """A group of the directory that makes members of a team."""

    group: str
    added_by: str
    added_at: datetime


class TeamGroups(Answer, frozen=True):
    """A page of groups."""

    groups: list[TeamGroup]


class NewTeamGroup(Document, frozen=True):
    """A group of the directory whose people are to be members of the team."""

    group: GroupName


def _group(row: TeamGroupRow) -> TeamGroup:
    return TeamGroup(row.name, row.added_by, time_of(row.added_at))


async def list_page(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, team: InPath, names: Names
) -> Response[TeamGroups]:
    """The groups of the directory that make members of a team."""
    rows, following = await team_groups.list_groups(registry, caller, f"{organisation}/{team}", names.page)
    return names.answer(TeamGroups([_group(row) for row in rows]), following)


async def add(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, team: InPath, data: JSONBody[NewTeamGroup]
) -> Response[TeamGroup]:
    """Let a group make members of a team, from their next login or the next look at the directory on."""
    row = await team_groups.add_group(registry, caller, f"{organisation}/{team}", data.group)
    return created(f"/organisations/{organisation}/teams/{team}/groups", _group(row))


async def remove(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, team: InPath, group: WhichGroup
) -> None:
    """Let a group make no members of a team any more; those that it has made leave with the next look."""
    await team_groups.remove_group(registry, caller, f"{organisation}/{team}", group)
