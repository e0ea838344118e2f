"""All plans and who has which, as a file that `entrepot apply` takes, and what would change by one."""

from __future__ import annotations

from typing import Any, Final

import yaml

from entrepot.cli.output import clean, print_json
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of

HERE: Final = Anywhere()
BOOK: Final = ("plans", "plan_owners")


def export(*, where: Anywhere = HERE) -> None:
    """Print all plans, and who has which, as a file for `entrepot apply`."""
    with open_api(where) as api:
        book = call(api, "GET", path_of("plan-book"))
    if where.json:
        print_json(book)
    else:
        print(yaml.safe_dump({name: book[name] for name in BOOK}, sort_keys=False, allow_unicode=True), end="")


def lines_of(changes: dict[str, Any]) -> list[str]:
    """A line for what goes and one for what comes, and how much that is."""
    lines = []
    for each in changes["plans"]:
        states = (("-", each["before"]), ("+", each["after"]))
        lines += [f"{sign} plan {clean(each['name'])}: {_terms(plan)}" for sign, plan in states if plan]
    for each in changes["plan_owners"]:
        states = (("-", each["before"]), ("+", each["after"]))
        lines += [f"{sign} {clean(each['owner'])} has the plan {clean(plan)}" for sign, plan in states if plan]
    plans, owners = len(changes["plans"]), len(changes["plan_owners"])
    return [*lines, f"plans to change: {plans}, owners: {owners}, as they are: {changes['kept']}"]


def _terms(plan: dict[str, Any]) -> str:
    pulls = "any number of" if plan["pulls"] is None else plan["pulls"]
    whom = [name.replace("_", " ") for name in ("anonymous", "signed_in") if plan[name]]
    return ", ".join([f"{pulls} pulls in {plan['window_seconds']} s", *whom])
