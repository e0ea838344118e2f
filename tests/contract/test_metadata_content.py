"""Rows of blobs, manifests, tags, pins and uploads, over every engine."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from entrepot.domain.digests import Digest
from entrepot.domain.manifest import Manifest, parse_manifest
from entrepot.domain.media_types import IMAGE_MANIFEST
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import blobs, integrity, manifests, pins, repositories, tags, uploads
from entrepot.metadata.blobs import StoredBlob
from entrepot.metadata.manifests import StoredManifest
from entrepot.metadata.tags import Move, TagDetailRow, TagEventRow, TagRow
from entrepot.metadata.uploads import SegmentRow, UploadRow
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece, Written
from tests.contract.engines import Held
from tests.contract.rows import APP, NOW, OTHER, add_repository, digest

LATEST = Tag("latest")


def image(number: int = 0, *, subject: Digest | None = None, artifact_type: str = "") -> Manifest:
    """A manifest with config and layer of its own, perhaps with a subject."""

    def descriptor(one: Digest) -> dict[str, object]:
        return {"mediaType": "application/octet-stream", "digest": str(one), "size": 1}

    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(digest(f"config {number}")),
        "layers": [descriptor(digest(f"layer {number}"))],
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if subject:
        document["subject"] = descriptor(subject)
    return parse_manifest(IMAGE_MANIFEST, msgspec.json.encode(document))


def add_manifest(held: Held, repository: int, manifest: Manifest) -> Manifest:
    """A manifest that a repository knows."""

    async def work(tx: Tx) -> None:
        await manifests.add_manifest(tx, manifest, NOW)
        await repositories.put_member(tx, repository, manifest.digest, "manifest", NOW)

    held.transact(work)
    return manifest


def add_blob(held: Held, repository: int, one: Digest, pieces: list[Piece]) -> None:
    """A blob that a repository knows."""

    async def work(tx: Tx) -> None:
        await blobs.add_blob(tx, one, pieces, NOW)
        await repositories.put_member(tx, repository, one, "blob", NOW)

    held.transact(work)


def test_a_blob_is_found_with_its_pieces_and_pin(held: Held) -> None:
    """A blob comes with its locations in order and the end of its upload pin, only where it is known."""
    known = add_repository(held)
    add_repository(held, OTHER)
    one, pieces = digest(1), [Piece("k2", 5), Piece("k1", 7)]
    add_blob(held, known, one, pieces)
    found = StoredBlob(one, 12, is_good=True, pieces=tuple(pieces), pinned_until=0)
    for with_pin in (False, True):
        assert held.read(partial(blobs.find_blob, repository=APP, digest=one, with_pin=with_pin)) == found
    held.transact(lambda tx: pins.put_pin(tx, known, one, ("upload", ""), NOW))
    assert held.read(lambda tx: blobs.find_blob(tx, APP, one)) == found
    promised = held.read(lambda tx: blobs.find_blob(tx, APP, one, with_pin=True))
    assert promised == msgspec.structs.replace(found, pinned_until=NOW)
    assert held.read(lambda tx: blobs.find_blob(tx, OTHER, one)) is None
    assert held.read(lambda tx: blobs.find_blob(tx, APP, digest(2))) is None


def test_damaged_bytes_are_replaced(held: Held) -> None:
    """A damaged blob is marked, and sound again with new locations, whose old keys are told."""
    known = add_repository(held)
    one = digest(1)
    assert held.read(lambda tx: blobs.find_state(tx, one)) is None
    add_blob(held, known, one, [Piece("old1", 5), Piece("old2", 5)])
    assert held.read(lambda tx: blobs.find_state(tx, one)) == "good"
    held.transact(lambda tx: blobs.set_damaged(tx, one))
    assert held.read(lambda tx: blobs.find_state(tx, one)) == "damaged"
    assert held.transact(lambda tx: blobs.replace_locations(tx, one, [Piece("new", 10)])) == ["old1", "old2"]
    assert held.read(lambda tx: blobs.find_state(tx, one)) == "good"
    assert held.read(lambda tx: blobs.list_locations(tx, one)) == [Piece("new", 10)]


def test_blobs_are_listed_in_pages(held: Held) -> None:
    """All blobs come in the order of their digests."""
    known = add_repository(held)
    for number in range(5):
        add_blob(held, known, digest(number), [Piece(str(number), number)])
    first = held.read(lambda tx: integrity.list_blobs_by_digest(tx, "", 3))
    rest = held.read(lambda tx: integrity.list_blobs_by_digest(tx, first[-1].digest, 3))
    assert [row.digest for row in [*first, *rest]] == sorted(digest(number) for number in range(5))
    assert {(row.size, row.verified_at) for row in [*first, *rest]} == {(number, NOW) for number in range(5)}


def test_manifests_are_found_by_tag_and_digest(held: Held) -> None:
    """A manifest is found with its exact bytes, or with its size alone, by tag and by digest, where it is known."""
    known = add_repository(held)
    add_repository(held, OTHER)
    one = add_manifest(held, known, image())
    held.transact(lambda tx: tags.point(tx, known, LATEST, one.digest, NOW))
    whole = StoredManifest(one.digest, IMAGE_MANIFEST, len(one.raw), one.raw)
    for reference in (LATEST, one.digest):
        assert held.read(partial(manifests.find_manifest, repository=APP, reference=reference)) == whole
        size = held.read(partial(manifests.find_manifest_size, repository=APP, reference=reference))
        assert size == msgspec.structs.replace(whole, raw=b"")
        assert held.read(partial(manifests.find_manifest, repository=OTHER, reference=reference)) is None
        assert held.read(partial(manifests.find_manifest_size, repository=OTHER, reference=reference)) is None
    held.transact(lambda tx: repositories.delete_member(tx, known, one.digest, "manifest", NOW))
    assert held.read(lambda tx: manifests.find_manifest(tx, APP, one.digest)) is None


def test_the_same_manifest_again_is_no_error(held: Held) -> None:
    """Pushing the same bytes twice leaves one manifest with its edges."""
    known = add_repository(held)
    for _ in range(2):
        add_manifest(held, known, image())
    assert held.rows("select count(*) from manifest") == [(1,)]
    assert sorted(row[0] for row in held.rows("select kind from edge")) == ["config", "layer"]


def test_damaged_bytes_of_a_manifest_are_replaced(held: Held) -> None:
    """By a push of the right ones, with edges that are missing, or by whoever knows the ones that are there."""
    known, one = add_repository(held), image()
    add_manifest(held, known, one)
    assert held.transact(lambda tx: manifests.replace_raw(tx, one.digest, one.raw, b"damaged"))
    assert not held.transact(lambda tx: manifests.replace_raw(tx, one.digest, one.raw, b"other"))
    held.transact(lambda tx: tx.execute("delete from edge where kind = 'layer'"))
    held.transact(lambda tx: manifests.put_edges(tx, one))
    assert sorted(row[0] for row in held.rows("select kind from edge")) == ["config", "layer"]
    held.transact(lambda tx: tx.execute("delete from edge where kind = 'config'"))
    assert held.transact(lambda tx: manifests.add_manifest(tx, one, NOW))
    assert not held.transact(lambda tx: manifests.add_manifest(tx, one, NOW))
    found = held.read(lambda tx: manifests.find_manifest(tx, APP, one.digest))
    assert found is not None
    assert found.raw == one.raw
    assert sorted(row[0] for row in held.rows("select kind from edge")) == ["config", "layer"]


def test_users_of_a_blob_are_live_manifests(held: Held) -> None:
    """A blob's users are the live manifests of that repository that name it as config or layer."""
    known, other = add_repository(held), add_repository(held, OTHER)
    one = add_manifest(held, known, image(1))
    two = add_manifest(held, other, image(2))
    for layer in ("config 1", "layer 1"):
        users = partial(manifests.list_users_of_blob, repository=known, digest=digest(layer), limit=5)
        assert held.read(users) == [one.digest]
    layer_two = digest("layer 2")
    assert held.read(lambda tx: manifests.list_users_of_blob(tx, known, layer_two, 5)) == []
    held.transact(lambda tx: repositories.delete_member(tx, other, two.digest, "manifest", NOW))
    assert held.read(lambda tx: manifests.list_users_of_blob(tx, other, layer_two, 5)) == []


