"""Issuers that are believed, and the rules about their tokens: kept by instance administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from entrepot.core import federate
from entrepot.core.accounts import get_row, require_admin
from entrepot.core.listing import Page
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.conditions import render_conditions, require_conditions
from entrepot.domain.errors import AlreadyExists, Conflict, EntrepotError, Invalid, RequestInvalid, Unknown
from entrepot.domain.events import Event
from entrepot.domain.federation import (
    AWS_URL,
    Issuer,
    IssuerKind,
    Rule,
    require_audiences,
    require_ceiling,
    require_label,
    require_pinned,
    require_regions,
    require_url,
)
from entrepot.domain.presented import parse_token
from entrepot.metadata import events, federation, policy
from entrepot.ports.database import Tx


class NewIssuer(msgspec.Struct, frozen=True):
    """An issuer to be believed. Without a URL, AWS is asked where it always is."""

    name: str
    kind: IssuerKind
    url: str
    audiences: Sequence[str]
    regions: Sequence[str] = ()
    jwks: str = ""
    is_reusable: bool = False
    is_enabled: bool = True


class IssuerChange(msgspec.Struct, frozen=True):
    """What is to be otherwise; None leaves it."""

    audiences: Sequence[str] | None = None
    jwks: str | None = None
    is_reusable: bool | None = None
    is_enabled: bool | None = None


class NewRule(msgspec.Struct, frozen=True):
    """A rule to be kept."""

    name: str
    conditions: Mapping[str, Sequence[str]]
    account: str
    scopes: Sequence[str]
    is_enabled: bool = True


class Tried(msgspec.Struct, frozen=True):
    """What one rule makes of a token; no reasons against it means that it fits."""

    name: str
    account: str
    scopes: tuple[str, ...]
    reasons: tuple[str, ...]


class Trial(msgspec.Struct, frozen=True):
    """What would come of a token: whose it is, why it would be refused, what it claims, and what each rule says.

    `rule` is the one that would let it in, "" for none.
    """

    issuer: str
    problem: str
    claims: dict[str, Any]
    rule: str
    rules: tuple[Tried, ...]


async def list_issuers(registry: Registry, caller: Caller, page: Page) -> tuple[list[Issuer], str | None]:
    """Issuers by name, and after which name the next page begins. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    rows = await registry.database.read(lambda tx: federation.list_issuers(tx, page.after, page.limit + 1))
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_issuer(registry: Registry, caller: Caller, name: str) -> Issuer:
    """One issuer. Raises Unknown, Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    return await registry.database.read(lambda tx: _get(tx, name))


async def add_issuer(registry: Registry, caller: Caller, new: NewIssuer) -> Issuer:
    """Believe an issuer; nobody gets in by it before there is a rule.

    Raises Denied, InsufficientScope, RequestInvalid, AlreadyExists.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    issuer = _checked(registry, new, act.now)

    async def record(tx: Tx) -> Issuer:
        if await federation.find_issuer(tx, issuer.name) is not None:
            raise AlreadyExists("there is an issuer of this name", issuer=issuer.name)
        if issuer.kind == "oidc" and (other := await federation.find_issuer_of(tx, issuer.url)) is not None:
            raise AlreadyExists(f"{other.name} is the issuer of this URL; give it another audience", issuer=other.name)
        await federation.add_issuer(tx, issuer)
        detail: dict[str, object] = {"kind": issuer.kind, "url": issuer.url, "audiences": list(issuer.audiences)}
        await _note(tx, act, Event("issuer.created", act.actor, issuer.name, detail))
        return await _get(tx, issuer.name)

    return await _kept(registry, await registry.database.transact(record))


