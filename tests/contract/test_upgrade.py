"""Upgrades from every schema that there has been, with data in every table; and databases that are too new."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from entrepot.app import apply_migrations, build, open_registry
from entrepot.core.check import How, Report, check
from entrepot.domain.digests import digest_of
from entrepot.settings import Settings, load
from tests.contract.engines import PostgresqlUrls, Urls, open_database
from tests.contract.old_schemas import NUMBERS, Old, Schema, fill, schema_of
from tests.faults.machine import end, find_worker
from tests.faults.pusher import Door
from tests.support.asgi import Client, Lifespan
from tests.support.images import artifact, image
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.world import basic, push_blob, put_manifest

pytestmark = pytest.mark.slow

REPOSITORY = "acme/app"
ONE, TWO = image([b"layer one"]), image([b"layer two", b"another layer"])
SIGNATURE = artifact(ONE, "application/vnd.example.signature")
NEWER = (
    "insert into migration (number, name, checksum, applied_at) values (9999, 'later', '', 0)",
    "alter table account add column of_the_future text not null default ''",
    "alter table blob add column of_the_future text not null default ''",
)
# The grants of 0001 were about one account and one resource; 0003 made them anew.
FIRST_GRANTS = 2


def settings_of(folder: pathlib.Path, database: str, store: pathlib.Path) -> Settings:
    """Settings of a registry over these two."""
    environment = {
        "ENTREPOT_DATABASE__URL": database,
        "ENTREPOT_STORAGE__URL": f"file://{store}",
        "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD,
    }
    return load(None, folder, None, environment)


@contextmanager
def running(settings: Settings) -> Iterator[Client]:
    """The whole application, started as a server starts it; a client of its administrator."""
    application = build(settings)
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        assert runner.run(lifespan.start()) == {"type": "lifespan.startup.complete"}
        yield Client(application, runner).with_headers(authorization=basic("admin", ADMIN_PASSWORD))
        runner.run(lifespan.stop())


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a registry that was used a little: its database and blobs are what old ones are filled with."""
    folder = tmp_path_factory.mktemp("donor")
    settings = settings_of(folder, f"sqlite://{folder}/entrepot.db", folder / "blobs")
    with running(settings) as client:
        bob = b'{"name":"bob","password":"a password of bob"}'
        for path, body in (("users", bob), ("namespaces", b'{"name":"acme"}')):
            assert client.request("POST", f"/api/v1/{path}", body, content_type="application/json").status == 201
        grant = b'{"subject":"user:bob","role":"reader","resource":"acme/app"}'
        assert client.request("POST", "/api/v1/grants", grant, content_type="application/json").status == 201
        for pushed, reference in ((ONE, "1.0"), (ONE, "latest"), (TWO, "latest"), (SIGNATURE, SIGNATURE.digest)):
            for content in pushed.blobs:
                push_blob(client, REPOSITORY, content)
            assert put_manifest(client, REPOSITORY, pushed, reference).status == 201
    return folder


@contextmanager
def old_database(urls: Urls, number: int, folder: pathlib.Path, donor: pathlib.Path) -> Iterator[tuple[Old, Schema]]:
    """A database of one engine as it was after a migration, filled, and its tables."""
    Old(f"sqlite://{folder}/schema.db", number).close()
    schema = schema_of(folder / "schema.db")
    old = Old(urls.empty(), number)
    try:
        fill(old, schema, donor / "entrepot.db")
        yield old, schema
    finally:
        old.close()


@pytest.mark.parametrize("number", NUMBERS)
def test_an_upgrade_keeps_everything(urls: Urls, number: int, tmp_path: pathlib.Path, donor: pathlib.Path) -> None:
    """From each schema with rows in every table: no row is lost or changed, names and bytes agree, what was pushed is
    served, and more can be pushed.
    """
    with old_database(urls, number, tmp_path, donor) as (old, schema):
        require_upgrade(old, schema, number, settings_of(tmp_path, old.url, donor / "blobs"))


