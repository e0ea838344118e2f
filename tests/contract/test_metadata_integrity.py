"""Rows about the soundness of bytes, over every engine."""

from __future__ import annotations

import msgspec

from entrepot.domain.manifest import parse_manifest
from entrepot.domain.media_types import IMAGE_INDEX, IMAGE_MANIFEST
from entrepot.domain.names import Tag
from entrepot.metadata import blobs, integrity, manifests, repositories, tags
from entrepot.metadata.integrity import DamagedBlob, DueBlob, Scrubbed
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece
from tests.contract.engines import Held
from tests.contract.rows import APP, NOW, OTHER, add_repository, digest


def test_what_is_due_comes_oldest_first(held: Held) -> None:
    """A push is a verification; pages go on behind (time, digest), and what was verified later is not due."""
    assert held.read(integrity.find_oldest) is None
    ones = [digest(number) for number in range(4)]
    for number, each in enumerate(ones):
        pieces = [Piece(str(number), number)]
        held.transact(lambda tx, each=each, pieces=pieces, at=NOW + number: blobs.add_blob(tx, each, pieces, at))
    assert held.read(integrity.find_oldest) == NOW
    assert held.read(integrity.count_locations) == 4
    held.transact(lambda tx: integrity.set_verified(tx, [ones[0]], NOW + 9))
    held.execute("update blob set verified_at = 0 where digest = $1", ones[3])
    due = held.read(lambda tx: integrity.list_due(tx, (-1, ""), NOW + 9, 2))
    assert due == [DueBlob(ones[3], 3, 0), DueBlob(ones[1], 1, NOW + 1)]
    rest = held.read(lambda tx: integrity.list_due(tx, (due[-1].verified_at, due[-1].digest), NOW + 9, 2))
    assert rest == [DueBlob(ones[2], 2, NOW + 2)]
    assert held.read(lambda tx: integrity.count_due(tx, NOW + 9, 9)) == 3
    assert held.read(lambda tx: integrity.count_due(tx, NOW + 9, 2)) == 2
    # Never read since it was pushed, by a version that did not tell.
    assert held.read(integrity.find_oldest) == NOW + 3


def test_sound_blobs_are_taken_from_both_ends(held: Held) -> None:
    """Verified last and the longest ago, each once, without the one asked for, empty ones and those out of service."""
    ones = [digest(number) for number in range(7)]
    for number, each in enumerate(ones):
        pieces = [Piece(str(number), number % 6)]
        held.transact(lambda tx, each=each, pieces=pieces, at=NOW + number: blobs.add_blob(tx, each, pieces, at))
    held.transact(lambda tx: blobs.set_damaged(tx, ones[5]))
    assert held.read(lambda tx: integrity.list_sound(tx, ones[4], 1)) == [ones[3], ones[1]]
    assert held.read(lambda tx: integrity.list_sound(tx, ones[4], 9)) == [ones[3], ones[2], ones[1]]


def test_damaged_blobs_are_listed_and_counted(held: Held) -> None:
    """Only those that are served to nobody, in the order of their digests."""
    ones = sorted(digest(number) for number in range(3))
    for each in ones:
        held.transact(lambda tx, each=each: blobs.add_blob(tx, each, [Piece(each, 7)], NOW))
    for each in ones[1:]:
        held.transact(lambda tx, each=each: blobs.set_damaged(tx, each))
    assert held.read(lambda tx: integrity.list_damaged(tx, "", 9)) == [DamagedBlob(each, 7, NOW) for each in ones[1:]]
    assert held.read(lambda tx: integrity.list_damaged(tx, ones[1], 9)) == [DamagedBlob(ones[2], 7, NOW)]
    assert held.read(lambda tx: integrity.count_damaged(tx, 9)) == 2
    assert held.read(lambda tx: integrity.count_damaged(tx, 1)) == 1


