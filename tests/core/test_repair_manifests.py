"""Repair of manifests: what is not as it was pushed is told with its tags, and healed from wherever its bytes are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from entrepot.core import check as module
from entrepot.core import heal_manifest as healing
from entrepot.core.check import How, Report, check
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.metadata import manifests
from entrepot.ports.source import Source, Wanted
from tests.core.test_repair import Shelf
from tests.support.images import Image, image, index
from tests.support.world import World, put_manifest

IMAGE = image(annotations={"what": "is damaged"})
DAMAGED = IMAGE.raw.replace(b"damaged", b"DAMAGED")
GOOD = Shelf({IMAGE.digest: IMAGE.raw}, "good")


@pytest.fixture
def world() -> Iterator[World]:
    """An image with a tag, and an index above it."""
    with World() as opened:
        opened.push("priv/app", IMAGE, "v1")
        opened.push("priv/app", index([IMAGE]), "all")
        yield opened


def damage(world: World, raw: bytes = DAMAGED) -> None:
    """Let the bytes of the image's manifest be others."""
    world.transact(lambda tx: manifests.replace_raw(tx, IMAGE.digest, IMAGE.raw, raw))


def look(world: World, *sources: Source, repair: bool = True, only: frozenset[str] | None = None) -> Report:
    """A deep check."""
    how = How(share=1, is_repair=repair, sources=sources, only=only)
    return world.run(check(world.registry, how, lambda what, amount: None))


def pull(world: World) -> bytes:
    """What a client gets for the manifest."""
    return world.client("alice").request("GET", f"/v2/priv/app/manifests/{IMAGE.digest}").body


def events(world: World) -> list[tuple[str, str]]:
    """(actor, subject) of what was healed."""
    return [(row[0], row[1]) for row in world.rows("select actor, subject from event where kind = 'manifest.healed'")]


def test_what_nobody_has_is_told_with_its_tags(world: World) -> None:
    """Sources that have nothing, are away, go on without end or have other bytes are named; nothing is changed."""
    damage(world)

    class Endless(Shelf):
        """A source that goes on and on."""

        async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * (1 << 20)

    bad: list[Source] = [
        Shelf({}, "empty"),
        Shelf({IMAGE.digest: Unavailable("nobody answers")}, "away"),
        Endless({}, "endless"),
        Shelf({IMAGE.digest: b"{}"}, "liar"),
    ]
    for repair in (True, False):
        (finding,) = look(world, *bad, repair=repair).findings
        assert (finding.kind, finding.subject, finding.remedy) == ("manifest.damaged", IMAGE.digest, "")
        assert (finding.repositories, finding.tags) == (["priv/app"], ["priv/app:all", "priv/app:v1"])
        assert finding.refusals == [
            "empty: has no such bytes",
            "away: nobody answers",
            f"endless: gives more than {healing.MOST_BYTES} bytes",
            f"liar: its bytes have the digest {digest_of(b'{}')}",
        ]
    assert pull(world) == DAMAGED


def test_a_source_heals(world: World) -> None:
    """It is told first, and then taken from, however much was lost; who asks hears which repositories to look in."""
    damage(world, b"")
    world.transact(lambda tx: tx.execute("delete from edge where parent = $1", IMAGE.digest))
    (finding,) = look(world, Shelf({}, "empty"), GOOD, repair=False).findings
    assert (finding.remedy, finding.refusals) == ("good", ["empty: has no such bytes"])
    assert GOOD.asked[-1] == Wanted(IMAGE.digest, 0, (), ("priv/app",), IMAGE.media_type)
    assert pull(world) == b""
    report = look(world, GOOD)
    assert (report.found, report.mended, report.repaired[0].source) == (0, 1, "good")
    assert look(world, repair=False).found == 0
    assert pull(world) == IMAGE.raw
    assert events(world) == [("entrepot check", IMAGE.digest)]


def test_edges_come_from_its_own_bytes(world: World) -> None:
    """What the graph lost is in the manifest itself."""
    world.transact(lambda tx: tx.execute("delete from edge where parent = $1 and kind = 'layer'", IMAGE.digest))
    (finding,) = look(world, repair=False).findings
    assert finding.remedy == "its own bytes"
    assert [each.source for each in look(world).repaired] == ["its own bytes"]
    assert look(world).found == 0


def test_a_push_heals(world: World) -> None:
    """Whoever pushes the image again puts it right, and it is told that somebody did."""
    damage(world)
    for _ in range(2):
        assert put_manifest(world.client("admin"), "priv/app", IMAGE, "v1").status == 201
    assert pull(world) == IMAGE.raw
    assert events(world) == [("admin", IMAGE.digest)]


def test_only_what_is_named_is_touched(world: World) -> None:
    """A report of one damaged manifest leaves another as it is."""
    other = image([b"another"])
    world.push("priv/app", other, "other")
    damage(world)
    world.transact(lambda tx: manifests.replace_raw(tx, other.digest, other.raw, b"lost"))
    both = Shelf({IMAGE.digest: IMAGE.raw, other.digest: other.raw})
    report = look(world, both, only=frozenset({str(IMAGE.digest), "aa/key"}))
    assert (report.manifests, [each.subject for each in report.repaired]) == (1, [IMAGE.digest])
    assert [each.subject for each in look(world, repair=False).findings] == [other.digest]


def test_what_changes_meanwhile_is_judged_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push heals it while a source is read: that is no finding, and no repair."""
    damage(world)
    heal = module.heal_manifest

    async def late(*arguments: object) -> healing.Remedy:
        await world.registry.database.transact(lambda tx: manifests.replace_raw(tx, IMAGE.digest, DAMAGED, IMAGE.raw))
        return await heal(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "heal_manifest", late)
    report = look(world, GOOD)
    assert (report.found, report.mended) == (0, 0)


def test_a_manifest_that_cannot_be_read_is_healed_without_edges(world: World) -> None:
    """One that the rules of another version let in comes back byte for byte."""
    raw = b"{}"
    digest = digest_of(raw)
    world.transact(
        lambda tx: tx.execute(
            "insert into manifest (digest, media_type, raw, created_at) values ($1, '', $2, 0)", digest, b"{"
        )
    )
    assert look(world, Shelf({digest: raw})).mended == 1
    assert look(world).found == 0


def test_replicas_forget_damaged_bytes(world: World) -> None:
    """What was healed is no longer served from memory as it was."""
    from tests.core.test_recall import Network, Site  # noqa: PLC0415 - a world of its own

    del world
    with World(wrap_database=Network) as opened:
        site = Site(opened)
        pushed: Image = opened.push("priv/app", IMAGE, "v1", user="alice")
        damage(opened)
        site.look()
        target = f"manifests/{pushed.digest}"
        assert site.pull(target).body == DAMAGED
        look(opened, GOOD)
        site.look()
        assert site.pull(target).body == IMAGE.raw
