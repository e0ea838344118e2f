"""What only PostgreSQL has: a network, other sessions, and a pooler that may stand before it."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Coroutine, Iterator

import pytest

from entrepot.db import postgresql
from entrepot.db._reach import DOUBT_SECONDS
from entrepot.db.postgresql import PostgresqlDatabase, open_database
from entrepot.domain.errors import RequestInvalid, StorageFull, Unavailable
from entrepot.ports.database import Row, Tx, Work
from tests.contract.engines import Held, PostgresqlUrls
from tests.support.asgi import eventually
from tests.support.pgbouncer import pgbouncer
from tests.support.postgresql import Postgres
from tests.support.server import free_port

ADD = "insert into instance (name, value) values ($1, $2)"
FIND = "select name, value from instance where name = $1"
NAMES = "select name from instance order by name"
CUT = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where pid <> pg_backend_pid() and datname = current_database()"
)
RAISE = """
create function fail(state text) returns void language plpgsql as
$$ begin raise exception 'told to fail' using errcode = state; end $$
"""


def add(name: str) -> Work[int]:
    """Work that adds one row."""
    return lambda tx: tx.execute(ADD, name, name)


def find(name: str) -> Work[list[Row]]:
    """Work that finds one row."""
    return lambda tx: tx.all(FIND, name)


@pytest.fixture
def url(postgresql_urls: PostgresqlUrls) -> str:
    """A fresh, migrated database."""
    return postgresql_urls.migrated()


@pytest.fixture
def database(url: str, open_held: Callable[[str], Held]) -> Held:
    """The same, open."""
    return open_held(url)


def fail_with(state: str, times: int) -> tuple[Work[int], list[int]]:
    """Work that fails with a state so many times, and a list that grows with each run."""
    runs: list[int] = []

    async def work(tx: Tx) -> int:
        runs.append(1)
        if len(runs) <= times:
            await tx.all("select fail($1)", state)
        return await tx.execute(ADD, "done", "")

    return work, runs


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_races_are_run_again(database: Held, state: str) -> None:
    """A serialization failure and a deadlock are run again until they succeed."""
    database.execute(RAISE)
    work, runs = fail_with(state, 4)
    assert database.transact(work) == 1
    assert len(runs) == 5


@pytest.mark.parametrize(
    ("state", "error"),
    [("53100", StorageFull), ("57P03", Unavailable), ("XX001", Unavailable), ("54000", RequestInvalid)],
)
def test_states_become_domain_errors(database: Held, state: str, error: type[Exception]) -> None:
    """A full disk, a server that is not ready and damage are what the port says they are."""
    database.execute(RAISE)
    work, _ = fail_with(state, 100)
    with pytest.raises(error):
        database.transact(work)
    assert database.rows(NAMES) == []


def test_text_that_cannot_be_stored_is_the_request_s_fault(database: Held) -> None:
    """PostgreSQL stores no NUL in text; whoever sends one is told, in reads too."""
    with pytest.raises(RequestInvalid):
        database.execute(ADD, "a\0b", "")
    with pytest.raises(RequestInvalid):
        database.rows("select name from instance where name > $1", "\0")


def test_work_without_isolation_conflicts_with_nobody(database: Held, url: str) -> None:
    """Two that overlap, each reading where the other writes, are both done at once; isolated, one is run again."""

    async def story(*, isolated: bool) -> int:
        met, runs, second = asyncio.Barrier(2), 0, await open_database(url)

        def work(own: str, others: str) -> Work[None]:
            async def cross(tx: Tx) -> None:
                nonlocal runs
                runs += 1
                await tx.all(FIND, others)
                if runs <= 2:
                    await met.wait()
                await tx.execute(ADD, own, "")

            return cross

        each = ((database.database, f"a{isolated}", f"b{isolated}"), (second, f"b{isolated}", f"a{isolated}"))
        await asyncio.gather(*(by.transact(work(own, others), isolated=isolated) for by, own, others in each))
        await second.close()
        return runs

    assert database.run(story(isolated=False)) == 2
    assert database.run(story(isolated=True)) > 2
    assert len(database.rows(NAMES)) == 4


def test_every_text_column_sorts_by_bytes(database: Held) -> None:
    """No column of text was left to the language of the database."""
    query = (
        "select table_name, column_name from information_schema.columns where table_schema = 'public' "
        "and data_type = 'text' and table_name <> 'migration' and collation_name is distinct from 'C'"
    )
    assert database.rows(query) == []
    assert database.rows("select 'a' < 'B'") == [(True,)]


def test_a_read_is_one_round_trip(url: str, postgres: Postgres) -> None:
    """A read sends its statement and nothing else; an isolated transaction has statements, and plans, of its own."""
    name = url.rpartition("/")[2]
    postgres.query(url, f"alter database {name} set log_statement = 'all'")

    async def story() -> tuple[str, str]:
        database = await open_database(url)
        await database.read(find("warm"))
        before = len(postgres.output())
        for key in ("one", "two"):
            await database.read(find(key))
        reads = postgres.output()[before:]
        await database.transact(lambda tx: tx.execute(ADD, "a", ""))
        await database.transact(lambda tx: tx.execute(ADD, "b", ""), isolated=False)
        await database.close()
        return reads, postgres.output()[before + len(reads) :]

    reads, writes = asyncio.run(story())
    statements = [line for line in reads.splitlines() if "LOG:" in line]
    assert len(statements) == 2, reads
    assert all("execute" in line and "select name, value from instance" in line for line in statements)
    statements = [line.partition("LOG:")[2] for line in writes.splitlines() if "LOG:" in line]
    assert ["begin isolation level serializable" in statements[0], "commit" in statements[-1]] == [True, True]
    assert len(statements) == 6
    assert statements[1].endswith(f"{ADD} /*in transaction*/")
    assert ("begin isolation level read committed" in statements[3], statements[4].endswith(ADD)) == (True, True)


def test_transactions_are_durable_and_bounded(database: Held) -> None:
    """Inside a transaction the limits hold; outside, the session is as the server made it."""
    settings = ("transaction_isolation", "statement_timeout", "idle_in_transaction_session_timeout")

    async def show(tx: Tx) -> list[str]:
        rows = [await tx.one("select current_setting($1)", name) for name in settings]
        return [str(row[0]) for row in rows if row is not None]

    assert database.transact(show) == ["serializable", "30s", "30s"]
    assert database.read(show) == ["read committed", "0", "0"]


def test_a_database_that_does_not_wait_for_the_disk_is_refused(url: str, postgres: Postgres) -> None:
    """With synchronous_commit off a 201 would promise what a crash may break."""
    name = url.rpartition("/")[2]
    postgres.query(url, f"alter database {name} set synchronous_commit = off")
    with pytest.raises(Unavailable, match="synchronous_commit"):
        asyncio.run(open_database(url))


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest version that will do is named."""
    monkeypatch.setattr(postgresql, "OLDEST_VERSION", 999)
    with pytest.raises(Unavailable, match="PostgreSQL 999 or newer"):
        asyncio.run(open_database(url))


