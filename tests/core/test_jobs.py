"""Jobs: claimed, done, tried again, buried, and taken over from workers that died."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from entrepot.core import crew, jobs
from entrepot.core.crew import (
    BATCH,
    LEASE_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_ATTEMPTS,
    PLACES,
    SHARE,
    Crew,
    Outcome,
    Trade,
)
from entrepot.core.jobs import EXPIRE, open_crew, run_due, schedule_recurring
from entrepot.core.registry import SECOND
from entrepot.core.upload import JOIN
from entrepot.domain.errors import Unavailable
from entrepot.metadata import jobs as rows
from entrepot.metadata.jobs import Claim
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


async def wait_for_ever(*_: object) -> None:
    """The handler of a job that takes as long as somebody lets it."""
    await asyncio.Event().wait()


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
    periods = {kind: seconds for kind, seconds in jobs.RECURRING.items() if seconds is not None}
    pending = [(kind, "pending", 0) for kind in periods]
    assert sorted(states(world)) == sorted(pending)
    assert len(run(world)) == len(pending)
    assert run(world) == []
    world.clock.advance(seconds=max(periods.values()))
    assert len(run(world)) == len(pending)
    assert sorted(states(world)) == sorted(pending)


def test_a_failing_job_is_tried_again_and_then_buried(world: World) -> None:
    """Later and later, with jitter, until it is a dead letter that people look at."""
    queue(world, JOIN, payload=["nonsense", 1, 2, 3])
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (outcome,) = run(world)
        assert outcome.is_dead == (attempt == MOST_ATTEMPTS)
        assert run(world) == []
        world.clock.advance(seconds=LONGEST_WAIT_SECONDS * 2)
    assert states(world) == [(JOIN, "dead", MOST_ATTEMPTS)]
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
    for attempt in range(1, 2 * MOST_ATTEMPTS):
        (outcome,) = run(world)
        assert (outcome.error, outcome.is_dead) == ("no handler for jobs of the kind of.the.future", False)
        assert states(world) == [("of.the.future", "pending", attempt)]
        world.clock.advance(seconds=LONGEST_WAIT_SECONDS * 2)


def test_a_dead_workers_job_is_taken_over(world: World) -> None:
    """When its lease has ended, and not before."""
    queue(world, EXPIRE)
    now = world.clock.now()
    world.transact(lambda tx: rows.claim_jobs(tx, Claim("dead", now, now + LEASE_SECONDS * SECOND, 1)))
    assert run(world) == []
    world.clock.advance(seconds=LEASE_SECONDS + 1)
    (outcome,) = run(world)
    assert (outcome.job.attempts, outcome.error) == (2, "")


def test_all_jobs_of_those_that_died_long_ago_are_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however long nobody was there to see it: none is passed over."""
    monkeypatch.setattr(crew, "DEATH_SECONDS", 0)
    number = 2 * BATCH + 1
    for each in range(number):
        queue(world, EXPIRE, str(each))
    now = world.clock.now()
    world.transact(lambda tx: rows.claim_jobs(tx, Claim("dead", now, now + LEASE_SECONDS * SECOND, number)))
    world.clock.advance(seconds=LEASE_SECONDS * 20)
    hands = open_crew(world.registry, "w")
    outcomes = [outcome for _ in range(6) for outcome in world.run(hands.step(1))] + world.run(hands.finish())
    assert (len(outcomes), {state for _, state, _ in states(world)}) == (number, {"pending"})


