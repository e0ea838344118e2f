"""`entrepot grant`: who may or may not do what where, down to a tag, and on which conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_fields, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="grant", help="Give, list and take away grants: roles with patterns, tags and conditions.")
HERE = Anywhere()
COLUMNS = ["id", "subject", "effect", "what", "resource", "limits"]

Subject = Annotated[str, Parameter(help="user:NAME, service:NAME, team:ORG/NAME, signed-in or everyone.")]
ACTIONS = (
    "pull, push, delete, tag.create, tag.move, tag.delete, scan.read, policy.write, "
    "repository.create, repository.admin, namespace.create, namespace.admin"
)
What = Annotated[
    str, Parameter(help=f"A role (reader, writer, maintainer, owner, your own), or actions out of: {ACTIONS}.")
]
Resource = Annotated[str, Parameter(help='acme, acme/app, a pattern such as "acme/web-*", or "*" for all namespaces.')]


@Parameter(name="*")
@dataclass(frozen=True)
class Limits:
    """What narrows a grant, or turns it round."""

    deny: Annotated[bool, Parameter(help="Forbid it: this beats every grant that allows it.", negative="")] = False
    tags: Annotated[str, Parameter(help='Only for tags like this: "v*".')] = ""
    network: Annotated[tuple[str, ...], Parameter(help="Only from this network (CIDR); repeatable.")] = ()
    outside: Annotated[tuple[str, ...], Parameter(help="Only from outside this network (CIDR); repeatable.")] = ()
    listener: Annotated[tuple[str, ...], Parameter(help="Only by this listener; repeatable.")] = ()
    client: Annotated[
        tuple[str, ...], Parameter(help="Only with a client certificate of a name like this; repeatable.")
    ] = ()
    from_: Annotated[str | None, Parameter(name="--from", help="Only from then on, such as 2026-12-01T00:00:00Z.")] = (
        None
    )
    until: Annotated[str | None, Parameter(help="Only until then, such as 2026-12-31T00:00:00Z.")] = None
    days: Annotated[str, Parameter(help="Only on these days: mon,tue,wed,thu,fri.")] = ""
    hours: Annotated[str, Parameter(help="Only at this time of day: 08:00-18:00, perhaps /Europe/Berlin.")] = ""

    def document(self) -> dict[str, Any]:
        """The parts of a grant that these are."""
        conditions: dict[str, Any] = {}
        if self.network:
            conditions["networks"] = list(self.network)
        if self.outside:
            conditions["not_networks"] = list(self.outside)
        if self.listener:
            conditions["listeners"] = list(self.listener)
        if self.client:
            conditions["clients"] = list(self.client)
        if self.from_:
            conditions["not_before"] = self.from_
        if self.until:
            conditions["not_after"] = self.until
        if self.days:
            conditions["days"] = [day.strip() for day in self.days.split(",")]
        if self.hours:
            span, _, zone = self.hours.partition("/")
            start, _, end = span.partition("-")
            conditions["hours"] = {"start": start, "end": end, "zone": zone or "UTC"}
        return {"tags": self.tags, "conditions": conditions or None, "effect": "deny" if self.deny else "allow"}


NONE = Limits()


@app.command
def add(subject: Subject, what: What, resource: Resource, /, *, limits: Limits = NONE, where: Anywhere = HERE) -> None:
    """Give a grant; nobody can give what they do not have themselves."""
    new = {**document_of(subject, what, resource), **limits.document()}
    with open_api(where) as api:
        made = call(api, "POST", path_of("grants"), new)
    if where.json:
        print_json(made)
        return
    verb = "may not" if limits.deny else "has"
    print(f"grant {made['id']}: {clean(subject)} {verb} {clean(what)} on {clean(resource) or 'the registry'}")


@app.command(name="list")
def list_(
    resource: Annotated[str, Parameter(help="Only on this namespace or repository and below; else all.")] = "",
    /,
    *,
    subject: Annotated[str, Parameter(help="Only for this user:NAME, service:NAME, team:ORG/NAME and so on.")] = "",
    where: Anywhere = HERE,
) -> None:
    """List grants: on what you own, or as an administrator all of them."""
    query = urlencode({"resource": resource, "subject": subject})
    with open_api(where) as api:
        found = collect(api, f"{path_of('grants')}?{query}", "grants")
    if where.json:
        print_json(found)
    else:
        print_rows([_row(grant) for grant in found], COLUMNS)


@app.command
def show(grant: int, /, *, where: Anywhere = HERE) -> None:
    """Show a grant, by the number that `grant list` and every explanation name."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("grants", str(grant)))
    if where.json:
        print_json(found)
        return
    row = {**_row(found), "given": f"by {found['granted_by']} at {found['granted_at']}"}
    print_fields({name: row[name] or None for name in (*COLUMNS, "given")})


@app.command
def remove(grant: int, /, *, where: Anywhere = HERE) -> None:
    """Take a grant away, by the number that `grant list` shows."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("grants", str(grant)))
    if where.json:
        print_json({"id": grant})
    else:
        print(f"grant {grant} is taken away")


def document_of(subject: str, what: str, resource: str) -> dict[str, Any]:
    """A grant as the API takes it; words that are actions are actions, else it is a role."""
    words = [word.strip() for word in what.split(",")]
    is_actions = len(words) > 1 or "." in what or what in {"pull", "push", "delete"}
    given = {"actions": words} if is_actions else {"role": what}
    return {"subject": subject, "resource": resource, **given}


def what_of(grant: dict[str, Any]) -> tuple[str, str]:
    """What a grant gives and what narrows it, for people."""
    limits = [f"tags {grant['tags']}"] if grant["tags"] else []
    for name, value in (grant["conditions"] or {}).items():
        limits.append(f"{name.replace('_', ' ')} {_plain(value)}")
    return grant["role"] or ", ".join(grant["actions"]), "; ".join(limits)


def _row(grant: dict[str, Any]) -> dict[str, Any]:
    what, limits = what_of(grant)
    return {**grant, "what": what, "resource": grant["resource"] or "(registry)", "limits": limits}


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return f"{value['start']}-{value['end']} {value['zone']}" if isinstance(value, dict) else str(value)
