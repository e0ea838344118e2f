"""What only SQLite has: one file, several processes, a writer thread that must not die."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
import signal
import subprocess
import sys

import apsw
import pytest

from entrepot.db import sqlite
from entrepot.db.sqlite import SqliteDatabase, open_database
from entrepot.domain.errors import StorageFull, Unavailable
from entrepot.ports.database import Tx, Work

ADD = "insert into instance (name, value) values ($1, $2)"
COUNT = "select count(*) from instance"
WRITER = """
import asyncio, sys
from entrepot.db.sqlite import open_database

async def main(url, name, count):
    database = open_database(url)
    print("open", flush=True)

    async def write(client):
        for number in range(count):
            key = f"{name}/{client}/{number}"
            await database.transact(lambda tx: tx.execute("insert into instance (name, value) values ($1, '')", key))
            print(key, flush=True)

    await asyncio.gather(*(write(client) for client in range(4)))
    await database.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start_writer(url: str, name: str, count: int) -> subprocess.Popen[str]:
    """A process whose four clients write rows and print each one that was acknowledged."""
    return subprocess.Popen([sys.executable, "-c", WRITER, url, name, str(count)], stdout=subprocess.PIPE, text=True)


def check(path: pathlib.Path) -> set[str]:
    """The keys in a file that must be sound."""
    connection = apsw.Connection(str(path))
    assert connection.execute("pragma integrity_check").get == "ok"
    names = {str(row[0]) for row in connection.execute("select name from instance")}
    connection.close()
    return names


def test_several_processes_share_a_file(tmp_path: pathlib.Path) -> None:
    """Three processes that open a new file at once and write together lose nothing and disturb nobody."""
    url = f"sqlite://{tmp_path}/x.db"
    writers = [start_writer(url, name, 100) for name in "abc"]
    printed = set().union(*(writer.communicate()[0].split() for writer in writers)) - {"open"}
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert check(tmp_path / "x.db") == printed
    assert len(printed) == 3 * 4 * 100


def test_many_open_a_new_file_at_once(tmp_path: pathlib.Path) -> None:
    """The workers of a first start all make and migrate it; none is told that it is locked."""
    code = "import sys; from entrepot.db.sqlite import open_database; open_database(sys.argv[1])"
    words = [sys.executable, "-c", code, f"sqlite://{tmp_path / 'new.db'}"]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert ends == [("", 0)] * 6


def test_kill_9_loses_nothing_acknowledged(tmp_path: pathlib.Path) -> None:
    """After SIGKILL in the middle of writing the file is sound and holds every acknowledged row."""
    url = f"sqlite://{tmp_path}/x.db"
    writer = start_writer(url, "a", 1_000_000)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(400)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.communicate()[0].split("\n")[:-1]
    assert set(acknowledged) - {"open"} <= check(tmp_path / "x.db")
    database = open_database(url)
    assert asyncio.run(database.read(lambda tx: tx.one(COUNT))) is not None
    asyncio.run(database.close())


def limit_pages(database: SqliteDatabase, more: int) -> None:
    """Let the file grow by so many pages at most, as a disk that fills up would."""
    pages = database._connection.execute("pragma page_count").get
    database._connection.execute(f"pragma max_page_count = {pages + more}").fetchall()


def test_a_full_disk_fails_only_what_does_not_fit(tmp_path: pathlib.Path) -> None:
    """Beside one work that needs more room than there is, small ones of the same batch succeed; later ones too."""
    database = open_database(f"sqlite://{tmp_path}/x.db")
    limit_pages(database, 20)

    def add(name: str, size: int) -> Work[int]:
        return lambda tx: tx.execute(ADD, name, "x" * size)

    async def story() -> list[object]:
        works = [add("a", 1), add("b", 1), add("big", 1 << 20), add("c", 1)]
        return await asyncio.gather(*map(database.transact, works), return_exceptions=True)

    answers = asyncio.run(story())
    assert answers[:2] == [1, 1]
    assert isinstance(answers[2], StorageFull)
    assert answers[3] == 1
    assert asyncio.run(database.transact(add("d", 1))) == 1
    asyncio.run(database.close())
    assert check(tmp_path / "x.db") == {"a", "b", "c", "d"}


def test_work_may_only_await_its_tx(tmp_path: pathlib.Path) -> None:
    """A work that waits for anything else is told so and undone; the writer goes on."""
    database = open_database(f"sqlite://{tmp_path}/x.db")

    async def sleepy(tx: Tx) -> None:
        await tx.execute(ADD, "never", "")
        await asyncio.sleep(0)

    async def story() -> None:
        with pytest.raises(RuntimeError, match="other than its tx"):
            await database.transact(sleepy)
        assert await database.transact(lambda tx: tx.execute(ADD, "a", "")) == 1
        await database.close()

    asyncio.run(story())
    assert check(tmp_path / "x.db") == {"a"}


