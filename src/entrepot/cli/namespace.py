"""`entrepot namespace`: the first segments of names, who owns them, and who may do what in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_fields, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="namespace", help="Make and change namespaces, and say who may do what in them.")
HERE = Anywhere()
# What a new namespace has, and what is not worth a word.
USUAL_DAYS = 14
COLUMNS = ["name", "visibility", "owner", "untagged_days", "created_at"]

Public = Annotated[bool, Parameter(help="Anybody may pull, without logging in.", negative="")]
Resource = Annotated[str, Parameter(help="A namespace (acme) or one repository (acme/app).")]


@app.command
def create(
    name: str,
    /,
    *,
    public: Public = False,
    owner: Annotated[str | None, Parameter(help="The user or organisation who owns it.")] = None,
    where: Anywhere = HERE,
) -> None:
    """Make a namespace, private unless --public; it belongs to --owner, else to you or to your organisation."""
    new = {"name": name, "visibility": "public" if public else "private"}
    if owner is not None:
        new["owner"] = owner
    with open_api(where) as api:
        _show(call(api, "POST", path_of("namespaces"), new), "made", is_json=where.json)


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List the namespaces in which there is something that you may read."""
    with open_api(where) as api:
        found = collect(api, path_of("namespaces"), "namespaces")
    if where.json:
        print_json(found)
    else:
        print_rows(found, COLUMNS)


@app.command
def show(name: str, /, *, where: Anywhere = HERE) -> None:
    """Show all that is set of a namespace."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("namespaces", name))
    if where.json:
        print_json(found)
    else:
        print_fields(found)


@Parameter(name="*")
@dataclass(frozen=True)
class Change:
    """What is to be different of a namespace."""

    public: Public = False
    private: Annotated[bool, Parameter(help="Only members may pull.", negative="")] = False
    owner: Annotated[str | None, Parameter(help='The user or organisation who owns it; "" for nobody.')] = None
    listeners: Annotated[
        str | None, Parameter(help='The only listeners on which it answers, by commas; "" for all.')
    ] = None
    away_pulls: Annotated[
        bool | None, Parameter(help="Whether pulls go on from memory while the database is away.")
    ] = None
    untagged_days: Annotated[
        int | None, Parameter(help="For how many days what is pushed by digest alone is kept, from now on.")
    ] = None

    def document(self) -> dict[str, Any]:
        """The change as the API takes it. Raises ClientError."""
        if self.public and self.private:
            raise ClientError("--public and --private exclude each other")
        change: dict[str, Any] = {}
        if self.public or self.private:
            change["visibility"] = "public" if self.public else "private"
        if self.owner is not None:
            change["owner"] = self.owner or None
        if self.listeners is not None:
            change["listeners"] = [name.strip() for name in self.listeners.split(",") if name.strip()]
        if self.away_pulls is not None:
            change["away_pulls"] = self.away_pulls
        if self.untagged_days is not None:
            change["untagged_days"] = self.untagged_days
        if not change:
            raise ClientError(
                "say what to change: --public, --private, --owner USER, --listeners NAMES, --no-away-pulls "
                "or --untagged-days N"
            )
        return change


NOTHING = Change()


@app.command(name="set")
def set_(name: str, /, *, change: Change = NOTHING, where: Anywhere = HERE) -> None:
    """Change who owns a namespace, who may pull by default, where it answers, and what it keeps untagged."""
    document = change.document()
    with open_api(where) as api:
        _show(call(api, "PATCH", path_of("namespaces", name), document), "changed", is_json=where.json)


@app.command
def members(resource: Resource, /, *, where: Anywhere = HERE) -> None:
    """List who has which role on a namespace or repository."""
    with open_api(where) as api:
        found = collect(api, _members_of(resource), "members")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["user", "role"])


@app.command
def grant(
    resource: Resource,
    user: str,
    role: Literal["reader", "writer", "maintainer", "owner"],
    /,
    *,
    where: Anywhere = HERE,
) -> None:
    """Give a user a role: a reader pulls, a writer pushes too, a maintainer deletes too, an owner administers too."""
    with open_api(where) as api:
        member = call(api, "PUT", _members_of(resource, user), {"role": role})
    if where.json:
        print_json(member)
    else:
        print(f"{clean(user)} is {role} of {clean(resource)}")


@app.command
def revoke(resource: Resource, user: str, /, *, where: Anywhere = HERE) -> None:
    """Take a user's role away."""
    with open_api(where) as api:
        call(api, "DELETE", _members_of(resource, user))
    if where.json:
        print_json({"user": user})
    else:
        print(f"{clean(user)} has no role on {clean(resource)} any more")


def _members_of(resource: str, *user: str) -> str:
    kind = "repositories" if "/" in resource else "namespaces"
    return path_of(kind, resource, "members", *user)


def _show(namespace: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(namespace)
        return
    owner = f"owned by {clean(namespace['owner'])}" if namespace["owner"] else "without an owner"
    only = f", only on {clean(', '.join(namespace['listeners']))}" if namespace["listeners"] else ""
    only += "" if namespace["away_pulls"] else ", no pulls while the database is away"
    if namespace["untagged_days"] != USUAL_DAYS:
        only += f", untagged for {namespace['untagged_days']} days"
    print(f"namespace {clean(namespace['name'])} {what}: {clean(namespace['visibility'])}, {owner}{only}")