def require_upgrade(old: Old, schema: Schema, number: int, settings: Settings) -> None:
    """Upgrade, and compare everything with how it was."""
    before = {table: old.rows(table, [column.name for column in columns]) for table, columns in schema.items()}
    assert all(before.values()), [table for table, rows in before.items() if not rows]
    asyncio.run(apply_migrations(settings))
    for table, columns in schema.items():
        if table not in {"migration", "grant"} or (table == "grant" and number > FIRST_GRANTS):
            assert old.rows(table, [column.name for column in columns]) == before[table]
    report = asyncio.run(check_all(settings))
    assert (report.found, report.findings) == (0, [])
    assert len(old.rows("migration", ["number"])) == len(NUMBERS)
    with running(settings) as client:
        require_served(client)
    if number <= FIRST_GRANTS:
        assert old.rows("grant", ["subject_kind", "resource"])


async def check_all(settings: Settings) -> Report:
    """Open it, and read every byte."""
    async with open_registry(settings) as registry:
        return await check(registry, How(share=1.0), notice=lambda _what, _amount: None)


def require_served(client: Client) -> None:
    """What the donor had pushed is there, for whom it was there, and pushes go on."""
    for pushed, reference in ((ONE, "1.0"), (TWO, "latest"), (SIGNATURE, SIGNATURE.digest)):
        assert client.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}").body == pushed.raw
        for content in pushed.blobs:
            assert client.request("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(content)}").body == content
    assert client.request("GET", f"/v2/{REPOSITORY}/tags/list").json["tags"] == ["1.0", "latest"]
    referrers = client.request("GET", f"/v2/{REPOSITORY}/referrers/{ONE.digest}").json["manifests"]
    assert [found["digest"] for found in referrers] == [SIGNATURE.digest]
    fresh = image([b"a layer of later"])
    for content in fresh.blobs:
        push_blob(client, "acme/later", content)
    assert put_manifest(client, "acme/later", fresh, "1").status == 201
    assert client.request("GET", "/api/v1/users/bob").json["name"] == "bob"
    assert len(client.request("GET", "/api/v1/grants").json["grants"]) > 0


def add_later_migration(url: str) -> None:
    """What a newer version does to a database: columns, and a row in the ledger."""

    async def story() -> None:
        database = await open_database(url)
        for statement in NEWER:
            await database.transact(lambda tx, statement=statement: tx.execute(statement))  # type: ignore[misc]
        await database.close()

    asyncio.run(story())


def server_on(url: str, folder: pathlib.Path) -> Server:
    """A server that is not started yet, with one worker."""
    return Server(folder / "data", environment={"ENTREPOT_DATABASE__URL": url, "ENTREPOT_SERVER__WORKERS": "1"})


