"""Rows that lead nowhere: linked again to what lies here, or to what a source has; the rest is told with its tags."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from entrepot.core.check import Finding, How, Report, check
from entrepot.core.collect import run_collection
from entrepot.core.jobs import run_due
from entrepot.core.registry import Rules
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import StorageFull, Unavailable
from entrepot.ports.database import Tx
from entrepot.ports.source import Source, Wanted
from tests.core.test_repair import Disk, Shelf
from tests.support.faults import FaultyStore, Mode, Saboteur, require_whole
from tests.support.images import CONFIG, LAYER, Image, image, index
from tests.support.world import World, push_blob

IMAGE = image()
LISTS = index([IMAGE])
LAYER_DIGEST, CONFIG_DIGEST = digest_of(LAYER), digest_of(CONFIG)
TAGS = ["priv/app:multi", "priv/app:v1"]
HAVING = {str(LAYER_DIGEST): LAYER, str(CONFIG_DIGEST): CONFIG, str(IMAGE.digest): IMAGE.raw}


def look(world: World, *sources: Source, repair: bool = False, only: set[str] | None = None) -> Report:
    """A shallow check."""
    how = How(is_repair=repair, sources=sources, only=None if only is None else frozenset(only))
    return world.run(check(world.registry, how, lambda what, amount: None))


def the(report: Report) -> Finding:
    """The only finding."""
    (finding,) = report.findings
    return finding


def statement(world: World, sql: str, *arguments: object) -> None:
    """Break something behind the registry's back."""
    world.transact(lambda tx: tx.execute(sql, *arguments))


def require_mended(world: World, *sources: Source) -> None:
    """A repair leaves nothing, everything pulls, and the collector takes nothing of it away."""
    report = look(world, *sources, repair=True)
    assert (report.findings, report.mended > 0) == ([], True)
    assert look(world).findings == []
    world.clock.advance(days=50)
    world.run(run_collection(world.registry))
    require_whole(world)
    client = world.client("alice")
    for reference, pushed in (("v1", IMAGE), ("multi", LISTS), (IMAGE.digest, IMAGE)):
        assert client.request("GET", f"/v2/priv/app/manifests/{reference}").body == pushed.raw
    for content in IMAGE.blobs:
        assert client.request("GET", f"/v2/priv/app/blobs/{digest_of(content)}").body == content


@pytest.fixture
def broken(world: World) -> World:
    """A world with an image and an index, to be broken by the test."""
    world.push("priv/app", IMAGE, "v1")
    world.push("priv/app", LISTS, "multi")
    return world


@pytest.mark.parametrize(
    ("sql", "digest", "kind", "subject", "tags"),
    [
        (
            "delete from member where digest = $1",
            LAYER_DIGEST,
            "manifest.incomplete",
            f"priv/app@{IMAGE.digest}",
            TAGS,
        ),
        (
            "update member set deleted_at = 1 where digest = $1",
            CONFIG_DIGEST,
            "manifest.incomplete",
            f"priv/app@{IMAGE.digest}",
            TAGS,
        ),
        ("delete from member where digest = $1", IMAGE.digest, "tag.dangling", "priv/app:v1", TAGS[1:]),
        ("update member set deleted_at = 1 where digest = $1", IMAGE.digest, "tag.dangling", "priv/app:v1", TAGS[1:]),
    ],
)
def test_what_lies_here_is_linked_again(
    broken: World, sql: str, digest: Digest, kind: str, subject: str, tags: list[str]
) -> None:
    """Without any source, by the plan that was shown before, which changed nothing and names the tags."""
    statement(broken, sql, digest)
    for _ in range(2):
        planned = the(look(broken))
        assert (planned.kind, planned.subject, planned.remedy, planned.tags) == (kind, subject, "this store", tags)
    report = look(broken, repair=True, only={"priv/other:v1", f"priv/app@{digest_of(b'')}"})
    assert (report.tags, report.members, report.found, report.mended) == (0, 0, 0, 0)
    report = look(broken, repair=True, only={subject})
    assert [(each.subject, each.kind, each.source) for each in report.repaired] == [(subject, kind, "this store")]
    assert (report.tags + report.members, report.found) == (1, 0)
    statement(broken, sql, digest)
    require_mended(broken)
    ((actor, subject, _),) = broken.rows("select distinct actor, subject, 1 from event where kind like '%.restored'")
    assert (actor, subject) == ("entrepot check", "priv/app")


@pytest.mark.parametrize(
    "lost",
    [
        ["delete from manifest where digest = $1"],
        ["delete from manifest where digest = $1", "delete from edge where parent = $1"],
        [
            "delete from manifest where digest = $1",
            "delete from edge where parent = $1",
            "delete from member where digest = $1",
        ],
    ],
)
def test_a_manifest_whose_row_is_lost_comes_from_a_source(broken: World, lost: list[str]) -> None:
    """Asked for by the names that know it or point at it; without one it is told with the tags that it breaks."""
    for sql in lost:
        statement(broken, sql, IMAGE.digest)
    findings = look(broken, repair=True).findings
    assert findings[0].kind == "tag.dangling"
    assert findings[0].refusals == [f"{IMAGE.digest}: is gone"]
    assert {"priv/app:v1"} <= {tag for finding in findings for tag in finding.tags}
    shelf = Shelf(HAVING)
    assert {finding.remedy for finding in look(broken, shelf).findings} == {"shelf"}
    assert all("priv/app" in wanted.repositories for wanted in shelf.asked)
    require_mended(broken, shelf)


