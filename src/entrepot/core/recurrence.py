"""When a job comes back: by a rule of ours, or by what somebody has said of its kind."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from entrepot.core.registry import SECOND
from entrepot.domain.errors import RequestInvalid
from entrepot.metadata import job_schedules
from entrepot.metadata.job_schedules import ScheduleRow
from entrepot.ports.database import Tx

UTC: Final = "UTC"
EPOCH: Final = datetime.fromtimestamp(0, ZoneInfo(UTC))
FIELDS: Final = 5
MONTH: Final = 3
LONGEST_CRON: Final = 100
LONGEST_SHOWN: Final = 64


class Rule(msgspec.Struct, frozen=True):
    """At the times of a cron expression in a time zone, or so many seconds after the last run; with neither, never."""

    cron: str | None = None
    seconds: int | None = None
    timezone: str = UTC
    is_paused: bool = False

    def next_after(self, moment: int) -> int | None:
        """When the run after one at this moment is (microseconds). Raises RequestInvalid for a rule that is none."""
        if self.is_paused:
            return None
        if self.cron is not None:
            return next_run(self.cron, self.timezone, moment)
        return None if self.seconds is None else moment + self.seconds * SECOND

    def first_from(self, moment: int) -> int | None:
        """When the first run is where none waits: at once, unless it is said at which times."""
        if self.cron is None and not self.is_paused:
            return None if self.seconds is None else moment
        return self.next_after(moment)


def rule_of(row: ScheduleRow | None, own_seconds: int | None) -> Rule:
    """What holds for a kind which by itself comes back after so many seconds, or never."""
    if row is None:
        return Rule(seconds=own_seconds)
    seconds = own_seconds if row.cron is None and row.seconds is None else row.seconds
    return Rule(row.cron, seconds, row.timezone, row.is_paused)


async def find_rule(tx: Tx, kind: str, own_seconds: int | None, now: int) -> Rule:
    """What holds for a kind now; a row that is not understood here counts as none."""
    rule = rule_of(await job_schedules.find_schedule(tx, kind), own_seconds)
    try:
        rule.next_after(now)
    except RequestInvalid:
        # Another version wrote it, or the zone is no more: that must not keep whoever settles jobs from doing it.
        return Rule(seconds=own_seconds)
    return rule


def next_run(cron: str, timezone: str, moment: int) -> int:
    """The first time of an expression after a moment, both in microseconds.

    Raises RequestInvalid for what is no expression, no time zone, or never comes.
    """
    start = datetime.fromtimestamp(moment // SECOND, _zone_of(timezone))
    for run in _runs_from(cron, start):
        at = int(run.timestamp()) * SECOND
        # Where the clock is set back, an hour comes twice, and the first one is meant although it may be over.
        if at > moment:
            return at
    raise _never(cron)


def _zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        message = "there is no such time zone; the IANA names are meant, such as Europe/Zurich or UTC"
        raise RequestInvalid(message, field="timezone", got=name[:LONGEST_SHOWN]) from None


def _runs_from(cron: str, start: datetime) -> CronSim:
    fields = cron.split()
    # One with seconds, or a word such as @daily, is another language.
    if len(fields) != FIELDS or len(cron) > LONGEST_CRON:
        raise _unread(cron, "Wrong number of fields" if len(fields) != FIELDS else f"Over {LONGEST_CRON} characters")
    try:
        return CronSim(cron, start)
    except CronSimError as error:
        raise _never(cron) if _is_read(fields) else _unread(cron, str(error)) from None


def _is_read(fields: list[str]) -> bool:
    """Whether each field is right by itself, so that it is the day that no such month has."""
    any_month = [*fields[:MONTH], "*", *fields[MONTH + 1 :]]
    try:
        for texts in (any_month, ["*", "*", "*", fields[MONTH], "*"]):
            CronSim(" ".join(texts), EPOCH)
    except CronSimError:
        return False
    return True


def _unread(cron: str, why: str) -> RequestInvalid:
    message = (
        f"this is no cron expression ({why}): five fields are meant, minute, hour, day of the month, month and day of "
        "the week, such as `0 3 * * sun`"
    )
    return RequestInvalid(message, field="cron", got=cron[:LONGEST_SHOWN])


def _never(cron: str) -> RequestInvalid:
    message = "this time never comes: no such day is in those months; choose another day or month"
    return RequestInvalid(message, field="cron", got=cron[:LONGEST_SHOWN])
