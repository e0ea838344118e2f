"""The collector by itself: what no story through the door happens to reach."""

from __future__ import annotations

from typing import TypeVar

import pytest

from entrepot.core.collect import BATCH, Collected, audit, collect_batch, find_runs, plan, run_collection
from entrepot.core.pull import get_blob, promise_blob
from entrepot.core.registry import Rules
from entrepot.core.trash import restore
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import BlobUnknown, Unavailable
from entrepot.domain.names import RepositoryName
from entrepot.ports.database import Database, Work
from tests.support.images import Image, artifact, image, index
from tests.support.world import World, push_blob, put_manifest

T = TypeVar("T")
NAME = "priv/app"
SIGNATURE = "application/vnd.example.signature"


def push(world: World, *pushed: object) -> None:
    """Loose blobs."""
    for content in pushed:
        push_blob(world.client("alice"), NAME, str(content).encode())


def test_a_run_ends_with_the_queue_or_with_its_time(world: World) -> None:
    """More than a batch is one run, and a run without time leaves everything to the next one."""
    push(world, *range(BATCH + 5))
    world.clock.advance(days=2)
    assert world.run(run_collection(world.registry, 0)).blobs == 0
    assert world.run(run_collection(world.registry)).blobs == BATCH + 5
    assert world.rows("select 1 from blob") == []


def test_what_hangs_together_goes_together(world: World) -> None:
    """Two images that share a layer, the index over both and a signature, none of them under a tag."""
    client = world.client("alice")
    images = [image([b"shared", bytes([number])]) for number in range(2)]
    over = index(images)
    for pushed in (*images, over, artifact(images[0], "application/vnd.example.signature")):
        for content in pushed.blobs:
            push_blob(client, NAME, content)
        assert put_manifest(client, NAME, pushed, pushed.digest).status == 201
        world.clock.advance(days=0.5)
    world.clock.advance(days=11.9)
    push_blob(client, NAME, b"shared")
    # The signature is still kept by itself when what it signs goes.
    world.clock.advance(days=1.3)
    total = []
    for _ in range(30):
        total.append(world.run(run_collection(world.registry)).manifests)
        world.clock.advance(seconds=3700)
    assert sum(total) == 4
    assert world.rows("select 1 from member") == world.rows("select 1 from edge") == []


def test_a_blob_that_lies_nowhere_is_forgotten(world: World) -> None:
    """Rows that a repair by hand has left half are no reason to stop."""
    push(world, "half")
    world.transact(lambda tx: tx.execute("delete from location"))
    world.clock.advance(days=2)
    assert world.run(run_collection(world.registry)).blobs == 1
    assert world.rows("select 1 from job where kind = 'store.discard'") == []


def test_what_a_client_was_told_is_there_stays(world: World) -> None:
    """HEAD 200 of a blob that only a collected manifest had kept is a promise for a day, as it is for an upload."""
    client, pushed = world.client("alice"), image([b"promised"])
    for content in pushed.blobs:
        push_blob(client, NAME, content)
    put_manifest(client, NAME, pushed, pushed.digest)
    world.clock.advance(days=15)
    world.run(run_collection(world.registry))
    world.clock.advance(seconds=3590)
    for content in pushed.blobs:
        assert client.request("HEAD", f"/v2/{NAME}/blobs/{digest_of(content)}").status == 200
    world.clock.advance(seconds=60)
    world.run(run_collection(world.registry))
    assert put_manifest(client, NAME, pushed, "v1").status == 201


def test_a_promise_comes_too_late(world: World) -> None:
    """A blob that is forgotten between the look and the promise is not there, and no pin is left of it."""
    client, content = world.client("alice"), b"late"
    push_blob(client, NAME, content)
    name, digest = RepositoryName(NAME), digest_of(content)
    found = world.run(get_blob(world.registry, name, digest, with_pin=True))
    world.clock.advance(days=2)
    world.run(run_collection(world.registry))
    with pytest.raises(BlobUnknown):
        world.run(promise_blob(world.registry, name, found))
    assert world.rows("select 1 from pin") == []


