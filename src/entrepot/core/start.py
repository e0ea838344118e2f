"""What every process makes sure of when it starts: keys, the first administrator, the default namespace."""

from __future__ import annotations

import secrets

import msgspec

from entrepot.core.signing_keys import make_key
from entrepot.domain.names import DEFAULT_NAMESPACE
from entrepot.metadata import accounts, instance, namespaces, policy, signing_keys
from entrepot.ports.clock import Clock
from entrepot.ports.database import Database, Tx
from entrepot.ports.passwords import PasswordHasher

ADMINISTRATOR = "admin"
TOKEN_KEY = "token_key"  # noqa: S105 - the name of a row, not a secret


class FirstAdministrator(msgspec.Struct, frozen=True):
    """The password that was set for `admin`, empty if none, and one to fall back on."""

    configured: str
    generated: str


class Ready(msgspec.Struct, frozen=True):
    """What the process goes on with. `generated_password` is empty unless it was used just now."""

    token_key: bytes
    generated_password: str


async def prepare(database: Database, clock: Clock, hasher: PasswordHasher, first: FirstAdministrator) -> Ready:
    """Make what is missing; several processes may do so at once."""
    key = await database.read(lambda tx: instance.find_value(tx, TOKEN_KEY))
    signing = await database.read(signing_keys.list_keys)
    is_new = not await database.read(accounts.has_any_account)
    if key is not None and signing and not is_new:
        return Ready(bytes.fromhex(key), "")
    fallback = secrets.token_hex(32)
    encoded = await hasher.hash(first.configured or first.generated) if is_new else ""
    now = clock.now()
    signing_key = make_key(now, now)

    async def record(tx: Tx) -> tuple[str, bool]:
        await instance.add_value(tx, TOKEN_KEY, fallback)
        key = await instance.find_value(tx, TOKEN_KEY) or fallback
        if not await signing_keys.list_keys(tx):
            await signing_keys.add_key(tx, signing_key)
            await policy.bump_policy_version(tx)
        if await accounts.has_any_account(tx):
            return key, False
        account = await accounts.add_account(tx, ADMINISTRATOR, encoded, is_admin=True, now=now)
        await namespaces.add_namespace(tx, DEFAULT_NAMESPACE, account, "private", now)
        await policy.bump_policy_version(tx)
        return key, True

    kept, is_made = await database.transact(record)
    return Ready(bytes.fromhex(kept), first.generated if is_made and not first.configured else "")
