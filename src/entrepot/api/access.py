"""Questions about who may do what, and why not: `/access/…`, `/denials/…`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar.params import JSONBody, QueryParameter

from entrepot.api.grants import NewGrant
from entrepot.api.request import InPath, TheCaller, TheDenials, TheRegistry
from entrepot.api.types import ACTIONS, Answer, Document, time_of
from entrepot.core import explain
from entrepot.core.denials import get_denial
from entrepot.domain.access import Action, Origin
from entrepot.domain.certificates import LONGEST

# A repository and a tag; and an IPv6 address with its zone.
LONGEST_RESOURCE: Final = 255 + 1 + 128
LONGEST_ADDRESS: Final = 64
ActionWord = Annotated[str, msgspec.Meta(description="An action.", extra_json_schema={"enum": ACTIONS})]
Word = Annotated[str, QueryParameter(name="action", max_length=32, description="An action, such as `push`.")]
On = Annotated[
    str,
    QueryParameter(
        name="resource", max_length=LONGEST_RESOURCE, description="`acme`, `acme/app` or a tag `acme/app:v1`."
    ),
]


class Question(Document, frozen=True):
    """Whether `who` (a user or service account; absent: you; "": nobody in particular) may do this to that.

    `address`, `at`, `listener` and `client` (the name in a certificate) are where, when, by which door and as whom they
    would; `suppose` is a grant that does not exist yet.
    """

    action: ActionWord
    resource: Annotated[str, msgspec.Meta(max_length=LONGEST_RESOURCE)]
    who: Annotated[str, msgspec.Meta(max_length=LONGEST_RESOURCE)] | None = None
    address: Annotated[str, msgspec.Meta(max_length=LONGEST_ADDRESS)] | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    suppose: NewGrant | None = None
    listener: Annotated[str, msgspec.Meta(max_length=LONGEST_ADDRESS)] | None = None
    client: Annotated[str, msgspec.Meta(max_length=LONGEST)] | None = None


class Verdict(Answer, frozen=True):
    """The answer with what allows it or what is missing; `supposed` is the one with the supposed grant."""

    allowed: bool
    reasons: list[str]
    supposed: dict[str, Any] | None


class Able(Answer, frozen=True):
    """Somebody who may, and through what."""

    who: str
    through: list[str]


class AllAble(Answer, frozen=True):
    """Everybody who may, by name."""

    able: list[Able]


class Denial(Answer, frozen=True):
    """A refusal: how often it came, and why. The reasons are for those who administer what it was about."""

    id: str
    who: str
    action: str
    resource: str
    address: str
    reasons: list[str]
    count: int
    first_at: datetime
    last_at: datetime


def _origin(caller: TheCaller, data: Question) -> Origin:
    address = caller.origin.address if data.address is None else data.address
    now = caller.origin.now if data.at is None else int(data.at.timestamp() * 1_000_000)
    client = caller.origin.client if data.client is None else data.client
    return Origin(address, now, client, caller.origin.listener if data.listener is None else data.listener)


async def check(registry: TheRegistry, caller: TheCaller, data: JSONBody[Question]) -> Verdict:
    """Whether somebody may, with the reasons; about others it is for those who own the namespace."""
    own = caller.identity.name if caller.identity else None
    who = own if data.who is None else data.who or None
    question = explain.Question(who, explain.parse_action(data.action), data.resource, _origin(caller, data))
    suppose = data.suppose.order() if data.suppose else None
    now, then = await explain.check(registry, caller, question, suppose)
    supposed = {"allowed": then.allowed, "reasons": list(then.reasons)} if suppose else None
    return Verdict(now.allowed, list(now.reasons), supposed)


async def list_able(registry: TheRegistry, caller: TheCaller, action: Word, resource: On = "") -> AllAble:
    """Everybody who may do this to that, for those who own the namespace."""
    word: Action = explain.parse_action(action)
    found = await explain.list_able(registry, caller, word, resource, caller.origin)
    return AllAble([Able(each.who, list(each.through)) for each in found])


async def get_refusal(registry: TheRegistry, caller: TheCaller, denial: InPath, denials: TheDenials) -> Denial:
    """A refusal by the id that came with it."""
    row = await get_denial(registry, denials, caller, denial)
    times = time_of(row.first_at), time_of(row.last_at)
    return Denial(row.id, row.actor, row.action, row.resource, row.address, list(row.reasons), row.count, *times)