def test_a_signature_of_what_is_not_there_goes_with_its_index(world: World) -> None:
    """A sparse index keeps the referrers of a child that was never pushed, and lets go of them."""
    client, child = world.client("alice"), image([b"never pushed"])
    over, signature = index([child]), artifact(child, "application/vnd.example.signature")
    for content in signature.blobs:
        push_blob(client, NAME, content)
    assert put_manifest(client, NAME, signature, signature.digest).status == 201
    assert put_manifest(client, NAME, over, "v1").status == 201
    world.clock.advance(days=30)
    world.run(run_collection(world.registry))
    assert client.request("HEAD", f"/v2/{NAME}/manifests/{signature.digest}").status == 200
    assert client.request("DELETE", f"/v2/{NAME}/manifests/v1").status == 202
    world.clock.advance(days=31)
    for _ in range(4):
        world.run(run_collection(world.registry))
        world.clock.advance(seconds=3700)
    assert world.rows("select 1 from member") == []


def attach(world: World, subject: Image, *tags: str) -> Image:
    """A signature, by digest or under a tag."""
    return world.push(NAME, artifact(subject, SIGNATURE), *tags, user="alice")


def is_there(world: World, *pushed: Image) -> list[bool]:
    """Which of these clients see."""
    client = world.client("alice")
    return [client.request("HEAD", f"/v2/{NAME}/manifests/{each.digest}").status == 200 for each in pushed]


def collect(world: World, days: float = 0) -> None:
    """Time passes, and the collector does what it can."""
    world.clock.advance(days=days)
    world.run(run_collection(world.registry))


def test_what_is_attached_goes_after_its_subject(world: World) -> None:
    """It needs no pin of its own: it is there with its subject, in the trash and out of it again, and goes after it."""
    signed = world.push(NAME, image([b"signed"]), "v1", user="alice")
    signature = attach(world, signed)
    assert world.rows("select 1 from pin where reason = 'untagged'") == []
    delete = f"/v2/{NAME}/manifests/{signed.digest}"
    collect(world, days=60)
    assert world.client("alice").request("DELETE", delete).status == 202
    collect(world, days=world.rules.trash_days - 0.1)
    assert is_there(world, signed, signature) == [False, True]
    world.run(restore(world.registry, world.caller("alice"), RepositoryName(NAME), signed.digest))
    collect(world, days=60)
    assert is_there(world, signed, signature) == [True, True]
    assert world.client("alice").request("DELETE", delete).status == 202
    collect(world, days=world.rules.trash_days + 0.1)
    assert is_there(world, signature) == [True], "whoever was just told of it has the grace window"
    collect(world, days=0.1)
    assert is_there(world, signature) == [False]
    listed = world.client("alice").request("GET", f"/v2/{NAME}/referrers/{signed.digest}")
    assert listed.json["manifests"] == []
    collect(world, days=2)
    assert world.rows("select 1 from member") == []


def test_what_is_attached_to_the_attached_goes_one_after_the_other(world: World) -> None:
    """An untagged image keeps its SBOM, and this one its signature, for the days of the image and no longer."""
    signed = world.push(NAME, image([b"signed"]), user="alice")
    sbom = attach(world, signed)
    collect(world, days=13)
    signature = attach(world, sbom)
    assert is_there(world, signed, sbom, signature) == [True, True, True]
    seen = []
    collect(world, days=1.1)
    for _ in range(3):
        seen.append(is_there(world, signed, sbom, signature))
        collect(world, days=0.05)
    assert seen == [[False, True, True], [False, False, True], [False, False, False]]


