"""Pushes that are overtaken in their middle by the collector or by a deletion, on PostgreSQL: SQLite has one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from entrepot.core import push as push_module
from entrepot.core import upload as upload_module
from entrepot.core.collect import collect_batch
from entrepot.core.delete import delete_blob, delete_manifest
from entrepot.core.push import ManifestPush, push_manifest
from entrepot.core.trash import restore
from entrepot.core.upload import mount_blob, push_blob
from entrepot.domain.digests import digest_of
from entrepot.domain.events import Event
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import pins
from entrepot.ports.database import Tx
from tests.contract.engines import Held, PostgresqlUrls
from tests.contract.rows import APP
from tests.contract.test_races import Racers, chunks
from tests.support.clock import FrozenClock
from tests.support.images import Image, image, index

OTHER = RepositoryName("library/other")
# So that the rows of one image do not all lie on one page, which PostgreSQL locks as a whole.
FILLERS = 60
WHAT = {"index": index([image([b"never pushed"])]), "image": image([b"a"]), "layers": image([b"a", b"b", b"c"])}


@pytest.fixture
def racers(postgresql_urls: PostgresqlUrls, open_held: Callable[[str], Held]) -> Racers:
    """A registry on PostgreSQL with other content in it."""
    racers = Racers(open_held(postgresql_urls.migrated()))
    racers.held.run(racers.push_content(*(b"filler %d" % number for number in range(FILLERS))))
    return racers


class Halt:
    """Stops the first transaction that comes by here until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.going = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        """Stop, the first time."""
        if not self.reached.is_set():
            self.reached.set()
            await self.going.wait()

    async def overtake(
        self, slow: Coroutine[Any, Any, object], quick: Coroutine[Any, Any, object]
    ) -> tuple[object, object]:
        """What both answered: the quick one began while the slow one stood."""
        first = asyncio.ensure_future(slow)
        await self.reached.wait()
        second = asyncio.ensure_future(quick)
        # Long enough to commit; it may as well have to wait for the slow one.
        await asyncio.wait({second}, timeout=0.3)
        self.going.set()
        one, two = await asyncio.gather(first, second, return_exceptions=True)
        return one, two


def halting(monkeypatch: pytest.MonkeyPatch, halt: Halt, kind: str) -> None:
    """Stop pushes before the event that they end with."""
    add_event: Callable[..., Awaitable[None]] = push_module.events.add_event

    async def slow(tx: Tx, event: Event, *more: Any) -> None:
        if event.kind == kind:
            await halt.wait()
        await add_event(tx, event, *more)

    monkeypatch.setattr(push_module.events, "add_event", slow)


async def push_content(racers: Racers, repository: RepositoryName, pushed: Image) -> None:
    """What a manifest needs."""
    for content in pushed.blobs:
        await push_blob(racers.registry, racers.caller, repository, digest_of(content), chunks(content))


def push(racers: Racers, repository: RepositoryName, pushed: Image, *tags: str) -> Coroutine[Any, Any, object]:
    """A manifest alone."""
    order = ManifestPush(repository, pushed.media_type, pushed.raw, tuple(Tag(tag) for tag in tags))
    return push_manifest(racers.registry, racers.caller, order)


@pytest.mark.parametrize("what", sorted(WHAT))
@pytest.mark.parametrize("repository", [APP, OTHER])
def test_a_known_manifest_that_is_pushed_again(
    racers: Racers, monkeypatch: pytest.MonkeyPatch, what: str, repository: RepositoryName
) -> None:
    """Whatever the collector forgets meanwhile, what was answered with 201 is there whole, in its repository."""
    pushed = WHAT[what]
    racers.held.run(push_content(racers, APP, pushed))
    racers.held.run(push(racers, APP, pushed))
    assert isinstance(racers.registry.clock, FrozenClock)
    racers.registry.clock.advance(days=15)
    racers.held.run(push_content(racers, repository, pushed))
    halt = Halt()
    halting(monkeypatch, halt, "manifest.pushed")
    answer, _ = racers.held.run(
        halt.overtake(push(racers, repository, pushed, "keep"), collect_batch(racers.registry, 200))
    )
    assert not isinstance(answer, BaseException), answer
    members = racers.held.rows(
        "select 1 from member m join repository r on r.id = m.repository where r.name = $1 and m.digest = $2 "
        "and m.deleted_at is null",
        repository,
        pushed.digest,
    )
    assert (len(members), len(racers.held.rows("select 1 from manifest where digest = $1", pushed.digest))) == (1, 1)


