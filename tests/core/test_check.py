"""The check of what is named: each way in which a registry can be broken is found, told and, where it can, mended."""

from __future__ import annotations

import asyncio
import functools
import pathlib
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest

from entrepot.core import check as module
from entrepot.core import pages as paging
from entrepot.core.audit import flush_audit
from entrepot.core.audit_archive import archive
from entrepot.core.check import How, Report, check, total_bytes
from entrepot.core.registry import Rules
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import Unavailable
from entrepot.metadata import blobs
from entrepot.metadata.audit import AuditedMember
from entrepot.ports.database import Database, Tx, Work
from entrepot.ports.store import Piece
from entrepot.storage.file import open_store
from tests.support.faults import FaultyStore, Saboteur
from tests.support.images import CONFIG, LAYER, image, index
from tests.support.world import World, push_blob

T = TypeVar("T")
IMAGE = image()
LAYER_DIGEST = digest_of(LAYER)


def look(world: World, *, is_deep: bool = False) -> Report:
    """One check; what was noticed adds up to what the report says."""
    noticed = {"bytes": 0, "blobs": 0}

    def notice(kind: str, number: int) -> None:
        noticed[kind] += number

    report = world.run(check(world.registry, How(share=float(is_deep)), notice))
    assert noticed["blobs"] == report.blobs
    return report


def found(report: Report) -> list[tuple[str, str]]:
    """(kind, subject) of the findings."""
    assert report.found == len(report.findings)
    return sorted((finding.kind, finding.subject) for finding in report.findings)


def statement(world: World, sql: str, *arguments: object) -> None:
    """Break something behind the registry's back."""
    world.transact(lambda tx: tx.execute(sql, *arguments))


def key_of(world: World, digest: Digest) -> str:
    """Where a blob lies."""
    return str(world.rows("select key from location where blob = $1", digest)[0][0])


@pytest.fixture
def broken(world: World) -> World:
    """A world with an image and an index, to be broken by the test."""
    world.push("priv/app", IMAGE, "v1")
    world.push("priv/app", index([IMAGE]), "multi")
    return world


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_whole_registry_has_no_findings(broken: World, is_deep: bool) -> None:
    """Everything is counted; an index may lack children, and a subject may be unknown."""
    broken.push("priv/app", image(subject=IMAGE), "attached")
    lists = index([image(annotations={"not": "pushed"})])
    broken.push("priv/app", type(lists)(lists.raw, lists.media_type), "sparse")
    report = look(broken, is_deep=is_deep)
    assert (found(report), report.healed) == ([], [])
    assert (report.tags, report.members, report.manifests, report.blobs) == (4, 6, 4, 2)
    assert report.blob_bytes == len(CONFIG) + len(LAYER) == broken.run(total_bytes(broken.registry))
    assert report.keys is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("delete from manifest where digest = $1", ["member.dangling", "tag.dangling"]),
        ("update member set deleted_at = 1 where digest = $1", ["tag.dangling"]),
    ],
)
def test_a_tag_that_leads_nowhere(broken: World, sql: str, expected: list[str]) -> None:
    """Its manifest is gone, or not live in its repository."""
    statement(broken, sql, IMAGE.digest)
    assert [kind for kind, _ in found(look(broken))] == expected


def test_a_manifest_whose_content_its_repository_does_not_know(broken: World) -> None:
    """The missing digest is named, also where the stored manifest cannot be read any more."""
    statement(broken, "delete from member where digest = $1", LAYER_DIGEST)
    (finding,) = look(broken).findings
    assert (finding.kind, finding.subject) == ("manifest.incomplete", f"priv/app@{IMAGE.digest}")
    assert LAYER_DIGEST in finding.problem
    statement(broken, "update manifest set raw = $2 where digest = $1", IMAGE.digest, b"{}")
    assert ("manifest.incomplete", f"priv/app@{IMAGE.digest}") in found(look(broken))
    statement(broken, "delete from manifest where digest = $1", IMAGE.digest)
    assert ("member.dangling", f"priv/app@{IMAGE.digest}") in found(look(broken))


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("update manifest set raw = cast(raw || x'20' as blob) where digest = $1", "its bytes have the digest"),
        ("delete from edge where parent = $1 and kind = 'layer'", "the graph lacks its edges"),
    ],
)
def test_a_damaged_manifest(broken: World, sql: str, problem: str) -> None:
    """Found by a deep check only."""
    statement(broken, sql, IMAGE.digest)
    assert "manifest.damaged" not in {kind for kind, _ in found(look(broken))}
    findings = [finding for finding in look(broken, is_deep=True).findings if finding.kind == "manifest.damaged"]
    assert [finding.subject for finding in findings] == [IMAGE.digest]
    assert problem in findings[0].problem


