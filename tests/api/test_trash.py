"""What was deleted, seen from the management API: `/repositories/…/trash`, and brought back."""

from __future__ import annotations

import json

import pytest

from entrepot.core import whole
from entrepot.core.collect import run_collection
from entrepot.domain.digests import digest_of
from tests.api.door import NEW, OLD, PRIVATE, Door, at
from tests.support.images import Image, describe, image, index
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
    assert restored == {"digest": NEW.digest, "kinds": ["manifest"], "tags": ["latest", "v2"], "contents": []}
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


DEEP = image((b"deep layer",), config=b'{"os":"plan9"}')
INNER = index([DEEP])
OUTER = index([INNER, NEW])


def pull_whole(door: Door, pushed: Image, reference: str) -> None:
    """What a client asks for when it pulls all of an image."""
    client = door.world.client("alice")
    assert client.request("GET", f"/v2/{PRIVATE}/manifests/{reference}").body == pushed.raw
    for content in pushed.blobs:
        assert client.request("GET", f"/v2/{PRIVATE}/blobs/{digest_of(content)}").body == content
    for child in pushed.children:
        pull_whole(door, child, child.digest)


def test_an_image_comes_back_with_its_deleted_layers(door: Door) -> None:
    """Its config and layers, which nothing kept from being deleted after it, are there again and no longer trash."""
    delete(door, NEW.digest)
    digests = sorted(str(digest_of(content)) for content in (b"the second layer",))
    for digest in digests:
        delete(door, digest, "blobs")
    restored = door.send("alice", "POST", RESTORE, {"digest": NEW.digest})
    assert (restored["tags"], sorted(restored["contents"])) == (["latest"], digests)
    pull_whole(door, NEW, "latest")
    assert door.send("alice", "GET", TRASH)["trash"] == []
    ((_, _, detail),) = door.events("blob.restored")
    assert detail == {"digest": digests[0], "tags": [], "with": NEW.digest}
    door.world.clock.advance(days=60)
    collect(door)
    pull_whole(door, NEW, "latest")


def test_an_index_comes_back_with_all_below_it(door: Door) -> None:
    """Children that were deleted by themselves, their children, and the layers of these."""
    for pushed in (DEEP, INNER, OUTER):
        door.push(PRIVATE, pushed, "all" if pushed is OUTER else pushed.digest)
    for pushed in (OUTER, INNER, DEEP):
        delete(door, pushed.digest)
    for content in DEEP.blobs:
        delete(door, str(digest_of(content)), "blobs")
    restored = door.send("alice", "POST", RESTORE, {"digest": OUTER.digest})
    assert len(restored["contents"]) == 2 + len(DEEP.blobs)
    pull_whole(door, OUTER, "all")


def test_what_its_window_has_left_behind_still_comes_back(door: Door) -> None:
    """A child that was deleted before its index is kept as long as that is, and comes back with it."""
    for pushed in (DEEP, INNER):
        door.push(PRIVATE, pushed, "all" if pushed is INNER else pushed.digest)
    delete(door, DEEP.digest)
    door.world.clock.advance(days=5)
    delete(door, INNER.digest)
    for content in DEEP.blobs:
        delete(door, str(digest_of(content)), "blobs")
    door.world.clock.advance(days=5)
    collect(door)
    assert DEEP.digest not in [each["digest"] for each in door.send("alice", "GET", TRASH)["trash"]]
    door.send("alice", "POST", RESTORE, {"digest": INNER.digest})
    pull_whole(door, INNER, "all")


def test_a_child_that_never_was_there_stays_away(door: Door) -> None:
    """An index may lack children, and a layer that is not distributed its bytes: such things come back as they were."""
    document = json.loads(NEW.raw)
    document["layers"].append(describe(b"foreign", "application/vnd.oci.image.layer.nondistributable.v1.tar"))
    pushed = Image(json.dumps(document).encode(), NEW.media_type, NEW.blobs)
    door.push(PRIVATE, pushed, "windows")
    lists = index([pushed, image((b"never",))])
    door.push(PRIVATE, Image(lists.raw, lists.media_type), "sparse")
    delete(door, lists.digest)
    delete(door, pushed.digest)
    restored = door.send("alice", "POST", RESTORE, {"digest": lists.digest})
    assert restored["contents"] == [pushed.digest]


