"""Jobs: looked at, counted, tried again and cancelled."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.core import crew
from entrepot.core.crew import Crew, Trade
from entrepot.core.registry import Progress, Registry
from entrepot.metadata import jobs
from entrepot.ports.database import Tx
from tests.api.door import Door


def queue(door: Door, kind: str, *keys: str) -> list[int]:
    """Add jobs; their ids."""

    async def record(tx: Tx) -> list[int]:
        for key in keys:
            await jobs.add_job(tx, kind, key, {"secret": "payload"}, 1)
        found = await tx.all("select id, key from job where kind = $1 order by id", kind)
        return [number for number, key in found if key in keys]

    return door.world.transact(record)


def bury(door: Door, *keys: str) -> list[int]:
    """Queue jobs and give up on them; their ids."""
    queued = queue(door, "test.fail", *keys)

    async def record(tx: Tx) -> None:
        for job in await jobs.claim_jobs(tx, jobs.Claim("worker", 1, 2, 10)):
            await jobs.bury_job(tx, job.id, "it failed", door.world.clock.now())

    door.world.transact(record)
    return queued


def test_the_queue_is_counted(door: Door) -> None:
    """Jobs are counted by state."""
    before = door.send("admin", "GET", "/jobs/counts")
    assert set(before) == {"pending", "running", "dead"}
    bury(door, "a")
    assert door.send("admin", "GET", "/jobs/counts") == {**before, "dead": 1}


def test_jobs_come_by_pages(door: Door) -> None:
    """Jobs that were given up are listed with why, the oldest first, and without what they carried."""
    bury(door, "a", "b", "c")
    queue(door, "test.wait", "d")
    answer = door.ask("admin", "GET", "/jobs?n=2&state=dead")
    found = answer.json["jobs"]
    assert [(job["kind"], job["key"], job["attempts"], job["error"]) for job in found] == [
        ("test.fail", "a", 1, "it failed"),
        ("test.fail", "b", 1, "it failed"),
    ]
    assert b"payload" not in answer.body
    assert answer["link"] == f'</api/v1/jobs?n=2&state=dead&last={found[-1]["id"]}>; rel="next"'
    following = door.ask("admin", "GET", f"/jobs?n=2&state=dead&last={found[-1]['id']}")
    assert [job["key"] for job in following.json["jobs"]] == ["c"]
    assert "link" not in following


def test_jobs_are_filtered(door: Door) -> None:
    """By state, by kind, and by both; a state that there is not is refused."""
    bury(door, "a")
    queue(door, "test.fail", "b")
    queue(door, "test.wait", "c")

    def keys(query: str) -> list[str]:
        return [
            job["key"] for job in door.send("admin", "GET", f"/jobs{query}")["jobs"] if job["kind"].startswith("test.")
        ]

    assert keys("") == ["a", "b", "c"]
    assert keys("?kind=test.fail") == ["a", "b"]
    assert keys("?kind=test.fail&state=pending") == ["b"]
    assert keys("?state=running") == []
    assert door.ask("admin", "GET", "/jobs?state=done").status == 400


def test_a_dead_letter_is_tried_again(door: Door) -> None:
    """With as many attempts as a new one, at once, and told to the audit log; a running job is not."""
    (job,) = bury(door, "a")
    assert door.ask("admin", "POST", f"/jobs/{job}/retry").status == 204
    found = door.send("admin", "GET", f"/jobs/{job}")
    assert (found["state"], found["attempts"], found["error"], found["ended_at"]) == ("pending", 0, "it failed", None)
    assert [subject for _, subject, _ in door.events("job.retried")] == ["test.fail"]
    door.world.transact(lambda tx: jobs.claim_jobs(tx, jobs.Claim("w", door.world.clock.now(), 2, 10)))
    answer = door.ask("admin", "POST", f"/jobs/{job}/retry")
    assert (answer.status, answer.code) == (409, "CONFLICT")


@pytest.mark.parametrize("job", ["999999", "x", "9" * 30])
def test_what_is_no_job(door: Door, job: str) -> None:
    """An id that nothing has, or that is none, is 404 for every endpoint."""
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        answer = door.ask("admin", method, f"/jobs/{job}{tail}")
        assert (answer.status, answer.code) == (404, "JOB_UNKNOWN")


def test_jobs_are_cancelled(door: Door) -> None:
    """One that waits or was given up goes; one that comes back does so later; one that deletes bytes stays."""
    (dead,) = bury(door, "a")
    (waiting,) = queue(door, "test.wait", "b")
    (recurring,) = queue(door, "content.collect", "")
    (discard,) = queue(door, "store.discard", "k")
    for job in (dead, waiting, recurring):
        assert door.ask("admin", "DELETE", f"/jobs/{job}").status == 204
        assert door.ask("admin", "GET", f"/jobs/{job}").status == 404
    assert door.ask("admin", "DELETE", f"/jobs/{discard}").code == "CONFLICT"
    (again,) = door.send("admin", "GET", "/jobs?kind=content.collect")["jobs"]
    assert (again["state"], again["attempts"]) == ("pending", 0)
    assert [subject for _, subject, _ in door.events("job.cancelled")] == ["test.fail", "test.wait", "content.collect"]


def test_a_running_job_is_seen_and_cancelled(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how far it is and how long it will take, and its worker stops it at the next heartbeat."""
    monkeypatch.setattr(crew, "BEAT_SECONDS", 0)
    stopped: list[str] = []

    async def work(registry: Registry, payload: str) -> None:
        registry.report(Progress(25, 100, {"freed_bytes": 7}))
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(payload)

    (job,) = queue(door, "test.long", "a")
    hands = Crew(door.world.registry, "w", Trade({"test.long": work}))
    door.world.run(hands.step(0))
    door.world.run(asyncio.sleep(0))
    door.world.clock.advance(seconds=10)
    assert door.world.run(hands.step(0)) == []
    found = door.send("admin", "GET", f"/jobs/{job}")
    assert (found["state"], found["worker"], found["stopping"]) == ("running", "w", False)
    assert found["progress"] == {"done": 25, "total": 100, "counts": {"freed_bytes": 7}, "seconds_left": 30}
    assert door.ask("admin", "DELETE", f"/jobs/{job}").status == 204
    assert door.send("admin", "GET", f"/jobs/{job}")["stopping"]
    outcomes = door.world.run(hands.step(0)) + door.world.run(hands.finish())
    assert [(outcome.error, outcome.is_cancelled) for outcome in outcomes] == [("", True)]
    assert (len(stopped), door.ask("admin", "GET", f"/jobs/{job}").status) == (1, 404)


def test_progress_without_an_end(door: Door) -> None:
    """Where it is not known how much there is, nothing is said of the time that is left."""
    (job,) = queue(door, "test.long", "a")

    async def record(tx: Tx) -> None:
        await jobs.claim_jobs(tx, jobs.Claim("w", door.world.clock.now(), 2, 10))
        await jobs.beat(tx, job, "w", '{"done":3,"total":0,"counts":{}}', 2)

    door.world.transact(record)
    found = door.send("admin", "GET", f"/jobs/{job}")
    assert found["progress"] == {"done": 3, "total": None, "counts": {}, "seconds_left": None}
