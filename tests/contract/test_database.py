"""The contract of the port Database, over every engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from entrepot.db import migrate
from entrepot.domain.errors import AlreadyExists, PreconditionFailed, Unavailable
from entrepot.ports.database import Tx, Work
from tests.contract.engines import Held, Urls, open_database

ADD = "insert into instance (name, value) values ($1, $2)"
NAMES = "select name from instance order by name"
FIND = "select value from instance where name = $1"


def add(name: str, value: str = "") -> Work[int]:
    """Work that adds one row."""
    return lambda tx: tx.execute(ADD, name, value)


def test_what_is_committed_is_seen_everywhere(held: Held, open_held: Callable[[str], Held]) -> None:
    """What a transaction wrote is seen by the next read, of another handle too, and the work's answer comes back."""
    other = open_held(held.url)
    assert held.transact(add("a", "1")) == 1
    assert held.rows(FIND, "a") == other.rows(FIND, "a") == [("1",)]


def test_what_need_not_last_is_seen_everywhere(held: Held, open_held: Callable[[str], Held]) -> None:
    """A transaction that power may undo is committed for everybody all the same, and so is what follows."""
    other = open_held(held.url)

    async def both() -> list[int]:
        return [await held.database.transact(add("a", "1"), durable=False), await held.database.transact(add("b", "2"))]

    assert held.run(both()) == [1, 1]
    assert other.rows(NAMES)[:2] == held.rows(NAMES)[:2]
    assert other.rows(FIND, "a") == [("1",)]


def test_rows_are_tuples_and_none_is_none(held: Held) -> None:
    """A row is a plain tuple whatever the engine's driver has; no row is None."""
    held.transact(add("a", "1"))
    row = held.read(lambda tx: tx.one(FIND, "a"))
    assert type(row) is tuple
    assert [type(row) for row in held.rows(NAMES)] == [tuple]
    assert held.read(lambda tx: tx.one(FIND, "b")) is None


def test_values_come_back_as_they_went_in(held: Held) -> None:
    """Bytes, big numbers, nothing, and text with any character keep their value and type."""
    held.execute(
        "insert into manifest (digest, media_type, raw, created_at) values ($1, $2, $3, $4)",
        "d'\"\\",
        "é\U0010ffff",
        b"\0\xff",
        2**62,
    )
    assert held.rows("select digest, media_type, raw, created_at from manifest") == [
        ("d'\"\\", "é\U0010ffff", b"\0\xff", 2**62)
    ]
    held.execute("insert into tag_event (repository, name, actor, via, at) values (1, 'a', 'b', 'c', 2)")
    assert held.rows("select from_digest from tag_event") == [(None,)]


def test_placeholders_are_positions(held: Held) -> None:
    """$1 is the first argument wherever and however often it stands."""
    held.transact(lambda tx: tx.execute("insert into instance (value, name) values ($2, $1)", "name", "value"))
    assert held.rows("select name, value from instance where value = $2 and name = $1", "name", "value") == [
        ("name", "value")
    ]


def test_execute_counts_rows(held: Held) -> None:
    """The number of rows that a statement touched is right for insert, conflict, update and delete."""
    assert held.execute("insert into instance (name, value) values ('a', ''), ('b', ''), ('c', '')") == 3
    assert held.execute(f"{ADD} on conflict (name) do nothing", "a", "") == 0
    assert held.execute("update instance set value = '1' where name < $1", "c") == 2
    assert held.execute("update instance set value = '1' where name = $1", "z") == 0
    assert held.execute("delete from instance") == 3


def test_text_sorts_by_bytes(held: Held) -> None:
    """Order and comparison of text follow its bytes, not a language."""
    names = ["-", ".", "A", "B", "_", "a", "a-b", "a.b", "ab", "b", "é"]
    held.together([add(name) for name in reversed(names)])
    assert [row[0] for row in held.rows(NAMES)] == names
    assert [row[0] for row in held.rows("select name from instance where name > $1 order by name", "_")] == names[5:]


def test_an_exception_undoes_and_passes_unchanged(held: Held) -> None:
    """What a work raises reaches its caller as the very same object, and nothing of the work is left."""
    failure = PreconditionFailed("no")

    async def work(tx: Tx) -> None:
        await tx.execute(ADD, "a", "")
        raise failure

    with pytest.raises(PreconditionFailed) as caught:
        held.transact(work)
    assert caught.value is failure
    assert held.rows(NAMES) == []


