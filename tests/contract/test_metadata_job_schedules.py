"""Rows of schedules, and what they move in the queue, over every engine."""

from __future__ import annotations

import pytest

from entrepot.core.collect import COLLECT
from entrepot.core.job_schedules import Change, change_schedule, reset_schedule
from entrepot.core.jobs import RECURRING, run_due, schedule_recurring
from entrepot.core.registry import SECOND
from entrepot.metadata import job_schedules, jobs
from entrepot.metadata.job_schedules import ScheduleRow
from entrepot.metadata.jobs import Claim
from tests.contract.engines import Held
from tests.contract.rows import NOW
from tests.contract.test_races import Racers

NIGHTLY = ScheduleRow("collect", "0 3 * * sun", None, "Europe/Zurich", is_paused=False, changed_at=NOW)
PAUSED = ScheduleRow("collect", None, 300, "UTC", is_paused=True, changed_at=NOW + 1)


@pytest.fixture
def racers(held: Held) -> Racers:
    """A registry over one engine."""
    return Racers(held)


def test_schedules_are_kept_by_kind(held: Held) -> None:
    """One is put, found, replaced, counted while it rests, and forgotten."""
    held.transact(lambda tx: job_schedules.put_schedule(tx, NIGHTLY))
    held.transact(lambda tx: job_schedules.put_schedule(tx, ScheduleRow("other")))
    assert held.read(lambda tx: job_schedules.find_schedule(tx, "collect")) == NIGHTLY
    assert held.read(job_schedules.count_paused) == 0
    held.transact(lambda tx: job_schedules.put_schedule(tx, PAUSED))
    assert held.read(lambda tx: job_schedules.find_schedule(tx, "collect")) == PAUSED
    assert held.read(job_schedules.count_paused) == 1
    held.transact(lambda tx: job_schedules.remove_schedule(tx, "collect"))
    assert held.read(lambda tx: job_schedules.find_schedule(tx, "collect")) is None
    assert held.read(lambda tx: job_schedules.find_schedule(tx, "other")) == ScheduleRow("other")


def test_the_job_that_waits_is_moved(held: Held) -> None:
    """Only the one of the kind that has no key; where none waits or runs it is queued; and it can be taken out."""
    held.transact(lambda tx: jobs.add_job(tx, "collect", "key", {}, NOW))
    assert held.read(lambda tx: jobs.find_time(tx, "collect")) is None
    for moment in (NOW + 5, NOW + 9, NOW + 7):
        held.transact(lambda tx, moment=moment: jobs.move_job(tx, "collect", moment))
        assert held.read(lambda tx: jobs.find_time(tx, "collect")) == moment
    assert held.rows("select key, run_at from job order by key") == [("", NOW + 7), ("key", NOW)]
    held.transact(lambda tx: jobs.claim_jobs(tx, Claim("w", NOW + 7, NOW + 60, 9)))
    held.transact(lambda tx: jobs.move_job(tx, "collect", NOW + 99))
    held.transact(lambda tx: jobs.remove_waiting(tx, "collect"))
    assert held.read(jobs.count_jobs) == {"running": 2}
    number = held.rows("select id from job where key = ''")[0][0]
    held.transact(lambda tx: jobs.retry_job(tx, number, "no luck", NOW))
    held.transact(lambda tx: jobs.move_job(tx, "collect", NOW + 99))
    assert held.rows("select run_at, attempts from job where key = ''") == [(NOW + 99, 0)]
    held.transact(lambda tx: jobs.remove_waiting(tx, "collect"))
    assert held.rows("select key from job") == [("key",)]


def test_replicas_that_start_at_once_queue_once(racers: Racers) -> None:
    """Many workers that start, beside changes of the same kind, leave one job of each kind, at a time that was said."""
    registry, admin = racers.registry, racers.caller
    changes = [change_schedule(registry, admin, COLLECT, Change(seconds=seconds)) for seconds in (30, 40)]
    racers.race(*(schedule_recurring(registry) for _ in range(6)), *changes)
    found = racers.held.rows("select kind, run_at from job order by kind")
    assert [kind for kind, _ in found] == sorted(kind for kind, seconds in RECURRING.items() if seconds is not None)
    assert dict(found)[COLLECT] in {registry.clock.now() + seconds * SECOND for seconds in (30, 40)}


def test_a_change_beside_the_end_of_a_run(racers: Racers) -> None:
    """Whichever is first, one job is left that waits, at the new time; a pause beside it leaves none."""
    registry, admin = racers.registry, racers.caller
    for change, expected in ((Change(seconds=30), 1), (Change(is_paused=True), 0)):
        racers.held.execute("delete from job")
        racers.held.run(reset_schedule(registry, admin, COLLECT))
        racers.held.execute("delete from job")
        racers.held.transact(lambda tx: jobs.add_job(tx, COLLECT, "", {}, registry.clock.now()))
        racers.race(run_due(registry, "w"), change_schedule(registry, admin, COLLECT, change))
        racers.race(run_due(registry, "w"))
        waiting = racers.held.rows("select state, run_at from job where kind = $1", COLLECT)
        assert waiting == [("pending", registry.clock.now() + 30 * SECOND)] * expected
