"""Providers that people sign on with, and who somebody there is here: kept by instance administrators."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from entrepot.core.accounts import get_row, require_admin
from entrepot.core.directory import set_memberships
from entrepot.core.listing import Page
from entrepot.core.registry import Act, Registry
from entrepot.core.sealed import seal
from entrepot.core.sign_on import CLIENT, connect, linked_row, lose_account
from entrepot.domain.access import Caller
from entrepot.domain.errors import AlreadyExists, Conflict, Unknown
from entrepot.domain.events import Event
from entrepot.domain.federation import require_label, require_url
from entrepot.domain.sign_on import (
    Provider,
    require_claim,
    require_client,
    require_domains,
    require_groups,
    require_scopes,
    require_secret,
    require_subject,
)
from entrepot.metadata import events, policy, sessions, sign_on
from entrepot.metadata.sign_on import LinkRow
from entrepot.ports.database import Tx


class ProviderChange(msgspec.Struct, frozen=True):
    """What is to be otherwise, or said at first; None leaves it, or takes what is usual."""

    client_id: str | None = None
    client_secret: str | None = None
    scopes: Sequence[str] | None = None
    name_claim: str | None = None
    email_claim: str | None = None
    groups_claim: str | None = None
    domains: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    creates_accounts: bool | None = None
    is_enabled: bool | None = None


USUAL = ProviderChange(
    client_secret="",
    scopes=("openid", "profile", "email"),
    name_claim="preferred_username",
    email_claim="email",
    groups_claim="groups",
)


async def list_providers(registry: Registry, caller: Caller, page: Page) -> tuple[list[Provider], str | None]:
    """Providers by name, and after which name the next page begins. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    rows = await registry.database.read(lambda tx: sign_on.list_providers(tx, page.after, page.limit + 1))
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_provider(registry: Registry, caller: Caller, name: str) -> Provider:
    """One provider. Raises Unknown, Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    return await registry.database.read(lambda tx: _get(tx, name))


async def add_provider(registry: Registry, caller: Caller, name: str, issuer: str, said: ProviderChange) -> Provider:
    """Let people sign on with a provider. Raises Denied, InsufficientScope, RequestInvalid, AlreadyExists."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    require_url(issuer, is_plain_allowed=registry.rules.private_addresses)
    plain = Provider(0, require_label(name, "name"), issuer, "", "", (), "", "", "", created_at=act.now)
    provider = _changed(registry, _changed(registry, plain, USUAL), said)
    require_client(provider.client_id)

    async def record(tx: Tx) -> Provider:
        if await sign_on.find_provider(tx, name) is not None:
            raise AlreadyExists("there is a provider of this name", provider=name)
        await sign_on.add_provider(tx, provider)
        detail: dict[str, object] = {"issuer": issuer, "client_id": provider.client_id}
        await _note(tx, act, Event("sign-on.provider.created", act.actor, name, detail))
        return await _get(tx, name)

    return await registry.database.transact(record)


async def change_provider(registry: Registry, caller: Caller, name: str, change: ProviderChange) -> Provider:
    """Change a provider; a disabled one signs nobody in, and what it opened before ends in its time.

    Raises Unknown, Denied, InsufficientScope, RequestInvalid.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> Provider:
        provider = _changed(registry, await _get(tx, name), change)
        await sign_on.set_provider(tx, provider)
        # What the secret is stays out of it.
        fields = [field for field in change.__struct_fields__ if getattr(change, field) is not None]
        await _note(tx, act, Event("sign-on.provider.changed", act.actor, name, {"fields": fields}))
        return provider

    return await registry.database.transact(record)


async def remove_provider(registry: Registry, caller: Caller, name: str) -> None:
    """Let nobody sign on with a provider; whoever came by it alone may not act until somebody else vouches for them.

    Raises Unknown, Denied, InsufficientScope.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        await sign_on.remove_provider(tx, await _get(tx, name), act.now)
        await _note(tx, act, Event("sign-on.provider.removed", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def list_links(registry: Registry, caller: Caller, name: str, page: Page) -> tuple[list[LinkRow], str | None]:
    """Who of a provider is who here, by subject. Raises Unknown, Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)

    async def collect(tx: Tx) -> list[LinkRow]:
        return await sign_on.list_links(tx, (await _get(tx, name)).id, page.after, page.limit + 1)

    rows = await registry.database.read(collect)
    return rows[: page.limit], rows[page.limit - 1].subject if len(rows) > page.limit else None


async def link(registry: Registry, caller: Caller, user: str, name: str, subject: str) -> LinkRow:
    """Let somebody at a provider sign on as a user who is here.

    Raises Unknown, AccountUnknown, Denied, InsufficientScope, RequestInvalid, AlreadyExists, and Conflict for what is
    no user.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    require_subject(subject)

    async def record(tx: Tx) -> LinkRow:
        provider, account = await _get(tx, name), await get_row(tx, user.replace("\0", "?"))
        if account.kind != "user":
            raise Conflict("only users sign on", user=user)
        return await connect(tx, (provider, subject), (account.id, account.name), (act.actor, act.by), act.now)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def unlink(registry: Registry, caller: Caller, user: str, name: str) -> None:
    """Let nobody at a provider sign on as a user; sessions and teams that came of it end.

    An account that came by a provider, and that none vouches for any more, may not act until it signs on again.

    Raises Unknown, AccountUnknown, Denied, InsufficientScope.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        provider, account = await _get(tx, name), await get_row(tx, user.replace("\0", "?"))
        row = await sign_on.find_link_of(tx, provider.id, account.id)
        if row is None:
            raise Unknown("this user is not linked to this provider", user=user, provider=name)
        await set_memberships(tx, linked_row(row), (), provider.source, act.now)
        await sessions.remove_sessions_by(tx, account.id, provider.id)
        await sign_on.remove_link(tx, row)
        await lose_account(tx, row, (act.actor, act.by), f"unlinked from {name}", act.now)
        await _note(tx, act, Event("sign-on.unlinked", act.actor, user, {"provider": name, "subject": row.subject}))

    await registry.database.transact(record)
    await registry.policy.refresh()


def _changed(registry: Registry, old: Provider, change: ProviderChange) -> Provider:
    """A provider with what was said, each of it checked. Raises RequestInvalid."""
    said: dict[str, object] = {}
    for field, check in (
        ("client_id", require_client),
        ("scopes", require_scopes),
        ("domains", require_domains),
        ("groups", require_groups),
    ):
        if (value := getattr(change, field)) is not None:
            said[field] = check(value)
    for field in ("name_claim", "email_claim", "groups_claim"):
        if (value := getattr(change, field)) is not None:
            # No groups are asked for where their claim has no name.
            said[field] = value if field == "groups_claim" and not value else require_claim(value, field)
    for field in ("creates_accounts", "is_enabled"):
        if (value := getattr(change, field)) is not None:
            said[field] = value
    if change.client_secret is not None:
        said["client_secret"] = seal(registry.policy.token_key, CLIENT, require_secret(change.client_secret))
    return msgspec.structs.replace(old, **said)


async def _get(tx: Tx, name: str) -> Provider:
    provider = None if "\0" in name else await sign_on.find_provider(tx, name)
    if provider is None:
        raise Unknown("there is no such provider", provider=name)
    return provider


async def _note(tx: Tx, act: Act, event: Event) -> None:
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, act.now, act.by)
