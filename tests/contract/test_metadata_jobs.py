"""Rows of jobs: coalescing, claims, leases, retries and dead letters, over every engine."""

from __future__ import annotations

from functools import partial

import msgspec

from entrepot.core.registry import SECOND
from entrepot.metadata import jobs
from entrepot.metadata.jobs import Claim, JobRow
from entrepot.ports.database import Tx, Work
from tests.contract.engines import Held
from tests.contract.rows import NOW

LEASE = NOW + 60 * SECOND


def adding(key: str, run_at: int = NOW, payload: object = None) -> Work[None]:
    """Work that queues a job."""
    return lambda tx: jobs.add_job(tx, "scan", key, payload, run_at)


def claiming(worker: str = "w1", limit: int = 10, now: int = NOW) -> Work[list[JobRow]]:
    """Work that takes jobs."""
    return lambda tx: jobs.claim_jobs(tx, Claim(worker, now, now + 60 * SECOND, limit))


def claim(held: Held, worker: str = "w1", limit: int = 10, now: int = NOW) -> list[JobRow]:
    """Take jobs."""
    return held.transact(claiming(worker, limit, now))


def test_due_jobs_are_claimed_oldest_first(held: Held) -> None:
    """A claim takes what is due, the oldest first, no more than asked for, and nobody gets it again."""
    for key, run_at in (("late", NOW + 1), ("second", NOW), ("first", NOW - 1), ("third", NOW)):
        held.transact(adding(key, run_at, {"n": key}))
    assert {job.key for job in claim(held, limit=2)} == {"first", "second"}
    rest = claim(held, "w2")
    assert [(job.kind, job.key, job.payload, job.attempts) for job in rest] == [("scan", "third", '{"n":"third"}', 1)]
    assert claim(held) == []
    assert [job.key for job in claim(held, now=NOW + 1)] == ["late"]


def test_equal_pending_jobs_are_one(held: Held) -> None:
    """A job equal to one that still waits is not queued; equal to one that runs, it is."""
    held.transact(adding("a", payload=1))
    held.transact(adding("a", payload=2))
    [job] = claim(held)
    assert job.payload == "1"
    held.transact(adding("a", payload=3))
    assert held.read(jobs.count_jobs) == {"running": 1, "pending": 1}


def test_a_claim_keeps_to_its_limit_whatever_the_planner_expects(held: Held) -> None:
    """Where statistics say that there is one job, and there are many, no more are taken than were asked for."""
    held.transact(adding("first"))
    held.execute("analyze job")
    for number in range(60):
        held.transact(adding(str(number)))
    of_kind = Claim("w2", NOW, NOW + 60 * SECOND, 2, kind="scan")
    assert len(claim(held, limit=2)) == len(held.transact(lambda tx: jobs.claim_jobs(tx, of_kind))) == 2


def test_workers_that_claim_at_once_share(held: Held) -> None:
    """Many workers at once get every job exactly once."""
    for number in range(40):
        held.transact(adding(str(number)))
    answers = held.together([claiming(f"w{number}", 5) for number in range(12)])
    claimed = [job.key for answer in answers for job in answer]
    assert sorted(claimed, key=int) == [str(number) for number in range(40)]


def test_a_lease_belongs_to_its_worker(held: Held) -> None:
    """The holder may extend a lease, others may not, and nobody once the job is done."""
    held.transact(adding("a"))
    [job] = claim(held, "w1")
    assert held.transact(lambda tx: jobs.extend_lease(tx, job.id, "w1", LEASE + 1))
    assert not held.transact(lambda tx: jobs.extend_lease(tx, job.id, "w2", LEASE + 2))
    assert held.rows("select lease_until from job") == [(LEASE + 1,)]
    held.transact(lambda tx: jobs.finish_job(tx, job.id))
    assert not held.transact(lambda tx: jobs.extend_lease(tx, job.id, "w1", LEASE + 3))
    assert held.read(jobs.count_jobs) == {}


def test_a_job_whose_worker_died_is_found(held: Held) -> None:
    """A lease that ran out is listed, one that holds or a job that waits is not."""
    for key in ("dead", "alive", "waiting"):
        held.transact(adding(key, NOW if key != "waiting" else NOW + 1))
    dead, alive = sorted(claim(held), key=lambda job: job.key, reverse=True)
    held.transact(lambda tx: jobs.extend_lease(tx, alive.id, "w1", LEASE + 1))
    assert held.read(lambda tx: jobs.list_expired(tx, LEASE + 1, 10)) == [dead]
    assert held.read(lambda tx: jobs.list_expired(tx, LEASE, 10)) == []
    assert len(held.read(lambda tx: jobs.list_expired(tx, LEASE + 2, 1))) == 1
    assert held.read(lambda tx: jobs.list_expired(tx, LEASE + 1, 10, LEASE + 1)) == []


