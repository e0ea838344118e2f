"""Jobs: how many there are, and those that were given up."""

from __future__ import annotations

from entrepot.metadata import jobs
from entrepot.ports.database import Tx
from tests.api.door import Door


def bury(door: Door, *keys: str) -> None:
    """Queue jobs and give up on them."""

    async def record(tx: Tx) -> None:
        for key in keys:
            await jobs.add_job(tx, "test.fail", key, {"secret": "payload"}, 1)
        for job in await jobs.claim_jobs(tx, "worker", 1, 2, 10):
            await jobs.bury_job(tx, job.id, "it failed", door.world.clock.now())

    door.world.transact(record)


def test_the_queue_is_counted(door: Door) -> None:
    """Jobs are counted by state."""
    before = door.send("admin", "GET", "/jobs")
    assert set(before) == {"pending", "running", "dead"}
    bury(door, "a")
    assert door.send("admin", "GET", "/jobs") == {**before, "dead": 1}


def test_dead_letters_come_by_pages(door: Door) -> None:
    """Jobs that were given up are listed with why, the oldest first, and without what they carried."""
    bury(door, "a", "b", "c")
    answer = door.ask("admin", "GET", "/jobs/dead?n=2")
    found = answer.json["jobs"]
    assert [(job["kind"], job["key"], job["attempts"], job["error"]) for job in found] == [
        ("test.fail", "a", 1, "it failed"),
        ("test.fail", "b", 1, "it failed"),
    ]
    assert b"payload" not in answer.body
    assert answer["link"] == f'</api/v1/jobs/dead?n=2&last={found[-1]["id"]}>; rel="next"'
    following = door.ask("admin", "GET", f"/jobs/dead?n=2&last={found[-1]['id']}")
    assert [job["key"] for job in following.json["jobs"]] == ["c"]
    assert "link" not in following
