"""Signing on with an OpenID Connect provider: authorization code with PKCE, from leaving the page to a session.

An account is known by the provider and what it says as `sub`, never by a name or an e-mail address. What the browser
brings back must belong to what it took along: the state, the nonce and the code verifier travel in a sealed cookie, so
that whoever only asks to sign on leaves no row here.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any, Final

import msgspec

from entrepot.core.accounts import require_free
from entrepot.core.directory import require_not_theirs, set_memberships
from entrepot.core.registry import SECOND, Registry
from entrepot.core.sealed import seal, unseal
from entrepot.core.sessions import Browser, Opened, Way, fingerprint_of, open_session
from entrepot.domain.access import Caller, Identity
from entrepot.domain.audit import By
from entrepot.domain.device import new_token
from entrepot.domain.errors import AlreadyExists, Denied, EntrepotError, NameInvalid, Unauthenticated, Unknown
from entrepot.domain.events import Event
from entrepot.domain.federation import require_current
from entrepot.domain.names import require_free_name
from entrepot.domain.presented import parse_token
from entrepot.domain.sign_on import (
    OIDC,
    Claimed,
    Provider,
    account_name,
    authorization_url,
    find_claim,
    read_claims,
    require_allowed,
    require_ours,
)
from entrepot.metadata import directory, events, federation, policy, sign_on
from entrepot.metadata.directory import LinkedRow
from entrepot.metadata.sign_on import LinkRow
from entrepot.ports.database import Tx
from entrepot.ports.providers import Tokens

TICKET: Final = "sign-on ticket"
REFRESH: Final = "sign-on refresh token"
CLIENT: Final = "sign-on client secret"
TICKET_SECONDS: Final = 600
MOST_PROVIDERS: Final = 20
LONGEST_ERROR: Final = 100


class Ticket(msgspec.Struct, frozen=True):
    """What a browser takes along to a provider, sealed; `until` in microseconds, `goal` is where it wants to go."""

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect: str
    goal: str
    until: int


class Leaving(msgspec.Struct, frozen=True):
    """Where a browser goes, and the sealed ticket that it takes along."""

    url: str
    ticket: str
    seconds: int = TICKET_SECONDS


class Returned(msgspec.Struct, frozen=True):
    """What a browser brings back from a provider, "" for what it does not."""

    code: str
    state: str
    issuer: str
    error: str
    ticket: str


class Arrived(msgspec.Struct, frozen=True):
    """A session of whoever has signed on, and where they wanted to go."""

    caller: Caller
    opened: Opened
    goal: str


async def list_enabled(registry: Registry) -> list[str]:
    """The providers to choose from, by name."""
    rows = await registry.database.read(lambda tx: sign_on.list_providers(tx, "", MOST_PROVIDERS))
    return [row.name for row in rows if row.is_enabled]


async def leave(registry: Registry, name: str, redirect: str, goal: str) -> Leaving:
    """Send a browser to a provider, which sends it back to `redirect`. Raises Unknown, Unavailable."""
    provider = await _get_enabled(registry, name)
    endpoints = await registry.trust.providers.discover(provider.as_issuer)
    until = registry.clock.now() + TICKET_SECONDS * SECOND
    ticket = Ticket(name, new_token(), new_token(), new_token(), redirect, goal, until)
    url = authorization_url(
        endpoints.authorization,
        provider,
        {
            "redirect_uri": redirect,
            "state": ticket.state,
            "nonce": ticket.nonce,
            "code_challenge": _challenge(ticket.verifier),
            "code_challenge_method": "S256",
        },
    )
    return Leaving(url, seal(registry.policy.token_key, TICKET, msgspec.json.encode(ticket).decode()))


async def arrive(registry: Registry, name: str, returned: Returned, browser: Browser) -> Arrived:
    """A session for whoever comes back from a provider with a code.

    Raises Unknown, Unauthenticated, Denied, Unavailable.
    """
    provider = await _get_enabled(registry, name)
    try:
        ticket = _require_ticket(registry, provider, returned)
        await _require_answer(registry, provider, returned)
        form = {
            "grant_type": "authorization_code",
            "code": returned.code,
            "redirect_uri": ticket.redirect,
            "code_verifier": ticket.verifier,
        }
        tokens = await registry.trust.providers.redeem(provider.as_issuer, form, open_secret(registry, provider))
        claimed = await believe(registry, provider, tokens, ticket.nonce)
        require_allowed(provider, claimed)
        await _take(registry, ticket)
        link = await _settle(registry, provider, claimed, tokens.refresh_token, browser)
    except EntrepotError as error:
        await _note_refusal(registry, provider, error, browser)
        raise
    identity = Identity(link.account, link.name)
    opened = await open_session(registry, identity, browser, Way(provider.id, provider.name, method=OIDC))
    return Arrived(Caller(identity, None, method=OIDC, is_fresh=True), opened, ticket.goal)


async def believe(registry: Registry, provider: Provider, tokens: Tokens, nonce: str) -> Claimed:
    """What a provider says of whoever the tokens are of, its userinfo included where the ID token says too little.

    Raises Unauthenticated, Unavailable.
    """
    issuer = provider.as_issuer
    presented = parse_token(tokens.id_token)
    require_current(issuer, presented.claims, registry.clock.now())
    await registry.trust.providers.prove(issuer, presented)
    require_ours(provider, presented.claims, nonce)
    claims: dict[str, Any] = presented.claims
    wanted = [provider.name_claim, provider.email_claim, provider.groups_claim]
    if any(claim and find_claim(claims, claim) is None for claim in wanted):
        more = await registry.trust.providers.describe(issuer, tokens.access_token)
        if more and more.get("sub") != claims.get("sub"):
            raise Unauthenticated("the provider's userinfo is of somebody else", problem="subject")
        claims = {**more, **claims}
    return read_claims(provider, claims)


async def follow_groups(tx: Tx, provider: Provider, link: LinkRow, claimed: Claimed, now: int) -> None:
    """Put an account into the teams that its groups at a provider stand for, and out of the others of that provider."""
    if claimed.groups is not None or not provider.groups_claim:
        await set_memberships(tx, linked_row(link), claimed.named_groups(provider), provider.source, now)


def linked_row(link: LinkRow) -> LinkedRow:
    """The account of a link as the directory's verbs take it."""
    return LinkedRow(link.account, link.name, link.subject, link.is_disabled, link.gone_at)