def test_a_subject_is_there(held: Held) -> None:
    """A live manifest of the same repository, and neither a deleted one, nor one elsewhere, nor a blob."""
    known, other = add_repository(held), add_repository(held, OTHER)
    members: list[tuple[int, str, repositories.MemberKind]] = [
        (known, "there", "manifest"),
        (known, "deleted", "manifest"),
        (other, "elsewhere", "manifest"),
        (known, "blob", "blob"),
    ]
    for repository, content, kind in members:
        held.transact(
            partial(repositories.put_member, repository=repository, digest=digest(content), kind=kind, now=NOW)
        )
        held.execute(
            "insert into edge (parent, child, kind) values ($1, $2, 'subject')",
            digest(f"about {content}"),
            digest(content),
        )
    held.execute("insert into edge (parent, child, kind) values ($1, $2, 'manifest')", digest("over"), digest("there"))
    held.transact(lambda tx: repositories.delete_member(tx, known, digest("deleted"), "manifest", NOW))
    about = ("about there", "about deleted", "about elsewhere", "about blob", "over", "nothing")
    found = [held.read(partial(manifests.has_subject_there, repository=known, digest=digest(each))) for each in about]
    assert found == [True, False, False, False, False, False]


def test_referrers_come_in_pages_and_by_type(held: Held) -> None:
    """Live referrers of a subject come in the order of their digests, all or of one type, as descriptors."""
    known, subject = add_repository(held), digest("subject")
    found = [
        add_manifest(held, known, image(number, subject=subject, artifact_type=f"type/{number % 2}"))
        for number in range(6)
    ]
    deleted = found.pop()
    held.transact(lambda tx: repositories.delete_member(tx, known, deleted.digest, "manifest", NOW))
    found.sort(key=lambda manifest: manifest.digest)
    first = held.read(lambda tx: manifests.list_referrers(tx, APP, subject, None, ("", 3)))
    rest = held.read(lambda tx: manifests.list_referrers(tx, APP, subject, None, (first[-1][0], 3)))
    assert [*first, *rest] == [(manifest.digest, manifest.describe().decode()) for manifest in found]
    odd = held.read(lambda tx: manifests.list_referrers(tx, APP, subject, "type/1", ("", 9)))
    assert [row[0] for row in odd] == [manifest.digest for manifest in found if manifest.artifact_type == "type/1"]
    assert held.read(lambda tx: manifests.list_referrers(tx, OTHER, subject, None, ("", 9))) == []


