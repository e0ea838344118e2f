"""Tags: details, history, moves with compare-and-swap, deletion and rollback."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.core.audit import flush_audit
from tests.api.door import NEW, OLD, PRIVATE, Door, at, tag_at
from tests.support.images import image

THIRD = image((b"the third layer",))
ABSENT = "sha256:" + "0" * 64
LATEST = tag_at(PRIVATE)


def digest(door: Door, tag: str = "latest") -> str:
    """Where a tag points."""
    return str(door.send("alice", "GET", tag_at(PRIVATE, tag))["digest"])


def moves(door: Door) -> list[tuple[str | None, str | None, str, str]]:
    """(from, to, actor, via) of every move of `latest`, the newest first."""
    events = door.send("alice", "GET", f"{LATEST}/history")["events"]
    return [(event["from"], event["to"], event["actor"], event["via"]) for event in events]


def test_a_tag_tells_what_it_points_at(shared: Door) -> None:
    """A tag has the digest, media type and size of its manifest, alone and in the list."""
    tag = shared.send("carol", "GET", LATEST)
    assert (tag["name"], tag["digest"]) == ("latest", NEW.digest)
    assert (tag["media_type"], tag["size"], tag["generation"]) == (NEW.media_type, len(NEW.raw), 2)
    assert shared.send("carol", "GET", f"{at(PRIVATE)}/tags") == {"tags": [tag]}


def test_tags_come_by_pages(door: Door) -> None:
    """A page of tags links to the next one, in byte order."""
    door.push(PRIVATE, NEW, "B", "a")
    answer = door.ask("carol", "GET", f"{at(PRIVATE)}/tags?n=2")
    assert [tag["name"] for tag in answer.json["tags"]] == ["B", "a"]
    assert answer["link"] == f'</api/v1/repositories/{PRIVATE}/tags?n=2&last=a>; rel="next"'
    following = door.ask("carol", "GET", f"{at(PRIVATE)}/tags?n=2&last=a")
    assert [tag["name"] for tag in following.json["tags"]] == ["latest"]
    assert "link" not in following


def test_deleted_tags_are_listed(door: Door) -> None:
    """Those that a rollback brings back, by pages, with who deleted them and how long their manifests are kept."""
    door.push(PRIVATE, NEW, "a", "b")
    door.push(PRIVATE, OLD, "c")
    for name in ("b", "c", "latest"):
        door.send("alice", "DELETE", tag_at(PRIVATE, name))
    door.world.client("alice").request("DELETE", f"/v2/{PRIVATE}/manifests/{OLD.digest}")
    first = door.ask("carol", "GET", f"{at(PRIVATE)}/deleted-tags?n=1")
    following = door.send("carol", "GET", first["link"].partition("/api/v1")[2].partition(">")[0])
    (found,) = first.json["tags"]
    assert (found["name"], found["digest"], found["actor"], found["via"]) == ("b", NEW.digest, "alice", "api")
    assert found["until"] > found["deleted_at"]
    assert [each["name"] for each in following["tags"]] == ["latest"]
    door.world.clock.advance(days=door.world.rules.history_days)
    assert door.send("carol", "GET", f"{at(PRIVATE)}/deleted-tags")["tags"][0]["until"] is None
    door.send("alice", "POST", f"{tag_at(PRIVATE, 'b')}/rollback", {})
    assert digest(door, "b") == NEW.digest
    assert [each["name"] for each in door.send("carol", "GET", f"{at(PRIVATE)}/deleted-tags")["tags"]] == ["latest"]


def test_history_remembers_every_move(door: Door) -> None:
    """Pushes, moves, deletions and rollbacks are told with who did them and by which way, the newest first."""
    door.send("dora", "PUT", LATEST, {"digest": OLD.digest})
    door.send("alice", "DELETE", LATEST)
    door.send("dora", "POST", f"{LATEST}/rollback", {})
    assert moves(door) == [
        (None, OLD.digest, "dora", "rollback"),
        (OLD.digest, None, "alice", "api"),
        (NEW.digest, OLD.digest, "dora", "api"),
        (OLD.digest, NEW.digest, "admin", "oci"),
        (None, OLD.digest, "admin", "oci"),
    ]


def test_history_comes_by_pages(shared: Door) -> None:
    """A page of moves links to the one before it in time."""
    answer = shared.ask("carol", "GET", f"{LATEST}/history?n=1")
    last = answer.json["events"][0]["id"]
    assert answer["link"] == f'</api/v1/repositories/{PRIVATE}/tags/latest/history?n=1&last={last}>; rel="next"'
    following = shared.ask("carol", "GET", f"{LATEST}/history?n=1&last={last}")
    assert [event["from"] for event in following.json["events"]] == [None]
    assert "link" not in following
    assert shared.send("carol", "GET", f"{LATEST}/history?last=1") == {"events": []}


def test_history_says_what_can_be_restored(door: Door) -> None:
    """A digest that was deleted from the repository is not offered any more."""
    assert door.send("carol", "GET", f"{LATEST}/history")["events"][0]["restorable"] is True
    answer = door.world.client("alice").request("DELETE", f"/v2/{PRIVATE}/manifests/{OLD.digest}")
    assert answer.status == 202
    assert door.send("carol", "GET", f"{LATEST}/history")["events"][0]["restorable"] is False


@pytest.mark.parametrize(
    ("tag", "expected", "status"),
    [
        ("latest", NEW.digest, 200),
        ("latest", OLD.digest, 412),
        ("latest", None, 412),
        ("stable", None, 200),
        ("stable", NEW.digest, 412),
    ],
)
def test_a_move_happens_where_it_is_expected(door: Door, tag: str, expected: str | None, status: int) -> None:
    """A tag moves only from where the caller expects it; a refusal says where it stands and changes nothing."""
    answer = door.ask("dora", "PUT", tag_at(PRIVATE, tag), {"digest": OLD.digest, "expected": expected})
    assert answer.status == status
    if status == 200:
        assert digest(door, tag) == OLD.digest
        return
    assert answer.code == "PRECONDITION_FAILED"
    assert answer.json["errors"][0]["detail"]["found"] == (NEW.digest if tag == "latest" else None)
    assert digest(door) == NEW.digest


def test_one_of_two_racing_moves_wins(door: Door) -> None:
    """Of two moves that expect the same state, the second is refused."""
    change = {"digest": OLD.digest, "expected": NEW.digest}
    assert [door.ask("dora", "PUT", LATEST, change).status for _ in range(2)] == [200, 412]


def test_a_move_to_the_same_place_is_no_event(door: Door) -> None:
    """Pointing a tag where it points leaves its history alone."""
    before = moves(door)
    assert door.send("dora", "PUT", LATEST, {"digest": NEW.digest})["generation"] == 2
    assert moves(door) == before


def test_a_moved_tag_keeps_what_it_left(door: Door) -> None:
    """The digest that a tag left is pinned as its history."""
    door.send("dora", "PUT", LATEST, {"digest": OLD.digest})
    pinned = door.world.rows("select holder from pin where digest = $1 and reason = 'history'", NEW.digest)
    assert pinned == [("latest",)]
    assert door.events("tag.moved")[-1] == (
        "dora",
        PRIVATE,
        {"tag": "latest", "from": NEW.digest, "to": OLD.digest, "via": "api"},
    )


@pytest.mark.parametrize(
    ("path", "document", "status", "code"),
    [
        (LATEST, {"digest": ABSENT}, 409, "UNMET"),
        (LATEST, {"digest": "sha256:short"}, 400, "DIGEST_INVALID"),
        (LATEST, {"digest": "md5:" + "0" * 32}, 400, "DIGEST_INVALID"),
        (LATEST, {"digest": NEW.digest, "expected": "latest"}, 400, "DIGEST_INVALID"),
        (LATEST, {}, 400, "REQUEST_INVALID"),
        (tag_at(PRIVATE, ".x"), {"digest": NEW.digest}, 400, "TAG_INVALID"),
        (tag_at(PRIVATE, "a%2Fb"), {"digest": NEW.digest}, 400, "TAG_INVALID"),
        (tag_at("priv/none"), {"digest": NEW.digest}, 404, "NAME_UNKNOWN"),
    ],
)
def test_moves_that_cannot_be(shared: Door, path: str, document: Any, status: int, code: str) -> None:
    """Unknown manifests, repositories and illegal digests and tags are refused."""
    answer = shared.ask("admin", "PUT", path, document)
    assert (answer.status, answer.code) == (status, code)


def test_an_owner_deletes_a_tag(door: Door) -> None:
    """A deleted tag is gone, its manifest and history stay."""
    assert door.ask("dora", "DELETE", LATEST).status == 403
    assert door.ask("alice", "DELETE", LATEST).status == 204
    assert door.ask("alice", "GET", LATEST).code == "MANIFEST_UNKNOWN"
    assert door.ask("alice", "DELETE", LATEST).code == "MANIFEST_UNKNOWN"
    assert door.world.client("alice").request("GET", f"/v2/{PRIVATE}/manifests/{NEW.digest}").status == 200
    assert len(moves(door)) == 3
    assert door.events("tag.deleted")[-1][:2] == ("alice", PRIVATE)


def test_a_deletion_happens_where_it_is_expected(door: Door) -> None:
    """With `expected`, a tag is deleted only where it stands there."""
    assert door.ask("alice", "DELETE", f"{LATEST}?expected={OLD.digest}").status == 412
    assert door.ask("alice", "DELETE", f"{LATEST}?expected={NEW.digest}").status == 204


def test_a_rollback_goes_back_and_forth(door: Door) -> None:
    """Without a digest, a rollback undoes the last move, a rollback included."""
    assert door.send("dora", "POST", f"{LATEST}/rollback", {})["digest"] == OLD.digest
    assert door.send("dora", "POST", f"{LATEST}/rollback", {})["digest"] == NEW.digest


def test_a_rollback_reaches_far_back(door: Door) -> None:
    """Any digest of the history that is still there can be gone back to; the present one is no move."""
    door.push(PRIVATE, THIRD, "latest")
    assert door.send("dora", "POST", f"{LATEST}/rollback", {"digest": OLD.digest})["digest"] == OLD.digest
    before = moves(door)
    assert door.send("dora", "POST", f"{LATEST}/rollback", {"digest": OLD.digest})["digest"] == OLD.digest
    assert moves(door) == before


def test_a_rollback_passes_over_what_is_gone(door: Door) -> None:
    """A former digest that was deleted is skipped, and refused if it is asked for."""
    door.push(PRIVATE, THIRD, "latest")
    assert door.world.client("alice").request("DELETE", f"/v2/{PRIVATE}/manifests/{NEW.digest}").status == 202
    assert door.ask("dora", "POST", f"{LATEST}/rollback", {"digest": NEW.digest}).code == "UNMET"
    assert door.send("dora", "POST", f"{LATEST}/rollback", {})["digest"] == OLD.digest


@pytest.mark.parametrize(
    ("tag", "document", "status", "code"),
    [
        ("latest", {"digest": ABSENT}, 409, "CONFLICT"),
        ("latest", {"expected": OLD.digest}, 412, "PRECONDITION_FAILED"),
        ("never", {}, 404, "MANIFEST_UNKNOWN"),
        ("once", {}, 409, "CONFLICT"),
    ],
)
def test_rollbacks_that_cannot_be(door: Door, tag: str, document: Any, status: int, code: str) -> None:
    """A tag goes back to its own history only, if there is any, and if it stands where the caller expects it."""
    door.push(PRIVATE, NEW, "once")
    answer = door.ask("dora", "POST", f"{tag_at(PRIVATE, tag)}/rollback", document)
    assert (answer.status, answer.code) == (status, code)


def test_a_tag_that_never_was_has_no_history(shared: Door) -> None:
    """The history of an unknown tag, or of a tag of an unknown repository, is 404."""
    assert shared.ask("carol", "GET", f"{tag_at(PRIVATE, 'never')}/history").code == "MANIFEST_UNKNOWN"
    assert shared.ask("carol", "GET", f"{tag_at('priv/none')}/history").code == "NAME_UNKNOWN"
    assert shared.ask("carol", "GET", f"{at('priv/none')}/tags").code == "NAME_UNKNOWN"


@pytest.mark.parametrize("user", ["", "carol"])
def test_names_that_no_tag_has(shared: Door, user: str) -> None:
    """They are refused as such before anybody is asked about, and are in no log: a database may not take them."""
    answer = shared.ask(user, "GET", tag_at(PRIVATE, "a%00b"))
    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    shared.world.run(flush_audit(shared.world.registry, is_last=True))
    assert not any("\0" in row[0] for row in shared.world.rows("select subject from audit"))


def test_a_token_moves_what_its_scope_covers(door: Door) -> None:
    """A token for pushing moves a tag; one for pulling is told which scope to ask for."""
    body = b'{"digest": "%s"}' % OLD.digest.encode()
    puller = door.client(token=door.world.token("dora", f"repository:{PRIVATE}:pull"))
    answer = puller.request("PUT", f"/api/v1{LATEST}", body, content_type="application/json")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert f'scope="repository:{PRIVATE}:pull,push"' in answer["www-authenticate"]
    assert 'error="insufficient_scope"' in answer["www-authenticate"]
    pusher = door.client(token=door.world.token("dora", f"repository:{PRIVATE}:pull,push"))
    assert pusher.request("PUT", f"/api/v1{LATEST}", body, content_type="application/json").status == 200


@pytest.mark.parametrize(("action", "statuses"), [("tag.create", (200, 403)), ("tag.move", (403, 200))])
def test_making_and_moving_are_two(door: Door, action: str, statuses: tuple[int, int]) -> None:
    """Whoever may make tags makes them and moves none; whoever may move them makes none."""
    door.send("alice", "POST", "/grants", {"subject": "user:bob", "resource": PRIVATE, "actions": ["pull", action]})
    new = door.ask("bob", "PUT", tag_at(PRIVATE, "fresh"), {"digest": NEW.digest})
    moved = door.ask("bob", "PUT", LATEST, {"digest": OLD.digest})
    assert (new.status, moved.status) == statuses