def open_secret(registry: Registry, provider: Provider) -> str:
    """The client secret in clear. Raises Unauthenticated where another registry has sealed it."""
    secret = unseal(registry.policy.token_key, CLIENT, provider.client_secret)
    if secret is None:
        raise Unauthenticated(
            f"the secret of {provider.name} cannot be read; set it again: entrepot sign-on set", problem="secret"
        )
    return secret


def _require_ticket(registry: Registry, provider: Provider, returned: Returned) -> Ticket:
    now, text = registry.clock.now(), unseal(registry.policy.token_key, TICKET, returned.ticket)
    if not text:
        raise _not_ours("this browser did not begin to sign in, or more than ten minutes ago")
    ticket = msgspec.json.decode(text, type=Ticket)
    is_same = hmac.compare_digest(ticket.state.encode(), returned.state.encode("utf-8", "replace"))
    if ticket.provider != provider.name or not is_same:
        raise _not_ours("this answer belongs to another sign-in")
    if ticket.until < now:
        raise _not_ours("this took longer than ten minutes")
    return ticket


async def _take(registry: Registry, ticket: Ticket) -> None:
    # Only what has been proved leaves a row: tickets are to be had for the asking.
    taken, now = fingerprint_of(f"{TICKET}\0{ticket.state}"), registry.clock.now()
    if not await registry.database.transact(lambda tx: federation.take_once(tx, taken, ticket.until, now)):
        raise _not_ours("this answer has been used")


async def _require_answer(registry: Registry, provider: Provider, returned: Returned) -> None:
    # RFC 9207: which provider answers, so that a code of one is never shown to another.
    endpoints = await registry.trust.providers.discover(provider.as_issuer)
    if (returned.issuer or endpoints.says_issuer) and returned.issuer != provider.issuer:
        raise _not_ours("another provider answered than was asked")
    if returned.error or not returned.code:
        said = "".join(letter for letter in returned.error[:LONGEST_ERROR] if letter.isalnum() or letter in "_-. ")
        raise Denied(f"{provider.name} did not sign you in: {said or 'it gave no code'}", problem="provider")


