"""From an Authorization header to a caller; and from a caller to the tokens they may have."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

import msgspec

from entrepot.core import federate, tokens
from entrepot.core.decide import decide, is_open
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.domain.access import ANONYMOUS, NOTHING, Action, Caller, Identity, Scope
from entrepot.domain.errors import NameInvalid, Unauthenticated
from entrepot.domain.names import FEDERATED, parse_repository_name
from entrepot.domain.patterns import is_pattern
from entrepot.metadata import accounts

BASIC_SECONDS: Final = 300
CATALOG: Final = Scope("registry", "catalog", ("*",))
WORDS: Final = {"pull": Action.PULL, "push": Action.PUSH, "delete": Action.DELETE}


class Issued(msgspec.Struct, frozen=True):
    """An access token, for how long (seconds) and since when (seconds since 1970), perhaps with a refresh token."""

    token: str
    seconds: int
    issued_at: int
    refresh_token: str | None


async def authenticate(registry: Registry, cache: tokens.GenuineCache, header: bytes | None) -> Caller:
    """Who sent this Authorization header; no header, or an empty Basic pair, is anonymous.

    Raises Unauthenticated. Sources: RFC 6750, RFC 7617; BuildKit opens with an empty Basic pair.
    """
    if header is None:
        return ANONYMOUS
    now, snapshot = registry.clock.now(), registry.policy.snapshot
    known = cache.find(header, snapshot, now)
    if isinstance(known, Caller):
        return known
    scheme, _, credentials = header.partition(b" ")
    match scheme.lower():
        case b"bearer":
            caller, until = await _bearer(registry, credentials.strip().decode("latin-1"), now)
        case b"basic":
            caller, until = await _basic(registry, cache, credentials.strip()), now + BASIC_SECONDS * SECOND
        case _:
            raise Unauthenticated("the Authorization header is neither Basic nor Bearer")
    cache.put(header, snapshot, caller, min(until, caller.until) if caller.until else until)
    return caller


async def _bearer(registry: Registry, token: str, now: int) -> tuple[Caller, int]:
    claims = tokens.verify(registry.token_key, token, now, "access")
    identity = await _require_standing(registry, claims) if claims.sub else None
    until = claims.exp * SECOND
    return Caller(identity, tokens.ceiling_of(claims.access), until=until), until


async def _require_standing(registry: Registry, claims: tokens.Claims) -> Identity:
    if claims.sub not in registry.policy.snapshot.accounts:
        # Another process may have made the account a moment ago.
        await registry.policy.refresh()
    account = registry.policy.snapshot.find_account(claims.sub)
    if account is None or account.credentials_since > claims.at:
        raise Unauthenticated("this token has been revoked; log in again")
    return Identity(claims.sub, account.name)


async def _basic(registry: Registry, cache: tokens.GenuineCache, encoded: bytes) -> Caller:
    try:
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        raise Unauthenticated("the Basic credentials are not base64 of name:password") from None
    if not colon:
        raise Unauthenticated("the Basic credentials are not base64 of name:password")
    if not name and not password:
        return ANONYMOUS
    if name == FEDERATED:
        return await _federated(registry, password)
    return Caller(await log_in(registry, cache, name, password), None)


async def _federated(registry: Registry, token: str) -> Caller:
    """Whoever a token as the password is of: one of ours, or an ID token whose issuer may be shown again and again."""
    issuer = await federate.find_issuer_of(registry, token)
    if issuer is not None:
        return await federate.log_in(registry, issuer, token)
    caller, _ = await _bearer(registry, token, registry.clock.now())
    return caller


async def log_in(registry: Registry, cache: tokens.GenuineCache, name: str, password: str) -> Identity:
    """The identity of a name and password. Raises Unauthenticated, whichever of them is wrong."""
    now, snapshot, pair = registry.clock.now(), registry.policy.snapshot, f"{name}\0{password}".encode()
    known = cache.find(pair, snapshot, now)
    if isinstance(known, Identity):
        return known
    # A cold start brings a crowd with the same robot's password: it is proved once for all of them.
    identity = await cache.once(pair, lambda: _prove(registry, name, password))
    cache.put(pair, snapshot, identity, now + BASIC_SECONDS * SECOND)
    return identity


async def _prove(registry: Registry, name: str, password: str) -> Identity:
    # No database holds a NUL in a text, and PostgreSQL refuses to be asked for one.
    account = None if "\0" in name else await registry.database.read(lambda tx: accounts.find_account(tx, name))
    is_right = await registry.hasher.verify(account.password_hash if account else "", password)
    if account is None or account.is_disabled or not is_right:
        raise Unauthenticated("wrong user name or password")
    return Identity(account.id, account.name)


async def refresh_identity(registry: Registry, token: str) -> Identity:
    """The identity behind a refresh token. Raises Unauthenticated."""
    return await _require_standing(registry, tokens.verify(registry.token_key, token, registry.clock.now(), "refresh"))


async def issue(registry: Registry, caller: Caller, scopes: list[Scope], *, offline: bool) -> Issued:
    """A token for what the caller may have of `scopes`; what they may not have is left out, never refused."""
    now = registry.clock.now()
    identity = caller.identity
    account = identity.account if identity else 0
    granted = _grant(registry, caller, scopes)
    if granted != scopes and await registry.policy.refresh():
        # Another process may have been told a moment ago that they may.
        granted = _grant(registry, caller, scopes)
    seconds = _seconds(registry, caller, now)
    claims = tokens.new_claims(account, now, seconds, "access", granted)
    refresh = None
    if offline and identity is not None and caller.ceiling is None:
        lasting = registry.rules.refresh_days * DAY // SECOND
        refresh = tokens.sign(registry.token_key, tokens.new_claims(account, now, lasting, "refresh", []))
    return Issued(tokens.sign(registry.token_key, claims), seconds, claims.iat, refresh)


def _seconds(registry: Registry, caller: Caller, now: int) -> int:
    # What is asked for with a token ends with it: else whoever stole one could renew it for ever.
    most = registry.rules.token_seconds
    return min(most, caller.until // SECOND - now // SECOND) if caller.until else most


def _grant(registry: Registry, caller: Caller, scopes: list[Scope]) -> list[Scope]:
    return [scope for scope in (_grantable(registry, caller, wanted) for wanted in scopes) if scope is not None]


def _grantable(registry: Registry, caller: Caller, wanted: Scope) -> Scope | None:
    if (wanted.type, wanted.name) == ("registry", "catalog"):
        return CATALOG if caller.is_admitted(Action.CATALOG, CATALOG.name) else None
    if wanted.type != "repository":
        return None
    if is_pattern(wanted.name):
        return _grantable_pattern(caller, wanted)
    try:
        repository = parse_repository_name(wanted.name)
    except NameInvalid:
        return None
    asked = WORDS if "*" in wanted.actions else wanted.actions
    snapshot = registry.policy.snapshot
    # A token can be read: one that left out what an open namespace hides would tell that it is there.
    everybody = {"pull"} if is_open(snapshot, repository.namespace) else frozenset[str]()
    actions = tuple(
        word
        for word in asked
        if word in WORDS
        and caller.is_admitted(WORDS[word], repository)
        and (decide(snapshot, caller.identity, WORDS[word], repository, caller.origin).allowed or word in everybody)
    )
    return Scope("repository", wanted.name, actions) if actions else None


def _grantable_pattern(caller: Caller, wanted: Scope) -> Scope | None:
    """A pattern of the caller's own ceiling, as it stands there; what lies within it is judged at each request."""
    admitted = (caller.ceiling or {}).get(wanted.name, NOTHING)
    asked = WORDS if "*" in wanted.actions else wanted.actions
    actions = tuple(word for word in asked if WORDS.get(word) in admitted)
    return Scope("repository", wanted.name, actions) if actions else None