def test_a_retry_waits_and_counts(held: Held) -> None:
    """A job that is tried again is not due before its time, remembers the error and counts its attempts."""
    held.transact(adding("a"))
    [job] = claim(held)
    held.transact(lambda tx: jobs.retry_job(tx, job.id, "no luck", NOW + 5))
    assert claim(held) == []
    assert held.rows("select state, error, worker, lease_until from job") == [("pending", "no luck", None, None)]
    [again] = claim(held, now=NOW + 5)
    assert (again.id, again.attempts) == (job.id, 2)


def test_a_retry_gives_way_to_an_equal_job(held: Held) -> None:
    """Where an equal job was queued meanwhile, the failed one is dropped instead of tried again."""
    held.transact(adding("a", payload="old"))
    [job] = claim(held)
    held.transact(adding("a", payload="new"))
    held.transact(lambda tx: jobs.retry_job(tx, job.id, "no luck", NOW))
    [only] = claim(held)
    assert (only.payload, only.attempts) == ('"new"', 1)
    assert held.read(jobs.count_jobs) == {"running": 1}


def bury_all(held: Held) -> None:
    """Give up on everything that is due."""
    for job in sorted(claim(held), key=lambda job: job.id):
        held.transact(partial(jobs.bury_job, job=job.id, error=f"no {job.key}", now=NOW + 1))


def test_jobs_are_listed_in_pages(held: Held) -> None:
    """By state, by kind and by both, the oldest first, page by page, with what is known of each."""
    for key in "abc":
        held.transact(adding(key))
    bury_all(held)
    held.transact(adding("d"))
    held.transact(lambda tx: jobs.add_job(tx, "other", "e", None, NOW))

    def keys(state: jobs.JobState | None, kind: str, after: int = 0, limit: int = 9) -> list[str]:
        return [row.key for row in held.read(lambda tx: jobs.list_jobs(tx, (state, kind), after, limit))]

    assert keys(None, "") == ["a", "b", "c", "d", "e"]
    assert keys("dead", "scan", limit=2) == ["a", "b"]
    second = held.read(lambda tx: jobs.list_jobs(tx, (None, ""), 0, 2))[1]
    assert keys("dead", "", after=second.id) == ["c"]
    assert (keys("pending", "scan"), keys(None, "other"), keys("running", "")) == (["d"], ["e"], [])
    found = held.read(lambda tx: jobs.find_job(tx, second.id))
    assert found == second
    assert (found.state, found.error, found.attempts, found.worker) == ("dead", "no b", 1, None)
    assert (found.created_at, found.started_at, found.ended_at, found.stop_asked) == (NOW, NOW, NOW + 1, 0)
    assert held.read(lambda tx: jobs.find_job(tx, 10**9)) is None


def test_counts_are_bounded(held: Held) -> None:
    """Each state is counted up to so many, and one without jobs is not named."""
    for key in "abc":
        held.transact(adding(key))
    assert held.read(jobs.count_jobs) == {"pending": 3}
    assert held.read(lambda tx: jobs.count_jobs(tx, 2)) == {"pending": 2}


def test_claims_begin_at_a_mark(held: Held) -> None:
    """What was due before the mark is not looked at; with a kind, only its jobs are taken."""
    for key, run_at in (("old", NOW - 9), ("new", NOW)):
        held.transact(adding(key, run_at))
    held.transact(lambda tx: jobs.add_job(tx, "other", "o", None, NOW - 1))
    base = jobs.Claim("w", NOW, LEASE, 9, since=NOW - 1)
    found = held.transact(lambda tx: jobs.claim_jobs(tx, msgspec.structs.replace(base, kind="scan")))
    assert [(job.key, job.run_at) for job in found] == [("new", NOW)]
    assert [job.key for job in held.transact(lambda tx: jobs.claim_jobs(tx, base))] == ["o"]
    assert [job.key for job in claim(held)] == ["old"]


