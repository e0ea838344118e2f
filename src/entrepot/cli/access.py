"""`entrepot can-i`, `who-can` and `why`: questions about the policy."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from cyclopts import Parameter

from entrepot.cli.grant import Limits, document_of
from entrepot.cli.output import clean, in_utc, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import Api, call, collect, path_of
from entrepot.client.errors import ClientError
from entrepot.domain.patterns import is_pattern

HERE: Final = Anywhere()
TRIES: Final = 4
PAUSE_SECONDS: Final = 0.5

ActionWord = Annotated[str, Parameter(help="An action, such as pull, push or tag.move: `grant add --help` names them.")]
Resource = Annotated[str, Parameter(help="acme, acme/app, or a tag: acme/app:v1.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Circumstances:
    """Where, when, by which door and as whom."""

    address: Annotated[str | None, Parameter(help="Coming from this address.")] = None
    listener: Annotated[str | None, Parameter(help="Coming by this listener.")] = None
    client: Annotated[str | None, Parameter(help="With a client certificate of this name.")] = None
    at: Annotated[datetime | None, Parameter(help="At this time; without a zone, UTC.")] = None

    def document(self) -> dict[str, str]:
        """Those that are given, as the API takes them."""
        at = in_utc(self.at)
        parts = {"address": self.address, "listener": self.listener, "client": self.client}
        parts["at"] = at.isoformat() if at else None
        return {name: part for name, part in parts.items() if part is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Supposing(Circumstances):
    """And with a grant that there is not yet: what `grant add` takes, each of its options with `if-` before it."""

    if_granted: Annotated[
        tuple[str, str, str] | None, Parameter(help="If this were granted: SUBJECT ROLE RESOURCE.")
    ] = None
    if_deny: Annotated[bool, Parameter(help="If that grant forbade it.", negative="")] = False
    if_tags: Annotated[str, Parameter(help='If it were only for tags like this: "v*".')] = ""
    if_network: Annotated[tuple[str, ...], Parameter(help="If only from this network (CIDR); repeatable.")] = ()
    if_outside: Annotated[tuple[str, ...], Parameter(help="If only from outside this network; repeatable.")] = ()
    if_listener: Annotated[tuple[str, ...], Parameter(help="If only by this listener; repeatable.")] = ()
    if_client: Annotated[tuple[str, ...], Parameter(help="If only with such a client certificate; repeatable.")] = ()
    if_from: Annotated[str | None, Parameter(help="If only from then on.")] = None
    if_until: Annotated[str | None, Parameter(help="If only until then.")] = None
    if_days: Annotated[str, Parameter(help="If only on these days.")] = ""
    if_hours: Annotated[str, Parameter(help="If only at this time of day.")] = ""

    def grant(self) -> dict[str, Any] | None:
        """That grant as the API takes it. Raises ClientError for limits of no grant."""
        limits = Limits(**{each.name: getattr(self, f"if_{each.name.removesuffix('_')}") for each in fields(Limits)})
        if self.if_granted is not None:
            return {**document_of(*self.if_granted), **limits.document()}
        if limits != Limits():
            raise ClientError("what is this about? Say --if-granted SUBJECT ROLE RESOURCE as well")
        return None


ANY: Final = Circumstances()
NOTHING: Final = Supposing()


def can_i(
    action: ActionWord,
    resource: Resource,
    as_whom: Annotated[tuple[Literal["as"], str] | None, Parameter(help="as NAME: a user or service account.")] = None,
    /,
    *,
    supposing: Supposing = NOTHING,
    where: Anywhere = HERE,
) -> None:
    """Say whether you, or somebody else, may do something, with the reasons; exit 1 if not."""
    who = as_whom[1] if as_whom else None
    question = {"action": action, "resource": resource, "who": who, "suppose": supposing.grant()}
    with open_api(where) as api:
        verdict = call(api, "POST", path_of("access", "check"), question | supposing.document())
    if where.json:
        print_json(verdict)
    else:
        print(_sentence(verdict))
    decisive = verdict["supposed"] or verdict
    if not decisive["allowed"]:
        raise SystemExit(1)


def who_can(
    action: ActionWord,
    resource: Annotated[str, Parameter(help='acme, acme/app, a tag acme/app:v1, or a pattern such as "acme/web-*".')],
    /,
    *,
    circumstances: Circumstances = ANY,
    where: Anywhere = HERE,
) -> None:
    """List everybody who may do something, through what, under which conditions, and except where.

    What is not said of --address, --listener, --client and --at is not judged: it is told.
    """
    query = urlencode({"action": action, "resource": resource, **circumstances.document()})
    with open_api(where) as api:
        found = collect(api, f"{path_of('access', 'able')}?{query}", "able")
    if where.json:
        print_json(found)
        return
    columns = ["who", *(["where"] if is_pattern(resource) else []), "through"]
    columns += ["except"] if any(each["exceptions"] for each in found) else []
    print_rows([_row(each) for each in found], columns)


def why(
    denial: Annotated[str, Parameter(help="The id that came with a refusal.")], /, *, where: Anywhere = HERE
) -> None:
    """Explain a refusal: who was refused what, how often, and what is missing."""
    with open_api(where) as api:
        found = _find(api, denial)
    if where.json:
        print_json(found)
        return
    who = clean(found["who"]) or "somebody who was not logged in"
    print(f"{who} was refused {clean(found['action'])} on {clean(found['resource']) or 'the registry'}")
    print(f"{found['count']} times, last at {clean(found['last_at'])} from {clean(found['address']) or 'unknown'}")
    for reason in found["reasons"]:
        print(f"- {clean(reason)}")
    if not found["reasons"]:
        print("- the reasons are for those who own the namespace: ask them, with this id")


def _find(api: Api, denial: str) -> Any:
    # A refusal is stored within a second, and by another worker than the one that is asked, perhaps.
    for _ in range(TRIES - 1):
        try:
            return call(api, "GET", path_of("denials", denial))
        except ClientError:
            time.sleep(PAUSE_SECONDS)
    return call(api, "GET", path_of("denials", denial))


def _row(able: dict[str, Any]) -> dict[str, str]:
    where = "all of it" if able["everywhere"] else ", ".join(each or "(registry)" for each in able["where"])
    through, exceptions = "; ".join(able["through"]), "; ".join(able["exceptions"])
    return {"who": able["who"], "where": where, "through": through, "except": exceptions}


def _sentence(verdict: dict[str, Any]) -> str:
    lines = [f"{'yes' if verdict['allowed'] else 'no'}: {'; '.join(clean(each) for each in verdict['reasons'])}"]
    if verdict["supposed"] is not None:
        supposed = verdict["supposed"]
        reasons = "; ".join(clean(each) for each in supposed["reasons"])
        lines.append(f"with that grant {'yes' if supposed['allowed'] else 'no'}: {reasons}")
    return "\n".join(lines)
