"""The collector by itself: what no story through the door happens to reach."""

from __future__ import annotations

from entrepot.core.collect import BATCH, run_collection
from tests.support.images import artifact, image, index
from tests.support.world import World, push_blob, put_manifest

NAME = "priv/app"


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