def test_a_blob_whose_row_is_lost_comes_from_a_source(broken: World) -> None:
    """Its size is what a manifest says; where it is not known at all any more, that manifest asks for it."""
    for table in ("blob", "location"):
        statement(broken, f"delete from {table} where {'blob' if table == 'location' else 'digest'} = $1", LAYER_DIGEST)
    planned = the(look(broken, Shelf({})))
    assert (planned.kind, planned.tags) == ("member.dangling", TAGS)
    assert planned.refusals == [f"{LAYER_DIGEST}: is gone", "shelf: has no such bytes"]
    report = look(broken, Shelf({str(LAYER_DIGEST): b"wrong bytes"}), repair=True)
    assert "digest" in the(report).refusals[1]
    shelf = Shelf(HAVING)
    assert the(look(broken, shelf)).remedy == "shelf"
    assert shelf.asked[-1].size == len(LAYER)
    statement(broken, "delete from member where digest = $1", LAYER_DIGEST)
    assert the(look(broken, shelf)).kind == "manifest.incomplete"
    require_mended(broken, shelf)


def test_a_file_that_nothing_names_is_linked_again(tmp_path: pathlib.Path) -> None:
    """Where only the rows of a blob are lost, its bytes are in the store still."""
    disk = Disk(tmp_path)
    disk.world.push("priv/app", IMAGE, "v1")
    for table, column in (("blob", "digest"), ("location", "blob"), ("member", "digest")):
        statement(disk.world, f"delete from {table} where {column} = $1", LAYER_DIGEST)
    assert the(disk.check(repair=False)).remedy == "a file that nothing names"
    assert disk.check().mended == 1
    assert disk.pull(LAYER) == LAYER
    disk.close()


def test_a_blob_that_no_manifest_names_is_only_told(broken: World) -> None:
    """Nothing says how large it is, and nothing needs it; a manifest that cannot be read does not say it either."""
    loose = push_blob(broken.client("alice"), "priv/app", b"loose")
    for digest in (loose, LAYER_DIGEST):
        statement(broken, "delete from blob where digest = $1", digest)
    statement(broken, "update manifest set raw = $1 where digest = $2", b"{}", IMAGE.digest)
    report = look(broken, Shelf({str(loose): b"loose", str(LAYER_DIGEST): LAYER}), repair=True)
    told = {each.subject: each.refusals for each in report.findings}
    for digest in (loose, LAYER_DIGEST):
        assert "gives more than 0 bytes" in told[f"priv/app@{digest}"][1]


def test_what_cannot_be_had_is_told_and_the_rest_linked(broken: World) -> None:
    """Of two layers one is quarantined: the other is linked again, and the finding names what is left."""
    statement(broken, "delete from member where kind = 'blob'")
    statement(broken, "update blob set state = 'damaged' where digest = $1", LAYER_DIGEST)
    (finding,) = [each for each in look(broken, repair=True).findings if each.kind == "manifest.incomplete"]
    assert (finding.tags, finding.remedy) == (TAGS, "")
    assert (str(LAYER_DIGEST) in finding.problem, str(CONFIG_DIGEST) in finding.problem) == (True, False)
    assert finding.refusals[0].startswith(f"{LAYER_DIGEST}: found damaged before")
    (again,) = [each for each in look(broken, repair=True).findings if each.kind == "manifest.incomplete"]
    assert again.problem == finding.problem
    push_blob(broken.client("alice"), "priv/app", LAYER)
    assert look(broken).findings == []


def test_a_manifest_that_comes_back_incomplete_is_told_as_that(broken: World) -> None:
    """A source has the manifest, and not its layer."""
    for sql in ("delete from manifest where digest = $1", "delete from edge where parent = $1"):
        statement(broken, sql, IMAGE.digest)
    for sql in ("delete from blob where digest = $1", "delete from member where digest = $1"):
        statement(broken, sql, LAYER_DIGEST)
    statement(broken, "delete from tag where name = 'v1'")
    report = look(broken, Shelf({str(IMAGE.digest): IMAGE.raw}), repair=True)
    assert [each.kind for each in report.repaired] == ["member.dangling"]
    assert (the(report).kind, the(report).tags) == ("manifest.incomplete", ["priv/app:multi"])


def test_what_is_no_manifest_is_refused(broken: World) -> None:
    """A source may have bytes of that digest that no rules of this version accept."""
    statement(broken, "update tag set digest = $1 where name = 'v1'", digest_of(b"{}"))
    report = look(broken, Shelf({str(digest_of(b"{}")): b"{}"}), repair=True)
    (refusal,) = the(report).refusals
    assert refusal.startswith(f"{digest_of(b'{}')}: the manifest is not")


