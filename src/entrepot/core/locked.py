"""Users who are locked by wrong passwords: shown, unlocked, told as events, and forgotten in time."""

from __future__ import annotations

from typing import Final

from entrepot.core.accounts import get_user_row, require_admin
from entrepot.core.attempts import FAMILIAR_DAYS, name_key
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.domain.access import Caller
from entrepot.domain.attempts import FORGET_SECONDS
from entrepot.domain.events import Event
from entrepot.metadata import accounts, attempts, events
from entrepot.ports.database import Tx

MOST_ATTEMPTS: Final = 100_000
BATCH: Final = 500


async def list_locked(registry: Registry, names: list[str]) -> dict[str, int]:
    """Until when users are locked (microseconds), from some network or from everywhere; only those that are."""
    if not names:
        return {}
    keys = {name_key(registry, name): name for name in names}
    now = registry.clock.now()
    found = await registry.database.read(lambda tx: attempts.list_locks(tx, list(keys), now))
    return {keys[key]: until for key, until in found.items()}


async def unlock(registry: Registry, caller: Caller, name: str) -> None:
    """Forget every wrong password for a user. Raises AccountUnknown, Denied, InsufficientScope."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    key = name_key(registry, name)

    async def record(tx: Tx) -> None:
        await get_user_row(tx, name)
        if await attempts.remove_name(tx, key):
            await events.add_event(tx, Event("user.unlocked", act.actor, name), act.now, act.by)

    await registry.database.transact(record)


async def store_locks(registry: Registry) -> None:
    """Write events of locks that have begun, of names that somebody has. Raises Unavailable, after which they are lost.

    Not in the request: a name that somebody has would take more work than another.
    """
    news, now = registry.lockouts.take(), registry.clock.now()

    async def record(tx: Tx) -> None:
        for lock in news:
            row = None if "\0" in lock.name else await accounts.find_account(tx, lock.name)
            if row is not None:
                detail: dict[str, object] = {"address": lock.network, "failures": lock.failures, "until": lock.until}
                await events.add_event(tx, Event("user.locked", "anonymous", row.name, detail), now)

    if news:
        await registry.database.transact(record, durable=False)


async def expire_attempts(registry: Registry) -> int:
    """Forget failures older than an hour and all but the newest hundred thousand, and old places; how many rows."""
    now = registry.clock.now()
    longest = max(FORGET_SECONDS, registry.rules.lockout_seconds + FORGET_SECONDS)
    oldest = await registry.database.read(lambda tx: attempts.find_oldest_attempt_of(tx, MOST_ATTEMPTS))
    before, total = max(now - longest * SECOND, oldest), 0
    while gone := await registry.database.transact(lambda tx: attempts.remove_attempts(tx, before, BATCH)):
        total += gone
    seen = now - FAMILIAR_DAYS * DAY
    while gone := await registry.database.transact(lambda tx: attempts.remove_familiar(tx, seen, BATCH)):
        total += gone
    return total
