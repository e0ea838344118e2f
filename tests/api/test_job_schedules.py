"""Schedules of jobs: listed, said, paused, taken back, and refused where others rely on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from entrepot.core.jobs import CHORES
from entrepot.core.registry import SECOND
from tests.api.door import Door

COLLECT, AUDIT, SEAL = "/job-schedules/content.collect", "/job-schedules/content.audit", "/job-schedules/audit.seal"
NIGHTLY = {"cron": "0 3 * * *", "timezone": "Europe/Zurich"}


def now(door: Door, **more: float) -> str:
    """The time of the clock, and some more, as JSON shows it."""
    moment = datetime.fromtimestamp(door.world.clock.now() / SECOND, UTC) + timedelta(**more)
    return moment.isoformat().replace("+00:00", "Z")


def test_every_kind_that_may_come_back_is_listed(door: Door) -> None:
    """By name, with what holds, when it runs next and how rare it may be; what does not by itself, without a time."""
    found = door.send("admin", "GET", "/job-schedules")["schedules"]
    assert [each["kind"] for each in found] == sorted(CHORES)
    listed = {each["kind"]: each for each in found}
    nothing = {"cron": None, "timezone": None, "paused": False, "changed_at": None}
    assert listed["audit.seal"] == {
        **nothing,
        "kind": "audit.seal",
        "every_seconds": 60,
        "next_run_at": now(door, seconds=60),
        "default_seconds": 60,
        "most_seconds": 60,
    }
    assert door.send("admin", "GET", AUDIT) == listed["content.audit"]
    assert listed["content.audit"] == {
        **nothing,
        "kind": "content.audit",
        "every_seconds": None,
        "next_run_at": None,
        "default_seconds": None,
        "most_seconds": None,
    }


def test_a_schedule_is_said_and_taken_back(door: Door) -> None:
    """The answer has the next run, the audit log each change and nothing that changed nothing."""
    said = door.send("admin", "PATCH", COLLECT, NIGHTLY)
    assert {name: said[name] for name in NIGHTLY} == NIGHTLY
    assert (said["every_seconds"], said["changed_at"], said["default_seconds"]) == (None, now(door), 60)
    assert datetime.fromisoformat(said["next_run_at"]).astimezone(UTC).minute == 0
    assert door.send("admin", "PATCH", COLLECT, NIGHTLY) == said
    assert door.send("admin", "PATCH", COLLECT, {}) == said
    every = door.send("admin", "PATCH", COLLECT, {"every_seconds": 300, "paused": False})
    assert (every["cron"], every["timezone"], every["every_seconds"]) == (None, None, 300)
    assert every["next_run_at"] == now(door, seconds=300)
    assert door.send("admin", "PATCH", COLLECT, {"cron": "0 3 * * *"})["timezone"] == "UTC"
    for _ in range(2):
        assert door.ask("admin", "DELETE", COLLECT).status == 204
    assert door.send("admin", "GET", COLLECT)["changed_at"] is None
    none = {"cron": None, "every_seconds": None, "timezone": None, "paused": False}
    assert door.events("job.scheduled") == [
        ("admin", "content.collect", {**none, **NIGHTLY}),
        ("admin", "content.collect", {**none, "every_seconds": 300}),
        ("admin", "content.collect", {**none, "cron": "0 3 * * *", "timezone": "UTC"}),
    ]
    assert door.events("job.unscheduled") == [("admin", "content.collect", {})]


def test_a_schedule_is_paused(door: Door) -> None:
    """A kind that rests has no next run until it is resumed."""
    paused = door.send("admin", "PATCH", COLLECT, {"paused": True})
    assert (paused["paused"], paused["next_run_at"], paused["every_seconds"]) == (True, None, 60)
    resumed = door.send("admin", "PATCH", COLLECT, {"paused": False})
    assert (resumed["paused"], resumed["changed_at"]) == (False, None)


@pytest.mark.parametrize(
    ("path", "document", "field", "told"),
    [
        (COLLECT, {"cron": "0 3 * *"}, "cron", "five fields are meant"),
        (COLLECT, {"cron": "0 0 30 2 *"}, "cron", "never comes"),
        (COLLECT, {**NIGHTLY, "timezone": "Europe/Zuerich"}, "timezone", "no such time zone"),
        (COLLECT, {"timezone": "UTC"}, "timezone", "say both"),
        (COLLECT, {"every_seconds": 300, "timezone": "UTC"}, "timezone", "say both"),
        (COLLECT, {**NIGHTLY, "every_seconds": 300}, "every_seconds", "not both"),
        (COLLECT, {"every_seconds": 9}, "every_seconds", "at least 10 and at most 31622400 seconds"),
        (COLLECT, {"every_seconds": 10**9}, "every_seconds", "at least 10 and at most 31622400 seconds"),
        (AUDIT, {"paused": True}, "paused", "say when first"),
        (SEAL, {"every_seconds": 61}, "every_seconds", "at least 10 and at most 60 seconds"),
        (SEAL, {"paused": True}, "paused", "every 60 seconds at least"),
        (SEAL, {"cron": "* * * * *"}, "cron", "every 60 seconds at least"),
        ("/job-schedules/key.rotate", {"paused": True}, "paused", "every 3600 seconds at least"),
    ],
)
def test_what_cannot_be_said(shared: Door, path: str, document: dict[str, Any], field: str, told: str) -> None:
    """Each is refused with the field and what is allowed, and leaves everything as it was."""
    answer = shared.ask("admin", "PATCH", path, document)
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
    (problem,) = answer.json["errors"]
    assert (problem["detail"]["field"], told in problem["message"]) == (field, True)
    assert shared.send("admin", "GET", path)["changed_at"] is None


@pytest.mark.parametrize("kind", ["content.collet", "store.discard", "mail.send"])
def test_what_does_not_come_back(shared: Door, kind: str) -> None:
    """A kind that is none, or that is queued by what happens, is 404 and told where those that come back are listed."""
    for method, document in (("GET", None), ("PATCH", {"paused": True}), ("DELETE", None)):
        answer = shared.ask("admin", method, f"/job-schedules/{kind}", document)
        assert (answer.status, answer.code) == (404, "JOB_UNKNOWN")
        assert "/api/v1/job-schedules" in answer.json["errors"][0]["message"]
