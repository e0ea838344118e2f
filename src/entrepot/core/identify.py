"""From an Authorization header to a caller; and from a caller to the tokens they may have."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from entrepot.core import federate, tokens
from entrepot.core.attempts import is_flooded, prove_once
from entrepot.core.decide import decide, is_open
from entrepot.core.directory import find_directory, prove
from entrepot.core.prove import KEPT_SECONDS, kept_until, prove_alone, prove_pair, remembered, require_as_proved
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.core.second_factor import require_password_enough
from entrepot.domain.access import ANONYMOUS, NOTHING, UNKNOWN, Action, Caller, Identity, Scope
from entrepot.domain.errors import NameInvalid, Unauthenticated, Unavailable
from entrepot.domain.names import FEDERATED, parse_repository_name
from entrepot.domain.networks import network_of
from entrepot.domain.patterns import is_pattern
from entrepot.domain.scopes import EVERYTHING, UNSCOPED
from entrepot.domain.secrets import is_secret
from entrepot.metadata import accounts

BY_TOKEN, BY_PASSWORD, BY_DIRECTORY = "registry-token", "password", "ldap"
# What may be revoked is remembered as such for a day: no token of a secret lives longer.
LONGEST_OF_SECRETS: Final = DAY // SECOND
CATALOG: Final = Scope("registry", "catalog", ("*",))
BY_CERTIFICATE: Final = "certificate"
OF_CERTIFICATES: Final = {EVERYTHING: UNSCOPED}
NO_SCOPE: Final = [Scope("", "", ())]
WORDS: Final = {"pull": Action.PULL, "push": Action.PUSH, "delete": Action.DELETE}


class Service(msgspec.Struct, frozen=True):
    """Who a token is issued by (a URL) and for; `is_own` says that it is for this registry."""

    issuer: str
    name: str
    is_own: bool = True


class Issued(msgspec.Struct, frozen=True):
    """An access token, for how long (seconds) and since when (seconds since 1970), perhaps with a refresh token."""

    token: str
    seconds: int
    issued_at: int
    refresh_token: str | None


async def authenticate(
    registry: Registry, cache: tokens.GenuineCache, header: bytes | None, where: Callable[[], str] = str
) -> Caller:
    """Who sent this Authorization header; no header, or an empty Basic pair, is anonymous.

    `where` says from which address it came, and is asked only where something must be proved. Raises Unauthenticated,
    and TooMany after too many wrong ones. Sources: RFC 6750, RFC 7617; BuildKit opens with an empty Basic pair.
    """
    if header is None:
        return ANONYMOUS
    now, snapshot = registry.clock.now(), registry.policy.snapshot
    known = cache.find(header, snapshot, now)
    if isinstance(known, Caller):
        _note(registry, known, now)
        return known
    caller = believed(registry, cache, header)
    if caller is not None:
        return caller
    scheme, _, credentials = header.partition(b" ")
    match scheme.lower():
        case b"bearer":
            caller, until = await _bearer(registry, credentials.strip().decode("latin-1"), now, where)
        case b"basic":
            caller = await _basic(registry, cache, credentials.strip(), where())
            until = kept_until(caller, now)
        case _:
            raise Unauthenticated("the Authorization header is neither Basic nor Bearer")
    if caller.ceiling is not None or caller.credential or caller.until:
        # A password is asked about each time: where it comes from counts as well.
        cache.put(header, snapshot, remembered(caller), until)
    _note(registry, caller, now)
    return caller


def by_certificate(registry: Registry, cache: tokens.GenuineCache, caller: Caller) -> Caller:
    """Whoever shows nothing but a client certificate is the service account that it belongs to, if there is one.

    Every secret of a service account has a ceiling, and so does this: what is made with it ends soon by itself. Like a
    password it is a proof once for each network, and remembered for a while.
    """
    origin, snapshot = caller.origin, registry.policy.snapshot
    if caller.identity is not None or caller.ceiling is not None or not origin.client:
        return caller
    account = snapshot.certificates.get(origin.client)
    policy = snapshot.find_account(account) if account is not None else None
    if account is None or policy is None:
        return caller
    here = f"certificate\0{origin.client}\0{network_of(origin.address)}".encode()
    is_fresh = cache.find(here, snapshot, origin.now) is None
    if is_fresh:
        cache.put(here, snapshot, account, origin.now + KEPT_SECONDS * SECOND)
    identity = Identity(account, policy.name)
    return replace(caller, identity=identity, ceiling=OF_CERTIFICATES, method=BY_CERTIFICATE, is_fresh=is_fresh)


def _note(registry: Registry, caller: Caller, now: int) -> None:
    if caller.credential:
        registry.uses.at[caller.credential] = now


async def _bearer(registry: Registry, token: str, now: int, where: Callable[[], str]) -> tuple[Caller, int]:
    if is_secret(token):
        caller = await prove_alone(registry, token, where())
        return caller, kept_until(caller, now)
    claims = await _verify(registry, token, now, "access")
    identity = await _require_standing(registry, claims) if claims.uid else None
    until = claims.exp * SECOND
    return Caller(identity, tokens.ceiling_of(claims.access), UNKNOWN, claims.cid, until, BY_TOKEN), until


async def _verify(registry: Registry, token: str, now: int, use: tokens.Use) -> tokens.Claims:
    if registry.policy.keys.find(token) is None:
        # Another process may have begun to sign with a new key a moment ago.
        await registry.policy.refresh()
    return tokens.verify(registry.policy.keys, token, now, use)


async def _require_standing(registry: Registry, claims: tokens.Claims) -> Identity:
    if claims.uid not in registry.policy.snapshot.accounts:
        # Another process may have made the account a moment ago.
        await registry.policy.refresh()
    account = registry.policy.snapshot.find_account(claims.uid)
    is_revoked = claims.cid in registry.policy.snapshot.revoked
    if account is None or account.credentials_since > claims.at or is_revoked:
        raise Unauthenticated("this token has been revoked; log in again")
    return Identity(claims.uid, account.name)


async def _basic(registry: Registry, cache: tokens.GenuineCache, encoded: bytes, address: str) -> Caller:
    name, password = parse_basic(encoded)
    if not name and not password:
        return ANONYMOUS
    if name == FEDERATED:
        return await _federated(registry, password, address)
    return await enter(registry, cache, name, password, address)


def parse_basic(encoded: bytes) -> tuple[str, str]:
    """(name, password) of Basic credentials. Raises Unauthenticated."""
    try:
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        raise Unauthenticated("the Basic credentials are not base64 of name:password") from None
    if not colon:
        raise Unauthenticated("the Basic credentials are not base64 of name:password")
    return name, password


async def _federated(registry: Registry, token: str, address: str) -> Caller:
    """Whoever a token as the password is of: one of ours, or an ID token whose issuer may be shown again and again."""
    issuer = await federate.find_issuer_of(registry, token)
    if issuer is not None:
        return await federate.log_in(registry, issuer, token)
    caller, _ = await _bearer(registry, token, registry.clock.now(), lambda: address)
    return caller


async def enter(registry: Registry, cache: tokens.GenuineCache, name: str, password: str, address: str = "") -> Caller:
    """The caller behind a name and a password or secret, sent from an address.

    Raises Unauthenticated, whichever of them is wrong, and TooMany after too many wrong ones.
    """
    pair = f"{name}\0{password}".encode()
    caller = believed(registry, cache, pair)
    if caller is not None:
        return caller
    try:
        if is_secret(password):
            return await prove_pair(registry, cache, name, password, address)
        return await log_in(registry, cache, name, password, address)
    except Unavailable as error:
        unavailable = error
    if registry.recall is not None and await registry.recall.is_gone():
        caller = believed(registry, cache, pair)
        if caller is not None:
            return caller
    raise unavailable


def believed(registry: Registry, cache: tokens.GenuineCache, shown: bytes) -> Caller | None:
    """While the database is away, whoever showed the same before and was found genuine under the present policy.

    As long as what is remembered of pulls is served, if the proof lapsed no longer ago than that, and never beyond the
    end of the secret itself.
    """
    recall, now = registry.recall, registry.clock.now()
    if recall is None or not recall.is_lasting or not recall.is_away:
        return None
    known = cache.find_past(shown, registry.policy.snapshot, now - int(recall.most_away_seconds * SECOND))
    return known if isinstance(known, Caller) and not 0 < known.until <= now else None


async def log_in(registry: Registry, cache: tokens.GenuineCache, name: str, password: str, address: str = "") -> Caller:
    """The caller behind a name and password. Raises Unauthenticated, whichever of them is wrong.

    Raises TooMany after too many. Names that are not of local accounts are the directory's: Unavailable while it is
    away.
    """
    now, snapshot, pair = registry.clock.now(), registry.policy.snapshot, f"{name}\0{password}".encode()
    here = pair + b"\0" + network_of(address).encode()
    known = cache.find(here, snapshot, now)
    if isinstance(known, Caller) and not is_flooded(registry, name, address):
        return known
    known = cache.find(pair, snapshot, now)
    # A cold start brings a crowd with the same robot's password: it is proved once for all of them.
    prove = partial(_prove, registry, name, password)
    if isinstance(known, Caller):
        caller = await prove_once(registry, name, address, prove, known)
    else:
        caller = await cache.once(pair, lambda: prove_once(registry, name, address, prove))
        cache.put(pair, snapshot, remembered(caller), now + KEPT_SECONDS * SECOND)
    cache.put(here, snapshot, remembered(caller), now + KEPT_SECONDS * SECOND)
    return caller


async def _prove(registry: Registry, name: str, password: str) -> Caller:
    # No database holds a NUL in a text, and PostgreSQL refuses to be asked for one.
    # Directories take names in any letters, and have the account of the small ones.
    known = None if "\0" in name else await registry.database.read(lambda tx: accounts.find_account(tx, name.lower()))
    account = known if known is not None and known.name == name else None
    where = find_directory(registry, account, name)
    if where is not None:
        proved = await prove(registry, where, (name, password), known)
        if proved is not None:
            identity, since = proved
            return Caller(identity, None, method=BY_DIRECTORY, is_fresh=True, since=since)
        # Costs here what a wrong password of a local account does.
        account = None
    is_right = await registry.hasher.verify(account.password_hash if account else "", password)
    if account is None or account.kind != "user" or account.is_disabled or not is_right:
        raise Unauthenticated("wrong user name or password")
    require_password_enough(registry.rules, account)
    identity = Identity(account.id, account.name)
    return Caller(identity, None, method=BY_PASSWORD, is_fresh=True, since=account.credentials_since)


async def refresh_identity(registry: Registry, token: str) -> Identity:
    """The identity behind a refresh token. Raises Unauthenticated."""
    return await _require_standing(registry, await _verify(registry, token, registry.clock.now(), "refresh"))


async def issue(registry: Registry, caller: Caller, scopes: list[Scope], service: Service, *, offline: bool) -> Issued:
    """A token for what the caller may have of `scopes`; what they may not have is left out, never refused.

    Raises Unauthenticated where the password that was shown is not good any more.
    """
    now, identity = registry.clock.now(), caller.identity
    # Another process may have been told a moment ago that they may, or that the key which signs is revoked; what this
    # one knows will do while the database is away.
    try:
        await registry.policy.refresh()
    except Unavailable:
        if registry.recall is not None and not registry.recall.is_lasting:
            raise
    _require_as_proved(registry, caller)
    granted = _grant(registry, caller, scopes)
    signer, seconds = registry.policy.keys.get_signer(now), _seconds(registry, caller, now)
    account, name = (identity.account, identity.name) if identity else (0, "")
    for scope in granted or NO_SCOPE:
        # An anonymous token may be for anything that an open namespace might hold: its names are anybody's to make up.
        registry.audit.tokens.add(account, scope.name if account else scope.name.partition("/")[0])
    parties = tokens.Parties(service.issuer, service.name, account, name)
    claims = tokens.new_claims(parties, now, seconds, "access" if service.is_own else "elsewhere", granted)
    # The password may have been chosen at a replica whose clock is ahead: what was just proved by it is not older.
    claims = replace(claims, cid=caller.credential, at=max(now, caller.since))
    refresh = None
    if offline and identity is not None and caller.ceiling is None:
        # For ourselves alone, whichever service the access token is for.
        ours = tokens.Parties(service.issuer, service.issuer, account, name)
        days = registry.rules.refresh_days * DAY // SECOND
        # Void with the password that it was asked for with, however narrowly that was changed before.
        claimed = replace(tokens.new_claims(ours, now, days, "refresh", []), at=caller.since or now)
        refresh = tokens.sign(signer, claimed)
    return Issued(tokens.sign(signer, claims), seconds, claims.iat, refresh)


def _require_as_proved(registry: Registry, caller: Caller) -> None:
    if not caller.since or caller.identity is None:
        return
    account = registry.policy.snapshot.find_account(caller.identity.account)
    if account is None:
        raise Unauthenticated("wrong user name or password")
    require_as_proved(account.credentials_since, caller.since)


def _seconds(registry: Registry, caller: Caller, now: int) -> int:
    """How long a token may hold: never longer than the secret or token that it is asked for with."""
    seconds = registry.rules.token_seconds
    if caller.credential:
        seconds = min(seconds, LONGEST_OF_SECRETS)
    return min(seconds, caller.until // SECOND - now // SECOND) if caller.until else seconds


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
    everybody = {"pull"} if is_open(snapshot, repository.namespace, caller.origin) else frozenset[str]()
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
