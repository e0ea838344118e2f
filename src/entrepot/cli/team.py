"""`entrepot team`: some of the members of an organisation, to whom roles are granted together."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="team", help="Make teams of an organisation, and say who is in them.")
HERE = Anywhere()

Team = Annotated[str, Parameter(help="ORGANISATION/TEAM, such as acme/devs.")]


@app.command
def create(
    team: Team,
    /,
    *,
    description: Annotated[str, Parameter(help="What people should know of it, in one line.")] = "",
    where: Anywhere = HERE,
) -> None:
    """Make a team."""
    organisation, name = _split(team)
    new = {"name": name, "description": description}
    with open_api(where) as api:
        _show(call(api, "POST", path_of("organisations", organisation, "teams"), new), "made", is_json=where.json)


@app.command(name="list")
def list_(organisation: str, /, *, where: Anywhere = HERE) -> None:
    """List the teams of an organisation."""
    with open_api(where) as api:
        found = collect(api, path_of("organisations", organisation, "teams"), "teams")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["name", "description", "created_at"])


@app.command
def show(team: Team, /, *, where: Anywhere = HERE) -> None:
    """Show a team."""
    with open_api(where) as api:
        found = call(api, "GET", _path(team))
    if where.json:
        print_json(found)
    else:
        print_rows([found], ["organisation", "name", "description", "created_at"])


@app.command(name="set")
def set_(
    team: Team,
    /,
    *,
    description: Annotated[str, Parameter(help='What people should know of it, in one line; "" for nothing.')],
    where: Anywhere = HERE,
) -> None:
    """Describe a team."""
    with open_api(where) as api:
        _show(call(api, "PATCH", _path(team), {"description": description}), "changed", is_json=where.json)


@app.command
def remove(team: Team, /, *, where: Anywhere = HERE) -> None:
    """Remove a team with what was granted to it."""
    with open_api(where) as api:
        call(api, "DELETE", _path(team))
    if where.json:
        print_json({"team": team})
    else:
        print(f"team {clean(team)} removed")


@app.command
def members(team: Team, /, *, where: Anywhere = HERE) -> None:
    """List who is in a team."""
    with open_api(where) as api:
        found = collect(api, _path(team, "members"), "members")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["user", "source", "added_at"])


@app.command
def add(
    team: Team,
    user: str,
    /,
    *,
    join: Annotated[bool, Parameter(help="Whoever is not in the organisation joins it too.", negative="")] = False,
    where: Anywhere = HERE,
) -> None:
    """Let a member of the organisation into a team."""
    with open_api(where) as api:
        member = call(api, "PUT", _path(team, "members", user), {"join": join})
    if where.json:
        print_json(member)
    else:
        print(f"{clean(user)} is in {clean(team)}")


@app.command
def remove_member(team: Team, user: str, /, *, where: Anywhere = HERE) -> None:
    """Let somebody go out of a team; they stay in the organisation."""
    with open_api(where) as api:
        call(api, "DELETE", _path(team, "members", user))
    if where.json:
        print_json({"user": user})
    else:
        print(f"{clean(user)} is not in {clean(team)} any more")


def _split(team: str) -> tuple[str, str]:
    organisation, slash, name = team.partition("/")
    if not slash or not organisation or not name:
        raise ClientError(f"a team is written ORGANISATION/TEAM, such as acme/devs, not {team!r}")
    return organisation, name


def _path(team: str, *below: str) -> str:
    organisation, name = _split(team)
    return path_of("organisations", organisation, "teams", name, *below)


def _show(team: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(team)
    else:
        print(f"team {clean(team['organisation'])}/{clean(team['name'])} {what}")
