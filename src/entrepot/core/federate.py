"""From a token of somebody else to a caller: whose it is, whether it is genuine, and which rule lets it in as whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from entrepot.core import tokens
from entrepot.core.registry import SECOND, Registry
from entrepot.domain import aws
from entrepot.domain.access import UNKNOWN, Caller, Identity, Origin
from entrepot.domain.audit import By
from entrepot.domain.errors import Denied, EntrepotError, RequestInvalid, Unauthenticated
from entrepot.domain.events import Event
from entrepot.domain.federation import LEEWAY_SECONDS, Issuer, Rule, require_current
from entrepot.domain.presented import Presented, parse_token
from entrepot.metadata import events, federation
from entrepot.ports.database import Tx

MOST_SECONDS: Final = 900
UNKNOWN_ISSUER: Final = "unknown"
KEYLESS: Final = "keyless"
LONGEST_SUBJECT: Final = 200


class Wish(msgspec.Struct, frozen=True):
    """What whoever exchanges a token asks for: by which rule, for which audience; and where the request came from."""

    rule: str = ""
    audience: str = ""
    origin: Origin = UNKNOWN


class Believed(msgspec.Struct, frozen=True):
    """Claims that are genuine, of an issuer, and until when (microseconds); what must be taken once, "" for nothing."""

    issuer: Issuer
    claims: Mapping[str, Any]
    until: int
    fingerprint: str = ""
    fingerprint_until: int = 0


class Admitted(msgspec.Struct, frozen=True):
    """Whoever has been let in, and by which rule."""

    caller: Caller
    rule: Rule


async def find_issuer_of(registry: Registry, token: str) -> Issuer | None:
    """The issuer that a text says it is a token of, if it is one that the registry knows."""
    try:
        presented = parse_token(token)
    except Unauthenticated:
        return None
    return await registry.database.read(lambda tx: federation.find_issuer_of(tx, presented.issuer))


async def admit_token(registry: Registry, token: str, wish: Wish) -> Admitted:
    """Whoever may act by an OIDC token. Raises Unauthenticated, Denied, Unavailable, each with a `problem`."""
    name = UNKNOWN_ISSUER
    try:
        presented = parse_token(token)
        issuer = await registry.database.read(lambda tx: federation.find_issuer_of(tx, presented.issuer))
        if issuer is None:
            raise Unauthenticated(
                f"this registry believes no issuer {presented.issuer[:LONGEST_SUBJECT]!r}; an administrator adds one "
                "with: entrepot issuer add",
                problem="issuer",
            )
        name = issuer.name
        return await _enter(registry, await believe(registry, issuer, presented), wish)
    except EntrepotError as error:
        registry.trust.count(name, _problem(error))
        raise


async def believe(registry: Registry, issuer: Issuer, presented: Presented) -> Believed:
    """The claims of a token of an issuer. Raises Unauthenticated, Unavailable."""
    _require_enabled(issuer)
    until = require_current(issuer, presented.claims, registry.clock.now())
    await registry.trust.outside.prove(issuer, presented)
    if issuer.is_reusable:
        return Believed(issuer, presented.claims, until)
    return Believed(issuer, presented.claims, until, presented.fingerprint(issuer.id), until + LEEWAY_SECONDS * SECOND)


async def admit_aws(registry: Registry, document: str, wish: Wish) -> Admitted:
    """Whoever may act as the signer of a request to STS, which is forwarded once.

    Raises Unauthenticated, Denied, Unavailable, each with a `problem`.
    """
    name = UNKNOWN_ISSUER
    try:
        signed = aws.parse_signed_request(document)
        issuer = await _find_aws(registry, signed)
        name = issuer.name
        now = registry.clock.now()
        ready = aws.require_ready(issuer, signed, now)
        if not await registry.database.transact(
            lambda tx: federation.take_once(tx, ready.fingerprint, ready.until, now)
        ):
            raise _replayed()
        claims = aws.parse_identity(await registry.trust.outside.forward(issuer, ready))
        return await _enter(registry, Believed(issuer, claims, now + MOST_SECONDS * SECOND), wish)
    except EntrepotError as error:
        registry.trust.count(name, _problem(error))
        raise


async def log_in(registry: Registry, issuer: Issuer, token: str) -> Caller:
    """Whoever logs in with an ID token as the password. Raises Unauthenticated, Denied, Unavailable."""
    if not issuer.is_reusable:
        raise Unauthenticated(
            f"tokens of {issuer.name} count once: exchange it with `entrepot ci-login` and log in with what that "
            "gives, or let an administrator allow it: entrepot issuer set --reusable",
            problem="once",
        )
    return (await admit_token(registry, token, Wish())).caller


def pick_rule(rules: list[Rule], claims: Mapping[str, Any], name: str) -> Rule | None:
    """The first rule, in the order of names, whose conditions hold; where one is named, only that."""
    return next((rule for rule in rules if name in {"", rule.name} and not rule.unmet(claims)), None)


async def _find_aws(registry: Registry, signed: aws.SignedRequest) -> Issuer:
    issuers = await registry.database.read(lambda tx: federation.list_issuers_of(tx, "aws"))
    if not issuers:
        raise Unauthenticated("this registry lets nobody in from AWS", problem="issuer")
    # One that is for none is judged by the first, which says where it would have to go.
    return next((issuer for issuer in issuers if aws.is_for(issuer, signed)), issuers[0])


async def _enter(registry: Registry, believed: Believed, wish: Wish) -> Admitted:
    issuer, now = believed.issuer, registry.clock.now()
    try:
        admitted = await _judge(registry, believed, wish)
    except EntrepotError as error:
        await _note_refusal(registry, believed, error, wish)
        raise
    detail: dict[str, object] = {"rule": admitted.rule.name, "claims": _subject(believed.claims)}
    event = Event("token.exchanged", admitted.rule.account_name, issuer.name, detail)
    by = By(admitted.rule.account, wish.origin.address, KEYLESS)

    async def record(tx: Tx) -> bool:
        if believed.fingerprint and not await federation.take_once(
            tx, believed.fingerprint, believed.fingerprint_until, now
        ):
            return False
        await events.add_event(tx, event, now, by)
        return True

    if not await registry.database.transact(record):
        replayed = _replayed()
        await _note_refusal(registry, believed, replayed, wish)
        raise replayed
    registry.trust.count(issuer.name, "exchanged")
    return admitted


async def _judge(registry: Registry, believed: Believed, wish: Wish) -> Admitted:
    issuer = believed.issuer
    if wish.audience and wish.audience not in issuer.audiences:
        raise RequestInvalid(
            f"tokens of this registry are for {' or '.join(issuer.audiences)}", field="audience", problem="audience"
        )
    rules = await registry.database.read(lambda tx: federation.list_rules(tx, issuer.id))
    rule = pick_rule(rules, believed.claims, wish.rule)
    if rule is None:
        named = f"the rule {wish.rule} of {issuer.name} does not fit" if wish.rule else f"no rule of {issuer.name} fits"
        raise Denied(
            f"{named} what this token claims; an administrator sees why with: entrepot issuer try FILE", problem="rule"
        )
    identity = await _require_standing(registry, rule)
    until = min(believed.until, registry.clock.now() + MOST_SECONDS * SECOND)
    return Admitted(Caller(identity, ceiling_of(rule), wish.origin, until=until, method=KEYLESS, is_fresh=True), rule)


def ceiling_of(rule: Rule) -> Mapping[str, frozenset[Any]]:
    """What a rule admits, by resource."""
    granted = tuple(tokens.Access(scope.type, scope.name, scope.actions) for scope in rule.ceiling)
    return tokens.ceiling_of(granted)


async def _require_standing(registry: Registry, rule: Rule) -> Identity:
    if rule.account not in registry.policy.snapshot.accounts:
        # Another process may have made the account a moment ago.
        await registry.policy.refresh()
    account = registry.policy.snapshot.find_account(rule.account)
    if account is None:
        raise Denied(f"the rule {rule.name} acts as {rule.account_name}, which is disabled", problem="account")
    return Identity(rule.account, account.name)


def _require_enabled(issuer: Issuer) -> None:
    if not issuer.is_enabled:
        raise Unauthenticated(f"the issuer {issuer.name} is disabled", problem="issuer")


async def _note_refusal(registry: Registry, believed: Believed, error: EntrepotError, wish: Wish) -> None:
    now, issuer, problem = registry.clock.now(), believed.issuer.name, _problem(error)
    if registry.trust.is_news(issuer, problem, now):
        detail: dict[str, object] = {"problem": problem, "claims": _subject(believed.claims)}
        event = Event("token.refused", UNKNOWN_ISSUER, issuer, detail)
        by = By(0, wish.origin.address, KEYLESS)
        await registry.database.transact(lambda tx: events.add_event(tx, event, now, by))


def _subject(claims: Mapping[str, Any]) -> str:
    return str(claims.get("sub") or claims.get("arn") or "")[:LONGEST_SUBJECT]


def _problem(error: EntrepotError) -> str:
    return str(error.detail.get("problem", "refused"))


def _replayed() -> Unauthenticated:
    return Unauthenticated(
        "this token was exchanged before, and each counts once: ask for a new one; if it was not you, somebody has it",
        problem="replay",
    )