async def change_issuer(registry: Registry, caller: Caller, name: str, change: IssuerChange) -> Issuer:
    """Change an issuer; disabling it ends what its tokens open, but not what they were exchanged for.

    Raises Unknown, Denied, InsufficientScope, RequestInvalid.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    if change.jwks:
        registry.trust.outside.require_keys(change.jwks)

    async def record(tx: Tx) -> Issuer:
        found = await _get(tx, name)
        issuer = _changed(found, change)
        # Where keys are no longer pinned, it will be asked.
        require_url(issuer.url, is_plain_allowed=registry.rules.private_addresses or bool(issuer.jwks))
        await federation.set_issuer(tx, issuer)
        detail: dict[str, object] = {
            field: value
            for field, value in (("enabled", change.is_enabled), ("reusable", change.is_reusable))
            if value is not None
        }
        await _note(tx, act, Event("issuer.changed", act.actor, name, detail))
        return issuer

    return await _kept(registry, await registry.database.transact(record))


async def remove_issuer(registry: Registry, caller: Caller, name: str) -> None:
    """Believe an issuer no more; its rules go with it. Raises Unknown, Denied, InsufficientScope."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        await federation.remove_issuer(tx, (await _get(tx, name)).id)
        await _note(tx, act, Event("issuer.removed", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def list_rules(registry: Registry, caller: Caller, issuer: str, page: Page) -> tuple[list[Rule], str | None]:
    """The rules of an issuer in the order in which they are tried. Raises Unknown, Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)

    async def collect(tx: Tx) -> list[Rule]:
        return await federation.list_rules(tx, (await _get(tx, issuer)).id, page.after, page.limit + 1)

    rows = await registry.database.read(collect)
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_rule(registry: Registry, caller: Caller, issuer: str, name: str) -> Rule:
    """One rule. Raises Unknown, Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)

    async def find(tx: Tx) -> Rule:
        return await _get_rule(tx, await _get(tx, issuer), name)

    return await registry.database.read(find)


async def put_rule(registry: Registry, caller: Caller, issuer: str, new: NewRule) -> Rule:
    """Keep a rule; it replaces the one of the same name.

    Raises Unknown, AccountUnknown, Denied, InsufficientScope, RequestInvalid, Unmet for one that strangers could
    fulfil, and Conflict for an account that no job acts as.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    require_label(new.name, "name")
    conditions, scopes = require_conditions(new.conditions), require_ceiling(new.scopes)

    async def record(tx: Tx) -> Rule:
        found = await _get(tx, issuer)
        require_pinned(found.kind, found.url, conditions)
        account = await get_row(tx, new.account.replace("\0", "?"))
        if account.kind == "organisation" or account.is_admin:
            raise Conflict(
                "a job acts as a service account or a user, not as an organisation or an administrator", field="account"
            )
        rule = Rule(0, issuer, new.name, conditions, account.id, account.name, scopes, new.is_enabled, act.now)
        await federation.put_rule(tx, found.id, rule)
        detail: dict[str, object] = {
            "rule": new.name,
            "conditions": render_conditions(conditions),
            "account": new.account,
            "scopes": list(scopes),
            "enabled": new.is_enabled,
        }
        await _note(tx, act, Event("issuer.rule.set", act.actor, issuer, detail))
        return await _get_rule(tx, found, new.name)

    rule = await registry.database.transact(record)
    await registry.policy.refresh()
    return rule


async def remove_rule(registry: Registry, caller: Caller, issuer: str, name: str) -> None:
    """Forget a rule. Raises Unknown, Denied, InsufficientScope."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        rule = await _get_rule(tx, await _get(tx, issuer), name)
        await federation.remove_rule(tx, rule.id)
        await _note(tx, act, Event("issuer.rule.removed", act.actor, issuer, {"rule": name}))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def try_token(registry: Registry, caller: Caller, token: str) -> Trial:
    """What would come of a token, without taking it; one that has expired is tried as well.

    Raises Denied, InsufficientScope.
    """
    require_admin(caller, registry.policy.snapshot)
    try:
        presented = parse_token(token)
    except EntrepotError as error:
        return Trial("", error.message, {}, "", ())
    issuer = await registry.database.read(lambda tx: federation.find_issuer_of(tx, presented.issuer))
    if issuer is None:
        return Trial("", "no issuer of this registry has the URL that the token says as iss", presented.claims, "", ())
    problem = ""
    try:
        await federate.believe(registry, issuer, presented)
    except EntrepotError as error:
        problem = error.message
    rules = await registry.database.read(lambda tx: federation.list_rules(tx, issuer.id))
    picked = federate.pick_rule(rules, presented.claims, "")
    tried = tuple(
        Tried(rule.name, rule.account_name, rule.scopes, tuple(rule.unmet(presented.claims))) for rule in rules
    )
    return Trial(issuer.name, problem, presented.claims, picked.name if picked else "", tried)


def _checked(registry: Registry, new: NewIssuer, now: int) -> Issuer:
    url = new.url or (AWS_URL if new.kind == "aws" else "")
    require_label(new.name, "name")
    require_url(url, is_plain_allowed=registry.rules.private_addresses or bool(new.jwks))
    if new.jwks:
        registry.trust.outside.require_keys(new.jwks)
    if new.kind == "aws" and new.jwks:
        raise RequestInvalid("AWS has no keys to pin", field="jwks")
    return Issuer(
        0,
        new.name,
        new.kind,
        url,
        require_audiences(new.audiences),
        require_regions(new.kind, new.regions),
        new.jwks,
        new.is_reusable,
        new.is_enabled,
        now,
    )


def _changed(issuer: Issuer, change: IssuerChange) -> Issuer:
    if change.audiences is not None:
        issuer = msgspec.structs.replace(issuer, audiences=require_audiences(change.audiences))
    return msgspec.structs.replace(
        issuer,
        jwks=issuer.jwks if change.jwks is None else change.jwks,
        is_reusable=issuer.is_reusable if change.is_reusable is None else change.is_reusable,
        is_enabled=issuer.is_enabled if change.is_enabled is None else change.is_enabled,
    )


async def _get(tx: Tx, name: str) -> Issuer:
    issuer = await federation.find_issuer(tx, _label(name, "there is no such issuer"))
    if issuer is None:
        raise Unknown("there is no such issuer", issuer=name)
    return issuer


async def _get_rule(tx: Tx, issuer: Issuer, name: str) -> Rule:
    rule = await federation.find_rule(tx, issuer.id, _label(name, "there is no such rule"))
    if rule is None:
        raise Unknown("there is no such rule of this issuer", issuer=issuer.name, rule=name)
    return rule


def _label(name: str, message: str) -> str:
    # What is no name cannot be there, and no database is asked about it.
    try:
        return require_label(name, "")
    except Invalid:
        raise Unknown(message) from None


async def _kept(registry: Registry, issuer: Issuer) -> Issuer:
    await registry.policy.refresh()
    return issuer


async def _note(tx: Tx, act: Act, event: Event) -> None:
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, act.now, act.by)