def test_tags_that_a_blob_or_manifest_breaks(held: Held) -> None:
    """Those of its manifest and of indexes above it, in every repository that has them; not those of a subject, and
    not where the manifest was deleted.
    """
    first, second = add_repository(held), add_repository(held, OTHER)
    layer = digest("layer")
    config = {"mediaType": "a/b", "digest": str(digest("config")), "size": 1}
    image = parse_manifest(
        IMAGE_MANIFEST,
        msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE_MANIFEST,
                "config": config,
                "layers": [{"mediaType": "a/b", "digest": str(layer), "size": 1}],
            }
        ),
    )
    described = {"mediaType": IMAGE_MANIFEST, "digest": str(image.digest), "size": len(image.raw)}
    above = parse_manifest(
        IMAGE_INDEX, msgspec.json.encode({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [described]})
    )
    attached = parse_manifest(
        IMAGE_MANIFEST,
        msgspec.json.encode(
            {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [], "subject": described}
        ),
    )

    async def fill(tx: Tx) -> None:
        for manifest in (image, above, attached):
            await manifests.add_manifest(tx, manifest, NOW)
        for repository, manifest, name in (
            (first, image, "image"),
            (first, above, "index"),
            (first, attached, "attached"),
            (second, above, "elsewhere"),
            (second, image, "deleted"),
        ):
            await repositories.put_member(tx, repository, manifest.digest, "manifest", NOW)
            await tags.point(tx, repository, Tag(name), manifest.digest, NOW)
        await repositories.delete_member(tx, second, image.digest, "manifest", NOW)

    held.transact(fill)
    broken = [f"{APP}:image", f"{APP}:index", f"{OTHER}:elsewhere"]
    assert held.read(lambda tx: integrity.list_broken_tags(tx, layer, 9)) == broken
    assert held.read(lambda tx: integrity.list_broken_tags(tx, layer, 1)) == broken[:1]
    assert held.read(lambda tx: integrity.list_broken_tags(tx, image.digest, 9)) == broken
    assert held.read(lambda tx: integrity.list_broken_tags(tx, digest("none"), 9)) == []
    for below in (layer, image.digest):
        assert held.read(lambda tx, below=below: integrity.list_tags_above(tx, first, below, 9)) == ["image", "index"]
        # Also where the manifest itself is hidden.
        assert held.read(lambda tx, below=below: integrity.list_tags_above(tx, second, below, 1)) == ["deleted"]
    assert held.read(lambda tx: integrity.list_tags_above(tx, first, digest("none"), 9)) == []


def test_one_scrubs_at_a_time(held: Held) -> None:
    """A lease is kept by its holder, taken when it has run out, and let go of; counts add up over all."""
    assert held.read(integrity.find_scrub) == integrity.ScrubRow("", 0, 0, 0, 0, 0, 0)
    assert held.transact(lambda tx: integrity.take_scrub(tx, "one", NOW, NOW + 60))
    assert not held.transact(lambda tx: integrity.take_scrub(tx, "two", NOW + 1, NOW + 61))
    assert held.transact(lambda tx: integrity.take_scrub(tx, "one", NOW + 30, NOW + 90))
    held.transact(lambda tx: integrity.release_scrub(tx, "two"))
    assert not held.transact(lambda tx: integrity.take_scrub(tx, "two", NOW + 90, NOW + 150))
    assert held.transact(lambda tx: integrity.take_scrub(tx, "two", NOW + 91, NOW + 151))
    held.transact(lambda tx: integrity.release_scrub(tx, "two"))
    assert held.transact(lambda tx: integrity.take_scrub(tx, "one", NOW + 92, NOW + 152))
    held.transact(lambda tx: integrity.ask_scrub(tx, NOW))
    for _ in range(2):
        held.transact(lambda tx: integrity.add_scrubbed(tx, Scrubbed(1, 2**40, 3, 4)))
    assert held.read(integrity.find_scrub) == integrity.ScrubRow("one", NOW + 152, NOW, 2, 2**41, 6, 8)
