"""`entrepot role`: named sets of actions, for what reader, writer, maintainer and owner do not fit."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="role", help="Make roles of your own beside the built-in ones.")
HERE = Anywhere()
COLUMNS = ["name", "built_in", "actions", "description"]


@app.command
def create(
    name: str,
    action: str,
    /,
    *more: Annotated[str, Parameter(help="Further actions.")],
    description: Annotated[str, Parameter(help="What people should know of it, in one line.")] = "",
    where: Anywhere = HERE,
) -> None:
    """Make a role out of actions, such as pull, push and tag.create."""
    new = {"name": name, "actions": [action, *more], "description": description}
    with open_api(where) as api:
        _show(call(api, "POST", path_of("roles"), new), "made", is_json=where.json)


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List every role that can be granted."""
    with open_api(where) as api:
        found = collect(api, path_of("roles"), "roles")
    if where.json:
        print_json(found)
    else:
        _print(found)


@app.command
def show(name: str, /, *, where: Anywhere = HERE) -> None:
    """Show a role."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("roles", name))
    if where.json:
        print_json(found)
    else:
        _print([found])


@app.command(name="set")
def set_(
    name: str,
    /,
    *actions: Annotated[str, Parameter(help="All that the role allows from now on; none leaves them as they are.")],
    description: Annotated[str | None, Parameter(help="What people should know of it, in one line.")] = None,
    where: Anywhere = HERE,
) -> None:
    """Change what a role allows; every grant of it follows at once."""
    change: dict[str, Any] = {"actions": list(actions)} if actions else {}
    if description is not None:
        change["description"] = description
    if not change:
        raise ClientError("say what to change: all its actions, or --description")
    with open_api(where) as api:
        _show(call(api, "PATCH", path_of("roles", name), change), "changed", is_json=where.json)


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Remove a role that no grant gives."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("roles", name))
    if where.json:
        print_json({"name": name})
    else:
        print(f"role {clean(name)} removed")


def _print(found: list[dict[str, Any]]) -> None:
    print_rows([{**role, "actions": ", ".join(role["actions"])} for role in found], COLUMNS)


def _show(role: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(role)
    else:
        print(f"role {clean(role['name'])} {what}: {clean(', '.join(role['actions']))}")