async def _settle(
    registry: Registry, provider: Provider, claimed: Claimed, refresh_token: str, browser: Browser
) -> LinkRow:
    now, by = registry.clock.now(), _by(browser)
    sealed = seal(registry.policy.token_key, REFRESH, refresh_token)
    link = await registry.database.read(lambda tx: sign_on.find_link(tx, provider.id, claimed.subject))
    if link is None and provider.creates_accounts:
        await _require_name(registry, provider, claimed)

    async def record(tx: Tx) -> LinkRow:
        link = await sign_on.find_link(tx, provider.id, claimed.subject)
        link = link or await _make(tx, provider, claimed, now, by)
        # Whom the directory has lost, only the directory brings back.
        if link.gone_at is not None and link.source == OIDC:
            await directory.set_back(tx, link.account)
            await policy.bump_policy_version(tx)
            event = Event("user.enabled", provider.source, link.name, {"reason": "signed on again"})
            await events.add_event(tx, event, now, by)
        elif link.is_disabled:
            raise Denied(f"{provider.name} knows you, and your account here is disabled", problem="disabled")
        await sign_on.note_sign_in(tx, link, claimed.email, sealed, now)
        await follow_groups(tx, provider, link, claimed, now)
        return link

    link = await registry.database.transact(record)
    await registry.policy.refresh()
    return link


async def _require_name(registry: Registry, provider: Provider, claimed: Claimed) -> None:
    name = account_name(claimed)
    try:
        require_free_name(name)
        await require_not_theirs(registry, name)
    except (NameInvalid, AlreadyExists):
        raise _taken(provider, claimed) from None


async def _make(tx: Tx, provider: Provider, claimed: Claimed, now: int, by: By) -> LinkRow:
    if not provider.creates_accounts:
        raise Denied(
            f"{provider.name} knows you, and nobody has said who you are here; ask an administrator for: "
            f"entrepot user link NAME {provider.name} {claimed.subject}",
            problem="unlinked",
        )
    name = account_name(claimed)
    try:
        require_free_name(name)
        await require_free(tx, name)
    except (NameInvalid, AlreadyExists):
        raise _taken(provider, claimed) from None
    account = await directory.add_linked(tx, name, "", now, OIDC)
    detail: dict[str, object] = {"administrator": False, "source": provider.source}
    await events.add_event(tx, Event("user.created", provider.source, name, detail), now, by)
    return await connect(tx, (provider, claimed.subject), (account, name), (provider.source, by), now)


def _taken(provider: Provider, claimed: Claimed) -> Denied:
    name = account_name(claimed) or "nothing"
    return Denied(
        f"{provider.name} calls you {name}, and that is taken here, or can be no name; if it is yours, ask an "
        f"administrator for: entrepot user link NAME {provider.name} {claimed.subject}",
        problem="name",
    )


async def connect(
    tx: Tx, whose: tuple[Provider, str], account: tuple[int, str], who: tuple[str, By], now: int
) -> LinkRow:
    """Let somebody at a provider be an account here. Raises AlreadyExists where either is somebody else's."""
    (provider, subject), (number, name), (actor, by) = whose, account, who
    is_new = await sign_on.add_link(tx, (provider.id, subject), number, now)
    link = await sign_on.find_link(tx, provider.id, subject)
    if not is_new or link is None:
        raise AlreadyExists(f"{name} or this subject of {provider.name} is linked already; unlink first", user=name)
    await policy.bump_policy_version(tx)
    detail: dict[str, object] = {"provider": provider.name, "subject": subject}
    await events.add_event(tx, Event("sign-on.linked", actor, name, detail), now, by)
    return link


async def lose_account(tx: Tx, link: LinkRow, who: tuple[str, By], reason: str, now: int) -> None:
    """Disable an account that came by a provider once none vouches for it any more."""
    actor, by = who
    if link.source == OIDC and not link.is_disabled and not await sign_on.count_vouching(tx, link.account):
        await directory.set_gone(tx, link.account, now)
        await events.add_event(tx, Event("user.disabled", actor, link.name, {"reason": reason}), now, by)


async def _get_enabled(registry: Registry, name: str) -> Provider:
    # No database is asked for a NUL.
    provider = None if "\0" in name else await registry.database.read(lambda tx: sign_on.find_provider(tx, name))
    if provider is None or not provider.is_enabled:
        raise Unknown("there is no such provider, or it is disabled")
    return provider


async def _note_refusal(registry: Registry, provider: Provider, error: EntrepotError, browser: Browser) -> None:
    now, problem = registry.clock.now(), str(error.detail.get("problem", "refused"))
    registry.trust.count_sign_in(provider.name, problem)
    if registry.trust.is_news(provider.source, problem, now):
        detail: dict[str, object] = {"problem": problem, "address": browser.address}
        event = Event("sign-on.refused", "unknown", provider.name, detail)
        await registry.database.transact(lambda tx: events.add_event(tx, event, now, _by(browser)))


def _by(browser: Browser) -> By:
    return By(0, browser.address, OIDC)


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _not_ours(reason: str) -> Unauthenticated:
    return Unauthenticated(f"{reason}; go to the sign-in page and begin again", problem="state")
