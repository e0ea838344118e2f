"""SQLite through apsw: reads on the caller's thread, one writer thread with group commit.

A read is 3-5 microseconds and therefore runs where it is awaited. Writes queue up for one thread, which
drives each work to its end without an event loop, a savepoint each, and commits all that waited at once. A second
thread syncs what was committed and only then lets durable works return: meanwhile the writer goes on.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import queue
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import apsw

from entrepot.db import migrate
from entrepot.domain.errors import AlreadyExists, EntrepotError, StorageFull, Unavailable
from entrepot.ports.database import Row, T, Work

DIALECT: Final = {
    "{identity}": "integer primary key autoincrement",
    "{clustered}": "without rowid",
    "{bytes}": "blob",
    "{transaction_id}": "bigint not null default 0",
}
LARGEST_BATCH: Final = 256
BUSY_LIMIT_SECONDS: Final = 30.0
BUSY_PAUSE_SECONDS: Final = 0.0005
PAGE_CACHE_KIB: Final = 8192
STATEMENT_CACHE: Final = 256
AWAY: Final = (apsw.BusyError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.CorruptError)
ADDED: Final = frozenset({apsw.SQLITE_CONSTRAINT_TRIGGER, apsw.SQLITE_CONSTRAINT_CHECK})
TAKEN: Final = frozenset({apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY})

_Item = tuple[Work[Any], "asyncio.Future[Any]", bool]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


@lru_cache(maxsize=4096)
def _positional(sql: str) -> str:
    # SQLite takes $1 for a name that is bound in order of first appearance; ?1 is truly positional.
    return re.sub(r"\$(\d+)", r"?\1", sql)


class _Tx:
    """A connection as the port's Tx; nothing here ever suspends."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    async def one(self, sql: str, *arguments: Any) -> Row | None:
        for row in self._execute(_positional(sql), arguments).fetchall():
            return row
        return None

    async def all(self, sql: str, *arguments: Any) -> list[Row]:
        return self._execute(_positional(sql), arguments).fetchall()

    async def execute(self, sql: str, *arguments: Any) -> int:
        self._execute(_positional(sql), arguments).fetchall()
        return self._connection.changes()


class _ReadTx(_Tx):
    """The same for reads, whose errors nobody translates further out."""

    async def one(self, sql: str, *arguments: Any) -> Row | None:
        try:
            for row in self._execute(_positional(sql), arguments).fetchall():
                return row
        except apsw.Error as error:
            raise _translate(error) from error
        return None

    async def all(self, sql: str, *arguments: Any) -> list[Row]:
        try:
            return self._execute(_positional(sql), arguments).fetchall()
        except apsw.Error as error:
            raise _translate(error) from error


def _drive(work: Coroutine[Any, Any, T]) -> T:
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("work inside a transaction awaited something other than its tx")


class SqliteDatabase:
    """The port Database over one SQLite file in WAL mode, safe beside other processes on the same host."""

    def __init__(self, path: pathlib.Path, *, tolerates_newer: bool = False) -> None:
        self.path = path
        _migrate(path, tolerates_newer=tolerates_newer)
        self._connection = _connect(path)
        self._connection.execute("pragma synchronous=normal")
        self._reader = _connect(path)
        self._reader_tx = _ReadTx(self._reader)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._is_closed = False
        self._syncer = _Syncer(path)
        self._writer = threading.Thread(target=self._write_all, name="sqlite-writer", daemon=True)
        self._writer.start()

    def read(self, work: Work[T]) -> Awaitable[T]:
        # No coroutine around the work's own: a pull awaits enough of them as it is.
        return work(self._reader_tx)

    async def transact(self, work: Work[T], *, durable: bool = True, isolated: bool = True) -> T:
        # There is one writer at a time.
        del isolated
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            raise Unavailable("the database is closed")
        self._queue.put((work, future, durable))
        return await future

    def waiting(self) -> int:
        return self._queue.qsize()

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
            self._reader.close()
            self._connection.close()

    def _write_all(self) -> None:
        tx = _Tx(self._connection)
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < LARGEST_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            # Whoever went away while waiting is spared; nothing of theirs has begun.
            works = [item for item in batch if item is not None and not item[1].cancelled()]
            is_open = None not in batch
            if works and self._syncer.failure is not None:
                _deliver([(future, None, self._syncer.failure) for _, future, _ in works])
            elif works:
                self._answer(works, _run_batch(self._connection, tx, works))
        self._syncer.stop()

    def _answer(self, works: list[_Item], outcomes: list[_Outcome]) -> None:
        waiting = [outcome for (_, _, durable), outcome in zip(works, outcomes, strict=True) if durable]
        if waiting:
            self._syncer.put(waiting)
        _deliver([outcome for (_, _, durable), outcome in zip(works, outcomes, strict=True) if not durable])