def test_a_manifest_of_another_version_is_no_damage(broken: World) -> None:
    """Its bytes are what its digest says; that the rules of this version refuse them makes them no worse."""
    statement(
        broken,
        "insert into manifest (digest, media_type, raw, created_at) values ($1, '', $2, 0)",
        digest_of(b"{}"),
        b"{}",
    )
    assert found(look(broken, is_deep=True)) == []


class Vanishing:
    """The port Database; whatever a read lists is gone before the next one."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table

    async def read(self, work: Work[T]) -> T:
        value = await self._database.read(work)
        if self._table == "member" and isinstance(value, list) and value and isinstance(value[0], AuditedMember):
            await self._database.transact(lambda tx: tx.execute("update member set deleted_at = 1"))
        if isinstance(value, list) and value and self._table in {"blob", "manifest"}:
            statement = f"delete from {self._table} where digest = $1"
            rows = [row if isinstance(row, str) else row[0] for row in value if isinstance(row, str | tuple)]
            for digest in rows:
                await self._database.transact(functools.partial(_execute, statement, digest))
        return value

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        return self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()


async def _execute(statement: str, digest: str, tx: Tx) -> int:
    return await tx.execute(statement, digest)


@pytest.mark.parametrize("table", ["manifest", "blob"])
def test_what_is_collected_meanwhile_is_no_finding(table: str) -> None:
    """A listing is a moment ago: what is gone when it is looked at was let go of."""
    with World(wrap_database=lambda database: Vanishing(database, table)) as world:
        world.push("priv/app", IMAGE, IMAGE.digest)
        world.transact(lambda tx: tx.execute("update member set deleted_at = 1"))
        report = look(world, is_deep=True)
        assert found(report) == []
        assert (report.manifests, report.blobs) == (1, 2)


def test_what_its_repository_lets_go_of_meanwhile_is_not_incomplete() -> None:
    """A manifest that is collected while it is looked at needs nothing any more."""
    with World(wrap_database=lambda database: Vanishing(database, "member")) as world:
        world.push("priv/app", IMAGE, IMAGE.digest)
        report = look(world, is_deep=True)
        assert (found(report), report.members) == ([], 3)


def test_a_damaged_blob_is_taken_out_of_service_and_healed(broken: World) -> None:
    """A deep check quarantines it; a shallow one tells what is known; bytes that are right again are put back."""
    key = key_of(broken, LAYER_DIGEST)
    broken.store.content[key] = LAYER[::-1]
    assert found(look(broken)) == []
    (finding,) = look(broken, is_deep=True).findings
    assert (finding.kind, finding.repositories, finding.quarantined) == ("blob.damaged", ["priv/app"], True)
    assert broken.client("alice").request("GET", f"/v2/priv/app/blobs/{LAYER_DIGEST}").code == "BLOB_UNKNOWN"
    (known,) = look(broken).findings
    assert (known.kind, known.quarantined) == ("blob.damaged", True)
    assert [finding.kind for finding in look(broken, is_deep=True).findings] == ["blob.damaged"]
    broken.store.content[key] = LAYER
    assert look(broken, is_deep=True).healed == [LAYER_DIGEST]
    assert broken.client("alice").request("GET", f"/v2/priv/app/blobs/{LAYER_DIGEST}").body == LAYER
    kinds = [row[0] for row in broken.rows("select kind from event where subject = $1 order by id", LAYER_DIGEST)]
    assert kinds == ["blob.damaged", "blob.healed"]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("delete from location where blob = $1", "blob.unlocated"),
        ("update location set size = size - 1 where blob = $1", "blob.short"),
    ],
)
@pytest.mark.parametrize("is_deep", [False, True])
def test_a_blob_whose_places_are_wrong(broken: World, sql: str, kind: str, is_deep: bool) -> None:
    """Nothing says where it lies, or what does holds too little; a deep check takes it out of service."""
    statement(broken, sql, LAYER_DIGEST)
    (finding,) = look(broken, is_deep=is_deep).findings
    assert (finding.kind, finding.subject, finding.quarantined) == (kind, LAYER_DIGEST, is_deep)


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_blob_whose_bytes_are_gone(broken: World, is_deep: bool) -> None:
    """Already a shallow check looks for its last byte."""
    broken.store.content.clear()
    assert {kind for kind, _ in found(look(broken, is_deep=is_deep))} == {"blob.missing"}


def test_archived_days_of_the_audit_log_are_named(tmp_path: pathlib.Path) -> None:
    """Their files belong to something, as those of blobs do."""
    store = open_store(f"file://{tmp_path}")
    with World(rules=Rules(audit_days_in_database=2), wrap_store=lambda _: store) as world:
        world.push("priv/app", IMAGE, "v1")
        world.run(flush_audit(world.registry))
        world.clock.advance(days=4)
        world.run(archive(world.registry))
        keys = look(world).keys
        assert keys is not None
        assert keys.held > 2
        assert keys.unreferenced == 0
        world.run(store.close())


@pytest.mark.parametrize("is_deep", [False, True])
def test_files_of_the_disk_store(tmp_path: pathlib.Path, is_deep: bool) -> None:
    """A file that was cut is short; what nobody names, and what uploads hold, is counted."""
    store = open_store(f"file://{tmp_path}")
    with World(wrap_store=lambda _: store) as world:
        world.push("priv/app", IMAGE, "v1")
        clean = look(world, is_deep=is_deep).keys
        assert clean is not None
        assert (clean.held, clean.uploading, clean.unreferenced) == (2, 0, 0)
        alice = world.client("alice")
        location = alice.request("POST", "/v2/priv/app/blobs/uploads/")["location"]
        alice.request("PATCH", location, b"half")
        upload = location.rpartition("/")[2]
        for name in (f"00/{'0' * 32}.left", f"{upload[:2]}/{upload}.orphan"):
            (tmp_path / name).write_bytes(b"x")
        with open(store.path_of(key_of(world, LAYER_DIGEST)), "r+b") as file:
            file.truncate(3)
        push_blob(alice, "priv/app", CONFIG)
        report = look(world, is_deep=is_deep)
        assert found(report) == [("blob.short", LAYER_DIGEST)]
        assert report.keys is not None
        assert (report.keys.held, report.keys.uploading, report.keys.unreferenced) == (6, 1, 1)
        world.run(store.close())


def test_a_store_out_of_reach_condemns_nothing() -> None:
    """What cannot be read now is told, and stays in service."""

    class Away(FaultyStore):
        """A store that reads nothing."""

        async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
            raise Unavailable("the store cannot be reached", reason="pulled plug")
            yield b""

    with World(wrap_store=lambda store: Away(store, Saboteur())) as world:
        push_blob(world.client("alice"), "priv/app", LAYER)
        (finding,) = look(world, is_deep=True).findings
        assert (finding.kind, finding.quarantined) == ("blob.unreadable", False)
        assert "pulled plug" in finding.problem
        assert world.rows("select state from blob") == [("good",)]


def test_a_blob_that_moves_while_it_is_read_is_judged_again() -> None:
    """What was healed meanwhile is no finding, and is not taken out of service."""
    worlds: list[World] = []

    class Moving(FaultyStore):
        """A store whose content is replaced while the first read of it runs."""

        is_moved = False

        async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
            yield LAYER[::-1] if not self.is_moved else LAYER
            if not self.is_moved:
                self.is_moved = True
                (world,) = worlds
                world.store.content["new"] = LAYER
                pieces = [Piece("new", len(LAYER))]
                await world.database.transact(lambda tx: blobs.replace_locations(tx, LAYER_DIGEST, pieces))

    with World(wrap_store=lambda store: Moving(store, Saboteur())) as world:
        worlds.append(world)
        push_blob(world.client("alice"), "priv/app", LAYER)
        assert found(look(world, is_deep=True)) == []
        assert world.rows("select state from blob") == [("good",)]


def test_findings_are_bounded(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit they are only counted; and a registry of more than a page is walked to its end."""
    monkeypatch.setattr(module, "MOST_LISTED", 1)
    monkeypatch.setattr(paging, "PAGE", 1)
    broken.store.content.clear()
    report = look(broken)
    assert (report.found, len(report.findings), report.blobs) == (2, 1, 2)


def test_a_check_runs_beside_a_push(broken: World) -> None:
    """Reads and writes take turns; nothing that is being pushed is a finding."""

    async def both() -> Report:
        client = broken.client("alice")
        pushes = [
            client.exchange("POST", f"/v2/priv/app/blobs/uploads/?digest={digest_of(b'%d' % number)}", b"%d" % number)
            for number in range(20)
        ]
        checked = asyncio.ensure_future(check(broken.registry, How(share=1.0), lambda kind, number: None))
        answers = await asyncio.gather(*pushes)
        assert {answer.status for answer in answers} == {201}
        return await checked

    assert found(broken.run(both())) == []
