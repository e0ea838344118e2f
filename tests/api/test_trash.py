"""What was deleted, seen from the management API: `/repositories/…/trash`, and brought back."""

from __future__ import annotations

from entrepot.core.collect import run_collection
from entrepot.domain.digests import digest_of
from tests.api.door import NEW, OLD, PRIVATE, Door, at
from tests.support.world import push_blob

TRASH, RESTORE = f"{at(PRIVATE)}/trash", f"{at(PRIVATE)}/restore"


def delete(door: Door, reference: str, kind: str = "manifests") -> None:
    """Delete as a container client does."""
    assert door.world.client("alice").request("DELETE", f"/v2/{PRIVATE}/{kind}/{reference}").status == 202


def collect(door: Door) -> None:
    """Let the collector do all that it can."""
    for _ in range(4):
        door.world.run(run_collection(door.world.registry))
        door.world.clock.advance(seconds=3700)


def test_a_deleted_manifest_comes_back_with_its_tags(door: Door) -> None:
    """It is listed with what went with it, and afterwards pulls by digest and by tag as if nothing had happened."""
    door.send("alice", "PUT", f"{at(PRIVATE)}/tags/v2", {"digest": NEW.digest})
    delete(door, NEW.digest)
    (found,) = door.send("alice", "GET", TRASH)["trash"]
    assert (found["digest"], found["kind"], found["tags"]) == (NEW.digest, "manifest", ["latest", "v2"])
    assert (found["media_type"], found["size"]) == (NEW.media_type, len(NEW.raw))
    door.world.clock.advance(days=6)
    collect(door)
    restored = door.send("alice", "POST", RESTORE, {"digest": NEW.digest})
    assert restored == {"digest": NEW.digest, "kinds": ["manifest"], "tags": ["latest", "v2"]}
    assert door.send("alice", "GET", TRASH)["trash"] == []
    door.world.clock.advance(days=60)
    collect(door)
    reader = door.world.client("carol")
    for reference in ("latest", "v2", NEW.digest):
        assert reader.request("GET", f"/v2/{PRIVATE}/manifests/{reference}").body == NEW.raw
    for content in NEW.blobs:
        assert reader.request("GET", f"/v2/{PRIVATE}/blobs/{digest_of(content)}").body == content
    ((actor, subject, detail),) = door.events("manifest.restored")
    assert (actor, subject, detail["tags"]) == ("alice", PRIVATE, ["latest", "v2"])
    moves = door.send("alice", "GET", f"{at(PRIVATE)}/tags/v2/history")["events"]
    assert [(move["from"], move["to"], move["via"]) for move in moves[:2]] == [
        (None, NEW.digest, "restore"),
        (NEW.digest, None, "oci"),
    ]


def test_a_tag_that_points_elsewhere_by_now_stays_there(door: Door) -> None:
    """Only what points nowhere is pointed again; without any tag the manifest is kept as untagged."""
    delete(door, NEW.digest)
    door.send("alice", "PUT", f"{at(PRIVATE)}/tags/latest", {"digest": OLD.digest})
    assert door.send("alice", "POST", RESTORE, {"digest": NEW.digest})["tags"] == []
    assert door.send("alice", "GET", f"{at(PRIVATE)}/tags/latest")["digest"] == OLD.digest
    door.world.clock.advance(days=13)
    collect(door)
    assert door.world.client("carol").request("GET", f"/v2/{PRIVATE}/manifests/{NEW.digest}").body == NEW.raw


def test_the_trash_ends(door: Door) -> None:
    """After its time a deleted manifest is neither listed nor brought back, collected already or not."""
    delete(door, NEW.digest)
    door.world.clock.advance(days=door.world.rules.trash_days)
    assert door.send("alice", "GET", TRASH)["trash"] == []
    answer = door.ask("alice", "POST", RESTORE, {"digest": NEW.digest})
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


def test_what_was_never_deleted_is_not_in_the_trash(door: Door) -> None:
    """A live manifest, and one that is not there at all."""
    for digest in (NEW.digest, digest_of(b"never")):
        assert door.ask("alice", "POST", RESTORE, {"digest": str(digest)}).status == 404


def test_a_deleted_blob_comes_back(door: Door) -> None:
    """It is kept as one that was pushed a moment ago; the trash is listed by pages."""
    client = door.world.client("alice")
    digests = []
    for content in (b"loose", b"looser"):
        push_blob(client, PRIVATE, content)
        digests.append(str(digest_of(content)))
        delete(door, digests[-1], "blobs")
    first = door.ask("alice", "GET", f"{TRASH}?n=1")
    following = door.send("alice", "GET", first["link"].partition("/api/v1")[2].partition(">")[0])
    found = [*first.json["trash"], *following["trash"]]
    assert [each["digest"] for each in found] == sorted(digests)
    assert {(each["kind"], each["media_type"]) for each in found} == {("blob", "")}
    assert door.send("alice", "POST", RESTORE, {"digest": digests[0]})["kinds"] == ["blob"]
    assert client.request("GET", f"/v2/{PRIVATE}/blobs/{digests[0]}").body == b"loose"
    assert len(door.events("blob.restored")) == 1
    door.world.clock.advance(days=0.5)
    collect(door)
    assert client.request("GET", f"/v2/{PRIVATE}/blobs/{digests[0]}").status == 200


def test_whoever_may_not_make_the_tag_restores_nothing(door: Door) -> None:
    """A tag that somebody else protects is not pointed through the trash, and all stays as it was."""
    delete(door, NEW.digest)
    door.send("alice", "PUT", f"{at(PRIVATE)}/members/bob", {"role": "maintainer"})
    door.send(
        "alice",
        "POST",
        "/grants",
        {"subject": "user:bob", "effect": "deny", "actions": ["tag.create"], "resource": PRIVATE, "tags": "latest"},
    )
    assert door.ask("bob", "POST", RESTORE, {"digest": NEW.digest}).status == 403
    assert [each["digest"] for each in door.send("alice", "GET", TRASH)["trash"]] == [NEW.digest]