def test_one_that_fails_does_not_disturb_the_others(held: Held) -> None:
    """Of many at once, those that raise, break a rule or send bad SQL fail alone."""

    async def raises(tx: Tx) -> None:
        await tx.execute(ADD, "never", "")
        raise ValueError("mine")

    async def is_cancelled(tx: Tx) -> None:
        await tx.execute(ADD, "never", "")
        raise asyncio.CancelledError

    held.transact(add("taken"))
    works: list[Work[Any]] = []
    for number in range(10):
        works += [add(f"{number}"), raises, add("taken"), lambda tx: tx.execute("bad sql"), is_cancelled]
    answers = held.together(works)
    assert answers[0::5] == [1] * 10
    assert {type(answer) for answer in answers[1::5]} == {ValueError}
    assert {type(answer) for answer in answers[2::5]} == {AlreadyExists}
    assert all(isinstance(answer, Exception) for answer in answers[3::5])
    assert {type(answer) for answer in answers[4::5]} == {asyncio.CancelledError}
    assert [row[0] for row in held.rows(NAMES)] == [*map(str, range(10)), "taken"]


def test_no_update_is_lost(held: Held, open_held: Callable[[str], Held]) -> None:
    """Counting up by reading and then writing is exact, however many do it at once on two handles."""
    held.transact(add("count", "0"))

    async def count_up(tx: Tx) -> None:
        row = await tx.one(FIND, "count")
        assert row is not None
        await tx.execute("update instance set value = $1 where name = 'count'", str(int(row[0]) + 1))

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            second = await open_database(held.url)
            for database in (held.database, second):
                for _ in range(25):
                    group.create_task(_run(database.transact(count_up)))
        await second.close()

    held.run(crowd())
    assert held.rows(FIND, "count") == [("50",)]


def test_no_update_is_lost_where_the_row_is_written_first(held: Held) -> None:
    """Counting up is exact without isolation too, if each begins by writing to the row and reads it then."""
    held.transact(add("count", "0"))

    async def count_up(tx: Tx) -> None:
        await tx.execute("update instance set value = value where name = 'count'")
        row = await tx.one(FIND, "count")
        assert row is not None
        await tx.execute("update instance set value = $1 where name = 'count'", str(int(row[0]) + 1))

    async def crowd() -> None:
        second = await open_database(held.url)
        async with asyncio.TaskGroup() as group:
            for database in (held.database, second):
                for _ in range(25):
                    group.create_task(_run(database.transact(count_up, isolated=False)))
        await second.close()

    held.run(crowd())
    assert held.rows(FIND, "count") == [("50",)]


async def _run(answer: Any) -> None:
    await answer


def test_no_two_see_that_nobody_is_there(held: Held) -> None:
    """Of many that add a row only where there is none, exactly one does: transactions are serializable."""

    async def be_first(tx: Tx) -> bool:
        if await tx.all("select name from instance where value = 'first'"):
            return False
        return 1 == await tx.execute(ADD, str(id(tx)), "first")

    answers = held.together([be_first] * 20)
    assert answers.count(True) == 1
    assert answers.count(False) == 19


def test_a_crowd_is_served(held: Held) -> None:
    """Many more transactions at once than there are connections or places in a batch all succeed."""
    assert held.together([add(f"{number:04}") for number in range(700)]) == [1] * 700
    assert held.rows("select count(*) from instance") == [(700,)]


def test_a_caller_who_leaves_disturbs_nobody(held: Held) -> None:
    """Cancelled callers, while waiting or in the middle, leave whole transactions or none, and others go on."""

    def two(name: str) -> Work[int]:
        async def work(tx: Tx) -> int:
            return await tx.execute(ADD, f"{name}/1", "") + await tx.execute(ADD, f"{name}/2", "")

        return work

    async def crowd() -> list[Any]:
        tasks = [asyncio.ensure_future(_run(held.database.transact(two(f"{number:02}")))) for number in range(40)]
        for position, task in enumerate(tasks):
            if position % 2:
                await asyncio.sleep(0)
                task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = held.run(crowd())
    names = {row[0] for row in held.rows(NAMES)}
    assert answers[0::2] == [None] * 20
    assert all({f"{number:02}/1", f"{number:02}/2"} <= names for number in range(0, 40, 2))
    assert {name[:2] for name in names if name.endswith("1")} == {name[:2] for name in names if name.endswith("2")}


