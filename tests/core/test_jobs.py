"""Jobs: claimed, done, tried again, buried, and taken over from workers that died."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from entrepot.core import jobs
from entrepot.core.jobs import (
    BATCH,
    EXPIRE,
    LEASE_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_ATTEMPTS,
    Outcome,
    run_due,
    schedule_recurring,
)
from entrepot.core.registry import SECOND
from entrepot.domain.errors import Unavailable
from entrepot.metadata import jobs as rows
from tests.support.faults import FaultyStore, Saboteur
from tests.support.world import World


def run(world: World, worker: str = "worker") -> list[Outcome]:
    """One round of a worker."""
    return world.run(run_due(world.registry, worker))


def queue(world: World, kind: str, key: str = "", payload: object = None, seconds: int = 0) -> None:
    """Add a job that is due after some seconds."""
    run_at = world.clock.now() + seconds * SECOND
    world.transact(lambda tx: rows.add_job(tx, kind, key, payload or [], run_at))


def states(world: World) -> list[tuple[str, str, int]]:
    """(kind, state, attempts) of the jobs there are."""
    return [tuple(row) for row in world.rows("select kind, state, attempts from job order by id")]


def test_bytes_are_discarded_when_their_time_has_come(world: World) -> None:
    """Not before; then the keys are gone and so is the job."""
    world.store.content.update(a=b"1", b=b"2", c=b"3")
    queue(world, "store.discard", "a", ["a", "b", "missing"], seconds=60)
    assert run(world) == []
    world.clock.advance(seconds=60)
    assert [outcome.error for outcome in run(world)] == [""]
    assert (world.store.content, states(world)) == ({"c": b"3"}, [])


def test_recurring_jobs_come_back(world: World) -> None:
    """Scheduled once however often they are asked for, and queued again by being done."""
    for _ in range(2):
        world.run(schedule_recurring(world.registry))
    pending = [(kind, "pending", 0) for kind in jobs.RECURRING]
    assert sorted(states(world)) == sorted(pending)
    assert len(run(world)) == len(pending)
    assert run(world) == []
    world.clock.advance(seconds=max(jobs.RECURRING.values()))
    assert len(run(world)) == len(pending)
    assert sorted(states(world)) == sorted(pending)


def test_a_failing_job_is_tried_again_and_then_buried(world: World) -> None:
    """Later and later, with jitter, until it is a dead letter that people look at."""
    queue(world, "of.the.future")
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (outcome,) = run(world)
        assert outcome.is_dead == (attempt == MOST_ATTEMPTS)
        assert run(world) == []
        world.clock.advance(seconds=LONGEST_WAIT_SECONDS * 2)
    assert states(world) == [("of.the.future", "dead", MOST_ATTEMPTS)]
    assert run(world) == []


def test_bytes_are_deleted_however_long_the_store_is_away() -> None:
    """Nothing else knows of them: what is to be deleted is tried until it is."""

    class Away(FaultyStore):
        """A store that never deletes."""

        async def delete(self, keys: object) -> None:
            raise Unavailable("the store cannot be reached")

    with World(wrap_store=lambda store: Away(store, Saboteur())) as world:
        queue(world, "store.discard", "a", ["a"])
        for attempt in range(1, 3 * MOST_ATTEMPTS):
            (outcome,) = run(world)
            assert (outcome.error, outcome.is_dead) == ("the store cannot be reached", False)
            assert run(world) == []
            world.clock.advance(seconds=LONGEST_WAIT_SECONDS * 2)
            assert states(world) == [("store.discard", "pending", attempt)]


def test_an_unknown_kind_is_an_error_not_an_end(world: World) -> None:
    """A newer version may have queued it: it waits for a worker that knows it."""
    queue(world, "of.the.future")
    (outcome,) = run(world)
    assert outcome.error == "no handler for jobs of the kind of.the.future"
    assert states(world) == [("of.the.future", "pending", 1)]


def test_a_dead_workers_job_is_taken_over(world: World) -> None:
    """When its lease has ended, and not before."""
    queue(world, EXPIRE)
    now = world.clock.now()
    world.transact(lambda tx: rows.claim_jobs(tx, "dead", now, now + LEASE_SECONDS * SECOND, 1))
    assert run(world) == []
    world.clock.advance(seconds=LEASE_SECONDS + 1)
    (outcome,) = run(world)
    assert (outcome.job.attempts, outcome.error) == (2, "")


def test_a_job_that_kills_its_workers_is_buried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends every process that meets it is not handed out for ever."""

    async def kill(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(jobs, "HANDLERS", {"store.discard": kill})
    queue(world, "store.discard", "a")
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(SystemExit):
            run(world)
        world.clock.advance(seconds=LEASE_SECONDS + 1)
    assert run(world) == []
    assert states(world) == [("store.discard", "dead", MOST_ATTEMPTS)]


def test_a_job_that_nobody_can_do_fails_alone(world: World) -> None:
    """What no version of the code ever queued is tried again as all that fails; the others of its batch are done."""
    world.store.content.update(b=b"2")
    queue(world, "mail.send", "a", {"no": "order"})
    queue(world, "store.discard", "b", ["b"])
    first, second = run(world)
    assert first.error.startswith("ValidationError: ")
    assert isinstance(first.flaw, msgspec.ValidationError)
    assert (second.error, world.store.content) == ("", {})
    for _ in range(MOST_ATTEMPTS):
        world.clock.advance(seconds=LONGEST_WAIT_SECONDS * 2)
        run(world)
    assert states(world) == [("mail.send", "dead", MOST_ATTEMPTS)]


def test_a_job_that_was_taken_over_is_left_alone() -> None:
    """A worker that was held up for longer than its lease finds its batch taken, and does nothing with it."""
    worlds: list[World] = []

    class Slow(FaultyStore):
        """A store so slow that another worker takes what is left meanwhile."""

        async def delete(self, keys: object) -> None:
            (world,) = worlds
            world.clock.advance(seconds=LEASE_SECONDS + 1)
            now = world.clock.now()
            await world.sqlite.transact(lambda tx: tx.execute("update job set worker = 'other', lease_until = $1", now))

    with World(wrap_store=lambda store: Slow(store, Saboteur())) as world:
        worlds.append(world)
        for key in ("a", "b"):
            queue(world, "store.discard", key, [key])
        assert [outcome.error for outcome in run(world)] == ["taken by another worker"] * 2
        assert [state for _, state, _ in states(world)] == ["running"] * 2


def test_a_long_job_keeps_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker tells now and then that it is alive, and is not put off by a database that is away for a moment."""
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.001)
    worlds: list[World] = []

    class Slow(FaultyStore):
        """A store that takes as long as the lease is not renewed."""

        async def delete(self, keys: object) -> None:
            (world,) = worlds
            world.clock.advance(seconds=LEASE_SECONDS - 1)
            before = world.clock.now() + 2 * SECOND
            renewed = "select 1 from job where lease_until > $1"
            while not await world.sqlite.read(lambda tx: tx.one(renewed, before)):  # noqa: ASYNC110 - it waits for rows
                await asyncio.sleep(0.001)

    with World(wrap_store=lambda store: Slow(store, Saboteur())) as world:
        worlds.append(world)
        queue(world, "store.discard", "a", ["a"])
        assert [outcome.error for outcome in run(world)] == [""]


def test_a_retry_yields_to_an_equal_job(world: World) -> None:
    """What was queued meanwhile stands for both."""
    queue(world, "of.the.future", "a")
    now = world.clock.now()
    (job,) = world.transact(lambda tx: rows.claim_jobs(tx, "dead", now, now, 1))
    queue(world, "of.the.future", "a", seconds=60)
    world.transact(lambda tx: rows.retry_job(tx, job.id, "failed", now))
    assert states(world) == [("of.the.future", "pending", 0)]


def test_a_round_takes_a_batch(world: World) -> None:
    """The oldest first, and no more than a batch at once."""
    for number in range(BATCH + 1):
        queue(world, EXPIRE, str(number), seconds=-number)
    first = run(world)
    assert len(first) == BATCH
    assert "0" not in {outcome.job.key for outcome in first}