def test_what_is_not_there_is_no_link_to_what_is(world: World) -> None:
    """A signature of an SBOM that has gone here goes as well, though the image of both has come back, as elsewhere."""
    signed = world.push(NAME, image([b"signed"]), user="alice")
    sbom = attach(world, signed)
    world.push("priv/other", signed, "v1", user="alice")
    world.push("priv/other", sbom, user="alice")
    signature = attach(world, sbom)
    collect(world, days=14.1)
    collect(world, days=0.05)
    world.push(NAME, signed, user="alice")
    collect(world, days=0.05)
    assert is_there(world, signed, sbom, signature) == [True, False, False]


def test_what_is_attached_and_tagged_stays(world: World) -> None:
    """A tag keeps it whatever becomes of its subject; what is attached to it stays with it."""
    signed = world.push(NAME, image([b"signed"]), "v1", user="alice")
    signature = attach(world, signed, "signature")
    above = attach(world, signature)
    world.client("alice").request("DELETE", f"/v2/{NAME}/manifests/{signed.digest}")
    for _ in range(4):
        collect(world, days=10)
    assert is_there(world, signed, signature, above) == [False, True, True]


def test_what_is_attached_to_nothing_is_untagged(world: World) -> None:
    """Where the subject is not there, or lies in the trash, a referrer is kept for the days of its namespace."""
    signed, missing = image([b"signed"]), attach(world, image([b"never pushed"]))
    world.push(NAME, signed, "v1", user="alice")
    world.client("alice").request("DELETE", f"/v2/{NAME}/manifests/{signed.digest}")
    late = attach(world, signed)
    pinned = {row[0] for row in world.rows("select digest from pin where reason = 'untagged'")}
    assert pinned == {missing.digest, late.digest}
    collect(world, days=13)
    assert is_there(world, missing, late) == [True, True]
    for _ in range(3):
        collect(world, days=1)
    assert is_there(world, missing, late) == [False, False]


def test_a_subject_never_loses_what_is_about_it(world: World) -> None:
    """An image that is wanted again within the grace window has its signature still, though nothing kept either."""
    signed = image([b"signed"])
    signature, over = attach(world, signed), index([signed])
    # The index, its manifest and the signature of that are all due at once, the signature first.
    world.push(NAME, over, user="alice")
    world.clock.advance(days=15)
    collect(world)
    assert is_there(world, over, signed, signature) == [False, True, True]
    world.push(NAME, signed, "again", user="alice")
    for _ in range(4):
        collect(world, days=1)
    assert is_there(world, signed, signature) == [True, True]


def test_without_a_grace_window_all_goes_at_once() -> None:
    """And is planned so: nothing waits."""
    with World(rules=Rules(grace_seconds=0)) as world:
        signed = world.push(NAME, image([b"signed"]), user="alice")
        attach(world, signed)
        world.push(NAME, index([signed]), user="alice")
        world.clock.advance(days=15)
        planned = world.run(plan(world.registry, world.caller("admin")))
        assert (planned.collected.manifests, planned.after_grace) == (3, Collected())
        assert world.run(run_collection(world.registry)) == planned.collected
        assert world.rows("select 1 from member") == []


def test_what_waits_for_its_grace_window_is_planned_as_such(world: World) -> None:
    """The index goes now; its image, the signature and the blobs after that, unless somebody wants them again."""
    signed = world.push(NAME, image([b"signed"]), user="alice")
    attach(world, signed)
    world.push(NAME, index([signed]), user="alice")
    world.clock.advance(days=15)
    admin = world.caller("admin")
    planned = world.run(plan(world.registry, admin))
    assert (planned.collected, planned.after_grace.manifests) == (Collected(manifests=1), 2)
    assert planned.after_grace.blobs == len({*signed.blobs, b"{}"})
    assert world.run(run_collection(world.registry)) == planned.collected
    again = world.run(plan(world.registry, admin))
    assert (again.collected, again.after_grace) == (Collected(), planned.after_grace)
    world.push(NAME, signed, "v1", user="alice")
    kept = world.run(plan(world.registry, admin))
    assert (kept.collected, kept.after_grace, kept.is_whole) == (Collected(), Collected(), True)


