"""Users: made, given passwords and removed; by administrators, a password also by whoever it belongs to."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from entrepot.core.attempts import prove_once
from entrepot.core.decide import decide, refusal
from entrepot.core.listing import Page
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.directory import LDAP
from entrepot.domain.errors import (
    AccountUnknown,
    AlreadyExists,
    Conflict,
    Denied,
    InsufficientScope,
    RequestInvalid,
    Unauthenticated,
)
from entrepot.domain.events import Event
from entrepot.domain.names import parse_namespace_name, require_free_name
from entrepot.domain.policy import PolicySnapshot
from entrepot.domain.secrets import SECRET
from entrepot.metadata import accounts, events, namespaces, organisations, policy
from entrepot.metadata.accounts import EVERYBODY, AccountFilter, AccountRow
from entrepot.ports.database import Tx

LOCAL: Final = "local"
SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 256
CONTROL: Final = re.compile("[\x00-\x1f\x7f]")


class NewAccount(msgspec.Struct, frozen=True):
    """A user to be made."""

    name: str
    password: str
    is_admin: bool = False


class PasswordChange(msgspec.Struct, frozen=True):
    """A new password; whoever changes their own says the present one too."""

    new: str
    current: str | None = None


async def list_accounts(
    registry: Registry, caller: Caller, page: Page, wanted: AccountFilter = EVERYBODY
) -> tuple[list[AccountRow], str | None]:
    """Users by name, and after which name the next page begins. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    rows = await registry.database.read(lambda tx: accounts.list_accounts(tx, page.after, page.limit + 1, wanted))
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_account(registry: Registry, caller: Caller, name: str) -> AccountRow:
    """A user, for administrators and for that user. Raises AccountUnknown, Denied, InsufficientScope."""
    _require_self_or_admin(caller, registry.policy.snapshot, name)
    return await registry.database.read(lambda tx: get_user_row(tx, name))


async def get_user_row(tx: Tx, name: str) -> AccountRow:
    """The row of a user. Raises AccountUnknown."""
    row = await get_row(tx, name)
    if row.kind != "user":
        raise AccountUnknown("there is no such user", user=name)
    return row


async def get_row(tx: Tx, name: str) -> AccountRow:
    """The row of whoever can have roles: a user, and no organisation. Raises AccountUnknown."""
    row = await accounts.find_account(tx, name)
    if row is None or row.kind == "organisation":
        raise AccountUnknown("there is no such user", user=name)
    return row


