"""When a job comes back: cron expressions in time zones, over changes of the clock, and rules that are none."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.recurrence import LONGEST_CRON, Rule, next_run, rule_of
from entrepot.core.registry import SECOND
from entrepot.domain.errors import RequestInvalid
from entrepot.metadata.job_schedules import ScheduleRow

ZURICH = "Europe/Zurich"


def at(text: str) -> int:
    """A time in UTC as microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def runs(cron: str, timezone: str, start: str, amount: int) -> list[str]:
    """So many times of an expression, in UTC, each after the one before."""
    found, moment = [], at(start)
    for _ in range(amount):
        moment = next_run(cron, timezone, moment)
        found.append(datetime.fromtimestamp(moment // SECOND, UTC).strftime("%m-%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("cron", "timezone", "expected"),
    [
        ("0 3 * * sun", "UTC", "11-29T03:00"),
        ("0 3 * * SUN", ZURICH, "11-29T02:00"),
        ("*/15 * * * *", "UTC", "11-25T12:15"),
        ("0 12 * * *", "UTC", "11-26T12:00"),
        (" 30  4 1 * * ", "UTC", "12-01T04:30"),
        ("0 0 29 2 *", "UTC", "02-29T00:00"),
        ("0 4 L * *", "UTC", "11-30T04:00"),
        ("0 9-17/4 * * mon-fri", "America/New_York", "11-25T14:00"),
    ],
)
def test_the_next_time_is_after_now(cron: str, timezone: str, expected: str) -> None:
    """The first time of an expression that is later than noon of a Wednesday, by the clocks of its zone."""
    assert runs(cron, timezone, "2026-11-25T12:00:00", 1) == [expected]


def test_a_part_of_a_second_is_no_second_run() -> None:
    """A job that was done within the second of its time waits for the next one."""
    begun = at("2026-11-25T03:00:00")
    assert next_run("0 3 * * *", "UTC", begun - 1) == begun
    assert next_run("0 3 * * *", "UTC", begun + 1) == at("2026-11-26T03:00:00")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        # 02:30 of 29 March is not there: the first minute after the gap, which is 03:00, stands for it.
        ("30 2 * * *", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("0 4 * * *", ["03-28T03:00", "03-29T02:00", "03-30T02:00"]),
    ],
)
def test_the_night_that_loses_an_hour(cron: str, expected: list[str]) -> None:
    """What is due within the hour that is left out runs once, right after it; what is later keeps its hour."""
    assert runs(cron, ZURICH, "2026-03-27T12:00:00", 3) == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        ("0 4 * * *", ["10-24T02:00", "10-25T03:00", "10-26T03:00"]),
    ],
)
def test_the_night_that_has_an_hour_twice(cron: str, expected: list[str]) -> None:
    """What is due within the hour that comes twice runs in the first of them only."""
    assert runs(cron, ZURICH, "2026-10-23T12:00:00", 3) == expected


def test_a_long_run_in_the_night_that_has_an_hour_twice() -> None:
    """A job that was due at 02:30 and ends at 02:10 of the second such hour is not due at once again."""
    assert next_run("30 2 * * *", ZURICH, at("2026-10-25T01:10:00")) == at("2026-10-26T01:30:00")


def test_what_runs_every_few_minutes_runs_on_over_both_nights() -> None:
    """No time is left out and none comes twice."""
    for start in ("2026-03-29T00:00:00", "2026-10-25T00:00:00"):
        moments = [at(start)]
        for _ in range(20):
            moments.append(next_run("*/10 * * * *", ZURICH, moments[-1]))
        assert {after - before for before, after in pairwise(moments)} == {600 * SECOND}


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("", "Wrong number of fields"),
        ("* * * *", "Wrong number of fields"),
        ("0 0 3 * * sun", "Wrong number of fields"),
        ("@daily", "Wrong number of fields"),
        ("60 * * * *", "Bad minute"),
        ("0 24 * * *", "Bad hour"),
        ("0 0 32 * *", "Bad day-of-month"),
        ("0 0 30 13 *", "Bad month"),
        ("0 0 * * sunday", "Bad day-of-week"),
        ("a b c d e", "Bad minute"),
        (f"{','.join(['1'] * LONGEST_CRON)} * * * *", "Over 100 characters"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 */28 2 mon#2", "never comes"),
    ],
)
def test_what_is_no_time(cron: str, told: str) -> None:
    """An expression that cannot be read, or that never comes, is refused with what is wrong and what is meant."""
    with pytest.raises(RequestInvalid, match=told) as refused:
        next_run(cron, "UTC", at("2026-11-25T12:00:00"))
    assert refused.value.detail["field"] == "cron"


@pytest.mark.parametrize(
    "zone", ["", "Europe/Zuerich", "../../etc/passwd", "/etc/localtime", "Europe", "a" * 300, "\0"]
)
def test_what_is_no_time_zone(zone: str) -> None:
    """A zone that is none is refused, whatever it is as a path."""
    with pytest.raises(RequestInvalid, match="no such time zone") as refused:
        next_run("0 3 * * *", zone, at("2026-11-25T12:00:00"))
    assert refused.value.detail["field"] == "timezone"


@given(st.lists(st.text("0159*/,-#LWsunjan@ ", min_size=1, max_size=6), min_size=4, max_size=6).map(" ".join))
def test_any_text_is_a_later_time_or_refused(cron: str) -> None:
    """Nothing that somebody writes does anything else."""
    moment = at("2026-10-25T00:45:00") + 7
    with suppress(RequestInvalid):
        assert next_run(cron, ZURICH, moment) > moment


def test_rules_by_seconds() -> None:
    """After so many seconds, the first time at once; without any, or paused, never."""
    rule = Rule(seconds=60)
    assert (rule.next_after(SECOND), rule.first_from(SECOND)) == (61 * SECOND, SECOND)
    for none in (Rule(), Rule(seconds=60, is_paused=True), Rule("* * * * *", is_paused=True)):
        assert (none.next_after(SECOND), none.first_from(SECOND)) == (None, None)


def test_rules_by_an_expression() -> None:
    """The first time is one of its times as well."""
    now = at("2026-11-25T12:00:00")
    rule = Rule("0 3 * * *", timezone="UTC")
    assert rule.first_from(now) == rule.next_after(now) == at("2026-11-26T03:00:00")


def test_what_was_said_stands_before_what_a_kind_does_by_itself() -> None:
    """A row with a rule replaces it, one without keeps it, paused or not."""
    assert rule_of(None, 60) == Rule(seconds=60)
    assert rule_of(ScheduleRow("a", is_paused=True), 60) == Rule(seconds=60, is_paused=True)
    assert rule_of(ScheduleRow("a", seconds=5), 60) == Rule(seconds=5)
    assert rule_of(ScheduleRow("a", cron="0 3 * * *", timezone=ZURICH), 60) == Rule("0 3 * * *", timezone=ZURICH)
