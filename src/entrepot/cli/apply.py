"""`entrepot apply` and `entrepot policy`: grants and plans as a file, with the difference first."""

from __future__ import annotations

import pathlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import yaml
from cyclopts import Parameter
from yaml.composer import ComposerError

from entrepot.cli.grant import what_of
from entrepot.cli.output import clean, print_json
from entrepot.cli.plan_book import BOOK, lines_of
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of
from entrepot.client.errors import ClientError

HERE: Final = Anywhere()
LARGEST_CHARACTERS: Final = 4 << 20


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How a file is read and applied."""

    resource: Annotated[
        str | None, Parameter(help="For a policy document: what statements without a Resource are about.")
    ] = None
    principal: Annotated[
        tuple[str, ...], Parameter(help="For a policy document: who a principal is here, ARN=service:NAME; repeatable.")
    ] = ()
    plan: Annotated[bool, Parameter(help="Show the difference and change nothing.", negative="")] = False
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.", negative="")] = False


PLAINLY: Final = How()


def apply(
    *,
    file: Annotated[
        pathlib.Path,
        Parameter(name=["--file", "-f"], help="YAML or JSON; - is standard input.", allow_leading_hyphen=True),
    ],
    how: How = PLAINLY,
    where: Anywhere = HERE,
) -> None:
    """Make the grants on some resources, and all plans, what a file says, after showing the difference.

    The file has `resources` and `grants`, `plans` and `plan_owners`, or is a JSON policy document as ECR has them.
    """
    document = _read(file)
    book = {name: document.pop(name) for name in BOOK if name in document}
    proposal = _proposal(document, how)
    with open_api(where) as api:
        change = call(api, "POST", path_of("policy", "plan"), proposal) if document or not book else None
        rest = call(api, "POST", path_of("plan-book", "changes"), book) if book else None
        if not where.json:
            _show(change, rest)
        is_agreed = not how.plan and (_changes_grants(change) or _changes_plans(rest)) and (how.yes or _ask())
        if is_agreed and change and _changes_grants(change):
            call(api, "PUT", path_of("policy"), {**proposal, "hash": change["hash"]})
        if is_agreed and rest and _changes_plans(rest):
            call(api, "PUT", path_of("plan-book"), {**book, "hash": rest["hash"]})
    if where.json:
        print_json({**(change or {}), **({"plan_book": rest} if rest else {}), "applied": is_agreed})
    elif is_agreed:
        print("applied")


def show(
    resource: Annotated[str, Parameter(help="A namespace, repository or pattern.")], /, *, where: Anywhere = HERE
) -> None:
    """Print the grants on exactly one resource as a JSON policy document."""
    with open_api(where) as api:
        print_json(call(api, "GET", f"{path_of('policy')}?{urlencode({'resource': resource})}")["policy"])


class _Loader(yaml.SafeLoader):
    """Refuses a name that is there twice: the first one would be dropped, and with it grants or conditions."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, before others are merged into it."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set[tuple[str, str]]()
        for name, _ in node.value:
            if (name.tag, str(name.value)) in seen:
                raise ComposerError(None, None, f"{name.value} is there twice", name.start_mark)
            seen.add((name.tag, str(name.value)))
        return node


def _read(file: pathlib.Path) -> Any:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        if len(text) > LARGEST_CHARACTERS:
            raise ClientError(f"{file} is over 4 MiB: split it by resource")
        document = yaml.load(text, _Loader)  # noqa: S506 - a safe one
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {file}: {error}") from None
    except yaml.YAMLError as error:
        raise ClientError(f"{file} is neither YAML nor JSON: {error}".replace("\n", " ")) from None
    if not isinstance(document, dict):
        raise ClientError(f"{file} must hold resources and grants, or a policy document")
    return document


def _proposal(document: dict[str, Any], how: How) -> dict[str, Any]:
    if "Statement" not in document:
        return document
    principals = {}
    for each in how.principal:
        foreign, equals, own = each.rpartition("=")
        if not equals:
            raise ClientError("--principal is FOREIGN=SUBJECT, such as arn:aws:iam::1234:role/ci=service:acme+ci")
        principals[foreign] = own
    return {"policy": document, "resource": how.resource, "principals": principals}


def _changes_grants(change: dict[str, Any] | None) -> bool:
    return bool(change and (change["add"] or change["remove"]))


def _changes_plans(rest: dict[str, Any] | None) -> bool:
    return bool(rest and (rest["plans"] or rest["plan_owners"]))


def _show(change: dict[str, Any] | None, rest: dict[str, Any] | None) -> None:
    if change:
        for sign, grants in (("-", change["remove"]), ("+", change["add"])):
            for grant in grants:
                print(f"{sign} {clean(_line(grant))}")
        print(f"{len(change['add'])} to add, {len(change['remove'])} to take away, {change['kept']} as they are")
    if rest:
        for line in lines_of(rest):
            print(line)


def _line(grant: dict[str, Any]) -> str:
    what, limits = what_of(grant)
    verb = "may not" if grant["effect"] == "deny" else "has"
    return " ".join(
        part for part in (grant["subject"], verb, what, "on", grant["resource"] or "(registry)", limits) if part
    )


def _ask() -> bool:
    if not sys.stdin.isatty():
        raise ClientError("nobody is there to agree: look with --plan, then give --yes")
    return input("apply this? [y/N] ").strip().lower() in {"y", "yes"}