def test_a_tag_moves_and_counts(held: Held) -> None:
    """A tag points where it was last pointed, counts its generations, and is gone when deleted."""
    known = add_repository(held)
    one, two = digest(1), digest(2)
    assert held.read(lambda tx: tags.find_tag_digest(tx, known, LATEST)) is None
    for number, target in enumerate((one, two)):
        held.transact(partial(tags.point, repository=known, tag=LATEST, digest=target, now=NOW + number))
        assert held.read(lambda tx: tags.find_tag_digest(tx, known, LATEST)) == target
    assert held.read(lambda tx: tags.list_tags(tx, known, "", 9)) == [TagRow("latest", "tag", two, 2, NOW + 1)]
    assert held.read(lambda tx: tags.list_tags_of(tx, known, two)) == ["latest"]
    assert held.read(lambda tx: tags.list_tags_of(tx, known, one)) == []
    held.transact(lambda tx: tags.delete_tag(tx, known, LATEST))
    assert held.read(lambda tx: tags.find_tag_digest(tx, known, LATEST)) is None


def test_compare_and_swap_has_one_winner(held: Held) -> None:
    """Of many who move a tag from where they saw it, one wins and the others see that it has moved."""
    known = add_repository(held)
    start = digest("start")
    held.transact(lambda tx: tags.point(tx, known, LATEST, start, NOW))

    async def swap(tx: Tx, target: Digest) -> bool:
        if await tags.find_tag_digest(tx, known, LATEST) != start:
            return False
        await tags.point(tx, known, LATEST, target, NOW)
        await tags.add_tag_event(tx, known, Move(LATEST, start, target, "ann", "oci"), NOW)
        return True

    targets = [digest(number) for number in range(20)]
    answers = held.together([partial(swap, target=target) for target in targets])
    assert answers.count(True) == 1
    assert answers.count(False) == 19
    assert held.read(lambda tx: tags.find_tag_digest(tx, known, LATEST)) == targets[answers.index(True)]
    assert held.rows("select generation from tag") == [(2,)]
    assert len(held.read(lambda tx: tags.list_tag_events(tx, known, LATEST, 2**62, 99))) == 1


def test_no_move_of_a_tag_is_lost(held: Held) -> None:
    """The history of a tag that many move at once is a chain without a gap."""
    known = add_repository(held)

    async def move(tx: Tx, target: Digest) -> None:
        old = await tags.find_tag_digest(tx, known, LATEST)
        await tags.point(tx, known, LATEST, target, NOW)
        await tags.add_tag_event(tx, known, Move(LATEST, old, target, "ann", "oci"), NOW)

    assert held.together([partial(move, target=digest(number)) for number in range(25)]) == [None] * 25
    chain = held.read(lambda tx: tags.list_tag_events(tx, known, LATEST, 2**62, 99))
    by_start = {row.from_digest: row.to_digest for row in chain}
    at: str | None = None
    for _ in range(25):
        at = by_start.pop(at)
    assert held.read(lambda tx: tags.find_tag_digest(tx, known, LATEST)) == at