def test_a_work_that_goes_on_after_an_error_is_all_or_nothing(held: Held) -> None:
    """Swallowing a statement's error ends in a commit of the rest or in an error, never in a silent loss."""

    async def work(tx: Tx) -> str:
        await tx.execute(ADD, "before", "")
        try:
            await tx.execute(ADD, "before", "")
        except Exception:  # noqa: BLE001 - the driver's own
            return "swallowed"
        return "not reached"

    [answer] = held.together([work])
    assert held.rows(NAMES) == ([("before",)] if answer == "swallowed" else [])


def test_close_finishes_what_was_accepted(urls: Urls) -> None:
    """Work that was accepted before closing is done; afterwards everything is refused; closing again is no error."""
    url = urls.migrated()

    async def story() -> None:
        database = await open_database(url)
        tasks = [asyncio.ensure_future(_run(database.transact(add(str(number))))) for number in range(50)]
        await asyncio.sleep(0)
        await database.close()
        await asyncio.gather(*tasks)
        await database.close()
        with pytest.raises(Unavailable):
            await database.transact(add("late"))
        with pytest.raises(Unavailable):
            await database.read(lambda tx: tx.all(NAMES))
        database = await open_database(url)
        assert await database.read(lambda tx: tx.one("select count(*) from instance")) == (50,)
        await database.close()

    asyncio.run(story())


def test_several_may_open_a_new_database_at_once(urls: Urls) -> None:
    """Replicas that start together migrate once, and each finds every table."""
    url = urls.empty()

    async def story() -> None:
        opened = await asyncio.gather(*(open_database(url) for _ in range(4)))
        for database in opened:
            assert await database.read(lambda tx: tx.all("select number from migration order by number")) == [
                (step.number,) for step in migrate.list_migrations({})
            ]
            await database.close()

    asyncio.run(story())


def test_a_newer_or_foreign_database_is_refused(urls: Urls) -> None:
    """A database with an unknown migration, or one with another checksum, is not touched."""
    for change in (
        "insert into migration (number, name, checksum, applied_at) values (9999, 'later', '', 0)",
        "update migration set checksum = 'other' where number = 1",
    ):
        url = urls.migrated()

        async def story(url: str = url, change: str = change) -> None:
            database = await open_database(url)
            await database.transact(lambda tx: tx.execute(change))
            await database.close()
            with pytest.raises(Unavailable, match="migration"):
                await open_database(url)

        asyncio.run(story())


def test_each_migration_is_a_transaction_of_its_own(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails is undone whole, and the steps before it stay."""
    url = urls.empty()
    good = migrate.Migration(9001, "good", "", "create table good (id bigint)")
    bad = migrate.Migration(9002, "bad", "", "create table half (id bigint); create table half (id bigint)")
    shipped = migrate.list_migrations
    monkeypatch.setattr(migrate, "list_migrations", lambda dialect: [*shipped(dialect), good, bad])
    with pytest.raises(Unavailable):
        asyncio.run(_open(url))
    # Had the good step been undone with the bad one, this would run and fail.
    again = migrate.Migration(9001, "good", "", "not sql")
    monkeypatch.setattr(migrate, "list_migrations", lambda dialect: [*shipped(dialect), again])

    async def story() -> None:
        database = await open_database(url)
        assert await database.read(lambda tx: tx.all("select id from good")) == []
        assert await database.read(lambda tx: tx.one("select max(number) from migration")) == (9001,)
        # There is no such table.
        with pytest.raises(Unavailable):
            await database.read(lambda tx: tx.all("select id from half"))
        await database.close()

    asyncio.run(story())


async def _open(url: str) -> None:
    await open_database(url)


def test_a_check_that_somebody_added_is_no_fault_of_the_request(held: Held) -> None:
    """A row that a constraint of the operator's own refuses is not written, as where a trigger says no."""
    held.transact(lambda tx: tx.execute("create table narrow (number bigint not null check (number > 0))"))
    with pytest.raises(Unavailable):
        held.transact(lambda tx: tx.execute("insert into narrow (number) values ($1)", 0))
    assert held.transact(lambda tx: tx.execute("insert into narrow (number) values ($1)", 1)) == 1
    assert held.rows("select number from narrow") == [(1,)]


def test_no_migration_makes_a_check() -> None:
    """No value that a request brings can fail a constraint of ours: what is refused is refused by those who read it."""
    assert [each.name for each in migrate.list_migrations({}) if re.search(r"\bcheck\s*\(", each.sql)] == []
