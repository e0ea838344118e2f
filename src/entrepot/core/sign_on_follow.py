"""Whoever signed on stays in as long as their provider vouches for them: a job asks it again by the refresh token.

Without a refresh token, or where the provider is disabled, nobody is asked, and what was opened by signing on ends some
hours after it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.directory import set_memberships
from entrepot.core.registry import SECOND, Registry
from entrepot.core.sealed import seal, unseal
from entrepot.core.sessions import HOUR
from entrepot.core.sign_on import REFRESH, believe, follow_groups, linked_row, lose_account, open_secret
from entrepot.domain.audit import SYSTEM
from entrepot.domain.errors import Denied, Unauthenticated, Unavailable
from entrepot.domain.sign_on import Claimed, Provider, require_allowed
from entrepot.metadata import policy, sessions, sign_on
from entrepot.metadata.sign_on import LinkRow
from entrepot.ports.database import Tx
from entrepot.ports.providers import Tokens

EVERY_SECONDS: Final = 900
BATCH: Final = 50
# What says no about a person. All else (keys, clocks, a secret that cannot be read) is nobody's fault but ours or the
# provider's, and must not put everybody out.
ENDING: Final = frozenset({"grant", "domain", "group", "subject"})


async def check_links(registry: Registry) -> None:
    """Ask every provider about whoever it vouched for more than 15 minutes ago. A job, every 5 minutes.

    A provider that is away changes nothing.
    """
    now, place = registry.clock.now(), (0, "")
    before = now - EVERY_SECONDS * SECOND
    away: set[int] = set()
    while rows := await _list_due(registry, place, before):
        place = rows[-1].provider, rows[-1].subject
        for row in rows:
            if row.provider not in away and not await _check(registry, row):
                away.add(row.provider)
    await registry.policy.refresh()


async def _list_due(registry: Registry, place: tuple[int, str], before: int) -> list[LinkRow]:
    return await registry.database.read(lambda tx: sign_on.list_due(tx, place, before, BATCH))


async def _check(registry: Registry, link: LinkRow) -> bool:
    """Look after one; whether the provider could be asked, if it had to be."""
    provider = await registry.database.read(lambda tx: sign_on.find_provider(tx, link.provider_name))
    if provider is None:
        return True
    # A provider that is disabled vouches for nobody, whatever it would say.
    token = unseal(registry.policy.token_key, REFRESH, link.refresh_token) if provider.is_enabled else None
    if not token:
        if (link.checked_at or 0) + registry.rules.sign_on_hours * HOUR < registry.clock.now():
            await _lose(registry, provider, link, f"has not signed on for {registry.rules.sign_on_hours} hours")
        return True
    try:
        await _ask(registry, provider, link, token)
    except Unavailable:
        return False
    except (Denied, Unauthenticated) as error:
        if error.detail.get("problem") in ENDING:
            await _lose(registry, provider, link, error.message)
    return True


async def _ask(registry: Registry, provider: Provider, link: LinkRow, token: str) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    tokens = await registry.trust.providers.redeem(provider.as_issuer, form, open_secret(registry, provider))
    # At once: where the provider gives another token each time, the one before is void from now on.
    sealed, checked_at = seal(registry.policy.token_key, REFRESH, tokens.refresh_token or token), link.checked_at or 0
    if not await registry.database.transact(lambda tx: sign_on.note_check(tx, link, sealed, checked_at)):
        return
    kept = msgspec.structs.replace(link, refresh_token=sealed)
    claimed = await _claims(registry, provider, link, tokens)
    if claimed is not None:
        require_allowed(provider, claimed)
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        if not await sign_on.note_check(tx, kept, sealed, now):
            return
        until = now + registry.rules.sign_on_hours * HOUR
        await sessions.extend_sessions_by(tx, link.account, provider.id, until)
        if claimed is not None:
            await follow_groups(tx, provider, link, claimed, now)

    await registry.database.transact(record)


async def _claims(registry: Registry, provider: Provider, link: LinkRow, tokens: Tokens) -> Claimed | None:
    """What the provider says now; None where a refresh gives no ID token, which it need not."""
    if not tokens.id_token:
        return None
    claimed = await believe(registry, provider, tokens, "")
    if claimed.subject != link.subject:
        raise Unauthenticated("the provider answered about somebody else", problem="subject")
    return claimed


async def _lose(registry: Registry, provider: Provider, link: LinkRow, reason: str) -> None:
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        if not await sign_on.end_link(tx, link, now):
            return
        await set_memberships(tx, linked_row(link), (), provider.source, now)
        await sessions.remove_sessions_by(tx, link.account, provider.id)
        await lose_account(tx, link, (provider.source, SYSTEM), reason, now)
        await policy.bump_policy_version(tx)

    await registry.database.transact(record)
