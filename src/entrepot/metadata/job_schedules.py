"""Rows of when the jobs of a kind come back, where somebody has said it."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Tx

_ROW = "select kind, cron, seconds, timezone, is_paused, changed_at from job_schedule"


class ScheduleRow(msgspec.Struct, frozen=True):
    """When a kind comes back: by `cron` in a time zone, or after `seconds`; with neither as it does by itself."""

    kind: str
    cron: str | None = None
    seconds: int | None = None
    timezone: str = "UTC"
    is_paused: bool = False
    changed_at: int = 0


async def find_schedule(tx: Tx, kind: str) -> ScheduleRow | None:
    """What was said of a kind."""
    row = await tx.one(f"{_ROW} where kind = $1", kind)
    return None if row is None else ScheduleRow(row[0], row[1], row[2], row[3], bool(row[4]), row[5])


async def put_schedule(tx: Tx, row: ScheduleRow) -> None:
    """What is said of a kind from now on."""
    await tx.execute(
        "insert into job_schedule (kind, cron, seconds, timezone, is_paused, changed_at) "
        "values ($1, $2, $3, $4, $5, $6) on conflict (kind) do update "
        "set cron = $2, seconds = $3, timezone = $4, is_paused = $5, changed_at = $6",
        row.kind,
        row.cron,
        row.seconds,
        row.timezone,
        int(row.is_paused),
        row.changed_at,
    )


async def remove_schedule(tx: Tx, kind: str) -> None:
    """Forget what was said of a kind."""
    await tx.execute("delete from job_schedule where kind = $1", kind)


async def count_paused(tx: Tx) -> int:
    """How many kinds do not come back because somebody said so."""
    row = await tx.one("select count(*) from job_schedule where is_paused = 1")
    return int(row[0]) if row else 0
