"""`entrepot team-group`: groups of the directory (LDAP) whose people are members of a team."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Where, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="team-group", help="Say which groups of the directory make members of a team.")
THERE = Where()

Team = Annotated[str, Parameter(help="The team, as ORGANISATION/TEAM.")]
Group = Annotated[str, Parameter(help="The group's distinguished name, or its plain name (cn).")]


@app.command
def add(team: Team, group: Group, /, *, where: Where = THERE) -> None:
    """Let a group of the directory make members of a team."""
    path = _path(team)
    with open_api(where) as api:
        made = call(api, "POST", path, {"group": group})
    if where.json:
        print_json(made)
    else:
        print(f"{clean(group)} makes members of {clean(team)}")


@app.command(name="list")
def list_(team: Team, /, *, where: Where = THERE) -> None:
    """List the groups of the directory that make members of a team."""
    path = _path(team)
    with open_api(where) as api:
        found = collect(api, path, "groups")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["group", "added_by", "added_at"])


@app.command
def remove(team: Team, group: Group, /, *, where: Where = THERE) -> None:
    """Let a group of the directory make no members of a team any more."""
    path = f"{_path(team)}?{urlencode({'group': group})}"
    with open_api(where) as api:
        call(api, "DELETE", path)
    if where.json:
        print_json({"group": group})
    else:
        print(f"{clean(group)} makes no members of {clean(team)} any more")


def _path(team: str) -> str:
    organisation, slash, name = team.partition("/")
    if not slash or not name or "/" in name:
        raise ClientError("name the team as ORGANISATION/TEAM, such as acme/devs")
    return path_of("organisations", organisation, "teams", name, "groups")
