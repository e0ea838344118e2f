"""The address of a user: given, proved by a code, vouched for, removed."""

from __future__ import annotations

import msgspec

from entrepot.core.accounts import get_user_row, is_self, prove_own_password, require_admin, require_local
from entrepot.core.changes import note
from entrepot.core.mailing import SEND_WITHIN, Order, check_code, count_known, order_mail, require_mail, use_code
from entrepot.core.registry import Registry
from entrepot.core.services import require_unscoped
from entrepot.domain.access import Caller
from entrepot.domain.errors import AlreadyExists, Denied
from entrepot.domain.events import Event
from entrepot.domain.mail import fold_address, parse_address, wrong_code
from entrepot.metadata import emails, mail_codes
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.emails import EmailRow
from entrepot.ports.database import Tx


class NewEmail(msgspec.Struct, frozen=True):
    """An address for a user; users prove their `password`, administrators may vouch for it with `verified`."""

    address: str
    password: str | None = None
    verified: bool = False


async def get_email(registry: Registry, caller: Caller, name: str) -> EmailRow | None:
    """The proved address of a user, for that user and for administrators. Raises AccountUnknown, Denied."""
    if not is_self(caller, name):
        require_admin(caller, registry.policy.snapshot)

    async def collect(tx: Tx) -> EmailRow | None:
        return await emails.find_email(tx, (await get_user_row(tx, name)).id)

    return await registry.database.read(collect)


async def set_email(registry: Registry, caller: Caller, name: str, new: NewEmail) -> None:
    """Send a code to an address, which is the user's once that is confirmed; or make it so at once.

    Raises AccountUnknown, Denied, InsufficientScope, RequestInvalid, Conflict, TooMany; AlreadyExists only to
    administrators who vouch for an address.
    """
    address = parse_address(new.address)
    account = await _require_keeper(registry, caller, name, new)
    if new.verified:
        await _vouch(registry, caller, account, address)
        return
    require_mail(registry)
    act, key = registry.act(caller), registry.policy.token_key
    order = Order("verify", address, act.now + SEND_WITHIN, name, account=account.id)

    async def record(tx: Tx) -> None:
        await count_known(tx, key, act, address)
        await order_mail(tx, key, order, act.now)

    await registry.database.transact(record)


async def confirm_email(registry: Registry, caller: Caller, name: str, code: str) -> EmailRow:
    """The address that a code was sent to is the user's from now on.

    Raises Denied for others, CodeInvalid, InsufficientScope, and AlreadyExists where it is somebody else's.
    """
    if not is_self(caller, name):
        raise Denied("an address is confirmed by whoever it belongs to", user=name)
    require_unscoped(caller)
    act, row = registry.act(caller), await check_code(registry, ("verify",), code)

    async def record(tx: Tx) -> EmailRow:
        account = await get_user_row(tx, name)
        if row.account != account.id:
            raise wrong_code()
        await use_code(tx, row)
        await put_free(tx, account, row.address, act.now)
        await note(tx, act, Event("user.email", act.actor, name, {"email": row.address}))
        return EmailRow(account.id, name, row.address, act.now, account.source, account.is_disabled)

    return await registry.database.transact(record)


async def remove_email(registry: Registry, caller: Caller, name: str) -> None:
    """Forget the address of a user, and the codes that were sent to it. Raises as `get_email`."""
    act = registry.act(caller)
    if is_self(caller, name):
        require_unscoped(caller)
    else:
        require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        account = await get_user_row(tx, name)
        await mail_codes.remove_codes(tx, "reset", account.id)
        await mail_codes.remove_codes(tx, "verify", account.id)
        if await emails.remove_email(tx, account.id):
            await note(tx, act, Event("user.email.removed", act.actor, name))

    await registry.database.transact(record)


async def put_free(tx: Tx, account: AccountRow, address: str, now: int) -> None:
    """Give an account an address that nobody else has; codes that were sent to the one before are void.

    Raises AlreadyExists.
    """
    folded = fold_address(address)
    owner = await emails.find_owner(tx, folded)
    if owner is not None and owner.account != account.id:
        raise AlreadyExists("this address belongs to another account", email=address)
    await mail_codes.remove_codes(tx, "reset", account.id)
    await emails.put_email(tx, account.id, address, folded, now)


async def _vouch(registry: Registry, caller: Caller, account: AccountRow, address: str) -> None:
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        await put_free(tx, account, address, act.now)
        await note(tx, act, Event("user.email", act.actor, account.name, {"email": address, "vouched": True}))

    await registry.database.transact(record)


async def _require_keeper(registry: Registry, caller: Caller, name: str, new: NewEmail) -> AccountRow:
    if not is_self(caller, name):
        require_admin(caller, registry.policy.snapshot)
        return await registry.database.read(lambda tx: get_user_row(tx, name))
    require_unscoped(caller)
    account = await registry.database.read(lambda tx: get_user_row(tx, name))
    require_local(account, "address")
    # Whoever has the address gets another password by it: a secret that was left lying about must not do.
    if new.password is None:
        raise Denied("this takes your password", field="password")
    await prove_own_password(registry, account, new.password, caller.origin.address, "password")
    return account