def test_a_loop_that_ended_does_not_stop_the_writer(tmp_path: pathlib.Path) -> None:
    """A caller whose event loop is gone when the answer comes costs nobody else an answer."""
    database = open_database(f"sqlite://{tmp_path}/x.db")
    blocker = apsw.Connection(str(tmp_path / "x.db"))
    blocker.execute("begin immediate")

    async def ask_and_leave() -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.ensure_future(ask(database, "orphan"))
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    orphan = loop.run_until_complete(ask_and_leave())
    loop.close()
    blocker.execute("rollback")
    assert asyncio.run(ask(database, "a")) == 1
    assert not orphan.done()
    asyncio.run(database.close())
    assert check(tmp_path / "x.db") == {"orphan", "a"}


async def ask(database: SqliteDatabase, name: str) -> int:
    """Add one row."""
    return await database.transact(lambda tx: tx.execute(ADD, name, ""))


def test_a_file_that_stays_locked_is_unavailable(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process holds the file for longer than the limit, all who wait are told; then it goes on."""
    monkeypatch.setattr(sqlite, "BUSY_LIMIT_SECONDS", 0.05)
    database = open_database(f"sqlite://{tmp_path}/x.db")
    blocker = apsw.Connection(str(tmp_path / "x.db"))
    blocker.execute("begin immediate")

    async def story() -> list[object]:
        return await asyncio.gather(*(ask(database, name) for name in "abc"), return_exceptions=True)

    assert {type(answer) for answer in asyncio.run(story())} == {Unavailable}
    blocker.execute("rollback")
    assert asyncio.run(story()) == [1, 1, 1]
    asyncio.run(database.close())


def test_a_place_that_cannot_hold_a_file_is_unavailable(tmp_path: pathlib.Path) -> None:
    """A path below a file, and a file that is no database, are Unavailable."""
    (tmp_path / "file").write_bytes(b"this is not a database, and is longer than a header of one hundred bytes" * 10)
    with pytest.raises(Unavailable):
        open_database(f"sqlite://{tmp_path}/file/x.db")
    with pytest.raises(Unavailable):
        open_database(f"sqlite://{tmp_path}/file")


class Syncs:
    """Stands in for fdatasync(2): counts, and fails while it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.is_failing = False

    def __call__(self, descriptor: int) -> None:
        assert os.readlink(f"/proc/self/fd/{descriptor}").endswith("x.db-wal")
        self.count += 1
        if self.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """The syncs of this test's databases."""
    made = Syncs()
    monkeypatch.setattr(os, "fdatasync", made)
    return made


def test_only_lasting_works_are_synced(tmp_path: pathlib.Path, syncs: Syncs) -> None:
    """A durable work returns after a sync of the log; others return without one, and closing adds none."""

    async def main() -> list[int]:
        database = open_database(f"sqlite://{tmp_path / 'x.db'}")
        counts = []
        for number, durable in enumerate((False, True, False)):
            await database.transact(lambda tx, name=str(number): tx.execute(ADD, name, ""), durable=durable)
            counts.append(syncs.count)
        await database.close()
        return counts

    assert asyncio.run(main()) == [0, 1, 1]
    assert check(tmp_path / "x.db") == {"0", "1", "2"}


def test_many_lasting_works_share_a_sync(tmp_path: pathlib.Path, syncs: Syncs) -> None:
    """Those that wait at the same time wait for the same one."""

    async def main() -> None:
        database = open_database(f"sqlite://{tmp_path / 'x.db'}")
        await asyncio.gather(*(ask(database, str(number)) for number in range(100)))
        await database.close()

    asyncio.run(main())
    assert 1 <= syncs.count < 50


def test_after_a_failed_sync_nothing_is_promised(tmp_path: pathlib.Path, syncs: Syncs) -> None:
    """Whoever waited for it is refused, and whoever comes later too, until the file has been opened again."""

    async def main(names: str, *, fails: bool) -> list[object]:
        database = open_database(f"sqlite://{tmp_path / 'x.db'}")
        syncs.is_failing = fails
        answers: list[object] = await asyncio.gather(*(ask(database, name) for name in names), return_exceptions=True)
        syncs.is_failing = False
        answers += await asyncio.gather(ask(database, f"{names}later"), return_exceptions=True)
        await database.close()
        return answers

    assert [type(answer) for answer in asyncio.run(main("ab", fails=True))] == [Unavailable] * 3
    assert asyncio.run(main("cd", fails=False)) == [1, 1, 1]
    assert {"c", "d", "cdlater"} <= check(tmp_path / "x.db") <= {"a", "b", "c", "d", "cdlater"}
