"""Users: `/users`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, FreeName, Password, time_of
from entrepot.core import accounts, locked, standing
from entrepot.domain.names import LONGEST_NAMESPACE
from entrepot.metadata.accounts import AccountFilter, AccountRow

NONE: Final[Mapping[str, int]] = {}


OfAdministrators = Annotated[
    bool | None,
    QueryParameter(name="administrator", required=False, description="Only administrators, or only all others."),
]
OfDisabled = Annotated[
    bool | None,
    QueryParameter(name="disabled", required=False, description="Only who is disabled, or only who is not."),
]
OfSource = Annotated[
    Literal["local", "ldap", "oidc"] | None,
    QueryParameter(name="source", required=False, description="Only who comes from there."),
]
OfPrefix = Annotated[
    str,
    QueryParameter(
        name="prefix", max_length=LONGEST_NAMESPACE, pattern="^[a-z0-9._-]*$", description="How their names begin."
    ),
]
Whom = NamedDependency[AccountFilter]


class User(Answer, frozen=True):
    """Somebody with an account. `source` is `local`, `ldap` for the directory or `oidc` for whoever came by signing on.

    `locked_until` is when the last lock by wrong passwords ends, from some network or from everywhere; null for none.
    `gone_at` is since when they have been disabled because the directory, or every provider, has lost them; null for
    none, and where somebody here has disabled them.
    """

    name: str
    administrator: bool
    disabled: bool
    created_at: datetime
    source: str
    locked_until: datetime | None = None
    gone_at: datetime | None = None


class Users(Answer, frozen=True):
    """A page of users, by name."""

    users: list[User]


class NewUser(Document, frozen=True):
    """A user to be made."""

    name: FreeName
    password: Password
    administrator: bool = False


class UserChange(Document, frozen=True):
    """What is to be different. Disabled, nothing that a user has opens anything; enabled again, all of it does.

    Nobody disables themselves, and the last administrator who is not disabled stays one.
    """

    administrator: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewPassword(Document, frozen=True):
    """Another password; whoever changes their own gives the present one as `current`."""

    password: Password
    current: str | None = None


def _user(row: AccountRow, locks: Mapping[str, int] = NONE) -> User:
    locked_until, gone_at = (None if at is None else time_of(at) for at in (locks.get(row.name), row.gone_at))
    made = time_of(row.created_at)
    return User(row.name, row.is_admin, row.is_disabled, made, row.source, locked_until, gone_at)


def provide_whom(
    of_administrators: OfAdministrators = None,
    of_disabled: OfDisabled = None,
    of_source: OfSource = None,
    prefix: OfPrefix = "",
) -> AccountFilter:
    """Which users a listing is narrowed to."""
    return AccountFilter(of_administrators, of_disabled, of_source or "", prefix)


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names, whom: Whom) -> Response[Users]:
    """Everybody with an account, by name, or only those who are asked for."""
    rows, following = await accounts.list_accounts(registry, caller, names.page, whom)
    locks = await locked.list_locked(registry, [row.name for row in rows])
    return names.answer(Users([_user(row, locks) for row in rows]), following)


async def get(registry: TheRegistry, caller: TheCaller, user: InPath) -> User:
    """One user: for administrators, and for that user."""
    row = await accounts.get_account(registry, caller, user)
    return _user(row, await locked.list_locked(registry, [row.name]))


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewUser]) -> Response[User]:
    """Make a user."""
    new = accounts.NewAccount(data.name, data.password, data.administrator)
    made = await accounts.add_account(registry, caller, new)
    return created(f"/users/{made.name}", _user(made))


async def change(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[UserChange]) -> User:
    """Let a user administer the registry or not; disable them at once, or enable them again."""
    wanted = standing.AccountChange(data.administrator, data.disabled)
    row = await standing.change_account(registry, caller, user, wanted)
    return _user(row, await locked.list_locked(registry, [row.name]))


async def change_password(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[NewPassword]) -> None:
    """Give a user another password: for administrators, and for that user. Every token made before is void."""
    change = accounts.PasswordChange(data.password, data.current)
    await accounts.change_password(registry, caller, user, change)


async def unlock(registry: TheRegistry, caller: TheCaller, user: InPath) -> None:
    """Forget the wrong passwords that were sent for a user, so that the right one is heard again at once."""
    await locked.unlock(registry, caller, user)


async def remove(registry: TheRegistry, caller: TheCaller, user: InPath) -> None:
    """Remove a user with their roles; what they owned is left without an owner."""
    await accounts.remove_account(registry, caller, user)