def test_what_is_too_much_at_once_is_done_in_parts() -> None:
    """A batch that the database does not take is halved; one pin alone that it does not take is an error."""
    failing: list[int] = []

    class Busy:
        """The port Database that refuses as often as it is told to."""

        def __init__(self, database: Database) -> None:
            self._database = database
            self.read, self.close = database.read, database.close

        async def transact(self, work: Work[T], **how: bool) -> T:
            if failing and failing.pop():
                raise Unavailable("this took too long")
            return await self._database.transact(work, **how)

    with World(wrap_database=Busy) as world:
        push(world, *range(BATCH))
        world.clock.advance(days=2)
        failing[:] = [1, 1]
        assert world.run(run_collection(world.registry)).blobs == BATCH
        failing[:] = [1] * 9
        with pytest.raises(Unavailable):
            world.run(run_collection(world.registry))
        failing.clear()


def test_what_is_freed_counts_at_once(world: World) -> None:
    """Also what a run freed that was broken off; the next run begins anew with what was freed last, not with all."""
    push(world, *range(2 * BATCH))
    assert world.transact(find_runs) is None
    world.clock.advance(days=2)
    began = world.clock.now()
    world.run(collect_batch(world.registry, BATCH, began))
    world.clock.advance(seconds=7)
    world.run(collect_batch(world.registry, 5, began))
    runs = world.transact(find_runs)
    assert runs is not None
    assert (runs.began_at, runs.ended_at, runs.last) == (began, world.clock.now(), runs.all)
    assert (runs.all.manifests, runs.all.blobs) == (0, BATCH + 5)
    world.run(run_collection(world.registry))
    runs = world.transact(find_runs)
    assert runs is not None
    assert (runs.began_at, runs.last.blobs, runs.all.blobs) == (world.clock.now(), BATCH - 5, 2 * BATCH)
    assert runs.all.freed_bytes == sum(len(str(number)) for number in range(2 * BATCH))


def test_a_deleted_manifest_is_kept_as_trash_and_no_longer(world: World) -> None:
    """What no rollback leads to is not kept as history."""
    client, pushed = world.client("alice"), image([b"deleted"])
    for content in pushed.blobs:
        push_blob(client, NAME, content)
    put_manifest(client, NAME, pushed, "v1")
    assert client.request("DELETE", f"/v2/{NAME}/manifests/{pushed.digest}").status == 202
    world.clock.advance(days=world.rules.trash_days + 0.1)
    for _ in range(3):
        world.run(run_collection(world.registry))
        world.clock.advance(seconds=3700)
    assert world.rows("select 1 from blob") == []


def test_what_keeps_each_other_goes(world: World) -> None:
    """An index over its own subject is no reason to keep either, also where no time passes between two looks."""
    client = world.client("alice")
    inner = index([])
    over = index([inner], subject=inner.describe())
    for pushed in (inner, over):
        assert put_manifest(client, NAME, pushed, pushed.digest).status == 201
        world.clock.advance(seconds=5)
    world.clock.advance(days=20)
    for _ in range(3):
        while world.run(collect_batch(world.registry, 1))[0]:
            pass
        world.clock.advance(seconds=3700)
    assert world.rows("select 1 from member") == []


def test_an_audit_of_what_is_all_kept_finds_nothing(world: World) -> None:
    """What a tag leads to is seen to be kept, and nothing is queued for a look."""
    client, pushed = world.client("alice"), image([b"kept"])
    for content in pushed.blobs:
        push_blob(client, NAME, content)
    put_manifest(client, NAME, pushed, "v1")
    world.transact(lambda tx: tx.execute("delete from pin"))
    assert world.run(audit(world.registry)) == 0
    assert world.rows("select 1 from pin") == []
