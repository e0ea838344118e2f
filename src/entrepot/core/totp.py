"""One-time codes of a user: set up, confirmed, replaced and switched off; and recovery codes."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from entrepot.core.accounts import get_user_row, is_self, prove_own_password, require_admin, require_local
from entrepot.core.changes import note
from entrepot.core.registry import SECOND, Registry
from entrepot.core.second_factor import (
    Verdict,
    find_code,
    hash_recovery_code,
    is_waiting,
    note_recovered,
    require_right,
    seal_secret,
    spend,
)
from entrepot.core.services import require_unscoped
from entrepot.domain.access import Caller
from entrepot.domain.errors import CodeInvalid, Conflict, Denied
from entrepot.domain.events import Event
from entrepot.domain.totp import fold_code, make_recovery_codes, make_totp_secret, provisioning_uri, render_base32
from entrepot.metadata import accounts, totp
from entrepot.metadata.accounts import AccountRow
from entrepot.ports.database import Tx

BEGUN_SECONDS: Final = 3600
ISSUER: Final = "Entrepot"


class Proof(msgspec.Struct, frozen=True):
    """What a user proves to change their second factor: the password, and a one-time or recovery code."""

    password: str | None = None
    code: str | None = None


class Status(msgspec.Struct, frozen=True):
    """Whether an account has a second factor, since when (microseconds), and how many recovery codes are left."""

    enabled: bool
    since: int | None
    recovery_codes: int


class Enrolment(msgspec.Struct, frozen=True):
    """A new secret in base32 and as the URI that an authenticator reads from a picture; not in use until confirmed."""

    secret: str
    uri: str


async def get_status(registry: Registry, caller: Caller, name: str) -> Status:
    """Whether a user has a second factor; for that user and for administrators. Raises AccountUnknown, Denied."""
    if not is_self(caller, name):
        require_admin(caller, registry.policy.snapshot)

    async def collect(tx: Tx) -> Status:
        account = await get_user_row(tx, name)
        row = await totp.find_totp(tx, account.id)
        since = row.confirmed_at if row else None
        return Status(since is not None, since, await totp.count_recovery_codes(tx, account.id))

    return await registry.database.read(collect)


async def begin(registry: Registry, caller: Caller, name: str, password: str) -> Enrolment:
    """A secret for the caller's authenticator, which asks for nothing until it is confirmed.

    Raises Denied for others and for a wrong password, InsufficientScope, and Conflict where there is one already.
    """
    account = await _require_own(registry, caller, name)
    await _require_password(registry, caller, account, password)
    secret, now = make_totp_secret(), registry.clock.now()
    sealed = seal_secret(registry.policy.token_key, account.id, secret)
    if not await registry.database.transact(lambda tx: totp.put_totp(tx, account.id, sealed, now)):
        raise Conflict("this account asks for one-time codes already; disable them first", user=name)
    issuer = urlsplit(registry.rules.public_url).netloc or ISSUER
    return Enrolment(render_base32(secret), provisioning_uri(issuer, name, secret))


async def confirm(registry: Registry, caller: Caller, name: str, code: str) -> list[str]:
    """Ask for codes from now on; the recovery codes, shown this once. What was logged in by password alone is void.

    Raises Denied, InsufficientScope, CodeInvalid for a wrong code, after some of which the next one waits, and Conflict
    where nothing was begun within the last hour.
    """
    account = await _require_own(registry, caller, name)
    act, key, codes = registry.act(caller), registry.policy.token_key, make_recovery_codes()
    hashes = [hash_recovery_code(key, account.id, each) for each in codes]

    async def record(tx: Tx) -> Verdict:
        row = await totp.find_totp(tx, account.id)
        if row is None or row.confirmed_at is not None or row.created_at + BEGUN_SECONDS * SECOND < act.now:
            raise Conflict("there is nothing to confirm; begin with: entrepot user totp enable", user=name)
        if is_waiting(row, act.now):
            return "waits"
        step = find_code(key, row, fold_code(code), act.now)
        if step is None or not await totp.confirm_totp(tx, account.id, step, act.now):
            await totp.add_failure(tx, account.id, act.now)
            return "wrong"
        await totp.put_recovery_codes(tx, account.id, hashes)
        await accounts.void_tokens(tx, account.id, registry.clock.now())
        await note(tx, act, Event("user.totp.enabled", act.actor, name))
        return "right"

    verdict = await registry.database.transact(record)
    if verdict == "waits":
        raise CodeInvalid(
            "there were too many wrong codes; wait a while, an hour at most, and try once more", field="code"
        )
    if verdict == "wrong":
        raise CodeInvalid("the code is wrong; is the clock of your device right?", field="code")
    await registry.policy.refresh()
    return codes


async def disable(registry: Registry, caller: Caller, name: str, proof: Proof) -> None:
    """Ask for codes no more. Users prove the password and a code; administrators do it for others.

    Raises AccountUnknown, Denied, InsufficientScope, CodeNeeded, and Conflict where there is nothing to disable.
    """
    act = registry.act(caller)
    if is_self(caller, name):
        await _prove(registry, caller, name, proof)
    else:
        require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        account = await get_user_row(tx, name)
        if not await totp.remove_totp(tx, account.id):
            raise Conflict("this account asks for no one-time codes", user=name)
        await note(tx, act, Event("user.totp.disabled", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def renew_recovery_codes(registry: Registry, caller: Caller, name: str, proof: Proof) -> list[str]:
    """Ten other recovery codes, shown this once; those before are void. Raises as `disable`."""
    account, act = await _prove(registry, caller, name, proof), registry.act(caller)
    codes = make_recovery_codes()
    hashes = [hash_recovery_code(registry.policy.token_key, account.id, each) for each in codes]

    async def record(tx: Tx) -> None:
        await totp.put_recovery_codes(tx, account.id, hashes)
        await note(tx, act, Event("user.totp.recovery-codes", act.actor, name))

    await registry.database.transact(record)
    return codes


async def _require_own(registry: Registry, caller: Caller, name: str) -> AccountRow:
    if not is_self(caller, name):
        raise Denied("an authenticator is set up by whoever carries it", user=name)
    require_unscoped(caller)
    account = await registry.database.read(lambda tx: get_user_row(tx, name))
    require_local(account, "second factor")
    return account


async def _require_password(registry: Registry, caller: Caller, account: AccountRow, password: str | None) -> None:
    if password is None:
        raise Denied("this takes your password", field="password")
    await prove_own_password(registry, account, password, caller.origin.address, "password")


async def _prove(registry: Registry, caller: Caller, name: str, proof: Proof) -> AccountRow:
    account = await _require_own(registry, caller, name)
    await _require_password(registry, caller, account, proof.password)
    key, now = registry.policy.token_key, registry.clock.now()

    async def record(tx: Tx) -> Verdict:
        row = await totp.find_totp(tx, account.id)
        if row is None or row.confirmed_at is None:
            raise Conflict("this account asks for no one-time codes", user=name)
        verdict = await spend(tx, key, row, proof.code or "", now)
        if verdict == "recovered":
            await note_recovered(tx, (account.id, name), now, registry.act(caller).by)
        return verdict

    require_right(await registry.database.transact(record))
    return account