def test_tags_are_listed_in_pages(held: Held) -> None:
    """Names and rows of tags come in byte order, page by page, of one repository."""
    known, other = add_repository(held), add_repository(held, OTHER)
    names = ["1.0", "A", "Z", "_", "a", "a-b", "b"]
    for name in reversed(names):
        held.transact(partial(tags.point, repository=known, tag=Tag(name), digest=digest(1), now=NOW))
    held.transact(lambda tx: tags.point(tx, other, Tag("elsewhere"), digest(1), NOW))
    assert held.read(lambda tx: tags.list_tag_names(tx, APP, "", 99)) == names
    assert held.read(lambda tx: tags.list_tag_names(tx, APP, "Z", 2)) == ["_", "a"]
    assert [row.name for row in held.read(lambda tx: tags.list_tags(tx, known, "a", 9))] == ["a-b", "b"]
    assert held.read(lambda tx: tags.list_tag_names(tx, RepositoryName("acme/none"), "", 9)) == []


def test_tags_with_what_they_point_at(held: Held) -> None:
    """Details of tags come in pages and by name, with the media type and size of the manifest."""
    known = add_repository(held)
    one = add_manifest(held, known, image())
    for name in ("b", "a", "A"):
        held.transact(partial(tags.point, repository=known, tag=Tag(name), digest=one.digest, now=NOW))
    listed = held.read(lambda tx: tags.list_tag_details(tx, known, "A", 9))
    assert listed == [TagDetailRow(name, one.digest, 1, NOW, IMAGE_MANIFEST, len(one.raw)) for name in ("a", "b")]
    assert held.read(lambda tx: tags.find_tag_detail(tx, known, Tag("b"))) == listed[1]
    assert held.read(lambda tx: tags.find_tag_detail(tx, known, Tag("c"))) is None


def test_moves_of_a_tag_are_remembered(held: Held) -> None:
    """The moves of one tag come newest first, in pages, with None for "was not there" and "was deleted"."""
    known = add_repository(held)
    one, two = digest(1), digest(2)
    for start, end in ((None, one), (one, two), (two, None)):
        move = Move(LATEST, start, end, "ann", "oci")
        held.transact(partial(tags.add_tag_event, repository=known, move=move, now=NOW))
    held.transact(lambda tx: tags.add_tag_event(tx, known, Move(Tag("other"), None, one, "ann", "oci"), NOW))
    newest = held.read(lambda tx: tags.list_tag_events(tx, known, LATEST, 2**62, 2))
    assert [(row.from_digest, row.to_digest) for row in newest] == [(two, None), (one, two)]
    [oldest] = held.read(lambda tx: tags.list_tag_events(tx, known, LATEST, newest[-1].id, 2))
    assert oldest == TagEventRow(oldest.id, "latest", None, one, "ann", "oci", NOW)


def pinned(held: Held) -> dict[tuple[str, str, str], int]:
    """Every pin."""
    return {row[:3]: row[3] for row in held.rows("select digest, reason, holder, until from pin")}


def test_a_pin_is_only_prolonged(held: Held) -> None:
    """A later end replaces an earlier one, an earlier one changes nothing, and reasons go one by one."""
    known, one = add_repository(held), digest(1)
    for until in (NOW, NOW + 5, NOW + 2):
        held.transact(partial(pins.put_pin, repository=known, digest=one, pin=("upload", ""), until=until))
    held.transact(lambda tx: pins.put_pin(tx, known, one, ("history", "a"), NOW))
    held.transact(lambda tx: pins.put_pin(tx, known, one, ("history", "b"), NOW))
    assert pinned(held) == {(one, "upload", ""): NOW + 5, (one, "history", "a"): NOW, (one, "history", "b"): NOW}
    for now, is_kept in ((NOW - 1, True), (NOW, False)):
        assert held.read(partial(pins.has_pin, repository=known, digest=one, reason="history", now=now)) is is_kept
    held.transact(lambda tx: pins.remove_pins(tx, known, one, "history"))
    assert pinned(held) == {(one, "upload", ""): NOW + 5}
    assert not held.read(lambda tx: pins.has_pin(tx, known, one, "history", NOW - 1))