def test_a_lease_by_a_late_clock_is_found_at_the_next_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever died with a clock of long ago left a lease that ends before all that was looked at."""
    monkeypatch.setattr(crew, "DEATH_SECONDS", 0)
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0)
    hands = open_crew(world.registry, "w")
    world.run(hands.step(0))
    queue(world, EXPIRE, "a")
    now = world.clock.now()
    world.transact(lambda tx: rows.claim_jobs(tx, Claim("dead", now, now - 3600 * SECOND, 1)))
    assert [outcome.error for outcome in world.run(hands.step(1)) + world.run(hands.finish())] == [""]


def test_bytes_are_deleted_however_many_workers_die(world: World) -> None:
    """One that dies with a job that has been tried often does not end it; the next one takes its time."""
    world.store.content.update(a=b"1")
    queue(world, "store.discard", "a", ["a"])
    world.transact(lambda tx: tx.execute("update job set attempts = $1", 3 * MOST_ATTEMPTS))
    now = world.clock.now()
    world.transact(lambda tx: rows.claim_jobs(tx, Claim("dead", now, now + LEASE_SECONDS * SECOND, 1)))
    world.clock.advance(seconds=LEASE_SECONDS + 1)
    assert (run(world), [state for _, state, _ in states(world)]) == ([], ["pending"])
    world.clock.advance(seconds=LONGEST_WAIT_SECONDS)
    assert ([outcome.error for outcome in run(world)], world.store.content) == ([""], {})


def test_an_error_that_no_database_takes_is_written_down(world: World) -> None:
    """What another server answered is quoted without what cannot be stored, and holds up nobody else."""

    async def refuse(*_: object) -> None:
        raise Unavailable("it says \0 and \ud800" + "!" * 1000)

    async def end(*_: object) -> None:
        await asyncio.sleep(0)

    hands = Crew(world.registry, "w", Trade({"odd": refuse, "other": end}))
    queue(world, "odd")
    queue(world, "other")
    outcomes = world.run(hands.step(1)) + world.run(hands.finish())
    assert {outcome.job.kind for outcome in outcomes} == {"odd", "other"}
    ((state, error),) = world.rows("select state, error from job")
    assert (state, error[:16], len(error)) == ("pending", "it says ? and ?!", crew.LONGEST_ERROR)


def test_a_job_that_kills_its_workers_is_buried(world: World) -> None:
    """What ends every process that meets it is not handed out for ever."""
    queue(world, "deadly")
    for _ in range(MOST_ATTEMPTS):
        # Nobody ever hears of this one again.
        world.run(Crew(world.registry, "dies", Trade({"deadly": wait_for_ever})).step(0))
        world.clock.advance(seconds=LEASE_SECONDS + 1)
    assert run(world) == []
    assert states(world) == [("deadly", "dead", MOST_ATTEMPTS)]


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
            steal = "update job set worker = 'other', lease_until = $1"
            await world.database.transact(lambda tx: tx.execute(steal, now))

    with World(wrap_store=lambda store: Slow(store, Saboteur())) as world:
        worlds.append(world)
        for key in ("a", "b"):
            queue(world, "store.discard", key, [key])
        assert [outcome.error for outcome in run(world)] == ["taken by another worker"] * 2
        assert [state for _, state, _ in states(world)] == ["running"] * 2


def test_a_long_job_keeps_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker tells now and then that it is alive, and is not put off by a database that is away for a moment."""
    monkeypatch.setattr(crew, "BEAT_SECONDS", 0.001)
    worlds: list[World] = []

    class Slow(FaultyStore):
        """A store that takes as long as the lease is not renewed."""

        async def delete(self, keys: object) -> None:
            (world,) = worlds
            world.clock.advance(seconds=LEASE_SECONDS - 1)
            before = world.clock.now() + 2 * SECOND
            renewed = "select 1 from job where lease_until > $1"
            while not await world.database.read(lambda tx: tx.one(renewed, before)):  # noqa: ASYNC110 - it waits for rows
                await asyncio.sleep(0.001)

    with World(wrap_store=lambda store: Slow(store, Saboteur())) as world:
        worlds.append(world)
        queue(world, "store.discard", "a", ["a"])
        assert [outcome.error for outcome in run(world)] == [""]


def test_a_retry_yields_to_an_equal_job(world: World) -> None:
    """What was queued meanwhile stands for both."""
    queue(world, "of.the.future", "a")
    now = world.clock.now()
    (job,) = world.transact(lambda tx: rows.claim_jobs(tx, Claim("dead", now, now, 1)))
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


def test_a_long_job_keeps_nobody_waiting(world: World) -> None:
    """While one takes as long as it likes, others are taken and done."""
    done: list[str] = []

    async def note(_: object, payload: str) -> None:
        done.append(payload)

    hands = Crew(world.registry, "w", Trade({"long": wait_for_ever, "short": note}))
    queue(world, "long")
    assert world.run(hands.step(0)) == []
    queue(world, "short", "a", payload="b")
    outcomes = [outcome for _ in range(3) for outcome in world.run(hands.step(0.1))]
    assert ([outcome.job.kind for outcome in outcomes], done) == (["short"], ['"b"'])
    assert not hands.is_idle


def test_a_flood_of_one_kind_leaves_places_for_others(world: World) -> None:
    """A kind that has its share of the places is not taken any more; the others are, however late they came."""
    hands = Crew(world.registry, "w", Trade({"slow": wait_for_ever, "other": wait_for_ever}))
    for number in range(SHARE * 3):
        queue(world, "slow", str(number), seconds=-9)
    queue(world, "other", "late")
    for _ in range(4):
        world.run(hands.step(0))
    running = [kind for kind, state, _ in states(world) if state == "running"]
    assert (running.count("slow"), running.count("other")) == (SHARE, 1)


