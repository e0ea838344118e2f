"""Repair: what is broken is healed from elsewhere, proved while it is written; what cannot be is told with its tags."""

from __future__ import annotations

import asyncio
import itertools
import os
import pathlib
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from entrepot.core import check as module
from entrepot.core import heal as healing
from entrepot.core import orphans
from entrepot.core.check import How, Report, check
from entrepot.core.heal import find_remedy
from entrepot.core.jobs import run_due
from entrepot.core.registry import DAY, SECOND
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import BlobUnknown, StorageFull, Unavailable
from entrepot.metadata import audit, blobs
from entrepot.ports.source import Source, Wanted
from entrepot.ports.store import Piece
from entrepot.storage.file import FileStore, open_store
from tests.support.images import LAYER, Image, image, index
from tests.support.world import World, push_blob

HEX = "0123456789abcdef0123456789abcdef"


class Shelf:
    """The port Source over bytes by digest; an error in their place is raised after `before` bytes."""

    def __init__(self, content: Mapping[str, bytes | Exception], name: str = "shelf", before: bytes = b"") -> None:
        self.name = name
        self.content = content
        self.before = before
        self.asked: list[Wanted] = []

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        self.asked.append(wanted)
        found = self.content.get(wanted.digest)
        if found is None:
            raise BlobUnknown("not on the shelf")
        if isinstance(found, Exception):
            if self.before:
                yield self.before
            raise found
        yield found

    async def close(self) -> None:
        pass


