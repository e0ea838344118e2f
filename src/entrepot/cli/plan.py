"""`entrepot plan`: how many images somebody may pull within a span of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.plan_book import export
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="plan", help="Say how many images may be pulled, by whom, and see how many are left.")
app.command(export)
HERE = Anywhere()
PLANS: Final = ["name", "pulls", "window_seconds", "anonymous", "signed_in"]
USAGE: Final = ["owner", "plan", "assigned", "pulls", "window_seconds", "used", "remaining", "ends_at"]
SPAN: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@Parameter(name="*")
@dataclass(frozen=True)
class Whom:
    """For whom a plan is where none was assigned."""

    anonymous: Annotated[bool, Parameter(help="For addresses from which nobody logs in.", negative="")] = False
    signed_in: Annotated[bool, Parameter(help="For accounts that were assigned none.", negative="")] = False


NOBODY: Final = Whom()


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List every plan, and for whom it is where none was assigned."""
    with open_api(where) as api:
        found = collect(api, path_of("plans"), "plans")
    if where.json:
        print_json(found)
    else:
        print_rows([{**plan, "pulls": _number(plan["pulls"])} for plan in found], PLANS)


@app.command(name="set")
def set_(
    name: str,
    pulls: Annotated[str, Parameter(help="How many images, or `unlimited`.")],
    window: Annotated[str, Parameter(help="Within how long: 6h, 90m, 1d.")] = "6h",
    /,
    *,
    whom: Whom = NOBODY,
    where: Anywhere = HERE,
) -> None:
    """Make a plan, or say anew what it is; whoever has it has it so at once."""
    terms = {
        "pulls": _pulls(pulls),
        "window_seconds": _seconds(window),
        "anonymous": whom.anonymous,
        "signed_in": whom.signed_in,
    }
    with open_api(where) as api:
        plan = call(api, "PUT", path_of("plans", name), terms)
    if where.json:
        print_json(plan)
    elif plan["pulls"] is None:
        print(f"plan {clean(name)} does not limit pulls")
    else:
        print(f"plan {clean(name)} gives {plan['pulls']} pulls in {plan['window_seconds']} s")


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Remove a plan that was assigned to nobody."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("plans", name))
    if where.json:
        print_json({"name": name})
    else:
        print(f"plan {clean(name)} removed")


@app.command
def assign(owner: str, name: str, /, *, where: Anywhere = HERE) -> None:
    """Give a user or an organisation, for its members and machines, a plan."""
    with open_api(where) as api:
        usage = call(api, "PUT", path_of("owners", owner, "plan"), {"plan": name})
    if where.json:
        print_json(usage)
    else:
        print(f"{clean(owner)} has the plan {clean(name)}")


@app.command
def unassign(owner: str, /, *, where: Anywhere = HERE) -> None:
    """Let a user or an organisation have the plan that everybody has."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("owners", owner, "plan"))
    if where.json:
        print_json({"owner": owner})
    else:
        print(f"{clean(owner)} has the plan of everybody")


@app.command
def show(
    owner: Annotated[str | None, Parameter(help="A user or organisation, else whoever bears your pulls.")] = None,
    /,
    *,
    where: Anywhere = HERE,
) -> None:
    """Show by which plan somebody pulls, and how much of it is left."""
    with open_api(where) as api:
        path = path_of("owners", owner, "plan") if owner else path_of("pull-usage")
        usage = call(api, "GET", path)
    if where.json:
        print_json(usage)
    else:
        print_rows([{**usage, "pulls": _number(usage["pulls"])}], USAGE)


def _pulls(text: str) -> int | None:
    if text == "unlimited":
        return None
    if not text.isdecimal():
        raise ClientError(f"pulls are a number or `unlimited`, not {text}")
    return int(text)


def _seconds(text: str) -> int:
    match = SPAN.fullmatch(text)
    if match is None:
        raise ClientError(f"a window is a number and s, m, h or d, such as 6h, not {text}")
    return int(match[1]) * UNITS[match[2]]


def _number(pulls: Any) -> str:
    return "unlimited" if pulls is None else str(pulls)
