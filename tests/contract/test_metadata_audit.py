"""The pages that an audit reads, over every engine."""

from __future__ import annotations

import msgspec

from entrepot.domain.manifest import parse_manifest
from entrepot.domain.media_types import IMAGE_MANIFEST
from entrepot.domain.names import Tag
from entrepot.metadata import audit, blobs, jobs, manifests, repositories, tags, uploads
from entrepot.metadata.audit import AuditedBlob, AuditedMember, AuditedTag
from entrepot.metadata.uploads import SegmentRow, UploadRow
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece
from tests.contract.engines import Held
from tests.contract.rows import APP, NOW, OTHER, add_repository, digest


def test_tags_and_members_say_what_is_missing(held: Held) -> None:
    """Tags and members come in order, page by page, with what is there behind them."""
    first, second = add_repository(held), add_repository(held, OTHER)
    sound, lost = digest("sound"), digest("lost")

    async def fill(tx: Tx) -> None:
        await tx.execute(
            "insert into manifest (digest, media_type, raw, created_at) values ($1, '', $2, 1)", sound, b""
        )
        await repositories.put_member(tx, first, sound, "manifest", NOW)
        await repositories.put_member(tx, second, lost, "blob", NOW)
        await tags.point(tx, first, Tag("a"), sound, NOW)
        await tags.point(tx, first, Tag("b"), lost, NOW)
        await tags.point(tx, second, Tag("a"), sound, NOW)

    held.transact(fill)
    listed = held.read(lambda tx: audit.list_tags(tx, (0, ""), 2))
    listed += held.read(lambda tx: audit.list_tags(tx, (listed[-1].repository, listed[-1].name), 2))
    assert listed == [
        AuditedTag(first, APP, "a", sound, has_manifest=True, has_member=True),
        AuditedTag(first, APP, "b", lost, has_manifest=False, has_member=False),
        AuditedTag(second, OTHER, "a", sound, has_manifest=True, has_member=False),
    ]
    [one] = held.read(lambda tx: audit.list_members(tx, (0, "", ""), 1))
    assert one == AuditedMember(first, APP, sound, "manifest", has_content=True)
    [two] = held.read(lambda tx: audit.list_members(tx, (first, sound, "manifest"), 9))
    assert two == AuditedMember(second, OTHER, lost, "blob", has_content=False)


def test_children_of_manifests(held: Held) -> None:
    """Manifests come in order with bytes and edges, and children that their repository does not know are told."""
    known = add_repository(held)
    config, layer = digest("config"), digest("layer")
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": {"mediaType": "a/b", "digest": str(config), "size": 1},
        "layers": [{"mediaType": "a/b", "digest": str(layer), "size": 1}],
    }
    manifest = parse_manifest(IMAGE_MANIFEST, msgspec.json.encode(document))

    async def fill(tx: Tx) -> None:
        await manifests.add_manifest(tx, manifest, NOW)
        await repositories.put_member(tx, known, config, "blob", NOW)

    held.transact(fill)
    assert held.read(lambda tx: audit.list_manifests(tx, "", 9)) == [manifest.digest]
    assert held.read(lambda tx: audit.list_manifests(tx, manifest.digest, 9)) == []
    assert held.read(lambda tx: audit.find_raw(tx, manifest.digest)) == (IMAGE_MANIFEST, manifest.raw)
    assert held.read(lambda tx: audit.find_raw(tx, "none")) is None
    assert held.read(lambda tx: audit.find_parent_raw(tx, config)) == (IMAGE_MANIFEST, manifest.raw)
    assert held.read(lambda tx: audit.find_parent_raw(tx, manifest.digest)) is None
    children = held.read(lambda tx: audit.list_children(tx, manifest.digest))
    assert children == {(config, "config"), (layer, "layer")}
    # Whoever has let go of the manifest may let go of what it contains.
    assert held.read(lambda tx: audit.list_unknown_children(tx, known, manifest.digest)) == []
    held.transact(lambda tx: repositories.put_member(tx, known, manifest.digest, "manifest", NOW))
    assert held.read(lambda tx: audit.list_unknown_children(tx, known, manifest.digest)) == [layer]


def test_blobs_and_their_sum(held: Held) -> None:
    """A blob comes with whatever locations it has, and the bytes of all are summed beyond 32 bits."""
    assert held.read(audit.sum_blobs) == 0
    one, two = digest(1), digest(2)
    held.transact(lambda tx: blobs.add_blob(tx, one, [Piece("a", 2**40), Piece("b", 1)], NOW))
    held.transact(lambda tx: blobs.add_blob(tx, two, [], NOW))
    assert held.read(lambda tx: audit.find_blob(tx, one)) == AuditedBlob(
        2**40 + 1, is_good=True, pieces=(Piece("a", 2**40), Piece("b", 1))
    )
    assert held.read(lambda tx: audit.find_blob(tx, two)) == AuditedBlob(0, is_good=True, pieces=())
    assert held.read(lambda tx: audit.find_blob(tx, digest(3))) is None
    assert held.read(audit.sum_blobs) == 2**40 + 1


def test_keys_of_locations_and_segments(held: Held) -> None:
    """Every key that something names is found: locations, segments of uploads, and payloads of jobs to come."""
    one = digest(1)
    held.transact(lambda tx: blobs.add_blob(tx, one, [Piece("a", 1), Piece("b", 1)], NOW))
    held.transact(lambda tx: uploads.add_upload(tx, UploadRow("u", APP, 7, "sha256"), NOW))
    held.transact(lambda tx: uploads.add_segment(tx, "u", SegmentRow(0, 0, "k", 1, one)))
    assert held.read(lambda tx: audit.list_location_keys(tx, ("", 0), 1)) == [(one, 0, "a")]
    assert held.read(lambda tx: audit.list_location_keys(tx, (one, 0), 9)) == [(one, 1, "b")]
    assert held.read(lambda tx: audit.list_segment_keys(tx, ("", 0), 9)) == [("u", 0, "k")]
    assert held.read(lambda tx: audit.list_segment_keys(tx, ("u", 0), 9)) == []
    assert held.read(lambda tx: audit.list_uploads(tx, "", 9)) == ["u"]
    assert held.read(lambda tx: audit.list_uploads(tx, "u", 9)) == []
    held.transact(lambda tx: jobs.add_job(tx, "store.discard", "k", ["k"], NOW))
    [(number, payload)] = held.read(lambda tx: audit.list_discards(tx, 0, 9))
    assert payload == '["k"]'
    held.transact(lambda tx: jobs.bury_job(tx, number, "", NOW))
    assert held.read(lambda tx: audit.list_discards(tx, 0, 9)) == []
