"""Events are read in an order that nothing overtakes, over every engine."""

from __future__ import annotations

import asyncio

import asyncpg

from entrepot.domain.events import Event
from entrepot.metadata import events
from entrepot.metadata.events import BEFORE_ALL, BEGINNING, EventRow, Place, SeenEvent
from entrepot.ports.database import Tx, Work
from tests.contract.engines import Held, open_database

NOW = 1_790_000_000_000_000
RAW = "insert into event (at, kind, actor, subject, detail) values (1, 'raw', 'psql', $1, '{}')"


def event(subject: str) -> Event:
    """An event about something."""
    return Event("repository.created", "ann", subject, {"by": "test"})


def adding(subject: str, now: int = NOW) -> Work[None]:
    """Work that adds an event about something."""
    return lambda tx: events.add_event(tx, event(subject), now)


def listing(after: Place, limit: int) -> Work[list[EventRow]]:
    """Work that lists a page of events."""
    return lambda tx: events.list_events(tx, after, limit)


def subjects(held: Held, after: Place = BEGINNING) -> list[str]:
    """Whom the events after a place are about."""
    return [row.subject for row in held.read(listing(after, 100))]


def test_events_come_back_in_pages(held: Held) -> None:
    """Events are listed whole and in order, each page after the last place of the one before."""
    for number in range(5):
        held.transact(adding(f"acme/{number}", NOW + number))
    first = held.read(listing(BEGINNING, 3))
    rest = held.read(listing(first[-1].place, 3))
    listed = [*first, *rest]
    assert [row.subject for row in listed] == [f"acme/{number}" for number in range(5)]
    assert first[0] == EventRow(first[0].place, "", NOW, "repository.created", "ann", "acme/0", '{"by":"test"}')
    assert [row.place for row in listed] == sorted(row.place for row in listed)
    assert held.read(listing(rest[-1].place, 3)) == []


def test_a_reader_beside_writers_misses_nothing(held: Held) -> None:
    """A reader that follows while many transactions of different length commit sees each event exactly once."""
    seen: list[str] = []

    async def write(number: int) -> None:
        async def work(tx: Tx) -> None:
            await tx.execute("insert into instance (name, value) values ($1, '')", str(number))
            for _ in range(number % 7):
                await tx.all("select name from instance where name = $1", str(number))
            await events.add_event(tx, event(str(number)), NOW)

        await held.database.transact(work)

    async def follow(writers: asyncio.Task[None]) -> None:
        place = BEGINNING
        while True:
            is_last = writers.done()
            page = await held.database.read(listing(place, 10))
            seen.extend(row.subject for row in page)
            place = page[-1].place if page else place
            if is_last and not page:
                return
            await asyncio.sleep(0)

    async def crowd() -> None:
        async def write_all() -> None:
            await asyncio.gather(*(write(number) for number in range(150)))

        writers = asyncio.ensure_future(write_all())
        await follow(writers)
        await writers

    held.run(crowd())
    assert sorted(seen, key=int) == [str(number) for number in range(150)]


def test_whoever_begins_at_the_end_sees_only_what_comes(held: Held) -> None:
    """The last place is the beginning where nothing happened, and after it comes only what is new."""
    assert held.read(events.find_last_place) == BEGINNING
    held.transact(adding("old"))
    last = held.read(events.find_last_place)
    held.transact(adding("new"))
    assert subjects(held, last) == ["new"]


def test_an_event_waits_for_older_transactions(postgresql: Held) -> None:
    """An event with a later identity is not listed while a transaction with an earlier one is still running."""

    async def story() -> None:
        older = await asyncpg.connect(postgresql.url)
        await older.execute("begin")
        await older.execute(RAW, "older")
        await postgresql.database.transact(adding("younger"))
        assert await postgresql.database.read(listing(BEGINNING, 10)) == []
        (row,) = await postgresql.database.read(lambda tx: events.list_seen(tx, BEFORE_ALL, 10)) or []
        assert (row.subject, row.is_settled) == ("younger", False)
        assert await postgresql.database.read(events.find_last_place) == BEGINNING
        assert await postgresql.database.read(events.find_last_seen) is BEFORE_ALL
        await older.execute("commit")
        await older.close()

    postgresql.run(story())
    assert subjects(postgresql) == ["older", "younger"]


def test_an_event_with_a_lower_identity_that_commits_later_is_not_skipped(postgresql: Held) -> None:
    """Though identity 2 is listed before identity 1 is there, who goes on from 2 still gets 1."""

    async def story() -> tuple[Place, list[str]]:
        first, second = await asyncpg.connect(postgresql.url), await asyncpg.connect(postgresql.url)
        await first.execute("begin; insert into instance values ('gets an older number', '')")
        await second.execute("begin")
        await second.execute(RAW, "identity 1")
        await first.execute(RAW, "identity 2")
        await first.execute("commit")
        page = await postgresql.database.read(listing(BEGINNING, 10))
        await second.execute("commit")
        await first.close()
        await second.close()
        return page[-1].place, [row.subject for row in page]

    place, listed = postgresql.run(story())
    assert listed == ["identity 2"]
    assert subjects(postgresql, place) == ["identity 1"]


def test_a_restore_into_another_cluster_begins_an_epoch(postgresql: Held) -> None:
    """Events that another cluster numbered stay listed, and new ones come after them though their numbers are lower."""
    postgresql.execute(RAW, "restored")
    postgresql.execute("update event set transaction_id = transaction_id + 1000000000")

    async def story() -> None:
        for _ in range(2):
            database = await open_database(postgresql.url)
            await database.transact(adding("new"))
            await database.close()

    postgresql.run(story())
    assert subjects(postgresql) == ["restored", "new", "new"]
    places = [row.place.epoch for row in postgresql.read(listing(BEGINNING, 9))]
    assert places == [1, 2, 2]


def seen(held: Held, after: SeenEvent = BEFORE_ALL) -> list[tuple[str, bool]]:
    """What is there after an event, and whether it is settled."""
    rows = held.read(lambda tx: events.list_seen(tx, after, 2))
    assert rows is not None
    assert [row.kind for row in rows] == ["repository.created"] * len(rows)
    return [(row.subject, row.is_settled) for row in rows]


def test_what_is_there_is_seen_at_once(held: Held) -> None:
    """Every event after another is seen as soon as it is there, a page at a time, with its detail."""
    assert held.read(events.find_last_seen) is BEFORE_ALL
    for subject in ("one", "two", "three"):
        held.transact(adding(subject))
    assert seen(held) == [("one", True), ("two", True)]
    first, second = held.read(lambda tx: events.list_seen(tx, BEFORE_ALL, 2)) or []
    assert first.detail == '{"by":"test"}'
    assert seen(held, first) == [("two", True), ("three", True)]
    last = held.read(events.find_last_seen)
    assert (seen(held, second), last.subject, seen(held, last)) == ([("three", True)], "three", [])


def test_an_event_that_is_not_there_any_more_is_missed(held: Held) -> None:
    """Whoever goes on from it is told that the database has gone back, also where another stands in its place."""
    held.transact(adding("one"))
    last = held.read(events.find_last_seen)
    held.execute("update event set at = at + 1")
    assert held.read(lambda tx: events.list_seen(tx, last, 2)) is None
    held.execute("delete from event")
    assert held.read(lambda tx: events.list_seen(tx, last, 2)) is None
