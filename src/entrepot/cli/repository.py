"""`entrepot repository`: what there is, and who may see it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Where, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="repository", help="List repositories, and say who may see them.")
THERE = Where()


@app.command(name="list")
def list_(
    namespace: Annotated[str, Parameter(help="Only repositories of this namespace.")] = "", /, *, where: Where = THERE
) -> None:
    """List the repositories that you may pull from."""
    query = f"?{urlencode({'namespace': namespace})}" if namespace else ""
    with open_api(where) as api:
        found = collect(api, path_of("repositories") + query, "repositories")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["name", "format", "visibility", "created_at"])


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    public: Annotated[bool, Parameter(help="Anybody may pull, without logging in.", negative="")] = False,
    private: Annotated[bool, Parameter(help="Only members may pull.", negative="")] = False,
    inherit: Annotated[bool, Parameter(help="As the namespace is.", negative="")] = False,
    where: Where = THERE,
) -> None:
    """Change who may see a repository."""
    if public + private + inherit != 1:
        raise ClientError("say one of --public, --private and --inherit")
    change = {"visibility": None if inherit else "public" if public else "private"}
    with open_api(where) as api:
        changed = call(api, "PATCH", path_of("repositories", name), change)
    if where.json:
        print_json(changed)
        return
    how = "by itself" if changed["override"] else "as its namespace"
    print(f"repository {clean(changed['name'])} is {clean(changed['visibility'])} {how}")
