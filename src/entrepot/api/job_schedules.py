"""When the jobs that come back do so: `/job-schedules`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import JSONBody

from entrepot.api.request import InPath, TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import job_schedules
from entrepot.core.job_schedules import LEAST_SECONDS, MOST_SECONDS, Change, Schedule
from entrepot.core.recurrence import LONGEST_CRON

# Said in the schema, judged by the domain, whose messages tell what to do.
Cron = Annotated[
    str,
    msgspec.Meta(
        description="Minute, hour, day of the month, month and day of the week, such as `0 3 * * sun`.",
        extra_json_schema={"pattern": "^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$", "maxLength": LONGEST_CRON},
    ),
]
EverySeconds = Annotated[
    int,
    msgspec.Meta(
        description="So many seconds after the last run has ended.",
        extra_json_schema={"minimum": LEAST_SECONDS, "maximum": MOST_SECONDS},
    ),
]
TimeZone = Annotated[
    str,
    msgspec.Meta(
        description="An IANA name, such as Europe/Zurich.", extra_json_schema={"pattern": "^[A-Za-z][A-Za-z0-9_+/-]*$"}
    ),
]


class JobSchedule(Answer, frozen=True):
    """When jobs of a kind come back: by `cron` in `timezone`, or `every_seconds`; with neither, they do not.

    `changed_at` is null where nobody has said anything, and `default_seconds` is what holds then. Where `most_seconds`
    is not null, they may not be rarer, nor paused.
    """

    kind: str
    cron: str | None
    every_seconds: int | None
    timezone: str | None
    paused: bool
    next_run_at: datetime | None
    changed_at: datetime | None
    default_seconds: int | None
    most_seconds: int | None


class JobSchedules(Answer, frozen=True):
    """All of them, by kind."""

    schedules: list[JobSchedule]


class JobScheduleChange(Document, frozen=True):
    """What is to be otherwise: `cron`, in `timezone` or else in UTC, or `every_seconds`; and whether it rests."""

    cron: Cron | None = None
    every_seconds: EverySeconds | None = None
    timezone: TimeZone | None = None
    paused: bool | None = None


def _schedule(found: Schedule) -> JobSchedule:
    rule = found.rule
    return JobSchedule(
        kind=found.kind,
        cron=rule.cron,
        every_seconds=rule.seconds,
        timezone=None if rule.cron is None else rule.timezone,
        paused=rule.is_paused,
        next_run_at=None if found.next_at is None else time_of(found.next_at),
        changed_at=None if found.changed_at is None else time_of(found.changed_at),
        default_seconds=found.own_seconds,
        most_seconds=found.most_seconds,
    )


async def list_all(registry: TheRegistry, caller: TheCaller) -> JobSchedules:
    """When which jobs come back."""
    return JobSchedules([_schedule(each) for each in await job_schedules.list_schedules(registry, caller)])


async def get(registry: TheRegistry, caller: TheCaller, kind: InPath) -> JobSchedule:
    """When jobs of one kind come back."""
    return _schedule(await job_schedules.get_schedule(registry, caller, kind))


async def change(
    registry: TheRegistry, caller: TheCaller, kind: InPath, data: JSONBody[JobScheduleChange]
) -> JobSchedule:
    """Say when jobs of a kind come back, or pause them; what waits is moved with it."""
    wanted = Change(data.cron, data.every_seconds, data.timezone, data.paused)
    return _schedule(await job_schedules.change_schedule(registry, caller, kind, wanted))


async def reset(registry: TheRegistry, caller: TheCaller, kind: InPath) -> None:
    """Let jobs of a kind come back as they do by themselves."""
    await job_schedules.reset_schedule(registry, caller, kind)