class Disk:
    """A world over the disk store, with what tests do to its files."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.store: FileStore = open_store(f"file://{folder}")
        self.world = World(wrap_store=lambda _: self.store)

    def close(self) -> None:
        """Stop."""
        self.world.run(self.store.close())
        self.world.close()

    def path(self, digest: Digest) -> pathlib.Path:
        """Where a blob lies."""
        (row,) = self.world.rows("select key from location where blob = $1", digest)
        return self.folder / str(row[0])

    def flip(self, digest: Digest) -> None:
        """Let the bytes of a blob be others."""
        path = self.path(digest)
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))

    def leave(self, content: bytes, name: str = f"aa/{HEX}.0123456789abcdef", *, days: float = 2) -> pathlib.Path:
        """A file that nothing names, so many days old."""
        path = self.folder / name
        path.write_bytes(content)
        at = self.world.clock.now() / SECOND - days * 86_400
        os.utime(path, (at, at))
        return path

    def files(self) -> set[pathlib.Path]:
        """Every file in the store."""
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def check(self, *sources: Source, share: float = 1.0, repair: bool = True, only: set[str] | None = None) -> Report:
        """A check, by default one that reads everything and repairs."""
        chosen = None if only is None else frozenset(only)
        how = How(share=share, is_repair=repair, sources=sources, only=chosen)
        return self.world.run(check(self.world.registry, how, lambda what, amount: None))

    def pull(self, content: bytes) -> bytes:
        """What a client gets for a blob of priv/app."""
        answer = self.world.client("alice").request("GET", f"/v2/priv/app/blobs/{digest_of(content)}")
        return answer.body if answer.status == 200 else answer.code.encode()

    def events(self) -> list[str]:
        """The kinds of events about bytes, in order."""
        rows = self.world.rows("select kind from event where kind like 'blob.%' or kind like 'store.%' order by id")
        return [str(row[0]) for row in rows]


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[Disk]:
    """An empty registry on a disk."""
    opened = Disk(tmp_path)
    yield opened
    opened.close()


def layers(number: int) -> list[bytes]:
    """Different bytes of different sizes."""
    return [bytes([1 + each % 250]) * (100 + each) for each in range(number)]


def push_images(disk: Disk, contents: list[bytes]) -> list[Image]:
    """An image of one layer each, tagged v0, v1 and so on."""
    pushed = [image([content], annotations={"number": str(n)}) for n, content in enumerate(contents)]
    for number, each in enumerate(pushed):
        disk.world.push("priv/app", each, f"v{number}")
    return pushed


def test_all_is_found_all_with_a_source_is_healed_and_the_rest_breaks_tags(disk: Disk) -> None:
    """Of 60 blobs 6 are corrupted and 6 deleted: with a source for 8 of them these are served again, and the other 4
    are told with the tags that they break; a second source heals those.
    """
    contents = layers(60)
    push_images(disk, contents)
    broken = [digest_of(content) for content in contents[::5]]
    for number, digest in enumerate(broken):
        if number % 2:
            disk.path(digest).unlink()
        else:
            disk.flip(digest)
    known = {str(digest_of(content)): content for content in contents}
    report = disk.check(Shelf({str(digest): known[digest] for digest in broken[:8]}))
    assert (report.found, report.mended) == (4, 8)
    assert {each.subject for each in report.repaired} == set(broken[:8])
    assert {each.subject: each.tags for each in report.findings} == {
        str(digest): [f"priv/app:v{5 * number}"] for number, digest in enumerate(broken) if number >= 8
    }
    assert {each.kind for each in report.findings} == {"blob.damaged", "blob.missing"}
    assert all(each.quarantined and "has no such bytes" in each.refusals[0] for each in report.findings)
    assert [disk.pull(contents[5 * number]) for number in (0, 7, 8)] == [contents[0], contents[35], b"BLOB_UNKNOWN"]
    report = disk.check(Shelf(known))
    assert (report.found, report.mended) == (0, 4)
    report = disk.check(repair=False)
    assert (report.found, report.mended, report.blobs_read) == (0, 0, report.blobs)


def test_a_folder_that_is_not_mounted_condemns_nothing(disk: Disk) -> None:
    """Where not one of several blobs is there all are told and stay in service; from a copy they are healed even so."""
    contents = layers(4)
    for content in contents:
        push_blob(disk.world.client("alice"), "priv/app", content)
    paths = [disk.path(digest_of(content)) for content in contents]
    saved = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    report = disk.check(repair=False)
    assert [(each.kind, each.quarantined) for each in report.findings] == [("blob.missing", False)] * 4
    for path, content in zip(paths, saved, strict=True):
        path.write_bytes(content)
    assert [disk.pull(content) for content in contents] == contents
    for path in paths:
        path.unlink()
    assert disk.check(Shelf({str(digest_of(content)): content for content in contents})).mended == 4
    assert [disk.pull(content) for content in contents] == contents


def test_tags_above_an_index_are_told(disk: Disk) -> None:
    """A tag of an index breaks with the layer of one of its manifests; one of another image does not."""
    one, other = push_images(disk, layers(2))
    disk.world.push("priv/all", index([one]), "all")
    disk.world.push("priv/app", image([b"attached"], subject=one), "attached")
    disk.path(digest_of(one.blobs[-1])).unlink()
    (finding,) = disk.check().findings
    assert finding.tags == ["priv/all:all", "priv/app:v0"]
    assert other.digest != one.digest


def test_wrong_bytes_are_refused_and_the_next_source_is_asked(disk: Disk) -> None:
    """A source that breaks off, one that does not answer and one with other bytes leave no file and no harm."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    digest = digest_of(LAYER)
    disk.flip(digest)
    before = disk.files()
    bad: list[Source] = [
        Shelf({digest: Unavailable("nobody answers")}, "away"),
        Shelf({digest: ConnectionResetError("gone")}, "torn", before=LAYER[:3]),
        Shelf({digest: LAYER[::-1]}, "liar"),
    ]
    (finding,) = disk.check(*bad).findings
    assert [refusal.partition(":")[0] for refusal in finding.refusals] == ["away", "torn", "liar"]
    assert "nobody answers" in finding.refusals[0]
    disk.world.run(asyncio.sleep(0.05))
    assert disk.files() == before
    report = disk.check(*bad, Shelf({digest: LAYER}, "good"))
    assert [each.source for each in report.repaired] == ["good"]
    assert disk.pull(LAYER) == LAYER
    assert disk.events() == ["blob.damaged", "blob.healed"]


def test_a_source_gives_no_more_than_the_blob(disk: Disk) -> None:
    """One that never ends is left for the next one, and fills no disk."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    digest = digest_of(LAYER)
    disk.flip(digest)
    before = disk.files()
    given: list[bytes] = []

    class Endless(Shelf):
        """A source that goes on and on."""

        async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
            while len(given) < 1000:
                given.append(LAYER)
                yield given[-1]

    bad = Endless({}, "endless")
    (finding,) = disk.check(bad).findings
    assert finding.refusals == [f"endless: gives more than {len(LAYER)} bytes"]
    assert len(given) == 2
    disk.world.run(asyncio.sleep(0.05))
    assert disk.files() == before


def test_a_source_is_told_where_to_look(disk: Disk) -> None:
    """It hears of the digest, the size, the keys here and the repositories that know the blob."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    key = str(disk.world.rows("select key from location")[0][0])
    disk.path(digest_of(LAYER)).unlink()
    shelf = Shelf({})
    disk.check(shelf)
    assert shelf.asked == [Wanted(digest_of(LAYER), len(LAYER), (Piece(key, len(LAYER)),), ("priv/app",))]