async def add_account(registry: Registry, caller: Caller, new: NewAccount) -> AccountRow:
    """Make a user. Raises Denied, InsufficientScope, NameInvalid, RequestInvalid, AlreadyExists."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    require_free_name(new.name)
    require_good_password(new.password, "password")
    encoded = await registry.hasher.hash(new.password)

    async def record(tx: Tx) -> AccountRow:
        await require_free(tx, new.name)
        await accounts.add_account(tx, new.name, encoded, is_admin=new.is_admin, now=act.now)
        await _note(tx, act, Event("user.created", act.actor, new.name, {"administrator": new.is_admin}))
        return await get_row(tx, new.name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def change_password(registry: Registry, caller: Caller, name: str, change: PasswordChange) -> None:
    """Give a user another password; every token made before is void.

    Raises AccountUnknown, Denied, InsufficientScope, RequestInvalid, and Conflict for a user of the directory.
    """
    act = registry.act(caller)
    _require_self_or_admin(caller, act.snapshot, name)
    require_good_password(change.new, "password")
    row = await registry.database.read(lambda tx: get_user_row(tx, name))
    require_local(row, "password")
    if is_self(caller, name):
        await _require_current(registry, row, change, caller.origin.address)
    encoded = await registry.hasher.hash(change.new)

    async def record(tx: Tx) -> None:
        account = await get_row(tx, name)
        if account.password_hash != row.password_hash:
            raise Conflict("the password was changed by somebody else at this moment", user=name)
        # Not when it began: a proof of the password before may have been used since.
        await accounts.set_password(tx, account.id, encoded, registry.clock.now())
        await _note(tx, act, Event("user.password", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def remove_account(registry: Registry, caller: Caller, name: str) -> None:
    """Remove a user with their grants; their namespaces stay, without an owner.

    Raises AccountUnknown, Denied, InsufficientScope, and Conflict for the last administrator, or the last owner of an
    organisation.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        account = await get_user_row(tx, name)
        await require_other_administrators(tx, account)
        await _require_other_owners(tx, account)
        await accounts.remove_account(tx, account.id)
        await _note(tx, act, Event("user.removed", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


def require_admin(caller: Caller, snapshot: PolicySnapshot) -> None:
    """Raises Denied unless the caller administers the instance, InsufficientScope for a token of one who does."""
    if not decide(snapshot, caller.identity, Action.ADMIN, "").allowed:
        raise refusal(caller, snapshot, Action.ADMIN, "")
    if not caller.is_admitted(Action.ADMIN, ""):
        raise InsufficientScope(
            "a token does not do this; send the user name and password, or one with the scope admin"
        )


def _require_self_or_admin(caller: Caller, snapshot: PolicySnapshot, name: str) -> None:
    if not is_self(caller, name):
        require_admin(caller, snapshot)


def is_self(caller: Caller, name: str) -> bool:
    """Whether a name is the caller's own."""
    return caller.identity is not None and caller.identity.name == name


async def _require_current(registry: Registry, row: AccountRow, change: PasswordChange, address: str) -> None:
    if change.current is None:
        raise Denied("to change your own password, give the present one too", field="current")
    await prove_own_password(registry, row, change.current, address, "current")


async def prove_own_password(registry: Registry, row: AccountRow, password: str, address: str, field: str) -> None:
    """Raise Denied unless this is the password of an account, TooMany after too many that were not.

    Whoever has somebody's token is not to find out the password by what asks for it once more.
    """

    async def prove() -> None:
        if not await registry.hasher.verify(row.password_hash, password):
            raise Unauthenticated("the password is wrong")

    try:
        await prove_once(registry, row.name, address, prove)
    except Unauthenticated as error:
        raise Denied(error.message, field=field) from None


def require_local(account: AccountRow, what: Literal["password", "second factor", "address"]) -> None:
    """Raise Conflict for a user whose password is proved elsewhere, where all the rest of it belongs as well."""
    if account.source != LOCAL:
        where = "in the directory" if account.source == LDAP else "at the provider they sign on with"
        raise Conflict(f"the {what} of this user is {where}; change it there", user=account.name)


def require_good_password(password: str, field: str) -> None:
    """Raise RequestInvalid for a password that nobody may have."""
    # The password itself is never part of a message: errors end up in logs and on screens.
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise RequestInvalid(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", field=field, length=len(password)
        )
    if CONTROL.search(password):
        raise RequestInvalid("a password has no control characters", field=field)
    if SECRET.fullmatch(password):
        # It would be looked up among the secrets, and never be found.
        raise RequestInvalid("this is a token or the secret of a machine; choose a password of your own", field=field)


async def require_other_administrators(tx: Tx, account: AccountRow) -> None:
    """Raise Conflict where nobody else could administer the instance. Who is disabled does not count."""
    if account.can_administer and await accounts.count_administrators(tx) == 1:
        raise Conflict("this is the last administrator; make another one first", user=account.name)


async def _require_other_owners(tx: Tx, account: AccountRow) -> None:
    if names := await organisations.list_owned_alone(tx, account.id):
        raise Conflict(
            f"nobody else owns {', '.join(names)}: make somebody an owner first, with: "
            f"entrepot organisation add {names[0]} USER owner",
            user=account.name,
            organisations=names,
        )


async def require_free(tx: Tx, name: str) -> None:
    """Raise AlreadyExists unless nobody and no owned namespace has a name. Raises NameInvalid."""
    # Users, organisations and namespaces share one pool of names; a namespace that nobody owns waits for its user.
    account = await accounts.find_account(tx, parse_namespace_name(name))
    if account is not None:
        kind = "an organisation" if account.kind == "organisation" else "a user"
        raise AlreadyExists(f"there is {kind} of this name", user=name)
    namespace = await namespaces.find_namespace(tx, name)
    if namespace is not None and namespace.owner is not None:
        # Whose it is is not for strangers who register, nor for who comes by a listener where it does not answer.
        raise AlreadyExists("a namespace of this name belongs to somebody else; choose another name", namespace=name)


async def _note(tx: Tx, act: Act, event: Event) -> None:
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, act.now, act.by)