@pytest.mark.parametrize(("keep", "left"), [(3, [3, 4, 5]), (0, []), (99, [0, 1, 2, 3, 4, 5])])
def test_history_is_trimmed_to_the_newest(held: Held, keep: int, left: list[int]) -> None:
    """Only the newest digests of one tag's history hold on; other tags and reasons are not touched."""
    known = add_repository(held)
    for number in range(6):
        for pin in (("history", "latest"), ("history", "other"), ("trash", "latest")):
            held.execute(
                "insert into pin (repository, digest, reason, holder, until) values ($1, $2, $3, $4, $5)",
                *(known, digest(number), *pin, NOW + 1 + number),
            )
    held.transact(lambda tx: pins.trim_history(tx, known, "latest", keep, NOW))
    # The others end at once, and the collector looks at what they kept.
    kept = {key for key, until in pinned(held).items() if until > NOW}
    assert {key[0] for key in kept if key[1:] == ("history", "latest")} == {digest(number) for number in left}
    assert len(kept) == 12 + len(left)


def test_uploads(held: Held) -> None:
    """An upload is found in its repository only, counted for its account, and forgotten with its segments."""
    first, second = UploadRow("u1", APP, 7, "sha256"), UploadRow("u2", APP, 7, "sha512")
    for row in (first, second):
        held.transact(partial(uploads.add_upload, upload=row, now=NOW))
    assert held.read(lambda tx: uploads.find_upload(tx, "u2", APP)) == (second, [])
    assert held.read(lambda tx: uploads.find_upload(tx, "u2", OTHER)) is None
    assert [held.read(partial(uploads.count_uploads, account=7, limit=limit)) for limit in (9, 1)] == [2, 1]
    assert held.read(lambda tx: uploads.count_uploads(tx, 8, 9)) == 0
    assert [held.read(partial(uploads.count_open_uploads, limit=limit)) for limit in (9, 1)] == [2, 1]
    segments = [SegmentRow(0, 0, "k0", 3, digest(0)), SegmentRow(1, 3, "k1", 4, digest(1))]
    for segment in reversed(segments):
        held.transact(partial(uploads.add_segment, upload="u1", segment=segment))
    assert held.read(lambda tx: uploads.find_upload(tx, "u1", APP)) == (first, segments)
    assert segments[0].as_written() == Written((Piece("k0", 3),), digest(0))
    assert sorted(held.transact(lambda tx: uploads.remove_upload(tx, "u1"))) == ["k0", "k1"]
    assert held.read(lambda tx: uploads.find_upload(tx, "u1", APP)) is None


def test_stale_uploads(held: Held) -> None:
    """Uploads untouched since a time are listed, the longest untouched first."""
    for number in range(3):
        row = UploadRow(f"u{number}", APP, 7, "sha256")
        held.transact(partial(uploads.add_upload, upload=row, now=NOW + number))
    held.transact(lambda tx: uploads.touch_upload(tx, "u0", NOW + 9))
    assert held.read(lambda tx: uploads.list_stale_uploads(tx, NOW + 9, 9)) == ["u1", "u2"]
    assert held.read(lambda tx: uploads.list_stale_uploads(tx, NOW + 99, 2)) == ["u1", "u2"]


def test_blobs_of_a_repository_are_read_together(held: Held) -> None:
    """In one read come those of the asked that the repository knows, each with its locations in order."""
    known, other = add_repository(held), add_repository(held, OTHER)
    one, two, gone, foreign = (digest(name) for name in ("one", "two", "gone", "foreign"))
    add_blob(held, known, one, [Piece("a", 1), Piece("b", 2)])
    add_blob(held, known, two, [Piece("c", 3)])
    add_blob(held, known, gone, [Piece("d", 4)])
    add_blob(held, other, foreign, [Piece("e", 5)])
    held.transact(lambda tx: blobs.set_damaged(tx, two))
    held.transact(lambda tx: repositories.delete_member(tx, known, gone, "blob", NOW))
    found = held.read(lambda tx: blobs.list_blobs_in(tx, APP, [one, two, gone, foreign]))
    assert sorted(found, key=lambda blob: blob.digest != one) == [
        StoredBlob(one, 3, True, (Piece("a", 1), Piece("b", 2)), 0),
        StoredBlob(two, 3, False, (Piece("c", 3),), 0),
    ]
    assert held.read(lambda tx: blobs.list_blobs_in(tx, APP, [])) == []
