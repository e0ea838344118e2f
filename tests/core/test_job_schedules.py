"""Schedules at work: what waits is moved, what comes back does so when it was said, and nothing is queued twice."""

from __future__ import annotations

import pytest

from entrepot.core import job_control, job_schedules
from entrepot.core.collect import AUDIT, COLLECT, request, run_collection
from entrepot.core.crew import MOST_ATTEMPTS
from entrepot.core.job_schedules import Change, Schedule, change_schedule, reset_schedule
from entrepot.core.jobs import SCRUB, SEAL, open_crew, run_due, schedule_recurring
from entrepot.core.recurrence import next_run
from entrepot.core.registry import SECOND, Rules
from entrepot.domain.access import Caller, Identity
from entrepot.domain.errors import RequestInvalid
from entrepot.metadata import job_schedules as rows
from entrepot.metadata import jobs
from entrepot.metadata.job_schedules import ScheduleRow
from tests.support.world import World, push_blob

NIGHTLY = Change("0 3 * * *", timezone="Europe/Zurich")


def admin(world: World) -> Caller:
    """The administrator."""
    ((number,),) = world.rows("select id from account where name = 'admin'")
    return Caller(Identity(number, "admin"), None)


def change(world: World, kind: str, wanted: Change) -> Schedule:
    """Say when a kind comes back."""
    return world.run(change_schedule(world.registry, admin(world), kind, wanted))


def queued(world: World, kind: str) -> list[tuple[str, int]]:
    """(state, when it is due) of what there is of a kind."""
    return [tuple(row) for row in world.rows("select state, run_at from job where kind = $1 order by id", kind)]


def night(world: World, moment: int | None = None) -> int:
    """The next 03:00 in Zurich."""
    return next_run("0 3 * * *", "Europe/Zurich", world.clock.now() if moment is None else moment)


def sleep_until(world: World, moment: int) -> None:
    """Let time pass until a moment."""
    world.clock.advance(seconds=(moment - world.clock.now()) / SECOND)


def ran(world: World) -> list[str]:
    """The kinds of a round of a worker, which all end well."""
    outcomes = world.run(run_due(world.registry, "worker"))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return [outcome.job.kind for outcome in outcomes]


def test_what_waits_is_moved(world: World) -> None:
    """To its next time by the new rule, later and earlier; taking the rule back moves it again."""
    world.run(schedule_recurring(world.registry))
    now = world.clock.now()
    assert change(world, COLLECT, NIGHTLY).next_at == night(world)
    assert queued(world, COLLECT) == [("pending", night(world))]
    change(world, COLLECT, Change(seconds=20))
    assert queued(world, COLLECT) == [("pending", now + 20 * SECOND)]
    world.run(reset_schedule(world.registry, admin(world), COLLECT))
    assert queued(world, COLLECT) == [("pending", now + 60 * SECOND)]
    assert world.rows("select kind from job_schedule") == []


def test_it_comes_back_when_it_was_said(world: World) -> None:
    """Not before its time, then once, and again the night after."""
    change(world, COLLECT, NIGHTLY)
    first = night(world)
    assert ran(world) == []
    sleep_until(world, first + 30 * SECOND)
    assert ran(world) == [COLLECT]
    assert queued(world, COLLECT) == [("pending", night(world, first))]


def test_missed_times_are_made_up_once(world: World) -> None:
    """After ten days without a worker it runs at once, and next in the night to come."""
    change(world, COLLECT, NIGHTLY)
    world.clock.advance(days=10)
    world.run(schedule_recurring(world.registry))
    assert [kind for kind in ran(world) if kind == COLLECT] == [COLLECT]
    assert queued(world, COLLECT) == [("pending", night(world))]


def test_a_start_does_not_run_what_has_its_times(world: World) -> None:
    """A worker that starts queues it for its next time; one that comes back after seconds, at once, as ever."""
    change(world, COLLECT, NIGHTLY)
    change(world, AUDIT, Change(seconds=3600))
    world.transact(lambda tx: tx.execute("delete from job"))
    for _ in range(2):
        world.run(schedule_recurring(world.registry))
    assert queued(world, COLLECT) == [("pending", night(world))]
    assert queued(world, AUDIT) == [("pending", world.clock.now())]
    assert queued(world, SCRUB) == []


def test_what_is_paused_rests(world: World) -> None:
    """It leaves the queue, does not come back by a start, runs when somebody asks, and goes on when resumed."""
    world.run(schedule_recurring(world.registry))
    assert change(world, COLLECT, Change(is_paused=True)).next_at is None
    world.run(schedule_recurring(world.registry))
    assert queued(world, COLLECT) == []
    world.run(request(world.registry, admin(world), with_audit=False))
    assert COLLECT in ran(world)
    assert queued(world, COLLECT) == []
    change(world, COLLECT, Change(is_paused=False))
    assert queued(world, COLLECT) == [("pending", world.clock.now() + 60 * SECOND)]
    assert world.rows("select kind from job_schedule") == []


def test_a_pause_keeps_the_rule(world: World) -> None:
    """An expression that rests is the one that goes on; it is judged even while it rests."""
    change(world, COLLECT, NIGHTLY)
    paused = change(world, COLLECT, Change(is_paused=True))
    assert (paused.rule.cron, paused.rule.timezone, paused.next_at) == ("0 3 * * *", "Europe/Zurich", None)
    with pytest.raises(RequestInvalid):
        change(world, COLLECT, Change("0 0 30 2 *"))
    assert change(world, COLLECT, Change(timezone="UTC")).rule.is_paused
    resumed = change(world, COLLECT, Change(is_paused=False))
    assert (resumed.rule.cron, resumed.rule.timezone) == ("0 3 * * *", "UTC")