def test_a_server_does_not_start_on_a_newer_database(urls: Urls, tmp_path: pathlib.Path) -> None:
    """It ends with exit code 1 and says what to do, without a traceback; so do the commands that open the database."""
    url = urls.migrated()
    add_later_migration(url)
    server = server_on(url, tmp_path)
    with pytest.raises(RuntimeError, match="the server ended with 1"):
        server.start()
    assert "the database is newer than this entrepot: it has migration 9999" in server.output()
    assert "Run the version that upgraded it" in server.output()
    assert "Traceback" not in server.output()
    for words in (["check"], ["migrate"], ["migrate", "--plan"]):
        done = run_command(server, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("entrepot: the database is newer than this entrepot")
        assert len(done.stderr.splitlines()) == 1


def test_a_server_goes_on_beside_a_newer_one(urls: Urls, tmp_path: pathlib.Path) -> None:
    """A server that runs while a newer one upgrades the database keeps serving, and replaces processes that die."""
    url = urls.migrated()
    server = server_on(url, tmp_path)
    try:
        server.start()
        add_later_migration(url)
        for is_job in (False, True):
            old = find_worker(server, is_job=is_job)
            os.kill(old.pid, signal.SIGKILL)
            while find_worker(server, is_job=is_job).pid == old.pid:
                time.sleep(0.02)
        with Door(server) as door:
            while not server.is_ready():
                time.sleep(0.02)
            assert door.push(REPOSITORY, b"bytes of an older version").status == 201
        # Whoever refuses ends at once.
        assert len({find_worker(server, is_job=True).pid for _ in range(100) if not time.sleep(0.02)}) == 1
        assert server.stop() == 0
    finally:
        end(server)


def run_command(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """A command over the data of a server."""
    return subprocess.run(
        server.command(*words, "--data", str(server.data)),
        check=False,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_migrate_shows_and_applies(urls: Urls, tmp_path: pathlib.Path, donor: pathlib.Path) -> None:
    """`entrepot migrate --plan` names what the database lacks and changes nothing; without `--plan` it is done."""
    with old_database(urls, len(NUMBERS) - 2, tmp_path, donor) as (old, _):
        server = server_on(old.url, tmp_path)
        for words in (["migrate", "--plan"], ["migrate"]):
            assert len(old.rows("migration", ["number"])) == len(NUMBERS) - 2
            done = run_command(server, *words)
            assert (done.returncode, done.stderr) == (0, "")
            assert f"has {len(NUMBERS) - 2} migrations and lacks 2:" in done.stdout
            assert f"{NUMBERS[-1]:04} " in done.stdout
        assert "up to date" in done.stdout
        assert len(old.rows("migration", ["number"])) == len(NUMBERS)
        assert run_command(server, "migrate", "--plan").stdout.startswith("nothing to do: the database has all ")


def test_migrate_makes_no_registry(tmp_path: pathlib.Path) -> None:
    """A mistyped folder is told, and does not become a registry."""
    done = run_command(Server(tmp_path / "nowhere"), "migrate")
    assert (done.returncode, done.stderr.startswith("entrepot: there is no database at ")) == (1, True)
    assert not (tmp_path / "nowhere").exists()


def test_a_plan_of_an_empty_database_is_everything(postgresql_urls: PostgresqlUrls, tmp_path: pathlib.Path) -> None:
    """`entrepot migrate` may come before the first start, and then makes the tables."""
    server = server_on(postgresql_urls.empty(), tmp_path)
    assert f"has 0 migrations and lacks {len(NUMBERS)}:" in run_command(server, "migrate", "--plan").stdout
    assert "up to date" in run_command(server, "migrate").stdout
    assert run_command(server, "migrate").stdout.startswith("nothing to do")


def test_a_migration_does_not_queue_up_everybody(
    postgresql_urls: PostgresqlUrls, tmp_path: pathlib.Path, donor: pathlib.Path
) -> None:
    """A step that waits for a backup's hold on a table gives way to those who come after it, and succeeds when the
    backup is over.
    """
    with old_database(postgresql_urls, 12, tmp_path, donor) as (old, _):
        asyncio.run(upgrade_beside_a_backup(old.url))
        assert len(old.rows("migration", ["number"])) == len(NUMBERS)


async def upgrade_beside_a_backup(url: str) -> None:
    """Hold a table as pg_dump does, upgrade, read, and let go."""
    backup, client = await asyncpg.connect(url), await asyncpg.connect(url)
    hold = backup.transaction()
    await hold.start()
    await backup.execute("lock table namespace in access share mode")
    upgrade = asyncio.create_task(open_database(url))
    waits = "select count(*) from pg_locks where not granted and relation = 'namespace'::regclass"
    while not await client.fetchval(waits):  # noqa: ASYNC110 - another session's locks: there is nothing to wait on
        await asyncio.sleep(0.01)
    # Were the step still in the queue, this would stand behind it until the backup ends, which it does not.
    assert await client.fetchval("select count(*) from namespace", timeout=20) > 0
    assert not upgrade.done()
    await hold.rollback()
    await (await upgrade).close()
    for connection in (backup, client):
        await connection.close()
