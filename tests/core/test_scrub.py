"""The scrub: everything is read again, the oldest verification first, by one process, within a rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from entrepot.core import scrub as module
from entrepot.core.registry import SECOND, Rules
from entrepot.core.scrub import Pacer, Scrubber, get_status, look, request
from entrepot.domain.access import ANONYMOUS
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import Conflict, Damaged, Denied, EntrepotError, Unavailable
from entrepot.metadata import integrity
from tests.support.faults import FaultyStore, Saboteur
from tests.support.world import World, push_blob

CONTENTS = [b"%d" % number for number in range(5)]
DIGESTS = [digest_of(content) for content in CONTENTS]


class Watch:
    """A clock in seconds that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += max(0.0, seconds)


class Journal(FaultyStore):
    """A store that remembers what is read; keys in `bad` cannot be, those in `short` not to their end."""

    def __init__(self, world: list[World], *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.keys: list[str] = []
        self.bad: set[str] = set()
        self.short: set[str] = set()

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        self.keys.append(key)
        if key in self.bad:
            raise Unavailable("an error of the disk", reason="EIO")
        if key in self.short:
            raise Damaged("it ends early")
        async for chunk in super().read(key, start, stop):
            yield chunk


class Story:
    """A world with five blobs, a minute between each, and scrubbers over it."""

    def __init__(self) -> None:
        self.world = World(wrap_store=self._wrap, rules=Rules(scrub_days=10))
        for content in CONTENTS:
            push_blob(self.world.client("alice"), "priv/app", content)
            self.world.clock.advance(seconds=60)

    def _wrap(self, store: object) -> Journal:
        self.journal = Journal([], store, Saboteur())
        return self.journal

    def scrubber(self, name: str = "one") -> Scrubber:
        """A process that scrubs, as fast as it can."""
        watch = Watch()
        return Scrubber(self.world.registry, name, Pacer(1 << 20, watch, watch.sleep))

    def run(self, scrubber: Scrubber | None = None) -> int:
        """One step of a scrubber."""
        return self.world.run((scrubber or self.scrubber()).run())

    def key(self, digest: Digest) -> str:
        """Where a blob lies."""
        return str(self.world.rows("select key from location where blob = $1", digest)[0][0])

    def row(self) -> integrity.ScrubRow:
        """What all scrubbers have counted."""
        return self.world.run(look(self.world.registry)).scrub


@pytest.fixture
def story() -> Iterator[Story]:
    """Five blobs that were just pushed."""
    made = Story()
    yield made
    made.world.close()


def test_a_pacer_spends_no_more_than_its_rate() -> None:
    """Bytes cost time at the rate; time that passed unused is not made up for."""
    watch = Watch()
    pacer = Pacer(100, watch, watch.sleep)

    async def spend() -> None:
        for amount in (100, 50, 0):
            await pacer.spend(amount)
        watch.now += 1000
        await pacer.spend(200)

    asyncio.run(spend())
    assert watch.slept == [1.0, 0.5, 0.0, 2.0]


def test_what_is_due_is_read_oldest_first(story: Story) -> None:
    """A push is a verification: nothing is due until the days are over, then the oldest is first, and once each."""
    assert story.run() == 0
    story.world.clock.advance(days=10)
    keys = [story.key(digest) for digest in DIGESTS]
    now = story.world.clock.now()
    story.journal.keys.clear()
    assert story.run() == 5
    assert (story.journal.keys, story.run()) == (keys, 0)
    assert {row[0] for row in story.world.rows("select verified_at from blob")} == {now}
    assert (story.row().read_blobs, story.row().read_bytes, story.row().damaged_blobs) == (5, 5, 0)
    assert story.run() == 0


def test_a_run_is_a_batch(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes a few blobs, and the next one, of another process perhaps, goes on behind them."""
    monkeypatch.setattr(module, "BATCH", 2)
    story.world.clock.advance(days=11)
    first = story.scrubber()
    assert [story.run(first), story.run(first), story.run(story.scrubber("two")), story.run(first)] == [2, 2, 1, 0]


def test_damage_is_put_aside_and_told(story: Story) -> None:
    """A damaged blob is served no more, an event says which tags break, and it is counted once; bytes that are right
    again are served again.
    """
    key = story.key(DIGESTS[2])
    story.journal.keys.clear()
    story.world.store.content[key] = b"?"
    story.world.clock.advance(days=11)
    assert story.run() == 5
    client = story.world.client("alice")
    assert client.request("GET", f"/v2/priv/app/blobs/{DIGESTS[2]}").code == "BLOB_UNKNOWN"
    assert client.request("GET", f"/v2/priv/app/blobs/{DIGESTS[1]}").body == CONTENTS[1]
    rows = story.world.rows("select kind, actor, subject from event where kind = 'blob.damaged'")
    assert [tuple(row) for row in rows] == [("blob.damaged", "scrub", DIGESTS[2])]
    status = story.world.run(look(story.world.registry))
    assert (status.damaged, status.scrub.damaged_blobs) == (1, 1)
    story.world.clock.advance(days=11)
    assert story.run() == 5
    assert story.row().damaged_blobs == 1
    story.world.store.content[key] = CONTENTS[2]
    story.world.clock.advance(days=11)
    story.run()
    assert story.world.run(look(story.world.registry)).damaged == 0
    assert client.request("GET", f"/v2/priv/app/blobs/{DIGESTS[2]}").body == CONTENTS[2]


def test_one_process_of_all_reads(story: Story) -> None:
    """While one has the lease nobody else reads; one that died has it for a minute, one that stopped for no longer."""
    story.world.clock.advance(days=11)
    now = story.world.clock.now()
    story.world.transact(lambda tx: integrity.take_scrub(tx, "dead", now, now + 60 * SECOND))
    assert story.world.run(look(story.world.registry)).is_running
    assert story.run() == 0
    story.world.clock.advance(seconds=61)
    assert not story.world.run(look(story.world.registry)).is_running
    assert story.run() == 5
    assert not story.world.run(look(story.world.registry)).is_running


def test_a_lease_that_is_lost_ends_the_run(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds that somebody else goes on stops after the blob at hand."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0)
    story.world.clock.advance(days=11)
    takes = iter([True, True, False])

    class Losing(Scrubber):
        async def _take(self) -> bool:
            return next(takes)

        async def _verify(self, due: integrity.DueBlob) -> None:
            await asyncio.sleep(0.05)

    watch = Watch()
    assert story.run(Losing(story.world.registry, "one", Pacer(1, watch, watch.sleep))) < 5


def test_what_cannot_be_read_holds_up_nothing(story: Story) -> None:
    """A blob that the disk gives an error for stays in service, is counted, and is tried again after the others."""
    story.journal.bad = {story.key(DIGESTS[0])}
    story.world.clock.advance(days=11)
    scrubber = story.scrubber()
    assert [story.run(scrubber), story.run(scrubber), story.run(scrubber)] == [5, 0, 1]
    assert (story.row().read_blobs, story.row().unreadable_blobs) == (4, 2)
    assert story.world.rows("select 1 from blob where state <> 'good'") == []


def test_a_store_that_is_away_ends_the_run(story: Story) -> None:
    """Several in a row say that the store is away; what was read before is written down all the same."""
    story.journal.bad = {story.key(digest) for digest in DIGESTS[1:4]}
    story.world.clock.advance(days=11)
    scrubber = story.scrubber()
    with pytest.raises(Unavailable, match="in a row"):
        story.run(scrubber)
    assert (story.row().read_blobs, story.row().unreadable_blobs) == (1, 3)
    assert story.run(scrubber) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_a_store_that_is_not_mounted_condemns_nothing(story: Story, left: int) -> None:
    """Where not one of several blobs is there, all of them stay in service; where one is, the others are lost."""
    content = dict(story.world.store.content)
    keys = [story.key(digest) for digest in DIGESTS]
    for key in keys[left:]:
        del story.world.store.content[key]
    story.world.clock.advance(days=11)
    scrubber = story.scrubber()
    if left:
        assert story.run(scrubber) == 5
        assert story.row().damaged_blobs == 4
        story.world.clock.advance(days=11)
        assert story.run(scrubber) == 5
        return
    with pytest.raises(Unavailable, match="not one of several blobs is there"):
        story.run(scrubber)
    assert story.row().damaged_blobs == 0
    story.world.store.content |= content
    assert [story.run(scrubber) for _ in range(3)] == [4, 0, 1]


def test_a_store_that_goes_away_condemns_nothing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where one blob alone is due, as on most days, nor in the middle of a run."""
    content = dict(story.world.store.content)
    story.world.clock.advance(days=10, seconds=-200)
    story.world.store.content.clear()
    with pytest.raises(Unavailable, match="not one of several blobs is there"):
        story.run()
    story.world.store.content |= content
    story.world.clock.advance(days=1)
    verify = Scrubber._verify

    async def unmount(self: Scrubber, due: integrity.DueBlob) -> None:
        await verify(self, due)
        story.world.store.content.clear()

    monkeypatch.setattr(Scrubber, "_verify", unmount)
    with pytest.raises(Unavailable, match="not one of several blobs is there"):
        story.run()
    assert story.world.rows("select 1 from blob where state <> 'good'") == []
    assert (story.row().read_blobs, story.row().damaged_blobs) == (1, 0)


def test_what_is_there_in_part_is_there(story: Story) -> None:
    """A store whose other blobs cannot be read, or are too short, is told apart from one that has none."""
    keys = [story.key(digest) for digest in DIGESTS]
    story.world.clock.advance(days=11)
    del story.world.store.content[keys[0]]
    story.journal.bad = set(keys[1:])
    with pytest.raises(Unavailable, match="not one of several blobs is there"):
        story.run()
    story.journal.bad = set(keys[2:])
    story.journal.short = {keys[1]}
    with pytest.raises(Unavailable, match="in a row"):
        story.run()
    assert {row[0] for row in story.world.rows("select digest from blob where state <> 'good'")} == set(DIGESTS[:2])


def test_what_is_collected_meanwhile_is_passed_over(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is a moment ago; and much that was read is written down in between."""
    monkeypatch.setattr(module, "FLUSH_BYTES", 1)
    monkeypatch.setattr(module, "LEAST_BYTES", 1)
    story.world.clock.advance(days=11)
    judge = module.judge

    async def vanish(*arguments: object) -> object:
        await story.world.database.transact(lambda tx: tx.execute("delete from blob where digest = $1", DIGESTS[3]))
        return await judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "judge", vanish)
    assert story.run() == 5
    assert story.row().read_blobs == 4


def test_a_database_that_is_away_is_told(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written down is read again another time."""
    story.world.clock.advance(days=11)

    async def fail(*arguments: object) -> None:
        raise EntrepotError("away")

    monkeypatch.setattr(module.integrity, "set_verified", fail)
    assert story.run() == 5
    monkeypatch.undo()
    assert story.row().read_blobs == 0
    story.world.clock.advance(seconds=61)
    assert story.run() == 5


def test_administrators_ask_for_a_round(story: Story) -> None:
    """Everything is due at once, in what remains the order of the oldest; others may not ask, nor look."""
    admin = story.world.caller("admin")
    assert story.world.run(request(story.world.registry, admin)) == 5
    assert story.world.run(get_status(story.world.registry, admin)).due == 5
    assert story.run() == 5
    assert story.world.run(get_status(story.world.registry, admin)).due == 0
    for verb in (request, get_status):
        with pytest.raises(Denied):
            story.world.run(verb(story.world.registry, story.world.caller("bob")))
        with pytest.raises(EntrepotError):
            story.world.run(verb(story.world.registry, ANONYMOUS))


def test_no_rate_is_no_round() -> None:
    """Where nothing is read in the background a round would never begin."""
    with World(rules=Rules(scrub_bytes_per_second=0)) as world, pytest.raises(Conflict, match=r"scrub\.bytes"):
        world.run(request(world.registry, world.caller("admin")))


def test_a_small_registry_may_lose_everything(story: Story) -> None:
    """Two blobs that are both gone are no sign of a store that is not there."""
    for digest in DIGESTS[2:]:
        story.world.transact(lambda tx, digest=digest: tx.execute("delete from blob where digest = $1", digest))
    story.world.store.content.clear()
    story.world.clock.advance(days=11)
    assert story.run() == 2
    assert story.row().damaged_blobs == 2