def test_a_layer_comes_back_as_a_layer_only(door: Door) -> None:
    """A manifest whose bytes are a layer of another image stays deleted when that image comes back."""
    around = image((NEW.raw,))
    door.push(PRIVATE, around, "around")
    for digest in (around.digest, NEW.digest):
        delete(door, digest)
    delete(door, NEW.digest, "blobs")
    assert door.send("alice", "POST", RESTORE, {"digest": around.digest})["contents"] == [NEW.digest]
    pull_whole(door, around, "around")
    assert door.world.client("alice").request("GET", f"/v2/{PRIVATE}/manifests/{NEW.digest}").status == 404


def test_cache_manifests_that_list_blobs_come_back(door: Door) -> None:
    """An index may list blobs, as the cache of BuildKit does."""
    client = door.world.client("alice")
    push_blob(client, PRIVATE, b"cached")
    lists = index([Image(b"cached", "application/vnd.buildkit.cacheconfig.v0")])
    door.push(PRIVATE, Image(lists.raw, lists.media_type), "cache")
    delete(door, lists.digest)
    delete(door, str(digest_of(b"cached")), "blobs")
    door.send("alice", "POST", RESTORE, {"digest": lists.digest})
    assert client.request("GET", f"/v2/{PRIVATE}/blobs/{digest_of(b'cached')}").body == b"cached"


def test_what_cannot_come_back_whole_does_not_come_back(door: Door) -> None:
    """Whatever is gone is named, nothing of the rest is there, and it can be tried again after a new push."""
    door.push(PRIVATE, DEEP, DEEP.digest)
    door.push(PRIVATE, INNER, "all")
    for digest in (INNER.digest, DEEP.digest):
        delete(door, digest)
    lost = digest_of(b"deep layer")
    delete(door, str(lost), "blobs")
    door.world.transact(lambda tx: tx.execute("update blob set state = 'damaged' where digest = $1", lost))
    for digest in (INNER.digest, DEEP.digest, lost):
        answer = door.ask("alice", "POST", RESTORE, {"digest": digest})
        assert (answer.status, answer.code) == (409, "CONFLICT")
        problem = answer.json["errors"][0]
        assert lost in problem["message"]
        assert "push" in problem["message"]
        assert problem["detail"]["digests"] == [lost]
    assert len(door.send("alice", "GET", TRASH)["trash"]) == 3
    assert door.world.client("alice").request("GET", f"/v2/{PRIVATE}/manifests/all").status == 404
    push_blob(door.world.client("alice"), PRIVATE, b"deep layer")
    door.send("alice", "POST", RESTORE, {"digest": INNER.digest})
    pull_whole(door, INNER, "all")


def test_much_that_is_gone_is_counted(door: Door) -> None:
    """A manifest that is gone, or more blobs than are worth naming."""
    delete(door, NEW.digest)
    door.world.transact(lambda tx: tx.execute("delete from member where kind = 'blob'"))
    many = image([b"%d" % number for number in range(4)])
    door.push(PRIVATE, many, "many")
    delete(door, many.digest)
    door.world.transact(lambda tx: tx.execute("update blob set state = 'damaged'"))
    answer = door.ask("alice", "POST", RESTORE, {"digest": many.digest})
    assert "and 2 more" in answer.json["errors"][0]["message"]
    door.world.transact(lambda tx: tx.execute("delete from manifest where digest = $1", NEW.digest))
    answer = door.ask("alice", "POST", RESTORE, {"digest": NEW.digest})
    assert answer.json["errors"][0]["detail"]["digests"] == [NEW.digest]


def test_what_cannot_be_read_any_more_comes_back_by_its_edges(door: Door) -> None:
    """A manifest of another version's rules: what the graph says that it names."""
    delete(door, NEW.digest)
    layer = str(digest_of(b"the second layer"))
    delete(door, layer, "blobs")
    door.world.transact(lambda tx: tx.execute("update manifest set raw = $1 where digest = $2", b"{}", NEW.digest))
    assert door.send("alice", "POST", RESTORE, {"digest": NEW.digest})["contents"] == [layer]


def test_a_restore_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to too much is to be pushed again."""
    delete(door, NEW.digest)
    monkeypatch.setattr(whole, "MOST", 1)
    answer = door.ask("alice", "POST", RESTORE, {"digest": NEW.digest})
    assert (answer.status, "push it again" in answer.json["errors"][0]["message"]) == (409, True)
