"""Rows of the addresses of people, all of them proved or vouched for."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Tx


class EmailRow(msgspec.Struct, frozen=True):
    """An address with whom it belongs to. Times are microseconds since 1970."""

    account: int
    name: str
    address: str
    verified_at: int
    source: str
    is_disabled: bool


_SELECT = (
    "select e.account, a.name, e.address, e.verified_at, a.source, a.is_disabled from email e "
    "join account a on a.id = e.account "
)


async def find_email(tx: Tx, account: int) -> EmailRow | None:
    """The address of an account."""
    row = await tx.one(f"{_SELECT} where e.account = $1", account)
    return None if row is None else EmailRow(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


async def find_email_of(tx: Tx, name: str) -> EmailRow | None:
    """The address of an account by its name: one query, whether there is one or not."""
    row = await tx.one(f"{_SELECT} where a.name = $1", name)
    return None if row is None else EmailRow(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


async def find_owner(tx: Tx, folded: str) -> EmailRow | None:
    """Whose address this is."""
    row = await tx.one(f"{_SELECT} where e.folded = $1", folded)
    return None if row is None else EmailRow(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


async def put_email(tx: Tx, account: int, address: str, folded: str, now: int) -> None:
    """The address of an account from now on. Raises AlreadyExists where it is somebody else's."""
    await tx.execute(
        "insert into email (account, address, folded, verified_at) values ($1, $2, $3, $4) on conflict (account) "
        "do update set address = excluded.address, folded = excluded.folded, verified_at = excluded.verified_at",
        account,
        address,
        folded,
        now,
    )


async def remove_email(tx: Tx, account: int) -> bool:
    """Forget the address of an account; whether there was one."""
    return 0 < await tx.execute("delete from email where account = $1", account)
