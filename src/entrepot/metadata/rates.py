"""Rows of rate limits: until when somebody is ahead, counted by all processes together."""

from __future__ import annotations

from entrepot.ports.database import Tx


async def push_ahead(tx: Tx, key: str, microseconds: int, now: int) -> int:
    """Somebody has asked for so much more; until when they are ahead with what all processes have counted."""
    row = await tx.one(
        "insert into rate (key, ahead_until) values ($1, $2) on conflict (key) do update set ahead_until = "
        "$3 + case when rate.ahead_until > $4 then rate.ahead_until else $4 end returning ahead_until",
        key,
        now + microseconds,
        microseconds,
        now,
    )
    return int(row[0]) if row else 0


async def remove_rates(tx: Tx, before: int, limit: int) -> int:
    """Forget who is not ahead of a time any more, so many at most; how many there were."""
    return await tx.execute(
        "delete from rate where key in (select key from rate where ahead_until < $1 order by ahead_until limit $2)",
        before,
        limit,
    )
