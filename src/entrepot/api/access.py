"""Questions about who may do what, and why not: `/access/…`, `/denials/…`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from entrepot.api.grants import NewGrant
from entrepot.api.request import InPath, Names, TheCaller, TheDenials, TheRegistry
from entrepot.api.types import ACTIONS, Answer, Document, parse_time, time_of
from entrepot.core import able, explain
from entrepot.core.able import Inquiry
from entrepot.core.denials import get_denial
from entrepot.domain.access import Origin
from entrepot.domain.certificates import LONGEST
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.networks import parse_address

# A repository and a tag; and an IPv6 address with its zone.
LONGEST_RESOURCE: Final = 255 + 1 + 128
LONGEST_ADDRESS: Final = 64
ActionWord = Annotated[str, msgspec.Meta(description="An action.", extra_json_schema={"enum": ACTIONS})]
Word = Annotated[str, QueryParameter(name="action", max_length=32, description="An action, such as `push`.")]
On = Annotated[
    str,
    QueryParameter(
        name="resource",
        max_length=LONGEST_RESOURCE,
        description="`acme`, `acme/app`, a tag `acme/app:v1`, or a pattern as grants have it: `acme/web-*`.",
    ),
]
Address = Annotated[
    str, QueryParameter(name="address", max_length=LONGEST_ADDRESS, description="Whoever comes from this address.")
]
ByListener = Annotated[
    str, QueryParameter(name="listener", max_length=LONGEST_ADDRESS, description="Whoever comes by this listener.")
]
WithClient = Annotated[
    str,
    QueryParameter(name="client", max_length=LONGEST, description="Whoever has a client certificate of this name."),
]
At = Annotated[str, QueryParameter(name="at", max_length=40, description="At this time (RFC 3339, with its zone).")]


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
    """Somebody who may, and through what, with its conditions; `subject` is how a grant would name them.

    `where` is what was asked about where something allows all of it (`everywhere`), else the parts that are allowed.
    `exceptions` are the denials and whatever else takes away some of it.
    """

    who: str
    subject: str
    everywhere: bool
    where: list[str]
    through: list[str]
    exceptions: list[str]


class AllAble(Answer, frozen=True):
    """A page of everybody who may: what `everyone` and `signed-in` may first, then who may more than that, by name."""

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


class Whence(msgspec.Struct, frozen=True):
    """An origin, and which parts of it somebody asked about; the others are those of the request that asks."""

    origin: Origin
    given: frozenset[str]


TheWhence = NamedDependency[Whence]
TheInquiry = NamedDependency[Inquiry]


def whence_of(asker: Origin, **parts: str | int | None) -> Whence:
    """Where, when, by which door and as whom somebody asks about; None is not asked. Raises RequestInvalid."""
    given = {name: part for name, part in parts.items() if part is not None}
    address = str(given.get("address", ""))
    if "address" in given and parse_address(address) is None:
        raise RequestInvalid(
            "this is no IP address, such as 10.1.2.3 or 2001:db8::1", field="address", got=address[:LONGEST_ADDRESS]
        )
    return Whence(msgspec.structs.replace(asker, **given), frozenset(given))


def provide_whence(
    caller: TheCaller, address: Address = "", listener: ByListener = "", client: WithClient = "", at: At = ""
) -> Whence:
    """What of an origin is asked about."""
    now = parse_time("at", at) if at else None
    return whence_of(caller.origin, address=address or None, listener=listener or None, client=client or None, now=now)


def provide_inquiry(action: Word, whence: TheWhence, resource: On = "") -> Inquiry:
    """What somebody asks to know who may do it."""
    return Inquiry(explain.parse_action(action), resource, whence.origin, whence.given)


async def check(registry: TheRegistry, caller: TheCaller, data: JSONBody[Question]) -> Verdict:
    """Whether somebody may, with the reasons; about others it is for those who own the namespace."""
    own = caller.identity.name if caller.identity else None
    who = own if data.who is None else data.who or None
    now = None if data.at is None else int(data.at.timestamp() * 1_000_000)
    whence = whence_of(caller.origin, address=data.address, now=now, client=data.client, listener=data.listener)
    question = explain.Question(who, explain.parse_action(data.action), data.resource, whence.origin)
    suppose = data.suppose.order() if data.suppose else None
    verdict, then = await explain.check(registry, caller, question, suppose)
    supposed = {"allowed": then.allowed, "reasons": list(then.reasons)} if suppose else None
    return Verdict(verdict.allowed, list(verdict.reasons), supposed)


async def list_able(registry: TheRegistry, caller: TheCaller, names: Names, inquiry: TheInquiry) -> Response[AllAble]:
    """Everybody who may do this to that, or to some of what a pattern names, for those who own the namespace."""
    found, following = await able.list_able(registry, caller, inquiry, names.page)
    return names.answer(AllAble([_able(each) for each in found]), following)


async def get_refusal(registry: TheRegistry, caller: TheCaller, denial: InPath, denials: TheDenials) -> Denial:
    """A refusal by the id that came with it."""
    row = await get_denial(registry, denials, caller, denial)
    times = time_of(row.first_at), time_of(row.last_at)
    return Denial(row.id, row.actor, row.action, row.resource, row.address, list(row.reasons), row.count, *times)


def _able(found: able.Able) -> Able:
    lists = list(found.where), list(found.through), list(found.exceptions)
    return Able(found.who, found.subject, found.everywhere, *lists)
