"""Providers that people sign on with, and who of them is who here: `/sign-on-providers`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, Name, time_of
from entrepot.core import sign_on_providers
from entrepot.core.sign_on_providers import ProviderChange
from entrepot.domain.directory import LONGEST_GROUP
from entrepot.domain.sign_on import CLAIM, DOMAIN, LONGEST_DOMAIN, LONGEST_SECRET, MOST_LISTED, SCOPE, VISIBLE, Provider
from entrepot.metadata.sign_on import LinkRow

# Said in the schema, judged by the domain, whose messages tell what to do.
URL: Final = r"^https:[/]{2}[a-z0-9-]{1,60}(?:\.[a-z0-9-]{1,60}){0,3}(?:/[A-Za-z0-9._~-]{1,60}){0,4}$"
LINE: Final = "^[^\\u0000-\\u001f\\u007f]*$"


def _text(pattern: str, description: str, **more: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra_json_schema={"pattern": pattern, **more})


def _list(text: str, least: int = 0) -> msgspec.Meta:
    return msgspec.Meta(description=text, extra_json_schema={"minItems": least, "maxItems": MOST_LISTED})


Url = Annotated[str, _text(URL, "Its issuer identifier, letter by letter as its discovery document has it.")]
Client = Annotated[str, _text(f"^{VISIBLE.pattern}$", "What it calls this registry.")]
Secret = Annotated[str, _text(LINE, "What proves that it is us; empty for a public client.", maxLength=LONGEST_SECRET)]
Scope = Annotated[str, _text(f"^{SCOPE.pattern}$", "A scope.")]
Scopes = Annotated[list[Scope], _list("What is asked for; openid always is.", 1)]
Domain = Annotated[str, _text(f"^(?:{DOMAIN.pattern})$", "A domain.", maxLength=LONGEST_DOMAIN)]
Domains = Annotated[list[Domain], _list("Only verified addresses of these come in.")]
Group = Annotated[str, _text("^[^\\u0000-\\u001f\\u007f]+$", "A group.", maxLength=LONGEST_GROUP)]
Groups = Annotated[list[Group], _list("Only members of one of these come in.")]
Claim = Annotated[str, _text(f"^{CLAIM.pattern}$", "The name of a claim, or the path to it with dots.")]
GroupsClaim = Annotated[str, _text(f"^(?:{CLAIM.pattern})?$", "The claim that holds groups; empty for none.")]
Subject = Annotated[str, _text("^[^\\u0000-\\u001f\\u007f]+$", "What it says as `sub`.", minLength=1, maxLength=255)]


class SignOnProvider(Answer, frozen=True):
    """A provider. Its secret is not shown; `confidential` says that there is one."""

    name: str
    issuer: str
    client_id: str
    confidential: bool
    scopes: list[str]
    name_claim: str
    email_claim: str
    groups_claim: str
    domains: list[str]
    groups: list[str]
    creates_accounts: bool
    enabled: bool
    created_at: datetime


class SignOnProviders(Answer, frozen=True):
    """A page of providers, by name."""

    providers: list[SignOnProvider]


class SignOnProviderChange(Document, frozen=True):
    """What is to be otherwise."""

    client_id: Client | None = None
    client_secret: Secret | None = None
    scopes: Scopes | None = None
    name_claim: Claim | None = None
    email_claim: Claim | None = None
    groups_claim: GroupsClaim | None = None
    domains: Domains | None = None
    groups: Groups | None = None
    creates_accounts: bool | None = None
    enabled: bool | None = None


class NewSignOnProvider(Document, frozen=True):
    """A provider that people are to sign on with. What is not said is as OpenID Connect has it."""

    name: Name
    issuer: Url
    client_id: Client
    client_secret: Secret | None = None
    scopes: Scopes | None = None
    name_claim: Claim | None = None
    email_claim: Claim | None = None
    groups_claim: GroupsClaim | None = None
    domains: Domains | None = None
    groups: Groups | None = None
    creates_accounts: bool | None = None
    enabled: bool | None = None


class SignOnLink(Answer, frozen=True):
    """Who somebody at a provider is here; `ended_at` is since when it does not vouch for them."""

    subject: str
    user: str
    email: str
    created_at: datetime
    signed_in_at: datetime | None
    ended_at: datetime | None


class SignOnLinks(Answer, frozen=True):
    """A page of links, by subject."""

    links: list[SignOnLink]


class NewSignOnLink(Document, frozen=True):
    """As whom a provider knows a user."""

    subject: Subject


def _provider(row: Provider) -> SignOnProvider:
    claims = (row.name_claim, row.email_claim, row.groups_claim)
    lists = (list(row.domains), list(row.groups))
    made = time_of(row.created_at)
    start = (row.name, row.issuer, row.client_id, bool(row.client_secret), list(row.scopes))
    return SignOnProvider(*start, *claims, *lists, row.creates_accounts, row.is_enabled, made)


def _link(row: LinkRow) -> SignOnLink:
    signed, ended = (None if at is None else time_of(at) for at in (row.signed_in_at, row.ended_at))
    return SignOnLink(row.subject, row.name, row.email, time_of(row.created_at), signed, ended)


def _change(data: NewSignOnProvider | SignOnProviderChange) -> ProviderChange:
    fields = {name: getattr(data, name) for name in ProviderChange.__struct_fields__ if name != "is_enabled"}
    return ProviderChange(**fields, is_enabled=data.enabled)


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[SignOnProviders]:
    """Every provider that people may sign on with, by name."""
    rows, following = await sign_on_providers.list_providers(registry, caller, names.page)
    return names.answer(SignOnProviders([_provider(row) for row in rows]), following)


async def get(registry: TheRegistry, caller: TheCaller, provider: InPath) -> SignOnProvider:
    """One provider."""
    return _provider(await sign_on_providers.get_provider(registry, caller, provider))


async def create(
    registry: TheRegistry, caller: TheCaller, data: JSONBody[NewSignOnProvider]
) -> Response[SignOnProvider]:
    """Let people sign on with a provider, which must send them back to `/login/oidc/NAME/callback`."""
    made = await sign_on_providers.add_provider(registry, caller, data.name, data.issuer, _change(data))
    return created(f"/sign-on-providers/{made.name}", _provider(made))


async def change(
    registry: TheRegistry, caller: TheCaller, provider: InPath, data: JSONBody[SignOnProviderChange]
) -> SignOnProvider:
    """Change a provider; a disabled one signs nobody in."""
    return _provider(await sign_on_providers.change_provider(registry, caller, provider, _change(data)))


async def remove(registry: TheRegistry, caller: TheCaller, provider: InPath) -> None:
    """Forget a provider; sessions that it opened end, and whoever came by it alone may not act any more."""
    await sign_on_providers.remove_provider(registry, caller, provider)


async def list_links(registry: TheRegistry, caller: TheCaller, provider: InPath, names: Names) -> Response[SignOnLinks]:
    """Who of a provider is who here, by subject."""
    rows, following = await sign_on_providers.list_links(registry, caller, provider, names.page)
    return names.answer(SignOnLinks([_link(row) for row in rows]), following)


async def put_link(
    registry: TheRegistry, caller: TheCaller, provider: InPath, user: InPath, data: JSONBody[NewSignOnLink]
) -> SignOnLink:
    """Let somebody at a provider sign on as a user who is here."""
    return _link(await sign_on_providers.link(registry, caller, user, provider, data.subject))


async def remove_link(registry: TheRegistry, caller: TheCaller, provider: InPath, user: InPath) -> None:
    """Let nobody at a provider sign on as a user; sessions and teams that came of it end."""
    await sign_on_providers.unlink(registry, caller, user, provider)