def test_what_runs_comes_back_by_the_new_rule(world: World) -> None:
    """A change beside a run queues nothing more; the end of the run does."""
    world.run(schedule_recurring(world.registry))
    crew = open_crew(world.registry, "worker")
    world.transact(lambda tx: tx.execute("delete from job where kind <> $1", COLLECT))
    world.run(crew.step(0))
    change(world, COLLECT, NIGHTLY)
    assert [state for state, _ in queued(world, COLLECT)] == ["running"]
    world.run(crew.finish())
    assert queued(world, COLLECT) == [("pending", night(world))]


def test_an_audit_comes_every_sunday(world: World) -> None:
    """What does not come back by itself does where it was said; one that is asked for does not wait for it."""
    sunday = change(world, AUDIT, Change("0 3 * * sun"))
    assert sunday.next_at == next_run("0 3 * * sun", "UTC", world.clock.now())
    world.run(request(world.registry, admin(world), with_audit=True))
    assert sorted(ran(world)) == [AUDIT, COLLECT]
    assert queued(world, AUDIT) == [("pending", sunday.next_at)]
    world.run(reset_schedule(world.registry, admin(world), AUDIT))
    assert queued(world, AUDIT) == []


def test_a_collection_that_is_not_done_goes_on(world: World) -> None:
    """A minute later, or at its time if that is sooner, until nothing waits; one that was paused meanwhile does not."""
    for number in range(3):
        push_blob(world.client("alice"), "priv/app", b"%d" % number)
    world.clock.advance(days=2)
    now = world.clock.now()
    for wanted, expected in (
        (NIGHTLY, [("pending", now + 60 * SECOND)]),
        (Change(seconds=20), [("pending", now + 20 * SECOND)]),
        (Change(is_paused=True), []),
    ):
        change(world, COLLECT, wanted)
        world.transact(lambda tx: tx.execute("delete from job"))
        world.run(run_collection(world.registry, 0))
        assert queued(world, COLLECT) == expected
    change(world, COLLECT, Change(is_paused=False))
    world.transact(lambda tx: tx.execute("delete from job where kind = $1", COLLECT))
    assert world.run(run_collection(world.registry)).blobs == 3
    assert queued(world, COLLECT) == []


def test_a_round_of_reading_is_scheduled(world: World) -> None:
    """The job asks for every blob to be read again, as an administrator can, and is told to the audit log."""
    change(world, SCRUB, Change(seconds=3600))
    world.clock.advance(seconds=3600)
    assert ran(world) == [SCRUB]
    assert world.rows("select asked_at from scrub") == [(world.clock.now(),)]
    assert world.rows("select actor from event where kind = 'scrub.requested'") == [("registry",)]


def test_a_cancelled_run_is_left_out(world: World) -> None:
    """One that is taken out of the queue comes back at the time after the one that it waited for."""
    change(world, COLLECT, NIGHTLY)
    change(world, AUDIT, Change(seconds=3600))
    change(world, AUDIT, Change(is_paused=True))
    world.transact(lambda tx: jobs.add_job(tx, AUDIT, "", {}, world.clock.now()))
    for (number,) in world.rows("select id from job"):
        world.run(job_control.cancel_job(world.registry, admin(world), number))
    assert queued(world, COLLECT) == [("pending", night(world, night(world)))]
    assert queued(world, AUDIT) == []


def test_one_that_was_given_up_comes_back_at_its_time() -> None:
    """A dead letter, here of what the settings forbid, is not the end of a schedule."""
    with World(rules=Rules(scrub_bytes_per_second=0)) as world:
        change(world, SCRUB, NIGHTLY)
        due = night(world)
        sleep_until(world, due)
        world.transact(lambda tx: tx.execute("update job set attempts = $1", MOST_ATTEMPTS - 1))
        (outcome,) = world.run(run_due(world.registry, "worker"))
        assert (outcome.is_dead, "scrub.bytes_per_second is 0" in outcome.error) == (True, True)
        assert queued(world, SCRUB) == [("dead", due), ("pending", night(world))]


@pytest.mark.parametrize("row", [("not cron", "UTC"), ("0 3 * * *", "Atlantis/Zone")])
def test_a_row_that_is_not_understood_counts_as_none(world: World, row: tuple[str, str]) -> None:
    """What another version has written keeps nothing from coming back."""
    world.transact(lambda tx: rows.put_schedule(tx, ScheduleRow(COLLECT, row[0], None, row[1])))
    world.run(schedule_recurring(world.registry))
    assert COLLECT in ran(world)
    assert queued(world, COLLECT) == [("pending", world.clock.now() + 60 * SECOND)]
    found = world.run(job_schedules.get_schedule(world.registry, admin(world), COLLECT))
    assert (found.rule.cron, found.next_at) == (row[0], world.clock.now() + 60 * SECOND)


def test_an_attempt_that_waits_begins_anew(world: World) -> None:
    """A job that had failed and is moved to another time has all its attempts then."""
    world.run(schedule_recurring(world.registry))
    world.transact(lambda tx: tx.execute("update job set attempts = 7 where kind = $1", SEAL))
    change(world, SEAL, Change(seconds=30))
    assert world.rows("select attempts from job where kind = $1", SEAL) == [(0,)]
