"""Rows of codes that mails carry, and of how many mails were asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from entrepot.domain.mail import Purpose
from entrepot.domain.policy import Membership
from entrepot.ports.database import Row, Tx


class CodeRow(msgspec.Struct, frozen=True):
    """A code as stored. `subject` is what it is for, in one text; times are microseconds since 1970.

    A `hash` that is empty is of a code that was not made yet. `account`, `organisation` and `role` are of those
    purposes that have them.
    """

    selector: str
    purpose: Purpose
    subject: str
    account: int | None
    address: str
    hash: str
    created_by: str
    created_at: int
    expires_at: int
    organisation: int | None = None
    role: Membership | None = None


_COLUMNS = "selector, purpose, subject, account, address, hash, created_by, created_at, expires_at, organisation, role"


def _code(row: Row) -> CodeRow:
    values: list[Any] = [*row[:-1], row[-1] or None]
    return CodeRow(*values)


async def put_code(tx: Tx, new: CodeRow) -> None:
    """Keep a code, in the place of all others for the same purpose and subject."""
    await tx.execute("delete from mail_code where purpose = $1 and subject = $2", new.purpose, new.subject)
    await tx.execute(
        f"insert into mail_code ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        new.selector,
        new.purpose,
        new.subject,
        new.account,
        new.address,
        new.hash,
        new.created_by,
        new.created_at,
        new.expires_at,
        new.organisation,
        new.role or "",
    )


async def find_code(tx: Tx, selector: str, now: int) -> CodeRow | None:
    """A code that has not expired."""
    row = await tx.one(f"select {_COLUMNS} from mail_code where selector = $1 and expires_at > $2", selector, now)
    return None if row is None else _code(row)


async def set_hash(tx: Tx, selector: str, wanted: str) -> None:
    """Another secret under the same selector, with all tries before it."""
    await tx.execute("update mail_code set hash = $1, attempts = 0 where selector = $2", wanted, selector)


async def try_code(tx: Tx, selector: str, now: int, most: int) -> CodeRow | None:
    """Count a try of a code that has any left; None otherwise."""
    row = await tx.one(
        "update mail_code set attempts = attempts + 1 where selector = $1 and expires_at > $2 and attempts < $3 "
        f"returning {_COLUMNS}",
        selector,
        now,
        most,
    )
    return None if row is None else _code(row)


async def give_back_try(tx: Tx, selector: str) -> None:
    """A right code costs no try."""
    await tx.execute("update mail_code set attempts = attempts - 1 where selector = $1", selector)


async def use_code(tx: Tx, code: CodeRow) -> bool:
    """Use a code up; False if that was done by somebody else."""
    return 0 < await tx.execute("delete from mail_code where selector = $1 and hash = $2", code.selector, code.hash)


async def remove_codes(tx: Tx, purpose: Purpose, account: int) -> None:
    """Void what an account could use for a purpose."""
    await tx.execute("delete from mail_code where account = $1 and purpose = $2", account, purpose)


async def list_invited(tx: Tx, organisation: int | None, now: int, limit: int) -> list[CodeRow]:
    """Who was invited by mail and has not come, into an organisation or into none, by address."""
    rows = await tx.all(
        f"select {_COLUMNS} from mail_code where purpose = 'invite' and coalesce(organisation, 0) = $1 "
        "and expires_at > $2 order by address limit $3",
        organisation or 0,
        now,
        limit,
    )
    return [_code(row) for row in rows]


async def remove_code(tx: Tx, selector: str) -> None:
    """Take a code back."""
    await tx.execute("delete from mail_code where selector = $1", selector)


async def count_mail(tx: Tx, bucket: str, now: int, began_after: int) -> int:
    """Count a mail in a bucket, whose time begins anew if it began before; how many there are with this one."""
    row = await tx.one(
        "insert into mail_count (bucket, started_at, count) values ($1, $2, 1) on conflict (bucket) do update set "
        "count = case when mail_count.started_at <= $3 then 1 else mail_count.count + 1 end, "
        "started_at = case when mail_count.started_at <= $3 then excluded.started_at else mail_count.started_at end "
        "returning count",
        bucket,
        now,
        began_after,
    )
    return int(row[0]) if row else 0


async def forget_expired(tx: Tx, now: int, began_before: int) -> int:
    """Forget codes that have expired and counts that began long ago; how many rows there were."""
    codes = await tx.execute("delete from mail_code where expires_at <= $1", now)
    return codes + await tx.execute("delete from mail_count where started_at <= $1", began_before)


async def count_codes(tx: Tx, now: int, limit: int) -> int:
    """How many codes and invitations of mails hold, counted up to a limit."""
    row = await tx.one(
        "select count(*) from (select 1 from mail_code where expires_at > $1 limit $2) counted", now, limit
    )
    return int(row[0]) if row else 0