def test_a_heartbeat_tells_and_hears(held: Held) -> None:
    """It extends the lease, writes the progress, and hears of a wish to stop; a stranger hears that it is another's."""
    held.transact(adding("a"))
    [job] = claim(held)
    beat = partial(jobs.beat, job=job.id, progress="{}", lease_until=LEASE + 1)
    assert held.transact(partial(beat, worker="w1")) is False
    held.transact(lambda tx: jobs.ask_to_stop(tx, job.id))
    assert held.transact(partial(beat, worker="w1")) is True
    assert held.transact(partial(beat, worker="w2")) is None
    assert held.rows("select progress, lease_until from job") == [("{}", LEASE + 1)]
    held.transact(lambda tx: jobs.retry_job(tx, job.id, "x", NOW))
    held.transact(lambda tx: jobs.ask_to_stop(tx, job.id))
    [again] = claim(held)
    assert held.transact(partial(beat, worker="w1")) is False
    assert again.attempts == 2


def test_many_are_finished_at_once(held: Held) -> None:
    """Those that the worker still holds, and no others."""
    for key in "abc":
        held.transact(adding(key))
    mine, theirs = claim(held, "w1", 2), claim(held, "w2")
    wanted = [job.id for job in [*mine, *theirs]]
    assert held.transact(lambda tx: jobs.finish_jobs(tx, "w1", wanted)) == {job.id for job in mine}
    assert [row[0] for row in held.rows("select id from job")] == [job.id for job in theirs]


def test_what_is_in_hand_is_not_looked_for_among_all_that_ran(postgresql: Held) -> None:
    """Beats, leases and ends go by the id: the index of what runs holds all that has run since anybody's snapshot."""
    for number in range(50):
        postgresql.transact(adding(str(number)))
    wanted = [job.id for job in claim(postgresql, limit=50)]

    async def scans(tx: Tx) -> int:
        row = await tx.one("select pg_stat_get_xact_numscans('job_by_lease'::regclass)")
        return int(row[0]) if row else -1

    async def work(tx: Tx) -> list[int]:
        before = await scans(tx)
        await jobs.extend_lease(tx, wanted[0], "w1", NOW + SECOND)
        await jobs.beat(tx, wanted[0], "w1", "", NOW + SECOND)
        await jobs.ask_to_stop(tx, wanted[0])
        assert await jobs.finish_jobs(tx, "w1", wanted) == set(wanted)
        return [before, await scans(tx)]

    assert postgresql.transact(work) == [0, 0]


def test_jobs_are_given_back_and_renewed(held: Held) -> None:
    """One that was given back was never tried; a dead letter that is renewed is as new, or gives way to its like."""
    held.transact(adding("a"))
    [job] = claim(held)
    held.transact(lambda tx: jobs.release_job(tx, job.id, NOW))
    assert held.rows("select state, attempts, worker, started_at from job") == [("pending", 0, None, None)]
    bury_all(held)
    held.transact(lambda tx: jobs.renew_job(tx, job.id, NOW + 3))
    assert held.rows("select state, attempts, run_at, ended_at from job") == [("pending", 0, NOW + 3, None)]
    held.transact(lambda tx: jobs.renew_job(tx, job.id, NOW))
    assert held.rows("select state, run_at from job") == [("pending", NOW)]
    bury_all(held)
    held.transact(adding("a"))
    held.transact(lambda tx: jobs.renew_job(tx, job.id, NOW))
    assert held.read(jobs.count_jobs) == {"pending": 1}


def test_a_job_that_runs_is_not_queued_again(held: Held) -> None:
    """Ensuring queues where none of the kind waits or runs."""
    ensure = partial(jobs.ensure_job, kind="collect", run_at=NOW)
    held.transact(ensure)
    held.transact(ensure)
    assert held.read(jobs.count_jobs) == {"pending": 1}
    claim(held)
    held.transact(ensure)
    assert held.read(jobs.count_jobs) == {"running": 1}


def test_dead_letters_stay(held: Held) -> None:
    """A job that is given up stays to be looked at, and is neither claimed nor coalesced with."""
    held.transact(adding("a"))
    [job] = claim(held)
    held.transact(lambda tx: jobs.bury_job(tx, job.id, "hopeless", NOW + 7))
    assert held.rows("select state, error, ended_at from job") == [("dead", "hopeless", NOW + 7)]
    assert claim(held, now=LEASE + 1) == []
    assert held.read(lambda tx: jobs.list_expired(tx, LEASE + 1, 10)) == []
    held.transact(adding("a"))
    assert held.read(jobs.count_jobs) == {"dead": 1, "pending": 1}