def test_a_kind_never_has_more_than_its_share(world: World) -> None:
    """Neither when more of it come while it has nearly all of it, nor does it keep others of the same place waiting."""
    trade = dict.fromkeys(("a.slow", "b.slow", "c.late"), wait_for_ever)
    hands = Crew(world.registry, "w", Trade(trade))

    def flood(kind: str, number: int) -> None:
        for each in range(number):
            queue(world, kind, f"{number} {each}", seconds=-9)
        world.run(hands.step(0))

    def running() -> list[int]:
        found = [kind for kind, state, _ in states(world) if state == "running"]
        return [found.count(kind) for kind in trade]

    flood("a.slow", SHARE - 1)
    flood("a.slow", SHARE)
    assert running() == [SHARE, 0, 0]
    flood("b.slow", SHARE - 1)
    queue(world, "b.slow", "one more", seconds=-9)
    queue(world, "c.late")
    world.run(hands.step(0))
    assert running() == [SHARE, SHARE - 1, 1]


def test_places_are_bounded(world: World) -> None:
    """Nothing is taken when all places are."""
    hands = Crew(world.registry, "w", Trade({str(kind): wait_for_ever for kind in range(3)}))
    for number in range(PLACES * 2):
        queue(world, str(number % 3), str(number))
    for _ in range(6):
        world.run(hands.step(0))
    assert [state for _, state, _ in states(world)].count("running") == PLACES


def test_few_of_some_kinds_run_at_once(world: World) -> None:
    """A kind with fewer places of its own is worked off by that many."""
    running, most = set[str](), 0

    async def work(_: object, payload: str) -> None:
        nonlocal most
        running.add(payload)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.discard(payload)

    hands = Crew(world.registry, "w", Trade({"few": work}, few={"few": 2}))
    for number in range(7):
        queue(world, "few", str(number), number)
    outcomes = world.run(hands.step(1)) + world.run(hands.finish())
    assert (len(outcomes), most) == (7, 2)


def test_a_worker_that_stops_gives_its_jobs_back(world: World) -> None:
    """What ends in time is done; what does not is another's at once, and not counted as tried."""

    async def end(*_: object) -> None:
        await asyncio.sleep(0)

    hands = Crew(world.registry, "w", Trade({"long": wait_for_ever, "short": end, "stolen": wait_for_ever}))
    for kind in ("long", "short", "stolen"):
        queue(world, kind)
    taken = world.run(hands.step(0))
    world.transact(lambda tx: tx.execute("update job set worker = 'other' where kind = 'stolen'"))
    ended = taken + world.run(hands.stop(0.01))
    assert [outcome.job.kind for outcome in ended] == ["short"]
    assert states(world) == [("long", "pending", 0), ("stolen", "running", 1)]
    assert hands.is_idle


def test_a_job_that_was_lost_is_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hears at its heartbeat that the job is another's leaves off, and ends nothing."""
    monkeypatch.setattr(crew, "BEAT_SECONDS", 0)
    hands = Crew(world.registry, "w", Trade({"long": wait_for_ever}))
    queue(world, "long")
    world.run(hands.step(0))
    world.transact(lambda tx: tx.execute("update job set worker = 'other'"))
    outcomes = world.run(hands.step(0)) + world.run(hands.finish())
    assert [outcome.error for outcome in outcomes] == ["taken by another worker"]
    assert states(world) == [("long", "running", 1)]


def test_claims_go_on_where_the_last_one_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What appears long before that place, from a replica whose clock is late, is found at the next look at all."""
    hands = open_crew(world.registry, "w")
    world.run(hands.step(0))
    queue(world, EXPIRE, seconds=-3600)
    assert world.run(hands.step(0)) == []
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0)
    hands = open_crew(world.registry, "w")
    assert len(world.run(hands.step(0)) + world.run(hands.finish())) == 1


def test_claims_of_a_kind_go_on_where_the_last_one_ended(world: World) -> None:
    """While another kind has its share of the places, each kind has a place of its own to go on from."""
    hands = Crew(world.registry, "w", Trade({"slow": wait_for_ever, "other": wait_for_ever}))
    for number in range(SHARE):
        queue(world, "slow", str(number), seconds=-9)

    def take(seconds: int) -> int:
        queue(world, "other", str(seconds), seconds=seconds)
        world.run(hands.step(0))
        return [kind for kind, state, _ in states(world) if state == "running"].count("other")

    # The flood is taken first; what is from long before where the second claim ended waits for the next look at all.
    assert [take(seconds) for seconds in (0, -1, -3600)] == [0, 2, 2]
    hands._marks.look_at = 0
    assert take(-1800) == 4


def test_a_call_that_breaks_off_by_itself_is_tried_again(world: World) -> None:
    """A handler that was cancelled by nobody of ours is a failure like others."""

    async def leave(*_: object) -> None:
        raise asyncio.CancelledError

    hands = Crew(world.registry, "w", Trade({"odd": leave}))
    queue(world, "odd")
    outcomes = world.run(hands.step(0)) + world.run(hands.finish())
    assert [outcome.error for outcome in outcomes] == ["it was broken off"]
    assert states(world) == [("odd", "pending", 1)]
