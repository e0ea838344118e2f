"""Issuers whose tokens are believed, and rules about them: `/issuers`, `/issuers/…/rules`, `/issuer-trials`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, Name, time_of
from entrepot.core import issuers
from entrepot.domain.conditions import CLAIM, MOST_CONDITIONS, MOST_VALUES
from entrepot.domain.federation import MOST_AUDIENCES, MOST_SCOPES, REGION, IssuerKind
from entrepot.domain.federation import Issuer as IssuerRow
from entrepot.domain.federation import Rule as RuleRow

# Said in the schema, judged by the domain, whose messages tell what to do.
URL: Final = r"^(?:https:[/]{2}[a-z0-9-]{1,60}(?:\.[a-z0-9-]{1,60}){0,3}(?:/[A-Za-z0-9._~-]{0,60}){0,4})?$"
VALUE: Final = r"^[^\u0000-\u001f\u007f*]{0,80}(?:\*{1,2}[^\u0000-\u001f\u007f*]{1,60}){0,2}\*{0,2}$"
SCOPE: Final = r"^repository:[a-z0-9._/-]{1,200}(?:\*{1,2})?:(?:pull|push|delete|\*)(?:,(?:pull|push|delete|\*)){0,3}$"


def _text(pattern: str, **more: Any) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"pattern": pattern, **more})


def _list(most: int, text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text, extra_json_schema={"minItems": 1, "maxItems": most})


Audience = Annotated[str, _text(r"^[\x21-\x7e]{1,255}$")]
Audiences = Annotated[list[Audience], _list(MOST_AUDIENCES, "For whom tokens must be: this registry, by any name.")]
Regions = list[Annotated[str, _text(f"^{REGION.pattern}$", maxLength=40)]]
Url = Annotated[
    str,
    msgspec.Meta(
        description="What its tokens say as `iss`; for AWS the endpoint of STS, in which `{region}` may stand.",
        extra_json_schema={"pattern": URL},
    ),
]
Jwks = Annotated[
    str, msgspec.Meta(description="Its public keys, the text of a JWKS, where it cannot be asked for them.")
]
Values = Annotated[
    list[Annotated[str, _text(VALUE, minLength=1)]], _list(MOST_VALUES, "What would do, one of which must fit.")
]
Conditions = Annotated[
    dict[Annotated[str, _text(f"^{CLAIM.pattern}$")], Values],
    msgspec.Meta(
        description="Claim to the values that would do; `*` stands for what is within a part, `**` for anything.",
        extra_json_schema={"maxProperties": MOST_CONDITIONS},
    ),
]
Scopes = Annotated[
    list[Annotated[str, _text(SCOPE)]],
    _list(MOST_SCOPES, "What tokens may be for at most, such as `repository:acme/*:pull,push`."),
]


class Issuer(Answer, frozen=True):
    """Somebody whose tokens are believed; `pinned` says that its keys are kept here instead of asked for."""

    name: str
    kind: IssuerKind
    url: str
    audiences: list[str]
    regions: list[str]
    pinned: bool
    reusable: bool
    enabled: bool
    created_at: datetime


class Issuers(Answer, frozen=True):
    """A page of issuers, by name."""

    issuers: list[Issuer]


class NewIssuer(Document, frozen=True):
    """An issuer to be believed. `url` is what its tokens say as `iss`; AWS needs `regions` and no `url`.

    `jwks` pins its keys (the text of a JWKS), for one that cannot be asked. The tokens of a `reusable` one count until
    they expire instead of once, and are taken as the password of the user `oidc`.
    """

    name: Name
    audiences: Audiences
    kind: IssuerKind = "oidc"
    url: Url = ""
    regions: Regions = msgspec.field(default_factory=list)
    jwks: Jwks = ""
    reusable: bool = False
    enabled: bool = True


class IssuerChange(Document, frozen=True):
    """What is to be otherwise; an empty `jwks` asks the issuer for its keys again."""

    audiences: Audiences | None = None
    jwks: Jwks | None = None
    reusable: bool | None = None
    enabled: bool | None = None


class Rule(Answer, frozen=True):
    """What a token must claim, as which account its holder then acts, and within which scopes at most."""

    name: str
    conditions: dict[str, list[str]]
    account: str
    scopes: list[str]
    enabled: bool
    created_at: datetime


class Rules(Answer, frozen=True):
    """A page of rules, by name, which is the order in which they are tried."""

    rules: list[Rule]


class NewRule(Document, frozen=True):
    """What a rule says. `account` is a service account or a user, who must have grants of their own."""

    conditions: Conditions
    account: Name
    scopes: Scopes
    enabled: bool = True


class Tried(Answer, frozen=True):
    """What one rule makes of a token; `reasons` say what is against it."""

    name: str
    account: str
    scopes: list[str]
    fits: bool
    reasons: list[str]


class Trial(Answer, frozen=True):
    """What would come of a token: `problem` is why it would be refused whatever it claims, `rule` what lets it in."""

    issuer: str
    problem: str
    rule: str
    rules: list[Tried]
    claims: dict[str, Any]


class Token(Document, frozen=True):
    """A token of an issuer."""

    token: str


def _issuer(row: IssuerRow) -> Issuer:
    audiences, regions, made = list(row.audiences), list(row.regions), time_of(row.created_at)
    is_pinned = bool(row.jwks)
    return Issuer(row.name, row.kind, row.url, audiences, regions, is_pinned, row.is_reusable, row.is_enabled, made)


def _rule(row: RuleRow) -> Rule:
    conditions = {claim: list(values) for claim, values in row.conditions.items()}
    return Rule(row.name, conditions, row.account_name, list(row.scopes), row.is_enabled, time_of(row.created_at))


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[Issuers]:
    """Everybody whose tokens are believed, by name."""
    rows, following = await issuers.list_issuers(registry, caller, names.page)
    return names.answer(Issuers([_issuer(row) for row in rows]), following)


async def get(registry: TheRegistry, caller: TheCaller, issuer: InPath) -> Issuer:
    """One issuer."""
    return _issuer(await issuers.get_issuer(registry, caller, issuer))


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewIssuer]) -> Response[Issuer]:
    """Believe an issuer; nobody gets in by it before there is a rule."""
    new = issuers.NewIssuer(
        data.name, data.kind, data.url, data.audiences, data.regions, data.jwks, data.reusable, data.enabled
    )
    made = await issuers.add_issuer(registry, caller, new)
    return created(f"/issuers/{made.name}", _issuer(made))


async def change(registry: TheRegistry, caller: TheCaller, issuer: InPath, data: JSONBody[IssuerChange]) -> Issuer:
    """Change an issuer; a disabled one lets nobody in, and what was exchanged before ends by itself."""
    wanted = issuers.IssuerChange(data.audiences, data.jwks, data.reusable, data.enabled)
    return _issuer(await issuers.change_issuer(registry, caller, issuer, wanted))


async def remove(registry: TheRegistry, caller: TheCaller, issuer: InPath) -> None:
    """Believe an issuer no more; its rules go with it."""
    await issuers.remove_issuer(registry, caller, issuer)


async def list_rules(registry: TheRegistry, caller: TheCaller, issuer: InPath, names: Names) -> Response[Rules]:
    """The rules of an issuer, in the order in which they are tried."""
    rows, following = await issuers.list_rules(registry, caller, issuer, names.page)
    return names.answer(Rules([_rule(row) for row in rows]), following)


async def get_rule(registry: TheRegistry, caller: TheCaller, issuer: InPath, rule: InPath) -> Rule:
    """One rule."""
    return _rule(await issuers.get_rule(registry, caller, issuer, rule))


async def put_rule(
    registry: TheRegistry, caller: TheCaller, issuer: InPath, rule: InPath, data: JSONBody[NewRule]
) -> Rule:
    """Keep a rule; it replaces the one of the same name."""
    new = issuers.NewRule(rule, data.conditions, data.account, data.scopes, data.enabled)
    return _rule(await issuers.put_rule(registry, caller, issuer, new))


async def remove_rule(registry: TheRegistry, caller: TheCaller, issuer: InPath, rule: InPath) -> None:
    """Forget a rule; tokens that were exchanged by it end by themselves, within 15 minutes."""
    await issuers.remove_rule(registry, caller, issuer, rule)


async def try_token(registry: TheRegistry, caller: TheCaller, data: JSONBody[Token]) -> Trial:
    """What would come of a token: which rule lets it in, and why the others do not; it is not used up by this."""
    trial = await issuers.try_token(registry, caller, data.token)
    rules = [
        Tried(each.name, each.account, list(each.scopes), not each.reasons, list(each.reasons)) for each in trial.rules
    ]
    return Trial(trial.issuer, trial.problem, trial.rule, rules, trial.claims)
