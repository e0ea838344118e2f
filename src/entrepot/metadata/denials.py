"""Rows of what was refused."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Row, Tx


class DenialRow(msgspec.Struct, frozen=True):
    """Equal refusals, with their last address and reasons. `account` is 0 for nobody; times are microseconds."""

    id: str
    account: int
    actor: str
    action: str
    resource: str
    address: str
    reasons: tuple[str, ...]
    first_at: int
    last_at: int
    count: int


_COLUMNS = "id, account, actor, action, resource, address, reasons, first_at, last_at, count"


async def put_denial(tx: Tx, denial: DenialRow) -> None:
    """Store a refusal, or add it to what is there of it."""
    await tx.execute(
        f"insert into denial ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
        "on conflict (id) do update set address = $6, reasons = $7, last_at = $9, count = denial.count + $10",
        denial.id,
        denial.account,
        denial.actor,
        denial.action,
        denial.resource,
        denial.address,
        msgspec.json.encode(denial.reasons).decode(),
        denial.first_at,
        denial.last_at,
        denial.count,
    )


async def find_denial(tx: Tx, denial: str) -> DenialRow | None:
    """A refusal by its id."""
    row = await tx.one(f"select {_COLUMNS} from denial where id = $1", denial)
    return None if row is None else _row(row)


async def find_oldest_of(tx: Tx, newest: int) -> int:
    """When the oldest of so many newest refusals came last; 0 if there are no more than these."""
    row = await tx.one("select last_at from denial order by last_at desc limit 1 offset $1", newest - 1)
    return int(row[0]) if row else 0


async def remove_denials(tx: Tx, before: int, limit: int) -> int:
    """Forget refusals that came last before a time, so many at most; how many there were."""
    return await tx.execute(
        "delete from denial where id in (select id from denial where last_at < $1 order by last_at limit $2)",
        before,
        limit,
    )


def _row(row: Row) -> DenialRow:
    reasons = tuple(msgspec.json.decode(row[6], type=list[str]))
    return DenialRow(row[0], row[1], row[2], row[3], row[4], row[5], reasons, row[7], row[8], row[9])
