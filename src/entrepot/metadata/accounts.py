"""Rows of users."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from entrepot.domain.policy import AccountKind
from entrepot.metadata.grants import remove_of
from entrepot.ports.database import Row, Tx


class AccountRow(msgspec.Struct, frozen=True):
    """A user as stored. Times are microseconds since 1970.

    `gone_at` is since when the account has been disabled because where it comes from does not have it any more.
    """

    id: int
    name: str
    password_hash: str
    is_admin: bool
    is_disabled: bool
    created_at: int
    kind: AccountKind
    source: str = "local"
    has_totp: bool = False
    credentials_since: int = 0
    gone_at: int | None = None

    @property
    def can_administer(self) -> bool:
        """Whether it administers the instance, and may act at all."""
        return self.is_admin and not self.is_disabled


class AccountFilter(msgspec.Struct, frozen=True):
    """Which users are asked for; None and "" do not narrow. `prefix` is how their names begin."""

    is_admin: bool | None = None
    is_disabled: bool | None = None
    source: str = ""
    prefix: str = ""


class Faceless(msgspec.Struct, frozen=True):
    """An organisation, or a service account (perhaps of a namespace): nobody logs in as it by a password."""

    name: str
    kind: AccountKind
    home: int | None = None
    description: str = ""


COLUMNS = (
    "id, name, password_hash, is_admin, is_disabled, created_at, kind, source, "
    "exists (select 1 from totp where totp.account = account.id and totp.confirmed_at is not null), credentials_since, "
    "gone_at"
)
EVERYBODY: Final = AccountFilter()
LAST: Final = "\U0010ffff"


def _account(row: Row) -> AccountRow:
    flags = {"is_admin": bool(row[3]), "is_disabled": bool(row[4]), "has_totp": bool(row[8])}
    return replace(AccountRow(*row), **flags)


async def find_account(tx: Tx, name: str) -> AccountRow | None:
    """A user, organisation or service account by name."""
    row = await tx.one(f"select {COLUMNS} from account where name = $1", name)
    return None if row is None else _account(row)


async def find_account_by_id(tx: Tx, account: int) -> AccountRow | None:
    """A user, organisation or service account by id."""
    row = await tx.one(f"select {COLUMNS} from account where id = $1", account)
    return None if row is None else _account(row)


async def list_accounts(tx: Tx, after: str, limit: int, wanted: AccountFilter = EVERYBODY) -> list[AccountRow]:
    """Users by name, a page after `after`."""
    # By bytes, names that begin with a text lie between it and the same with the last of all characters.
    asked: list[tuple[str, object]] = [("name > ", after)]
    if wanted.prefix:
        asked += [("name >= ", wanted.prefix), ("name < ", wanted.prefix + LAST)]
    for column, value in (("is_admin = ", wanted.is_admin), ("is_disabled = ", wanted.is_disabled)):
        asked += [] if value is None else [(column, int(value))]
    if wanted.source:
        asked.append(("source = ", wanted.source))
    conditions = " and ".join(f"{text}${number}" for number, (text, _) in enumerate(asked, 1))
    sql = f"select {COLUMNS} from account where kind = 'user' and {conditions} order by name limit ${len(asked) + 1}"
    rows = await tx.all(sql, *(value for _, value in asked), limit)
    return [_account(row) for row in rows]


async def add_account(tx: Tx, name: str, password_hash: str, *, is_admin: bool, now: int) -> int:
    """A new user; its id."""
    row = await tx.one(
        "insert into account (name, password_hash, is_admin, credentials_since, created_at) "
        "values ($1, $2, $3, $4, $4) returning id",
        name,
        password_hash,
        int(is_admin),
        now,
    )
    return int(row[0]) if row else 0


async def add_faceless(tx: Tx, new: Faceless, now: int) -> int:
    """A new organisation or service account; its id."""
    row = await tx.one(
        "insert into account (name, password_hash, kind, home, description, credentials_since, created_at) "
        "values ($1, '', $2, $3, $4, $5, $5) returning id",
        new.name,
        new.kind,
        new.home,
        new.description,
        now,
    )
    return int(row[0]) if row else 0


async def set_standing(tx: Tx, account: AccountRow) -> None:
    """Store whether an account administers and whether it is disabled, by hand or as one that is gone."""
    await tx.execute(
        "update account set is_admin = $1, is_disabled = $2, gone_at = $3 where id = $4",
        int(account.is_admin),
        int(account.is_disabled),
        account.gone_at,
        account.id,
    )


async def set_password(tx: Tx, account: int, password_hash: str, now: int) -> None:
    """Change a password; every token made before is void, and codes by which another one could be chosen."""
    await tx.execute("delete from mail_code where account = $1 and purpose = 'reset'", account)
    await tx.execute(
        "update account set password_hash = $1, credentials_since = $2 where id = $3", password_hash, now, account
    )


async def void_tokens(tx: Tx, account: int, now: int) -> None:
    """Every token and login password made before is void."""
    await tx.execute("update account set credentials_since = $1 where id = $2", now, account)


async def remove_account(tx: Tx, account: int) -> None:
    """Forget a user with their grants; what they own is left without an owner."""
    await remove_of(tx, ("account", account))
    await tx.execute("update namespace set owner = null where owner = $1", account)
    for table in ("totp", "recovery_code", "email", "mail_code"):
        await tx.execute(f"delete from {table} where account = $1", account)
    for table in ("organisation_member", "team_member", "invitation", "credential", "federation_rule"):
        await tx.execute(f"delete from {table} where account = $1", account)
    await tx.execute("delete from account where id = $1", account)


async def has_any_account(tx: Tx) -> bool:
    """Whether anybody was ever made: false only at the first start."""
    return await tx.one("select 1 from account limit 1") is not None


async def count_administrators(tx: Tx) -> int:
    """How many users can administer the instance."""
    row = await tx.one("select count(*) from account where is_admin = 1 and is_disabled = 0")
    return int(row[0]) if row else 0
