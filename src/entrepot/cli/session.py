"""`entrepot session`: the browsers that somebody is signed in with."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="session", help="List the browsers that somebody is signed in with, and sign them out.")
HERE = Anywhere()


@app.command(name="list")
def list_(
    *,
    user: Annotated[str, Parameter(help="Those of this user, as an administrator; else your own.")] = "",
    where: Anywhere = HERE,
) -> None:
    """List the browsers that somebody is signed in with."""
    with open_api(where) as api:
        found = collect(api, path_of("sessions") + (f"?user={quote(user, safe='')}" if user else ""), "sessions")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["id", "user", "by", "address", "seen_at", "expires_at", "agent"])


@app.command
def revoke(number: Annotated[int, Parameter(name="ID")], /, *, where: Anywhere = HERE) -> None:
    """Sign a browser out at once."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("sessions", str(number)))
    if where.json:
        print_json({"id": number})
    else:
        print(f"session {clean(number)} ended")
