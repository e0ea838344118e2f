"""Garbage collection, seen from the management API: `/collection`."""

from __future__ import annotations

from entrepot.core.collect import AUDIT, COLLECT, run_collection
from entrepot.core.jobs import run_due, schedule_recurring
from entrepot.domain.digests import digest_of
from entrepot.metadata import jobs
from entrepot.ports.database import Tx
from tests.api.door import OLD, PRIVATE, Door


def collect(door: Door) -> None:
    """Let the worker do what is due, and what that brings."""
    for _ in range(6):
        door.world.clock.advance(seconds=3700)
        door.world.run(run_due(door.world.registry, "worker"))


def keys(door: Door) -> set[str]:
    """Where bytes of blobs lie; the audit log archives its days beside them."""
    return {key for key in door.world.store.content if not key.startswith("audit.")}


def test_what_is_let_go_is_planned_and_freed(door: Door) -> None:
    """A deleted image is whole until its trash ends, then planned, then gone with its bytes; what is tagged stays."""
    door.world.run(schedule_recurring(door.world.registry))
    before = keys(door)
    door.send("alice", "PUT", f"/repositories/{PRIVATE}/tags/keep", {"digest": OLD.digest})
    assert door.world.client("admin").request("DELETE", f"/v2/{PRIVATE}/manifests/latest").status == 202
    assert door.send("admin", "GET", "/collection") == {
        "manifests": 0,
        "blobs": 0,
        "freed_bytes": 0,
        "after_grace": {"manifests": 0, "blobs": 0, "freed_bytes": 0},
        "waiting": 0,
        "whole": True,
    }
    door.world.clock.advance(days=40)
    planned = door.send("admin", "GET", "/collection")
    assert (planned["manifests"], planned["whole"], planned["waiting"] > 0) == (2, True, True)
    assert door.send("admin", "POST", "/collection", {})["waiting"] == planned["waiting"]
    counted = ("manifests", "blobs", "freed_bytes")
    freed = door.world.run(run_collection(door.world.registry))
    assert [getattr(freed, name) for name in counted] == [planned[name] for name in counted], "no more and no less"
    waits = door.send("admin", "GET", "/collection")
    assert [waits[name] for name in counted] == [0, 0, 0]
    assert waits["after_grace"] == planned["after_grace"]
    assert waits["after_grace"]["blobs"] > 0
    collect(door)
    assert len(door.events("manifest.collected")) == planned["manifests"]
    told = door.send("admin", "GET", "/audit?kind=manifest.collected")["records"]
    assert {(record["actor"], record["method"]) for record in told} == {("registry", "system")}
    status = door.send("admin", "GET", "/collection/status")
    assert (status["running"], status["progress"], status["waiting"]) == (False, None, 0)
    assert [status["all"][name] for name in counted] == [
        planned[name] + planned["after_grace"][name] for name in counted
    ]
    assert sum(detail["manifests"] for _, _, detail in door.events("collection.ended")) == planned["manifests"]
    assert status["last"]["manifests"] <= status["all"]["manifests"]
    assert door.send("admin", "GET", "/collection")["waiting"] == 0
    assert keys(door) < before
    reader = door.world.client("carol")
    assert reader.request("GET", f"/v2/{PRIVATE}/manifests/keep").body == OLD.raw
    for content in OLD.blobs:
        assert reader.request("GET", f"/v2/{PRIVATE}/blobs/{digest_of(content)}").body == content


def test_a_running_collection_is_seen(door: Door) -> None:
    """How far it is, and how long that will take, before it has freed anything."""
    now = door.world.clock.now()

    async def begin(tx: Tx) -> None:
        await jobs.add_job(tx, COLLECT, "", {}, now)
        (job,) = await jobs.claim_jobs(tx, jobs.Claim("w", now, now + 9, 9, kind=COLLECT))
        await jobs.beat(tx, job.id, "w", '{"done":20,"total":80,"counts":{"blobs":3}}', now + 9)

    door.world.transact(begin)
    door.world.clock.advance(seconds=2)
    assert door.send("admin", "GET", "/collection/status") == {
        "running": True,
        "progress": {"done": 20, "total": 80, "counts": {"blobs": 3}, "seconds_left": 6},
        "waiting": 0,
        "last": None,
        "all": {"manifests": 0, "blobs": 0, "freed_bytes": 0},
    }


def test_an_audit_finds_what_no_pin_has_told(door: Door) -> None:
    """What nothing keeps and nobody let go, as after a repair by hand, goes after an audit."""
    door.world.clock.advance(days=40)
    collect(door)
    door.world.transact(lambda tx: tx.execute("delete from tag"))
    door.world.transact(lambda tx: tx.execute("delete from pin"))
    assert door.send("admin", "GET", "/collection")["manifests"] == 0
    door.send("admin", "POST", "/collection", {"audit": True})
    assert {row[0] for row in door.world.rows("select kind from job")} >= {AUDIT, COLLECT}
    door.world.run(schedule_recurring(door.world.registry))
    collect(door)
    collect(door)
    assert door.world.rows("select 1 from member") == []
    assert keys(door) == set()


def test_the_same_blob_elsewhere_keeps_its_bytes(door: Door) -> None:
    """What another repository knows is not planned as freed, and is not freed."""
    door.push("pub/app", OLD, "v1")
    door.world.run(schedule_recurring(door.world.registry))
    assert door.world.client("admin").request("DELETE", f"/v2/{PRIVATE}/manifests/{OLD.digest}").status == 202
    door.world.clock.advance(days=40)
    collect(door)
    for content in OLD.blobs:
        assert door.world.client("carol").request("GET", f"/v2/pub/app/blobs/{digest_of(content)}").body == content


def test_tags_without_history_leave_their_manifests_to_the_collector(door: Door) -> None:
    """Where no history is kept, a moved tag queues what it leaves."""
    rules = door.world.registry.rules
    object.__setattr__(door.world.registry, "rules", type(rules)(history_digests=0))
    door.send("alice", "DELETE", f"/repositories/{PRIVATE}/tags/latest")
    reasons = {row[0] for row in door.world.rows("select reason from pin where reason = 'review'")}
    assert reasons == {"review"}