class _Syncer:
    """Syncs the write-ahead log in a thread of its own: one sync for all whose commits came before it.

    SQLite does the same inside each commit with `synchronous=full`, but holds up every other writer meanwhile. With
    `normal` it still syncs the log before it copies from it, and the database file afterwards (sqlite.org/wal.html), so
    what this thread has not reached is lost whole and in order.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._log = f"{path}-wal"
        self._descriptor = -1
        self._queue: queue.SimpleQueue[list[_Outcome] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._sync_all, name="sqlite-syncer", daemon=True)
        self._thread.start()
        self.failure: Unavailable | None = None

    def put(self, outcomes: list[_Outcome]) -> None:
        """Let these be told once they are durable."""
        self._queue.put(outcomes)

    def stop(self) -> None:
        """Sync what was put, and end."""
        self._queue.put(None)
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _sync_all(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            is_open = None not in batch
            outcomes = [outcome for each in batch if each is not None for outcome in each]
            if outcomes:
                _deliver(self._sync(outcomes))

    def _sync(self, outcomes: list[_Outcome]) -> list[_Outcome]:
        try:
            if self.failure is None:
                self._sync_log()
        except OSError as error:
            # The kernel may call the lost pages clean now, and a second sync would succeed without them: what is in the
            # log is not to be relied on until it has been read from the disk again, by a restart.
            self.failure = Unavailable("the database could not be synced; restart the server", reason=error.strerror)
        if self.failure is None:
            return outcomes
        return [(future, None, error or self.failure) for future, _, error in outcomes]

    def _sync_log(self) -> None:
        # No lock of SQLite's is on this file, so that closing a descriptor of it gives none up (unlike the database).
        if self._descriptor < 0:
            self._descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(self._descriptor)


def _run_batch(connection: apsw.Connection, tx: _Tx, works: list[_Item]) -> list[_Outcome]:
    try:
        connection.execute("begin immediate")
    except apsw.Error as error:
        failure = _translate(error)
        return [(future, None, failure) for _, future, _ in works]
    try:
        if len(works) == 1:
            outcomes = [_run_alone(tx, works[0])]
        else:
            outcomes = [_run_one(connection, tx, work, future) for work, future, _ in works]
        connection.execute("commit")
    except BaseException as error:  # noqa: BLE001 - whatever it was, every waiting caller is told
        # All is undone: a failed commit, or an error after which SQLite rolled back by itself (a full disk).
        if not connection.getautocommit():
            connection.execute("rollback")
        if len(works) == 1:
            return [(works[0][1], None, _translate(error))]
    else:
        return outcomes
    # One of them was too much, not necessarily all: each on its own then.
    return [outcome for item in works for outcome in _run_batch(connection, tx, [item])]


def _run_alone(tx: _Tx, item: _Item) -> _Outcome:
    # Whoever has the transaction to themselves needs no savepoint: what they raise undoes all of it.
    work, future, _ = item
    return future, _drive(work(tx)), None


def _run_one(connection: apsw.Connection, tx: _Tx, work: Work[Any], future: asyncio.Future[Any]) -> _Outcome:
    connection.execute("savepoint work")
    try:
        value = _drive(work(tx))
    except BaseException as error:
        # A cancellation that a work raises is its caller's alone, too.
        if connection.getautocommit():
            raise
        connection.execute("rollback to work")
        connection.execute("release work")
        return future, None, _translate(error)
    connection.execute("release work")
    return future, value, None


def _deliver(outcomes: list[_Outcome]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, own in by_loop.items():
        # The loop may have ended meanwhile, with nobody left to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, own)


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _translate(error: BaseException) -> BaseException:
    if isinstance(error, EntrepotError) or not isinstance(error, apsw.Error):
        return error
    if isinstance(error, apsw.FullError):
        return StorageFull("the disk that holds the database is full", reason=str(error))
    if isinstance(error, apsw.ConstraintError) and getattr(error, "extendedresult", 0) in TAKEN:
        return AlreadyExists("there is such a row already", reason=str(error))
    if isinstance(error, apsw.ConnectionClosedError):
        return Unavailable("the database is closed")
    if isinstance(error, AWAY) or _is_refused(error):
        return Unavailable("the database cannot be used now", reason=str(error))
    return error


def _is_refused(error: apsw.Error) -> bool:
    # A trigger or a check that says no, or a table that is gone: nothing that the request could do about it, for no
    # migration makes one.
    is_added = getattr(error, "extendedresult", 0) in ADDED
    return is_added or (isinstance(error, apsw.SQLError) and str(error).startswith("no such table"))


def _connect(path: pathlib.Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=STATEMENT_CACHE)
    connection.set_busy_handler(_busy_handler())
    # Without this, SQLite plans a statement again whenever it is bound to other values: half the time of a pull.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    _keep_a_log(connection)
    for pragma in (
        "synchronous=full",
        f"cache_size=-{PAGE_CACHE_KIB}",
        "temp_store=memory",
        "foreign_keys=on",
    ):
        connection.execute(f"pragma {pragma}").fetchall()
    return connection


def _keep_a_log(connection: apsw.Connection) -> None:
    # The first processes of a new file all turn it to a write-ahead log, for which SQLite asks no busy handler.
    until = time.monotonic() + BUSY_LIMIT_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode=wal").fetchall()
        except apsw.BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
        else:
            return


def _busy_handler() -> Callable[[int], bool]:
    # SQLite's own handler sleeps up to 100 ms between tries, which starves a second process; short naps are fair.
    began = 0.0

    def wait(tries: int) -> bool:
        nonlocal began
        now = time.monotonic()
        if tries == 0:
            began = now
        time.sleep(BUSY_PAUSE_SECONDS)
        return now - began < BUSY_LIMIT_SECONDS

    return wait


def _migrate(path: pathlib.Path, *, tolerates_newer: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path)
    migrations = migrate.list_migrations(DIALECT)
    try:
        while _migrate_once(connection, migrations, tolerates_newer=tolerates_newer):
            pass
    finally:
        connection.close()


def _migrate_once(connection: apsw.Connection, migrations: list[migrate.Migration], *, tolerates_newer: bool) -> bool:
    """One step in a transaction of its own, beside other processes that may do the same; whether there was one."""
    connection.execute("begin immediate")
    try:
        connection.execute(migrate.LEDGER)
        applied = {int(number): str(checksum) for number, checksum in connection.execute(migrate.SELECT)}
        steps = migrate.list_pending(migrations, applied, tolerates_newer=tolerates_newer)
        for step in steps[:1]:
            connection.execute(step.sql)
            now = time.time_ns() // 1000
            connection.execute(_positional(migrate.INSERT), (step.number, step.name, step.checksum, now))
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return bool(steps)


def open_database(url: str, *, tolerates_newer: bool = False) -> SqliteDatabase:
    """Open `sqlite:///PATH`, making and migrating the file as needed. Raises Unavailable.

    `tolerates_newer`: see `migrate.list_pending`.
    """
    try:
        return SqliteDatabase(_path_of(url), tolerates_newer=tolerates_newer)
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"cannot open {url}: {error}") from error


def list_applied(url: str) -> dict[int, str]:
    """Migrations that a database has, with their checksums, without changing anything. Raises Unavailable."""
    try:
        connection = apsw.Connection(str(_path_of(url)), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(int(BUSY_LIMIT_SECONDS * 1000))
            if not list(connection.execute("select 1 from sqlite_master where name = 'migration'")):
                return {}
            return {int(number): str(checksum) for number, checksum in connection.execute(migrate.SELECT)}
        finally:
            connection.close()
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"cannot open {url}: {error}") from error


def _path_of(url: str) -> pathlib.Path:
    return pathlib.Path(url.removeprefix("sqlite://"))
