"""Saying when the jobs that come back do so: by a cron expression, after so many seconds, or not at all."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.jobs import CHORES, Chore
from entrepot.core.recurrence import UTC, Rule, find_rule, rule_of
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import JobUnknown, RequestInvalid
from entrepot.domain.events import Event, EventKind
from entrepot.metadata import events, job_schedules, jobs
from entrepot.metadata.job_schedules import ScheduleRow
from entrepot.ports.database import Tx

# More often than this, the queue itself would be the work.
LEAST_SECONDS: Final = 10
MOST_SECONDS: Final = 366 * 86_400
PAUSE: Final = "it cannot be paused"
CRON: Final = "say it in seconds"


class Schedule(msgspec.Struct, frozen=True):
    """When a kind comes back, and when it runs next (microseconds; None: not by itself).

    `own_seconds` is after how long it does so where nobody has said anything, `most_seconds` how rarely it may.
    """

    kind: str
    rule: Rule
    own_seconds: int | None
    most_seconds: int | None
    next_at: int | None
    changed_at: int | None


class Change(msgspec.Struct, frozen=True):
    """What is to be otherwise; None leaves it as it is. An expression without a time zone is in UTC."""

    cron: str | None = None
    seconds: int | None = None
    timezone: str | None = None
    is_paused: bool | None = None


async def list_schedules(registry: Registry, caller: Caller) -> list[Schedule]:
    """Every kind that may come back, by name. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    now = registry.clock.now()

    async def look(tx: Tx) -> list[Schedule]:
        return [await _find(tx, kind, now) for kind in sorted(CHORES)]

    return await registry.database.read(look)


async def get_schedule(registry: Registry, caller: Caller, kind: str) -> Schedule:
    """One of them. Raises Denied, InsufficientScope, JobUnknown."""
    require_admin(caller, registry.policy.snapshot)
    _require_chore(kind)
    now = registry.clock.now()
    return await registry.database.read(lambda tx: _find(tx, kind, now))


async def change_schedule(registry: Registry, caller: Caller, kind: str, change: Change) -> Schedule:
    """Say when a kind comes back; what waits is moved to its next time with it.

    Raises Denied, InsufficientScope, JobUnknown, and RequestInvalid for what is no time or is too rare.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    chore = _require_chore(kind)

    async def record(tx: Tx) -> Schedule:
        before = await job_schedules.find_schedule(tx, kind) or ScheduleRow(kind)
        after = _changed(before, change)
        _require_safe(kind, chore, after)
        _require_time(after, act.now)
        if after != before:
            await _keep(tx, act, msgspec.structs.replace(after, changed_at=act.now))
        return await _find(tx, kind, act.now)

    return await registry.database.transact(record)


async def reset_schedule(registry: Registry, caller: Caller, kind: str) -> None:
    """Let a kind come back as it does by itself. Raises Denied, InsufficientScope, JobUnknown."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    _require_chore(kind)

    async def record(tx: Tx) -> None:
        if await job_schedules.find_schedule(tx, kind):
            await _keep(tx, act, ScheduleRow(kind))

    await registry.database.transact(record)


def _require_chore(kind: str) -> Chore:
    chore = CHORES.get(kind)
    if chore is None:
        message = (
            "no jobs of this kind come back; `entrepot jobs schedule` and /api/v1/job-schedules list those that do"
        )
        raise JobUnknown(message, kind=kind[:64])
    return chore


def _changed(row: ScheduleRow, change: Change) -> ScheduleRow:
    if change.cron is not None and change.seconds is not None:
        raise RequestInvalid("either a cron expression or seconds, not both", field="every_seconds")
    if change.cron is not None:
        row = msgspec.structs.replace(row, cron=change.cron, seconds=None, timezone=UTC)
    elif change.seconds is not None:
        row = msgspec.structs.replace(row, cron=None, seconds=change.seconds, timezone=UTC)
    if change.timezone is not None:
        if row.cron is None:
            raise RequestInvalid("a time zone belongs to a cron expression: say both", field="timezone")
        row = msgspec.structs.replace(row, timezone=change.timezone)
    return row if change.is_paused is None else msgspec.structs.replace(row, is_paused=change.is_paused)


def _require_safe(kind: str, chore: Chore, row: ScheduleRow) -> None:
    most = chore.most_seconds or MOST_SECONDS
    if row.seconds is not None and not LEAST_SECONDS <= row.seconds <= most:
        message = f"{kind} comes back after at least {LEAST_SECONDS} and at most {most} seconds"
        raise RequestInvalid(message, field="every_seconds", got=row.seconds, least=LEAST_SECONDS, most=most)
    if chore.most_seconds is not None and (row.is_paused or row.cron is not None):
        # How far apart the times of an expression are depends on days and on clocks that are set.
        what, field = (PAUSE, "paused") if row.is_paused else (CRON, "cron")
        message = f"{kind} must run every {most} seconds at least, for others rely on it: {what}"
        raise RequestInvalid(message, field=field, most=most)
    if row.is_paused and chore.seconds is None and row.cron is None and row.seconds is None:
        raise RequestInvalid(f"{kind} does not come back, there is nothing to pause: say when first", field="paused")


def _require_time(row: ScheduleRow, now: int) -> None:
    # One that is paused is to go on one day.
    rule_of(msgspec.structs.replace(row, is_paused=False), None).next_after(now)


async def _keep(tx: Tx, act: Act, row: ScheduleRow) -> None:
    """Write down what holds from now on, and move what waits."""
    chore, kind = CHORES[row.kind], row.kind
    is_said = row.cron is not None or row.seconds is not None or row.is_paused
    if is_said:
        await job_schedules.put_schedule(tx, row)
    else:
        await job_schedules.remove_schedule(tx, kind)
    following = rule_of(row, chore.seconds).next_after(act.now)
    if following is None:
        await jobs.remove_waiting(tx, kind)
    else:
        await jobs.move_job(tx, kind, following)
    what: EventKind = "job.scheduled" if is_said else "job.unscheduled"
    said: dict[str, object] = {
        "cron": row.cron,
        "every_seconds": row.seconds,
        "timezone": row.timezone if row.cron else None,
        "paused": row.is_paused,
    }
    await events.add_event(tx, Event(what, act.actor, kind, said if is_said else {}), act.now, act.by)


async def _find(tx: Tx, kind: str, now: int) -> Schedule:
    chore, row = CHORES[kind], await job_schedules.find_schedule(tx, kind)
    waiting = await jobs.find_time(tx, kind)
    following = (await find_rule(tx, kind, chore.seconds, now)).next_after(now) if waiting is None else waiting
    changed_at = None if row is None else row.changed_at
    return Schedule(kind, rule_of(row, chore.seconds), chore.seconds, chore.most_seconds, following, changed_at)
