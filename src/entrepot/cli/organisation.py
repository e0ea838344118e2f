"""`entrepot organisation`: people who own namespaces together."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="organisation", help="Make organisations, and say who is in them.")
for command, text in (
    ("invite-mail", "Invite an e-mail address, with an account or without; it holds for 14 days."),
    ("mailed", "List who was invited by mail and has not come."),
    ("withdraw-mail", "Take an invitation by mail back."),
    ("accept-mail", "Join, with the account that you have, what the code of a mail invites into."),
):
    app.command(f"entrepot.cli.mail_invitation:{command.replace('-', '_')}", name=command, help=text)
HERE = Anywhere()

Role = Literal["owner", "member"]
About = Annotated[str | None, Parameter(help="What people should know of it, in one line.")]


@app.command
def create(
    name: str,
    /,
    *,
    description: About = None,
    owner: Annotated[str | None, Parameter(help="The user who owns it first; else you.")] = None,
    where: Anywhere = HERE,
) -> None:
    """Make an organisation with a private namespace of its name."""
    new = {"name": name, "description": description or "", "owner": owner}
    with open_api(where) as api:
        _show(call(api, "POST", path_of("organisations"), new), "made", is_json=where.json)


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List the organisations that you are in; as an administrator, all."""
    with open_api(where) as api:
        found = collect(api, path_of("organisations"), "organisations")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["name", "role", "description", "created_at"])


@app.command
def show(name: str, /, *, where: Anywhere = HERE) -> None:
    """Show an organisation."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("organisations", name))
    if where.json:
        print_json(found)
    else:
        print_rows([found], ["name", "role", "description", "created_at"])


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    description: Annotated[str, Parameter(help='What people should know of it, in one line; "" for nothing.')],
    where: Anywhere = HERE,
) -> None:
    """Describe an organisation."""
    with open_api(where) as api:
        changed = call(api, "PATCH", path_of("organisations", name), {"description": description})
        _show(changed, "changed", is_json=where.json)


@app.command
def remove(
    name: str,
    /,
    *,
    give_to: Annotated[str, Parameter(help="Who gets the namespaces that it owns.")] = "",
    where: Anywhere = HERE,
) -> None:
    """Remove an organisation with its teams and what was granted to them."""
    query = f"?give_to={quote(give_to, safe='')}" if give_to else ""
    with open_api(where) as api:
        given = call(api, "DELETE", path_of("organisations", name) + query)["namespaces"]
    if where.json:
        print_json({"name": name, "namespaces": given})
        return
    fate = f"; {clean(give_to)} owns {', '.join(clean(each) for each in given)} now" if given else ""
    print(f"organisation {clean(name)} removed{fate}")


@app.command
def members(name: str, /, *, where: Anywhere = HERE) -> None:
    """List who is in an organisation."""
    with open_api(where) as api:
        found = collect(api, path_of("organisations", name, "members"), "members")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["user", "role", "source", "added_at"])


@app.command
def add(name: str, user: str, role: Role = "member", /, *, where: Anywhere = HERE) -> None:
    """Let a user in, or make a member an owner or an owner a member."""
    with open_api(where) as api:
        member = call(api, "PUT", path_of("organisations", name, "members", user), {"role": role})
    if where.json:
        print_json(member)
    else:
        print(f"{clean(user)} is {member['role']} of {clean(name)}")


@app.command
def remove_member(name: str, user: str, /, *, where: Anywhere = HERE) -> None:
    """Let a member go, out of its teams too; with your own name, leave."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("organisations", name, "members", user))
    if where.json:
        print_json({"user": user})
    else:
        print(f"{clean(user)} is not in {clean(name)} any more")


@app.command
def invite(name: str, user: str, role: Role = "member", /, *, where: Anywhere = HERE) -> None:
    """Ask a user to join; they have 14 days to accept."""
    with open_api(where) as api:
        invitation = call(api, "PUT", path_of("organisations", name, "invitations", user), {"role": role})
    if where.json:
        print_json(invitation)
    else:
        print(f"{clean(user)} is invited to {clean(name)} as {role} until {clean(invitation['expires_at'])}")


@app.command
def withdraw(name: str, user: str, /, *, where: Anywhere = HERE) -> None:
    """Take an invitation back."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("organisations", name, "invitations", user))
    if where.json:
        print_json({"user": user})
    else:
        print(f"{clean(user)} is not invited to {clean(name)} any more")


@app.command
def invitations(name: str | None = None, /, *, where: Anywhere = HERE) -> None:
    """List the organisations that you are invited to; with a name, whom that organisation has invited."""
    path = path_of("invitations") if name is None else path_of("organisations", name, "invitations")
    with open_api(where) as api:
        found = collect(api, path, "invitations")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["organisation", "user", "role", "invited_by", "expires_at", "open"])


@app.command
def accept(name: str, /, *, where: Anywhere = HERE) -> None:
    """Join an organisation that you are invited to."""
    with open_api(where) as api:
        member = call(api, "POST", path_of("invitations", name, "accept"))
    if where.json:
        print_json(member)
    else:
        print(f"you are {member['role']} of {clean(name)}")


@app.command
def decline(name: str, /, *, where: Anywhere = HERE) -> None:
    """Refuse an invitation."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("invitations", name))
    if where.json:
        print_json({"organisation": name})
    else:
        print(f"the invitation to {clean(name)} is declined")


def _show(organisation: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(organisation)
    else:
        print(f"organisation {clean(organisation['name'])} {what}")
