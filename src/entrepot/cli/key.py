"""`entrepot key`: what tokens are signed by."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of

app = cyclopts.App(name="key", help="List the keys that tokens are signed by, and rotate or revoke them.")
HERE = Anywhere()


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List the keys, the newest first."""
    with open_api(where) as api:
        keys = call(api, "GET", path_of("signing-keys"))["keys"]
    if where.json:
        print_json(keys)
    else:
        print_rows(keys, ["kid", "state", "created_at", "signs_from", "revoked_at"])


@app.command
def rotate(
    *,
    revoke: Annotated[
        bool, Parameter(help="Void every token made so far, at once: after a leak of the database.", negative="")
    ] = False,
    where: Anywhere = HERE,
) -> None:
    """Go over to the next key: once it has been published for two hours, or with --revoke at once."""
    with open_api(where) as api:
        made = call(api, "POST", path_of("signing-keys"), {"revoke": revoke})
    if where.json:
        print_json(made)
    elif revoke:
        print(f"every token made so far is void; {clean(made['kid'])} signs from now on")
    else:
        print(f"{clean(made['kid'])} signs from {clean(made['signs_from'])} on")
