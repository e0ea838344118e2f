"""Signing in as a person: a name, a password and, where the account has a second factor, a code."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.attempts import settle
from entrepot.core.identify import BY_PASSWORD, authenticate, log_in, parse_basic
from entrepot.core.prove import require_as_proved
from entrepot.core.registry import Registry
from entrepot.core.second_factor import Verdict, note_recovered, require_right, spend
from entrepot.core.tokens import GenuineCache
from entrepot.domain.access import Caller, Identity
from entrepot.domain.audit import By
from entrepot.domain.errors import CodeNeeded, EnrolmentNeeded
from entrepot.domain.names import FEDERATED
from entrepot.domain.secrets import is_secret
from entrepot.metadata import accounts, totp
from entrepot.ports.database import Tx

BY_CODE: Final = "password-and-code"


class Typed(msgspec.Struct, frozen=True):
    """What somebody typed, and from which address; `code` may be empty."""

    name: str
    password: str
    code: str = ""
    address: str = ""


class Shown(msgspec.Struct, frozen=True):
    """An Authorization header with a code, from which address. With `is_enrolling` nobody needs to have codes yet."""

    header: bytes
    code: str = ""
    address: str = ""
    is_enrolling: bool = False


async def sign_in(registry: Registry, cache: GenuineCache, typed: Typed) -> Caller:
    """The caller behind a name, a password and a one-time or recovery code, which is used up by that.

    A code that is not needed is not looked at. Raises Unauthenticated for a wrong name or password, TooMany after too
    many of them; and, only once the password is proved, CodeNeeded where a code is missing or wrong, EnrolmentNeeded
    where there must be one and is not.
    """
    try:
        return await log_in(registry, cache, typed.name, typed.password, typed.address)
    except CodeNeeded as error:
        if not typed.code:
            raise
        since = error.since
    identity = await _spend(registry, typed, since)
    await settle(registry, typed.name, typed.address)
    return Caller(identity, None, method=BY_CODE, is_fresh=True, since=since)


async def authenticate_with(registry: Registry, cache: GenuineCache, shown: Shown) -> Caller:
    """Who sent this Authorization header and perhaps a code. Raises Unauthenticated, TooMany."""
    scheme, _, credentials = shown.header.partition(b" ")
    if scheme.lower() != b"basic":
        return await authenticate(registry, cache, shown.header, lambda: shown.address)
    name, password = parse_basic(credentials.strip())
    if not name or name == FEDERATED or is_secret(password):
        return await authenticate(registry, cache, shown.header, lambda: shown.address)
    try:
        return await sign_in(registry, cache, Typed(name, password, shown.code, shown.address))
    except EnrolmentNeeded as error:
        if not shown.is_enrolling:
            raise
        since = error.since
    identity = await registry.database.read(lambda tx: _identity(tx, name, since))
    await settle(registry, name, shown.address)
    return Caller(identity, None, method=BY_PASSWORD, is_fresh=True, since=since)


async def _spend(registry: Registry, typed: Typed, since: int) -> Identity:
    now, key = registry.clock.now(), registry.policy.token_key

    async def record(tx: Tx) -> tuple[Identity, Verdict]:
        identity = await _identity(tx, typed.name, since)
        row = await totp.find_totp(tx, identity.account)
        if row is None or row.confirmed_at is None:
            # Switched off this very moment.
            return identity, "right"
        verdict = await spend(tx, key, row, typed.code, now)
        if verdict == "recovered":
            by = By(identity.account, typed.address, BY_CODE)
            await note_recovered(tx, (identity.account, typed.name), now, by)
        return identity, verdict

    identity, verdict = await registry.database.transact(record)
    require_right(verdict)
    return identity


async def _identity(tx: Tx, name: str, since: int) -> Identity:
    account = await accounts.find_account(tx, name)
    if account is None:
        raise CodeNeeded("this account is gone")
    require_as_proved(account.credentials_since, since)
    return Identity(account.id, account.name)
