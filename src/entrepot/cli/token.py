"""`entrepot token`: personal tokens, instead of a password."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from entrepot.cli import credentials
from entrepot.cli.output import clean, print_json
from entrepot.cli.target import Where, find_server
from entrepot.client.api import Api, call, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="token", help="Make, list and revoke personal tokens.")
THERE = Where()

User = Annotated[str, Parameter(help="Whose they are, for administrators; else yours.")]


@app.command
def create(
    name: Annotated[str, Parameter(help="What you call it, such as laptop.")],
    /,
    *,
    scope: credentials.Scopes = None,
    days: credentials.Days = None,
    user: User = "",
    where: Where = THERE,
) -> None:
    """Make a token, which is shown this once; without --scope it may do what you may, but administer nothing."""
    api = find_server(where)
    made = credentials.make(api, _path(api, user), name, scope, days)
    credentials.show_made(made, f"token {clean(name)}", is_json=where.json)


@app.command(name="list")
def list_(*, user: User = "", where: Where = THERE) -> None:
    """List tokens and login passwords with when they were used last."""
    api = find_server(where)
    credentials.show_all(api, _path(api, user), is_json=where.json)


@app.command
def revoke(
    which: credentials.Which | None = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", help="All of them.", negative="")] = False,
    user: User = "",
    where: Where = THERE,
) -> None:
    """End a token at once, with everything that was asked for with it."""
    if (which is None) is not every:
        raise ClientError("say which token by its name or id, or --all")
    api = find_server(where)
    path = _path(api, user)
    live = credentials.list_live(api, path) if which is None else [which]
    revoked = [credentials.revoke(api, path, each) for each in live]
    if where.json:
        print_json([{"id": each["id"], "name": each["name"]} for each in revoked])
        return
    for each in revoked:
        print(f"token {clean(each['name'])} revoked")


def _path(api: Api, user: str) -> str:
    return path_of("users", user or call(api, "GET", path_of("whoami"))["name"], "tokens")