def test_children_are_linked_again_where_indexes_need_them() -> None:
    """With strict rules a child that is not known is missing, with what it needs, and also one that is a blob."""
    with World(rules=Rules(optional_edges=frozenset())) as world:
        cached = Image(b"cached", "application/vnd.buildkit.cacheconfig.v0")
        inner = index([IMAGE, IMAGE, cached])
        outer = index([inner, IMAGE])
        push_blob(world.client("admin"), "priv/app", b"cached")
        for pushed, tag in ((IMAGE, IMAGE.digest), (inner, inner.digest), (outer, "all")):
            world.push("priv/app", Image(pushed.raw, pushed.media_type, pushed.blobs), tag)
        statement(world, "delete from member where digest <> $1", outer.digest)
        planned = the(look(world))
        assert (planned.remedy, planned.tags) == ("this store", ["priv/app:all"])
        assert look(world, repair=True).mended == 1
        assert look(world).findings == []
        client = world.client("alice")
        client.request("DELETE", f"/v2/priv/app/manifests/{inner.digest}")
        (refusal,) = the(look(world, repair=True)).refusals
        assert refusal.endswith(f"entrepot trash restore priv/app@{inner.digest} brings it back")


class Meddling(Shelf):
    """A source during whose answer rows change."""

    def __init__(self, world: World, *sql: str) -> None:
        super().__init__(HAVING, "meddling")
        self._world = world
        self._sql = sql

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        async for chunk in super().read(wanted):
            yield chunk
        for sql in self._sql:
            await self._world.database.transact(partial(_execute, sql))


async def _execute(sql: str, tx: Tx) -> int:
    return await tx.execute(sql)


def lose_layer(world: World) -> None:
    """Nothing here knows the layer any more, and the repository not the config."""
    for sql in ("delete from member where digest = $1", "delete from blob where digest = $1"):
        statement(world, sql, LAYER_DIGEST)
    statement(world, "delete from location where blob = $1", LAYER_DIGEST)
    statement(world, "delete from member where digest = $1", CONFIG_DIGEST)


@pytest.mark.parametrize(
    "sql",
    [
        "update member set deleted_at = 1 where kind = 'manifest'",
        f"update blob set state = 'damaged' where digest = '{CONFIG_DIGEST}'",
        f"delete from manifest where digest = '{IMAGE.digest}'",
    ],
)
def test_what_is_let_go_of_meanwhile_is_left_alone(broken: World, sql: str) -> None:
    """Nothing is named that is not wanted any more, or has gone itself; what was written is deleted again."""
    lose_layer(broken)
    statement(broken, "delete from tag")
    if sql.startswith("delete"):
        statement(broken, "delete from member where digest = $1", IMAGE.digest)
        statement(
            broken,
            "insert into tag (repository, name, digest, generation, moved_at) "
            "select id, 'v1', $1, 1, 1 from repository where name = 'priv/app'",
            IMAGE.digest,
        )
    keys = set(broken.store.content)
    before = broken.rows("select digest, kind from member")
    report = look(broken, Meddling(broken, sql), repair=True)
    assert report.repaired == []
    assert set(broken.store.content) == keys
    assert broken.rows("select digest, kind from member") == before


def test_what_is_pushed_meanwhile_is_kept(broken: World) -> None:
    """Bytes that were fetched for nothing are deleted once nobody can be reading them."""
    lose_layer(broken)
    insert = f"insert into blob (digest, size, created_at) values ('{LAYER_DIGEST}', {len(LAYER)}, 1)"
    key = next(key for key, content in broken.store.content.items() if content == LAYER)
    place = "insert into location (blob, ordinal, store, key, size) "
    place += f"values ('{LAYER_DIGEST}', 0, 'default', '{key}', {len(LAYER)})"
    assert look(broken, Meddling(broken, insert, place), repair=True).mended == 1
    assert look(broken).findings == []
    broken.clock.advance(seconds=3600)
    broken.run(run_due(broken.registry, "worker"))
    assert [content for content in broken.store.content.values() if content == LAYER] == [LAYER]


@pytest.mark.parametrize(("mode", "is_left"), [("before", True), ("full", False)])
def test_a_store_that_fails_names_nothing(mode: Mode, is_left: bool) -> None:
    """Where the store has no room what was written goes; where it is out of reach it is left, as garbage at worst."""
    saboteur = Saboteur(mode)
    with World(wrap_store=lambda store: FaultyStore(store, saboteur)) as world:
        world.push("priv/app", IMAGE, "v1")
        lose_layer(world)
        keys = set(world.store.content)
        saboteur.at = len(saboteur.calls) + 2
        with pytest.raises(StorageFull if mode == "full" else Unavailable):
            look(world, Shelf(HAVING), repair=True)
        assert (set(world.store.content) > keys) is is_left
        assert world.rows("select 1 from blob where digest = $1", LAYER_DIGEST) == []
