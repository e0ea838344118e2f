"""Secrets of users and of service accounts: made and shown once, listed, revoked, and in the end forgotten."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.grants import require_own
from entrepot.core.prove import require_as_proved
from entrepot.core.registry import DAY, SECOND, Act, Registry
from entrepot.core.services import require_keeper, require_unscoped
from entrepot.domain.access import Caller, Identity
from entrepot.domain.errors import (
    AccountUnknown,
    AlreadyExists,
    Conflict,
    CredentialUnknown,
    InsufficientScope,
    Unauthenticated,
)
from entrepot.domain.events import Event
from entrepot.domain.grants import ROLES
from entrepot.domain.policy import PolicySnapshot
from entrepot.domain.scopes import ADMIN_SCOPE, ceiling_of_scopes
from entrepot.domain.secrets import SecretKind, fingerprint, hint_of, make_secret, require_secret_name
from entrepot.domain.services import parse_service_name, unknown_service
from entrepot.metadata import accounts, credentials, events, policy
from entrepot.metadata.credentials import CredentialRow, NewCredentialRow
from entrepot.ports.database import Tx

MOST_LIVE: Final[dict[SecretKind, int]] = {"pat": 100, "svc": 100, "tmp": 2000}
LOGIN_SECONDS: Final = 12 * 3600
KEPT_DAYS: Final = 30
FORGET_BATCH: Final = 1000
PROOF: Final = "this takes a password, a personal token or the secret of a service account"


class Holder(msgspec.Struct, frozen=True):
    """Whose secrets are meant: a user by name, or a service account."""

    name: str
    kind: Literal["user", "service"]


class NewSecret(msgspec.Struct, frozen=True):
    """A secret to be made; without `days` it holds until it is revoked."""

    name: str
    scopes: tuple[str, ...] = ()
    days: int | None = None


class Made(msgspec.Struct, frozen=True):
    """A new secret, in clear for this one time, and whose it is."""

    holder: Holder
    row: CredentialRow
    secret: str


async def list_credentials(
    registry: Registry, caller: Caller, holder: Holder, page: tuple[int, int]
) -> tuple[list[CredentialRow], int | None]:
    """Secrets in the order in which they were made, ended ones too, and after which id the next page begins.

    `page` is (after, limit). Raises AccountUnknown, Denied, InsufficientScope.
    """
    _require_keeper(caller, registry.policy.snapshot, holder)
    after, limit = page

    async def collect(tx: Tx) -> list[CredentialRow]:
        return await credentials.list_credentials(tx, await _get_account(tx, holder), after, limit + 1)

    rows = await registry.database.read(collect)
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


async def get_credential(registry: Registry, caller: Caller, holder: Holder, number: int) -> CredentialRow:
    """One secret, without itself. Raises AccountUnknown, CredentialUnknown, Denied, InsufficientScope."""
    _require_keeper(caller, registry.policy.snapshot, holder)
    return await registry.database.read(lambda tx: _get_row(tx, holder, number))


async def add_credential(registry: Registry, caller: Caller, holder: Holder, new: NewSecret) -> Made:
    """Make a secret. One that is made by another of the same account ends no later than that one.

    Raises AccountUnknown, Denied, InsufficientScope, RequestInvalid, AlreadyExists, Conflict.
    """
    act = registry.act(caller)
    _require_keeper(caller, act.snapshot, holder)
    if holder.kind == "service" and (namespace := parse_service_name(holder.name).namespace):
        # Whoever may only administer would otherwise act as an account that may more.
        require_own(act, namespace, ROLES["owner"])
    require_secret_name(new.name)
    ceiling_of_scopes(new.scopes)
    kind: SecretKind = "svc" if holder.kind == "service" else "pat"
    until = None if new.days is None else act.now + new.days * DAY
    secret = make_secret(kind)

    async def record(tx: Tx) -> CredentialRow:
        await _require_standing(tx, act)
        account = await _get_account(tx, holder)
        is_own = caller.identity is not None and caller.identity.account == account
        row = NewCredentialRow(
            account,
            kind,
            new.name,
            fingerprint(secret),
            hint_of(secret),
            new.scopes,
            act.actor,
            _earliest(until, caller.until if is_own else 0),
        )
        if new.name in await _require_room(tx, act, row):
            raise AlreadyExists(
                "there is a secret of this name; revoke it first, or choose another name", name=new.name
            )
        return await _add(tx, act, holder, row)

    return Made(holder, await registry.database.transact(record), secret)


async def add_login_password(registry: Registry, caller: Caller, seconds: int) -> Made:
    """A password for the next hours, for whoever proved a password or a secret: it admits no more and lasts no longer.

    Raises InsufficientScope, Conflict.
    """
    act = registry.act(caller)
    identity = _require_identity(caller)
    policy_of = act.snapshot.accounts.get(identity.account)
    holder = Holder(identity.name, "service" if policy_of is not None and policy_of.kind == "service" else "user")
    secret = make_secret("tmp")

    async def record(tx: Tx) -> CredentialRow:
        await _require_standing(tx, act)
        parent = await _find_parent(tx, act, identity)
        # It is for clients that push and pull: nothing administers by it.
        scopes = parent.scopes if parent is not None and ADMIN_SCOPE not in parent.scopes else ()
        row = NewCredentialRow(
            identity.account,
            "tmp",
            _name_of_child(parent) if parent is not None else "login",
            fingerprint(secret),
            hint_of(secret),
            scopes,
            act.actor,
            _earliest(act.now + min(seconds, LOGIN_SECONDS) * SECOND, caller.until),
        )
        await _require_room(tx, act, row)
        return await _add(tx, act, holder, row)

    return Made(holder, await registry.database.transact(record), secret)


async def revoke_credential(registry: Registry, caller: Caller, holder: Holder, number: int) -> None:
    """End a secret at once, with the tokens and login passwords that it was asked for.

    Raises AccountUnknown, CredentialUnknown, Denied, InsufficientScope.
    """
    act = registry.act(caller)
    _require_keeper(caller, act.snapshot, holder)

    async def record(tx: Tx) -> None:
        row = await _get_row(tx, holder, number)
        if not await credentials.revoke_credential(tx, row, _name_of_child(row), act.now):
            return
        await policy.bump_policy_version(tx)
        detail: dict[str, object] = {"id": row.id, "kind": row.kind, "name": row.name}
        await events.add_event(tx, Event("credential.revoked", act.actor, holder.name, detail), act.now, act.by)

    await registry.database.transact(record)
    await registry.policy.refresh()


async def forget_credentials(registry: Registry) -> None:
    """Delete what expired or was revoked so long ago that nobody asks about it any more."""
    before = registry.clock.now() - KEPT_DAYS * DAY
    last: int | None = 0
    while last is not None:
        batch = partial(credentials.delete_ended, before=before, after=last, limit=FORGET_BATCH)
        last = await registry.database.transact(batch)


def _require_keeper(caller: Caller, snapshot: PolicySnapshot, holder: Holder) -> None:
    if holder.kind == "service":
        require_keeper(caller, snapshot, parse_service_name(holder.name).namespace)
    elif caller.identity is not None and caller.identity.name == holder.name:
        require_unscoped(caller)
    else:
        require_admin(caller, snapshot)


async def _get_account(tx: Tx, holder: Holder) -> int:
    row = await accounts.find_account(tx, holder.name)
    if row is None or row.kind != holder.kind:
        is_user = holder.kind == "user"
        raise AccountUnknown("there is no such user", user=holder.name) if is_user else unknown_service(holder.name)
    return row.id


async def _get_row(tx: Tx, holder: Holder, number: int) -> CredentialRow:
    row = await credentials.find_credential(tx, await _get_account(tx, holder), number)
    if row is None:
        raise CredentialUnknown("this account has no such secret", id=number)
    return row


async def _require_standing(tx: Tx, act: Act) -> None:
    # What was revoked this very second, by another worker, must leave nothing behind that lasts.
    caller = act.caller
    account = await accounts.find_account_by_id(tx, caller.identity.account) if caller.identity else None
    if account is not None and account.is_disabled:
        raise Unauthenticated("this account is disabled")
    require_as_proved(account.credentials_since if account else act.now, caller.since)
    if caller.identity is None or not caller.credential:
        return
    row = await credentials.find_credential(tx, caller.identity.account, caller.credential)
    if row is None or not row.is_live(act.now):
        raise InsufficientScope(PROOF)


async def _find_parent(tx: Tx, act: Act, identity: Identity) -> CredentialRow | None:
    caller = act.caller
    if not caller.credential and caller.ceiling is None:
        return None
    row = await credentials.find_credential(tx, identity.account, caller.credential)
    # A token of /token that came from a secret admits less than the secret itself.
    is_itself = row is not None and row.kind != "tmp" and caller.ceiling == ceiling_of_scopes(row.scopes)
    if row is None or not is_itself or not row.is_live(act.now):
        raise InsufficientScope(PROOF)
    return row


async def _require_room(tx: Tx, act: Act, new: NewCredentialRow) -> list[str]:
    names = await credentials.list_live_names(tx, new.account, new.kind, act.now)
    if len(names) >= MOST_LIVE[new.kind]:
        raise Conflict(f"an account has at most {MOST_LIVE[new.kind]} secrets of one kind; revoke some first")
    return names


async def _add(tx: Tx, act: Act, holder: Holder, new: NewCredentialRow) -> CredentialRow:
    number = await credentials.add_credential(tx, new, act.now)
    detail: dict[str, object] = {
        "id": number,
        "kind": new.kind,
        "name": new.name,
        "scopes": list(new.scopes),
        "expires_at": new.expires_at,
    }
    await events.add_event(tx, Event("credential.created", act.actor, holder.name, detail), act.now, act.by)
    return await _get_row(tx, holder, number)


def _name_of_child(parent: CredentialRow) -> str:
    return f"login by {parent.id}"


def _earliest(wanted: int | None, limit: int) -> int | None:
    if not limit:
        return wanted
    return limit if wanted is None else min(wanted, limit)


def _require_identity(caller: Caller) -> Identity:
    # The guard lets nobody else in.
    if caller.identity is None:
        raise InsufficientScope(PROOF)
    return caller.identity