def test_what_is_replaced_goes_a_day_later(disk: Disk) -> None:
    """The damaged file stays to be looked at for a day, and is no orphan meanwhile; then a job deletes it."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.flip(digest_of(LAYER))
    damaged = disk.path(digest_of(LAYER))
    report = disk.check(Shelf({digest_of(LAYER): LAYER}))
    assert report.keys is not None
    assert (damaged.exists(), report.keys.unreferenced) == (True, 0)
    disk.world.clock.advance(seconds=86_500)
    disk.world.run(run_due(disk.world.registry, "worker"))
    assert not damaged.exists()
    assert disk.pull(LAYER) == LAYER


def test_an_orphan_with_the_bytes_heals(disk: Disk) -> None:
    """A file that a crash left is found by its size and digest, copied to a new key, and cleared away when it is old;
    files of that size with other bytes, or that go while they are read, are none.
    """
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()
    other = disk.leave(LAYER[::-1], f"ab/{HEX}.0000000000000000", days=0)
    left = disk.leave(LAYER)
    planned = disk.check(share=0, repair=False)
    assert [finding.remedy for finding in planned.findings] == ["a file that nothing names"]
    assert planned.removable == [f"aa/{left.name}"]
    assert left.exists()
    report = disk.check()
    assert (report.found, [each.source for each in report.repaired]) == (0, ["a file that nothing names"])
    assert (left.exists(), other.exists(), disk.pull(LAYER)) == (False, True, LAYER)
    assert disk.events() == ["blob.damaged", "blob.healed", "store.cleaned"]


def test_an_orphan_that_goes_meanwhile_heals_nothing(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may clear it away between being listed and being read."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()
    left = disk.leave(LAYER)
    digest = orphans.Orphans._digest

    async def vanish(self: orphans.Orphans, each: object, algorithm: str) -> Digest | None:
        left.unlink(missing_ok=True)
        return await digest(self, each, algorithm)  # type: ignore[arg-type]

    monkeypatch.setattr(orphans.Orphans, "_digest", vanish)
    report = disk.check()
    assert (report.found, report.findings[0].refusals, left.exists()) == (1, [], False)


def test_only_old_files_of_ours_are_deleted(disk: Disk) -> None:
    """What is a day old and looks like ours goes; younger files, files of others, and bytes of uploads stay."""
    alice = disk.world.client("alice")
    push_blob(alice, "priv/app", LAYER)
    location = alice.request("POST", "/v2/priv/app/blobs/uploads/")["location"]
    alice.request("PATCH", location, b"half")
    upload = location.rpartition("/")[2].partition("?")[0]
    kept = disk.files()
    kept |= {
        disk.leave(b"young", days=0.9),
        disk.leave(b"foreign", "ab/notes.txt"),
        disk.leave(b"uploading", f"ac/{upload}.0123456789abcdef"),
    }
    gone = disk.leave(b"old", f"ad/{HEX}.0123456789abcdef")
    looked = disk.check(repair=False)
    assert looked.keys is not None
    assert (looked.keys.unreferenced, looked.keys.unreferenced_bytes, looked.keys.uploading) == (3, 15, 1)
    assert (looked.keys.removable, looked.removable) == (1, [f"ad/{gone.name}"])
    assert disk.files() == kept | {gone}
    report = disk.check()
    assert report.keys is not None
    assert (report.keys.removed, report.keys.removed_bytes, disk.files()) == (1, 3, kept)


def test_what_is_named_meanwhile_is_not_deleted(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked for once more right before files go."""
    left = disk.leave(b"old")
    monkeypatch.setattr(orphans, "find_orphans", orphans.find_orphans)

    async def story() -> None:
        found = await orphans.find_orphans(disk.world.registry, disk.store)
        pieces = [Piece(f"aa/{left.name}", 3)]
        await disk.world.database.transact(lambda tx: blobs.add_blob(tx, digest_of(b"old"), pieces, 0))
        await found.remove("test", None)
        await found.close()
        assert found.keys.removed == 0

    disk.world.run(story())
    assert left.exists()