def test_a_blob_that_is_mounted_where_it_was(racers: Racers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that says yes keeps the blob, though the collector was about to forget it there."""
    content = b"shared"
    digest = digest_of(content)
    for repository in (OTHER, APP):
        racers.held.run(push_blob(racers.registry, racers.caller, repository, digest, chunks(content)))
    ((app,),) = racers.held.rows("select id from repository where name = $1", APP)
    now = racers.registry.clock.now()

    async def let_go(tx: Tx) -> None:
        await tx.execute("delete from pin where repository = $1 and digest = $2", app, digest)
        await pins.put_pin(tx, app, digest, ("review", ""), now)

    racers.held.transact(let_go)
    halt = Halt()
    put_pin = pins.put_pin

    async def slow(tx: Tx, *more: Any) -> None:
        await put_pin(tx, *more)
        await halt.wait()

    monkeypatch.setattr(upload_module.pins, "put_pin", slow)
    mounting = mount_blob(racers.registry, racers.caller, APP, digest, OTHER)
    answer, _ = racers.held.run(halt.overtake(mounting, collect_batch(racers.registry, 20)))
    assert answer is True
    assert racers.held.rows("select 1 from member where repository = $1 and digest = $2", app, digest) != []


def test_a_tag_never_points_at_what_is_deleted(racers: Racers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known manifest that is tagged while it is deleted is there under its tag, or has gone with it."""
    pushed = WHAT["index"]
    racers.held.run(push(racers, APP, pushed))
    halt = Halt()
    halting(monkeypatch, halt, "manifest.pushed")
    deleting = delete_manifest(racers.registry, racers.caller, APP, pushed.digest)
    racers.held.run(halt.overtake(push(racers, APP, pushed, "keep"), deleting))
    tagged = racers.held.rows("select 1 from tag")
    hidden = racers.held.rows("select 1 from member where digest = $1 and deleted_at is not null", pushed.digest)
    assert not (tagged and hidden)


@pytest.mark.parametrize("quick", ["collect", "delete"])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_is_restored_is_whole(
    racers: Racers, monkeypatch: pytest.MonkeyPatch, quick: str, is_deleted: bool
) -> None:
    """A layer that the collector looks at, or that somebody deletes, is there where its image is."""
    pushed = WHAT["image"]
    layer = digest_of(b"a")
    racers.held.run(push_content(racers, APP, pushed))
    racers.held.run(push(racers, APP, pushed, "keep"))
    racers.held.run(delete_manifest(racers.registry, racers.caller, APP, pushed.digest))
    if is_deleted:
        racers.held.run(delete_blob(racers.registry, racers.caller, APP, layer))
    ((app,),) = racers.held.rows("select id from repository where name = $1", APP)
    now = racers.registry.clock.now()
    racers.held.transact(lambda tx: pins.put_pin(tx, app, layer, ("review", ""), now))
    halt = Halt()
    halting(monkeypatch, halt, "manifest.restored")
    others: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "collect": lambda: collect_batch(racers.registry, 20),
        "delete": lambda: delete_blob(racers.registry, racers.caller, APP, layer),
    }
    racers.held.run(halt.overtake(restore(racers.registry, racers.caller, APP, pushed.digest), others[quick]()))
    live = {row[0] for row in racers.held.rows("select digest from member where deleted_at is null")}
    assert pushed.digest not in live or layer in live
