"""Users: `/users`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, FreeName, Password, time_of
from entrepot.core import accounts, locked
from entrepot.metadata.accounts import AccountRow

NONE: Final[Mapping[str, int]] = {}


class User(Answer, frozen=True):
    """Somebody with an account; `source` is `local`, or `ldap` for somebody of the directory.

    `locked_until` is when the last lock by wrong passwords ends, from some network or from everywhere; null for none.
    """

    name: str
    administrator: bool
    disabled: bool
    created_at: datetime
    source: str
    locked_until: datetime | None = None


class Users(Answer, frozen=True):
    """A page of users, by name."""

    users: list[User]


class NewUser(Document, frozen=True):
    """A user to be made."""

    name: FreeName
    password: Password
    administrator: bool = False


class NewPassword(Document, frozen=True):
    """Another password; whoever changes their own gives the present one as `current`."""

    password: Password
    current: str | None = None


def _user(row: AccountRow, locks: Mapping[str, int] = NONE) -> User:
    until = locks.get(row.name)
    locked_until = None if until is None else time_of(until)
    return User(row.name, row.is_admin, row.is_disabled, time_of(row.created_at), row.source, locked_until)


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[Users]:
    """Everybody with an account, by name."""
    rows, following = await accounts.list_accounts(registry, caller, names.page)
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