def test_a_database_of_something_else_deletes_nothing(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more than half of many files have no name, the database is more likely the wrong one."""
    monkeypatch.setattr(orphans, "FEW", 2)
    left = {disk.leave(b"old", f"aa/{HEX}.000000000000000{number}") for number in range(4)}
    report = disk.check()
    assert report.keys is not None
    assert (report.keys.removed, disk.files()) == (0, left)
    assert "more than half" in report.keys.refusal
    for number in range(5):
        push_blob(disk.world.client("alice"), "priv/app", b"%d" % number)
    report = disk.check()
    assert report.keys is not None
    assert (report.keys.removed, report.keys.refusal) == (4, "")


def test_a_large_store_of_something_else_is_left_alone(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of which only the number is known count as well: more than half of the store is no less for being many."""
    monkeypatch.setattr(orphans, "FEW", 2)
    monkeypatch.setattr(orphans, "MOST_KEPT", 3)
    left = {disk.leave(b"old", f"aa/{HEX}.000000000000000{number}") for number in range(8)}
    report = disk.check()
    assert report.keys is not None
    assert (report.keys.removed, disk.files()) == (0, left)
    assert "more than half" in report.keys.refusal


def test_large_stores_are_looked_through_in_parts(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few names held at once the counts are the same; orphans beyond the bound are counted only."""
    monkeypatch.setattr(orphans, "MOST_NAMES", 2)
    for content in layers(7):
        push_blob(disk.world.client("alice"), "priv/app", content)
    for number in range(3):
        disk.leave(b"old", f"aa/{HEX}.000000000000000{number}")
    report = disk.check(repair=False)
    assert report.keys is not None
    assert (report.keys.held, report.keys.unreferenced, report.keys.removable) == (10, 3, 3)
    monkeypatch.setattr(orphans, "MOST_KEPT", 2)
    report = disk.check(repair=False)
    assert report.keys is not None
    assert (report.keys.unreferenced, report.keys.removable) == (3, 2)


def test_only_what_a_report_lists_is_touched(disk: Disk) -> None:
    """A plan is a report: nothing else is looked at, healed or deleted, and each is judged again."""
    contents = layers(3)
    for content in contents:
        push_blob(disk.world.client("alice"), "priv/app", content)
        disk.path(digest_of(content)).unlink()
    left, other = disk.leave(b"old"), disk.leave(b"old", f"ab/{HEX}.0123456789abcdef")
    shelf = Shelf({str(digest_of(content)): content for content in contents})
    planned = disk.check(shelf, share=0, repair=False)
    assert {finding.remedy for finding in planned.findings} == {"shelf"}
    push_blob(disk.world.client("alice"), "priv/app", b"pushed")
    chosen = {str(digest_of(contents[0])), str(digest_of(b"pushed")), str(digest_of(b"none")), f"aa/{left.name}"}
    report = disk.check(shelf, only=chosen)
    assert (report.blobs, report.mended, report.found, report.tags) == (2, 1, 0, 0)
    assert (left.exists(), other.exists()) == (False, True)
    assert [disk.pull(content) for content in contents] == [contents[0], b"BLOB_UNKNOWN", b"BLOB_UNKNOWN"]


def test_a_plan_says_who_refused(disk: Disk) -> None:
    """Without a repair nothing is fetched but the first bytes, and who has nothing is told."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()
    files = disk.files()
    (finding,) = disk.check(Shelf({}, "empty"), Shelf({digest_of(LAYER): LAYER}), repair=False).findings
    assert (finding.remedy, finding.refusals) == ("shelf", ["empty: has no such bytes"])
    (finding,) = disk.check(Shelf({}, "empty"), repair=False).findings
    assert (finding.remedy, finding.refusals, disk.files()) == ("", ["empty: has no such bytes"], files)
    found = disk.world.run(disk.world.registry.database.read(lambda tx: audit.find_blob(tx, digest_of(b""))))
    assert found is None


def test_an_empty_blob_has_a_remedy(disk: Disk) -> None:
    """A source that has nothing to give of nothing has it."""
    push_blob(disk.world.client("alice"), "priv/app", b"")
    disk.world.transact(lambda tx: tx.execute("delete from location"))
    blob = disk.world.run(disk.world.database.read(lambda tx: audit.find_blob(tx, digest_of(b""))))
    assert blob is not None

    class Nothing(Shelf):
        async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
            for chunk in ():
                yield chunk

    found = disk.world.run(find_remedy(disk.world.registry, digest_of(b""), blob, [Nothing({}, "nothing")]))
    assert found.source == "nothing"
    assert disk.check(Nothing({}, "nothing")).mended == 1


def test_a_push_that_heals_first_wins(disk: Disk) -> None:
    """What a client brought while a source was read stays; the fetched bytes are dropped, and nothing is a finding."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()

    class Slow(Shelf):
        async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
            client = disk.world.client("alice")
            target = f"/v2/priv/app/blobs/uploads/?digest={wanted.digest}"
            assert (await client.exchange("POST", target, LAYER)).status == 201
            yield LAYER

    report = disk.check(Slow({}))
    assert (report.found, report.mended, report.blobs) == (0, 0, 1)
    assert disk.pull(LAYER) == LAYER
    assert disk.files() == {disk.path(digest_of(LAYER))}


@pytest.mark.parametrize("error", [StorageFull("no room"), Unavailable("gone")])
def test_a_repair_that_cannot_name_ends(disk: Disk, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Where our own side fails the check ends with its error, the blob stays put aside, and may be healed later."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()

    async def fail(keys: object) -> None:
        raise error

    monkeypatch.setattr(disk.store, "settle", fail)
    with pytest.raises(type(error)):
        disk.check(Shelf({digest_of(LAYER): LAYER}))
    monkeypatch.undo()
    assert disk.check(Shelf({digest_of(LAYER): LAYER})).mended == 1
    assert disk.pull(LAYER) == LAYER


def test_an_error_that_is_no_doubt_drops_the_bytes(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is certain that nothing was named, what was fetched does not stay."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    disk.path(digest_of(LAYER)).unlink()

    async def refuse(*arguments: object) -> list[str]:
        raise BlobUnknown("a row is gone")

    monkeypatch.setattr(healing.blobs, "replace_locations", refuse)
    with pytest.raises(BlobUnknown):
        disk.check(Shelf({digest_of(LAYER): LAYER}))
    assert disk.files() == set()


def test_a_file_that_the_disk_cannot_read_is_healed(disk: Disk) -> None:
    """It stays in service until right bytes are there, since the disk may be away; a source puts them there."""
    push_blob(disk.world.client("alice"), "priv/app", LAYER)
    path = disk.path(digest_of(LAYER))
    path.unlink()
    path.mkdir()
    (finding,) = disk.check().findings
    assert (finding.kind, finding.quarantined) == ("blob.unreadable", False)
    report = disk.check(Shelf({digest_of(LAYER): LAYER}))
    assert [each.kind for each in report.repaired] == ["blob.unreadable"]
    assert disk.pull(LAYER) == LAYER


def test_a_sample_reads_a_share(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the blobs and manifests that are chosen every byte is read, of the others the last one is looked at."""
    push_images(disk, layers(10))
    chosen = itertools.cycle([0.05, 0.5])
    monkeypatch.setattr(module.random, "random", lambda: next(chosen))
    report = disk.check(share=0.1, repair=False)
    assert (report.is_deep, report.blobs, report.found) == (False, 11, 0)
    assert report.blobs_read in {5, 6}
    assert 0 < report.bytes_read < report.blob_bytes


def test_a_check_that_was_broken_off_goes_on(disk: Disk) -> None:
    """What was verified a moment ago is not read again, if wanted; what is known as damaged is told all the same."""
    contents = layers(4)
    for content in contents:
        push_blob(disk.world.client("alice"), "priv/app", content)
    disk.flip(digest_of(contents[0]))
    disk.world.clock.advance(days=2)
    assert disk.check(repair=False).blobs_read == 4
    disk.world.clock.advance(seconds=60)
    push_blob(disk.world.client("alice"), "priv/app", b"new")
    how = How(share=1.0, verified_before=disk.world.clock.now() - DAY)
    report = disk.world.run(check(disk.world.registry, how, lambda what, amount: None))
    assert (report.blobs, report.blobs_read, report.found) == (5, 1, 1)
    assert [each.subject for each in report.findings] == [digest_of(contents[0])]


def test_repairs_are_bounded_in_a_report(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit they are only counted."""
    contents = layers(3)
    for content in contents:
        push_blob(disk.world.client("alice"), "priv/app", content)
        disk.path(digest_of(content)).unlink()
    monkeypatch.setattr(module, "MOST_LISTED", 1)
    report = disk.check(Shelf({str(digest_of(content)): content for content in contents}))
    assert (report.mended, len(report.repaired)) == (3, 1)


def test_large_blobs_and_equal_sizes(disk: Disk) -> None:
    """Several lost blobs of one size find each its own file, hashed once; large ones are read whole."""
    contents = [bytes([number]) * (600 << 10) for number in range(3)]
    for number, content in enumerate(contents):
        push_blob(disk.world.client("alice"), "priv/app", content)
        if number:
            disk.path(digest_of(content)).unlink()
            disk.leave(content, f"aa/{HEX}.000000000000000{number}")
    report = disk.check()
    assert (report.found, report.mended, report.blobs_read) == (0, 2, 3)
    assert [disk.pull(content) for content in contents] == contents
