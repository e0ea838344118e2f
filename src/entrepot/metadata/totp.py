"""Rows of one-time codes: the secret of an authenticator, and recovery codes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from entrepot.ports.database import Tx


class TotpRow(msgspec.Struct, frozen=True):
    """An authenticator as stored, its secret encrypted. Times are microseconds since 1970; `last_step` counts steps."""

    account: int
    secret: str
    created_at: int
    confirmed_at: int | None
    last_step: int
    failures: int
    failed_at: int


async def find_totp(tx: Tx, account: int) -> TotpRow | None:
    """The authenticator of an account, confirmed or not."""
    row = await tx.one(
        "select account, secret, created_at, confirmed_at, last_step, failures, failed_at from totp where account = $1",
        account,
    )
    return None if row is None else TotpRow(*row)


async def put_totp(tx: Tx, account: int, secret: str, now: int) -> bool:
    """Begin with a secret in the place of one that was never confirmed; False where one is in use."""
    changed = await tx.execute(
        "insert into totp (account, secret, created_at) values ($1, $2, $3) on conflict (account) do update "
        "set secret = excluded.secret, created_at = excluded.created_at, failures = 0 where totp.confirmed_at is null",
        account,
        secret,
        now,
    )
    return changed > 0


async def confirm_totp(tx: Tx, account: int, step: int, now: int) -> bool:
    """From now on codes are asked for; False where that was so already. The step is used up."""
    return 0 < await tx.execute(
        "update totp set last_step = $1, confirmed_at = $2, failures = 0 where account = $3 and confirmed_at is null",
        step,
        now,
        account,
    )


async def use_step(tx: Tx, account: int, step: int) -> bool:
    """Use up a step and all before it; False if that was done by somebody else."""
    return 0 < await tx.execute(
        "update totp set last_step = $1, failures = 0 where account = $2 and last_step < $1", step, account
    )


async def add_failure(tx: Tx, account: int, now: int) -> None:
    """Count a wrong code."""
    await tx.execute("update totp set failures = failures + 1, failed_at = $1 where account = $2", now, account)


async def remove_totp(tx: Tx, account: int) -> bool:
    """Forget the authenticator and its recovery codes; whether there was one."""
    await tx.execute("delete from recovery_code where account = $1", account)
    return 0 < await tx.execute("delete from totp where account = $1", account)


async def put_recovery_codes(tx: Tx, account: int, hashes: Sequence[str]) -> None:
    """Other recovery codes in the place of all that there were."""
    await tx.execute("delete from recovery_code where account = $1", account)
    for each in hashes:
        await tx.execute("insert into recovery_code (account, hash) values ($1, $2)", account, each)


async def use_recovery_code(tx: Tx, account: int, wanted: str) -> bool:
    """Use up a recovery code; False if there is none with that hash."""
    if not await tx.execute("delete from recovery_code where account = $1 and hash = $2", account, wanted):
        return False
    await tx.execute("update totp set failures = 0 where account = $1", account)
    return True


async def count_recovery_codes(tx: Tx, account: int) -> int:
    """How many recovery codes are left."""
    row = await tx.one("select count(*) from recovery_code where account = $1", account)
    return int(row[0]) if row else 0


async def count_totp(tx: Tx, limit: int) -> int:
    """How many accounts are asked for codes, counted up to a limit."""
    row = await tx.one(
        "select count(*) from (select 1 from totp where confirmed_at is not null limit $1) counted", limit
    )
    return int(row[0]) if row else 0