def test_a_work_that_never_ends_is_ended(database: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction over its limit, or one that races for ever, is undone and Unavailable; the next one is served."""
    monkeypatch.setattr(database.database, "limit_seconds", 0.3)
    database.execute(RAISE)
    for work in (lambda tx: tx.all("select pg_sleep(60)"), fail_with("40001", 1_000_000)[0]):
        with pytest.raises(Unavailable, match="time limit"):
            database.transact(work)
    with pytest.raises(Unavailable, match="time limit"):
        database.read(lambda tx: tx.all("select pg_sleep(60)"))
    monkeypatch.undo()
    assert database.transact(add("a")) == 1


def test_options_of_the_url(url: str) -> None:
    """Our own options are taken out of the url and must be numbers; others go to the server."""
    for bad in ("pool_size=0", "pool_size=many", "statement_cache_size=-1", "limit_seconds=0"):
        with pytest.raises(Unavailable, match="must be a number"):
            asyncio.run(open_database(f"{url}?{bad}"))

    async def story() -> object:
        database = await open_database(f"{url}?pool_size=1&application_name=mine")
        await asyncio.gather(*(database.transact(add(key)) for key in "abcdef"))
        answer = await database.read(lambda tx: tx.one("select current_setting('application_name')"))
        await database.close()
        return answer

    assert asyncio.run(story()) == ("mine",)


def test_a_wrong_address_is_unavailable_without_its_password(postgres: Postgres) -> None:
    """Nobody listening, or no such database: Unavailable, and the password of the url is not in the message."""
    for address in (f"127.0.0.1:{free_port()}/x", f"127.0.0.1:{postgres.port}/missing"):
        with pytest.raises(Unavailable) as caught:
            asyncio.run(open_database(f"postgresql://postgres:hush-hush@{address}"))
        assert "hush-hush" not in f"{caught.value} {caught.value.__dict__}"


@pytest.mark.parametrize("password", ["hush/hush", "hush:hush", "hush@hush", "hush#hush", "hush?hush", "hush[hush"])
def test_a_url_that_cannot_be_read_is_not_repeated(password: str) -> None:
    """What was not written as %XX makes another url of it; none of its parts is in the message."""
    with pytest.raises(Unavailable) as raised:
        asyncio.run(open_database(f"postgresql://postgres:{password}@127.0.0.1:1/entrepot"))
    assert "hush" not in f"{raised.value} {raised.value.detail}"


async def comes_back(database: PostgresqlDatabase) -> None:
    """Wait until a transaction succeeds."""

    async def succeeds() -> bool:
        try:
            return await database.transact(lambda tx: tx.execute(f"{ADD} on conflict do nothing", "back", "")) < 2
        except Unavailable:
            return False

    await eventually(succeeds)


def test_it_comes_back_with_the_server() -> None:
    """While the server is away everything is Unavailable; soon after it is back the same handle goes on."""

    async def story(postgres: Postgres, database: PostgresqlDatabase) -> None:
        await asyncio.gather(*(database.read(lambda tx: tx.all("select pg_sleep(0.05)")) for _ in range(5)))
        await asyncio.to_thread(postgres.stop)
        with pytest.raises(Unavailable):
            await database.transact(lambda tx: tx.execute(ADD, "away", ""))
        with pytest.raises(Unavailable):
            await database.read(lambda tx: tx.all(NAMES))
        await asyncio.to_thread(postgres.start)
        await comes_back(database)
        assert await database.read(lambda tx: tx.all(NAMES)) == [("back",)]

    run_with_server_of_its_own(story)


def run_with_server_of_its_own(
    story: Callable[[Postgres, PostgresqlDatabase], Coroutine[None, None, None]], options: str = ""
) -> None:
    """A story about a server that only it uses."""

    async def main(postgres: Postgres) -> None:
        database = await open_database(postgres.new_database() + options)
        try:
            await story(postgres, database)
        finally:
            await database.close()

    with Postgres() as postgres:
        asyncio.run(main(postgres))


def test_nobody_waits_for_a_server_that_stands_still() -> None:
    """Who waits for it fails once it is found not to answer, long before the limit; who comes later fails at once,
    without one more connection to it; and soon after it goes on, so does everything.
    """

    async def story(postgres: Postgres, database: PostgresqlDatabase) -> None:
        await database.transact(lambda tx: tx.execute(ADD, "before", ""))
        with postgres.standing_still():
            works = [database.transact(lambda tx: tx.execute(ADD, "x", "")) for _ in range(20)]
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*works, return_exceptions=True)
            assert {type(answer) for answer in answers} == {Unavailable}
            loop = asyncio.get_running_loop()
            turns: list[int] = []
            loop.call_soon(turns.append, 1)
            for _ in range(100):
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await database.transact(lambda tx: tx.execute(ADD, "x", ""))
            # They were refused without waiting for anything: the loop has not gone round once.
            assert turns == []
        await comes_back(database)
        assert ("before",) in await database.read(lambda tx: tx.all(NAMES))

    run_with_server_of_its_own(story)


def test_a_process_holds_four_connections(url: str, postgres: Postgres) -> None:
    """However many read and write at once."""

    async def story() -> None:
        database = await open_database(url)
        works = [database.read(lambda tx: tx.all("select pg_sleep(0.2)")) for _ in range(20)]
        works += [database.transact(lambda tx: tx.all("select pg_sleep(0.2)")) for _ in range(20)]
        waiting = asyncio.gather(*works)
        await asyncio.sleep(0.3)
        name = url.rpartition("/")[2]
        held = await asyncio.to_thread(
            postgres.query,
            url,
            f"select count(*) from pg_stat_activity where datname = '{name}' and application_name = 'entrepot'",
        )
        await waiting
        await database.close()
        assert int(held) == 4

    asyncio.run(story())


def test_a_server_that_gives_no_further_connection_is_there(url: str, postgres: Postgres) -> None:
    """A role that may have as many connections as the pool: what lasts is doubted, and goes on to its end."""
    name = url.rpartition("/")[2]
    postgres.query(url, f"create role {name} login connection limit 1")
    postgres.query(url, f"grant all on schema public to {name}")
    postgres.query(url, f"grant all on all tables in schema public to {name}")

    async def story() -> object:
        database = await open_database(f"{url.replace('//postgres@', f'//{name}@')}?pool_size=1")
        answer = await database.read(lambda tx: tx.one(f"select pg_sleep({2 * DOUBT_SECONDS})::text"))
        await database.close()
        return answer

    assert asyncio.run(story()) == ("",)


@pytest.mark.parametrize("turns", range(4))
def test_a_caller_who_leaves_twice_leaves_nothing_open(url: str, caplog: pytest.LogCaptureFixture, turns: int) -> None:
    """Whoever is cancelled in a statement, and again while it is undone: the connection is cut or clean."""

    async def story() -> None:
        database = await open_database(f"{url}?pool_size=1")
        work = asyncio.ensure_future(database.transact(lambda tx: tx.all("select pg_sleep(60)")))
        await eventually(lambda: is_asleep(url))
        work.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert await database.transact(add("a")) == 1
        await database.close()

    asyncio.run(story())
    # What the driver says of a connection that comes back in the middle of a transaction.
    assert caplog.messages == []


async def is_asleep(url: str) -> bool:
    """Whether somebody runs `pg_sleep`."""
    database = await open_database(url)
    asleep = "select 1 from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    found = await database.read(lambda tx: tx.all(asleep))
    await database.close()
    return bool(found)


def test_a_commit_that_waits_for_its_stand_by_is_not_confirmed(url: str, postgres: Postgres) -> None:
    """Where the synchronous stand-by does not answer in time, nobody is told that it happened."""
    postgres.query(url, "alter system set synchronous_standby_names = 'nobody'")
    postgres.query(url, "select pg_reload_conf()")

    async def story() -> None:
        database = await open_database(f"{url}?limit_seconds=1")
        try:
            with pytest.raises(Unavailable):
                await database.transact(lambda tx: tx.execute(ADD, "a", ""))
        finally:
            await database.close()

    try:
        asyncio.run(story())
    finally:
        postgres.query(url, "alter system reset synchronous_standby_names")
        postgres.query(url, "select pg_reload_conf()")


def test_sessions_that_were_cut_are_replaced(database: Held) -> None:
    """Connections that an administrator cuts while they are idle cost no caller an error."""
    database.together([lambda tx: tx.all("select pg_sleep(0.02)")] * 8)
    database.rows(CUT)
    assert database.together([add(key) for key in "abcdefgh"]) == [1] * 8
    assert len(database.rows(NAMES)) == 8


@pytest.fixture
def pooler(tmp_path: pathlib.Path, postgres: Postgres) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode with only two connections to the server."""
    with pgbouncer(tmp_path / "pgbouncer", postgres, default_pool_size=2) as port:
        yield port


def test_it_works_behind_pgbouncer_in_transaction_mode(
    pooler: int, postgresql_urls: PostgresqlUrls, postgres: Postgres
) -> None:
    """With `statement_cache_size=0`, opening, reads and transactions of many clients work over two shared sessions."""
    url = postgresql_urls.empty().replace(f":{postgres.port}/", f":{pooler}/") + "?statement_cache_size=0"

    async def use(database: PostgresqlDatabase, client: int) -> None:
        for number in range(10):
            key = f"{client}/{number}"
            await database.transact(add(key))
            assert await database.read(find(key)) == [(key, key)]

    async def story() -> None:
        databases = [await open_database(url) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            for client in range(18):
                group.create_task(use(databases[client % 3], client))
        assert await databases[0].read(lambda tx: tx.one("select count(*) from instance")) == (180,)
        for database in databases:
            await database.close()

    asyncio.run(story())
