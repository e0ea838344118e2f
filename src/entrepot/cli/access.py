"""`entrepot can-i`, `who-can` and `why`: questions about the policy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from cyclopts import Parameter

from entrepot.cli.grant import document_of
from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import Api, call, path_of
from entrepot.client.errors import ClientError

HERE: Final = Anywhere()
TRIES: Final = 4
PAUSE_SECONDS: Final = 0.5

ActionWord = Annotated[str, Parameter(help="An action, such as pull, push or tag.move: `grant add --help` names them.")]
Resource = Annotated[str, Parameter(help="acme, acme/app, or a tag: acme/app:v1.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Supposing:
    """Circumstances that the question is about."""

    address: Annotated[str | None, Parameter(help="Coming from this address.")] = None
    listener: Annotated[str | None, Parameter(help="Coming by this listener.")] = None
    client: Annotated[str | None, Parameter(help="With a client certificate of this name.")] = None
    if_granted: Annotated[
        tuple[str, str, str] | None, Parameter(help="If this were granted: SUBJECT ROLE RESOURCE.")
    ] = None


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
    question: dict[str, Any] = {"action": action, "resource": resource, "who": who, "address": supposing.address}
    question |= {"listener": supposing.listener, "client": supposing.client}
    if supposing.if_granted is not None:
        question["suppose"] = document_of(*supposing.if_granted)
    with open_api(where) as api:
        verdict = call(api, "POST", path_of("access", "check"), question)
    if where.json:
        print_json(verdict)
    else:
        print(_sentence(verdict))
    decisive = verdict["supposed"] or verdict
    if not decisive["allowed"]:
        raise SystemExit(1)


def who_can(action: ActionWord, resource: Resource, /, *, where: Anywhere = HERE) -> None:
    """List everybody who may do something, and through what."""
    query = urlencode({"action": action, "resource": resource})
    with open_api(where) as api:
        found = call(api, "GET", f"{path_of('access', 'able')}?{query}")["able"]
    if where.json:
        print_json(found)
    else:
        print_rows([{**each, "through": "; ".join(each["through"])} for each in found], ["who", "through"])


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


def _sentence(verdict: dict[str, Any]) -> str:
    lines = [f"{'yes' if verdict['allowed'] else 'no'}: {'; '.join(clean(each) for each in verdict['reasons'])}"]
    if verdict["supposed"] is not None:
        supposed = verdict["supposed"]
        reasons = "; ".join(clean(each) for each in supposed["reasons"])
        lines.append(f"with that grant {'yes' if supposed['allowed'] else 'no'}: {reasons}")
    return "\n".join(lines)
