"""Whether users administer the instance, and whether they may act at all: said by administrators, of anybody.

A disabled user is refused by every process within a second, by whatever way they come; nothing is revoked by it, so
that all of it opens again what it opened once they are enabled. Who is disabled by hand stays so, whatever the
directory or a provider says of them.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from entrepot.core.accounts import get_user_row, is_self, require_admin, require_other_administrators
from entrepot.core.changes import note
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.directory import LDAP
from entrepot.domain.errors import Conflict, Denied
from entrepot.domain.events import Event
from entrepot.domain.sign_on import OIDC
from entrepot.metadata import accounts, directory, federation, sign_on
from entrepot.metadata.accounts import AccountRow
from entrepot.ports.database import Tx


class AccountChange(msgspec.Struct, frozen=True):
    """What is to be different of a user."""

    is_admin: bool | UnsetType = UNSET
    is_disabled: bool | UnsetType = UNSET


async def change_account(registry: Registry, caller: Caller, name: str, change: AccountChange) -> AccountRow:
    """Let a user administer the instance or not, disable or enable them.

    Raises AccountUnknown, InsufficientScope; Denied to others, and to whoever would disable themselves; Conflict for
    the last administrator, for whoever CI jobs act as, and for whoever is disabled because where they come from does
    not have them any more.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    if change.is_disabled is True and is_self(caller, name):
        raise Denied("nobody disables themselves; another administrator does it", user=name)

    async def record(tx: Tx) -> AccountRow:
        old = await get_user_row(tx, name)
        new = await _changed(tx, old, change, act.now)
        if not new.can_administer:
            await require_other_administrators(tx, old)
        if new.is_admin and not old.is_admin:
            await _require_no_jobs(tx, old)
        if new == old:
            return old
        await accounts.set_standing(tx, new)
        if new.gone_at is not None and old.gone_at is None:
            # As it would have been then: what was issued before is void.
            await directory.set_gone(tx, new.id, act.now)
        for event in _events(act, old, new):
            await note(tx, act, event)
        return new

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def _changed(tx: Tx, old: AccountRow, change: AccountChange, now: int) -> AccountRow:
    new = old if change.is_admin is UNSET else replace(old, is_admin=change.is_admin)
    if change.is_disabled is UNSET:
        return new
    if change.is_disabled:
        # From now on by hand: coming back to where they come from does not enable them.
        return replace(new, is_disabled=True, gone_at=None)
    if old.gone_at is not None:
        raise _gone(old)
    if old.is_disabled and old.source == OIDC and not await sign_on.count_vouching(tx, old.id):
        # What was missed meanwhile: nobody would ever look again whether a provider vouches for them.
        return replace(new, gone_at=now)
    return replace(new, is_disabled=False)


async def _require_no_jobs(tx: Tx, account: AccountRow) -> None:
    # What a CI system says of a job is no proof that is good enough for the whole registry: see core/issuers.
    rule = await federation.find_rule_as(tx, account.id)
    if rule is not None:
        raise Conflict(
            f"jobs act as this user, and none acts as an administrator: make another user one, or first: "
            f"entrepot issuer rule remove {rule.issuer} {rule.name}",
            user=account.name,
        )


def _gone(account: AccountRow) -> Conflict:
    why = (
        "the directory does not have this user any more, and enables them as soon as it has them again"
        if account.source == LDAP
        else "no provider vouches for this user any more; they are enabled by signing on again"
    )
    return Conflict(why, user=account.name)


def _events(act: Act, old: AccountRow, new: AccountRow) -> list[Event]:
    events = []
    if new.is_admin != old.is_admin:
        events.append(Event("user.changed", act.actor, new.name, {"administrator": [old.is_admin, new.is_admin]}))
    if (new.is_disabled, new.gone_at) != (old.is_disabled, old.gone_at):
        detail: dict[str, object] = {"disabled": [old.is_disabled, new.is_disabled]}
        was_gone, is_gone = old.gone_at is not None, new.gone_at is not None
        detail |= {"gone": [was_gone, is_gone]} if is_gone != was_gone else {}
        is_by_hand = new.is_disabled and not is_gone
        events.append(Event("user.disabled" if is_by_hand else "user.enabled", act.actor, new.name, detail))
    return events
