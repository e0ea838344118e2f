"""The whole application, started and stopped as a server does it."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import stat
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from entrepot import app
from entrepot.app import SystemClock, build, open_registry
from entrepot.core.denials import DenialLog
from entrepot.core.jobs import RECURRING
from entrepot.db.sqlite import open_database
from entrepot.domain.access import ANONYMOUS, Action
from entrepot.domain.errors import Unavailable
from entrepot.domain.events import Event
from entrepot.domain.manifest import EdgeKind
from entrepot.metadata import policy
from entrepot.metadata.events import add_event
from entrepot.ports.database import Database, Tx, Work
from entrepot.settings import Settings, load
from entrepot.telemetry.metrics import Meter
from entrepot.worker import loop as worker
from tests.support.asgi import Client, Lifespan, eventually, run
from tests.support.faults import FaultyDatabase, Saboteur
from tests.support.images import CONFIG, LAYER, image
from tests.support.world import World, basic, password_of, push_blob, put_manifest

T = TypeVar("T")


def configured(tmp_path: pathlib.Path, **environment: str) -> Settings:
    """Settings of a server in memory, with some of its environment changed."""
    defaults = {"STORAGE__URL": "memory://", "ADMIN_PASSWORD": password_of("admin")}
    return load(None, tmp_path, None, {f"ENTREPOT_{key}": value for key, value in {**defaults, **environment}.items()})


def test_a_push_and_a_pull(client: Client) -> None:
    """Through everything that a real server is made of but the server."""
    admin = client.with_headers(authorization=basic("admin", password_of("admin")))
    for content in (CONFIG, LAYER):
        push_blob(admin, "library/app", content)
    assert put_manifest(admin, "library/app", image(), "v1").status == 201
    assert admin.request("GET", "/v2/library/app/manifests/v1").body == image().raw
    assert client.request("GET", "/v2/library/app/manifests/v1").status == 401
    assert client.request("GET", "/v2/", authorization=basic("admin", "wrong")).status == 401


@pytest.mark.parametrize(
    ("path", "status"), [("/v2", 401), ("/token", 200), ("/healthz", 200), ("/", 200), ("/nothing", 404), ("", 404)]
)
def test_requests_are_dispatched_by_their_first_segment(client: Client, path: str, status: int) -> None:
    """To the faces, and what is nobody's to the machine room."""
    assert client.request("GET", path).status == status


def test_metrics_count_requests_and_rows(client: Client) -> None:
    """By route, never by name."""
    assert client.request("GET", "/v2/library/secret-name/manifests/v1").status == 401
    admin = client.with_headers(authorization=basic("admin", password_of("admin")))
    assert admin.request("POST", "/v2/library/app/blobs/uploads/").status == 202
    text = client.request("GET", "/metrics").body.decode()
    assert 'route="/v2/{name}/manifests/{reference}"' in text
    assert 'entrepot_uploads{kind="open"} 1.0' in text
    assert 'entrepot_blobs_damaged{kind="now"} 0.0' in text
    assert 'entrepot_scrub_blobs{kind="damaged"} 0.0' in text
    assert 'entrepot_collected_bytes{kind="freed"} 0.0' in text
    assert 'entrepot_job_kinds_paused{kind="now"} 0.0' in text
    assert "secret-name" not in text


def test_a_first_password_is_generated(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed once, and kept where only its owner reads it; it is the password."""
    settings = configured(tmp_path, ADMIN_PASSWORD="")
    with asyncio.Runner() as runner:
        for start in (1, 2):
            lifespan = Lifespan(application := build(settings))
            runner.run(lifespan.start())
            told = capsys.readouterr().out
            kept = tmp_path / "admin-password"
            password = kept.read_text().strip()
            assert (f"password {password} " in told) == (start == 1)
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            header = basic("admin", password)
            assert Client(application, runner).request("GET", "/v2/", authorization=header).status == 200
            runner.run(lifespan.stop())


@pytest.mark.parametrize("key", ["DATABASE__URL", "STORAGE__URL"])
@pytest.mark.parametrize("url", ["gopher://hole", "nonsense", "file:///dev/null/none", "sqlite:///dev/null/none"])
def test_a_start_that_fails_says_why(tmp_path: pathlib.Path, key: str, url: str) -> None:
    """In one sentence, to the server, which then ends."""

    async def start() -> dict[str, Any]:
        lifespan = Lifespan(build(configured(tmp_path, **{key: url})))
        message = await lifespan.start()
        await lifespan.ended()
        return dict(message)

    message = run(start())
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"]
    assert "Traceback" not in message["message"]


def test_changes_of_others_are_seen(settings: Settings, client: Client) -> None:
    """Another process disables a user: this one polls, and locks them out without a restart."""
    database = open_database(settings.database_url)
    header = basic("admin", password_of("admin"))

    async def disable(tx: Tx) -> None:
        await tx.execute("update account set is_disabled = 1")
        await policy.bump_policy_version(tx)

    async def is_out() -> bool:
        return (await client.exchange("GET", "/v2/", authorization=header)).status == 401

    async def change() -> None:
        assert not await is_out()
        await database.transact(disable)
        await eventually(is_out)
        await database.close()

    client.runner.run(change())


def test_last_uses_are_written_by_the_way(settings: Settings) -> None:
    """The process writes when a secret was used, a moment later and once more when it stops."""
    admin = {"authorization": basic("admin", password_of("admin"))}
    path, kind = "/api/v1/users/admin/tokens", "application/json"
    used = "select used_at from credential order by id"

    async def live() -> None:
        application = build(settings)
        lifespan, client = Lifespan(application), Client(application, runner)
        await lifespan.start()
        database = open_database(settings.database_url)
        names = (b'{"name": "one"}', b'{"name": "two"}')
        made = [await client.exchange("POST", path, name, content_type=kind, **admin) for name in names]
        one, two = (f"Bearer {answer.json['secret']}" for answer in made)

        async def is_written() -> bool:
            return (await database.read(lambda tx: tx.all(used)))[0][0] is not None

        await client.exchange("GET", "/v2/", authorization=one)
        await eventually(is_written)
        await client.exchange("GET", "/v2/", authorization=two)
        await lifespan.stop()
        assert all(row[0] is not None for row in await database.read(lambda tx: tx.all(used)))
        await database.close()

    with asyncio.Runner() as runner:
        runner.run(live())


def test_what_cannot_be_stored_at_the_end_keeps_nothing_else(settings: Settings) -> None:
    """A process that stops tries each of the things that it holds, and what it has seen is in the audit log."""

    async def live() -> None:
        application = build(settings)
        lifespan = Lifespan(application)
        await lifespan.start()
        database = open_database(settings.database_url)
        away = "create trigger away before insert on denial begin select raise(abort, 'away'); end"
        await database.transact(lambda tx: tx.execute(away))
        client = Client(application, runner)
        wrong = await client.exchange("GET", "/api/v1/users", authorization=basic("admin", "wrong"))
        refused = await client.exchange("GET", "/v2/acme/app/manifests/v1")
        assert (wrong.status, refused.status) == (401, 401)
        await lifespan.stop()
        kinds = await database.read(lambda tx: tx.all("select category from audit"))
        assert {"sign-in", "denial"} <= {row[0] for row in kinds}
        await database.close()

    with asyncio.Runner() as runner:
        runner.run(live())


def test_a_poll_outlives_whatever_fails(capfd: pytest.CaptureFixture[str]) -> None:
    """A database that is away, and a mistake of ours as well; of several failures in a row the first is told."""
    failures = [Unavailable("it is away"), Unavailable("it is away"), None, ValueError("a mistake"), None]

    async def poll() -> None:
        application = app._Application(Settings(), Meter())
        done = asyncio.Event()

        async def step() -> None:
            if not failures:
                done.set()
            elif (failure := failures.pop(0)) is not None:
                raise failure

        polling = asyncio.ensure_future(application._poll(step, "not done", 0.001))
        await done.wait()
        polling.cancel()

    run(poll())
    told = "".join(capfd.readouterr())
    assert (told.count("it is away"), told.count("[warning"), told.count("Traceback")) == (1, 2, 1)


class Stuck:
    """The port Database over another one whose writes wait for somebody who never ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_waited_for = asyncio.Event()

    def read(self, work: Work[T]) -> Awaitable[T]:
        return self._database.read(work)

    async def transact(self, work: Work[T], **how: bool) -> T:
        self.is_waited_for.set()
        await asyncio.Event().wait()
        return await self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()


def test_the_policy_is_followed_while_nothing_can_be_written(settings: Settings) -> None:
    """Whoever is locked out is out, although what this process has to write waits for others."""

    async def disable(tx: Tx) -> None:
        await tx.execute("update account set is_disabled = 1")
        await policy.bump_policy_version(tx)

    async def live() -> None:
        async with open_registry(settings) as opened:
            stuck = Stuck(opened.database)
            registry = replace(opened, database=stuck)

            async def is_out() -> bool:
                return all(account.is_disabled for account in registry.policy.snapshot.accounts.values())

            assert not await is_out()
            denials = DenialLog(b"")
            denials.note(ANONYMOUS, (Action.PULL, "acme/app"), (), 0)
            polls = asyncio.gather(*app._Application(settings, Meter())._polls(registry, denials))
            await stuck.is_waited_for.wait()
            await opened.database.transact(disable)
            await eventually(is_out)
            polls.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polls

    run(live())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"manifest"}),
        ({"PUSH__SPARSE_INDEXES": "false"}, set()),
        ({"PUSH__SPARSE_IMAGES": "true"}, {"manifest", "config", "layer"}),
    ],
)
def test_settings_become_rules(tmp_path: pathlib.Path, environment: dict[str, str], expected: set[EdgeKind]) -> None:
    """What a push may leave out, and the rest of what verbs need to know."""

    async def rules() -> tuple[object, int]:
        async with open_registry(configured(tmp_path, AUTH__TOKEN_SECONDS="7", **environment)) as registry:
            return set(registry.rules.optional_edges), registry.rules.token_seconds

    assert run(rules()) == (expected, 7)


def test_the_clock_is_the_machines() -> None:
    """Microseconds since 1970, never backwards within a moment."""
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert 1_600_000_000 * 10**6 < first <= second


def test_a_worker_runs_what_is_due_until_it_is_stopped(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It schedules what comes back, tells what failed, where it was a mistake of ours, and ends with the signal."""
    settings = configured(tmp_path)
    queued = "('of.the.future', '', '[]', 0, 0), ('store.discard', '', '{}', 0, 0)"
    statement = f"insert into job (kind, key, payload, run_at, created_at) values {queued}"

    async def work() -> None:
        async with open_registry(settings) as registry:
            await registry.database.transact(lambda tx: tx.execute(statement))
            running = asyncio.ensure_future(worker.run_worker(settings))

            async def has_run() -> bool:
                rows = await registry.database.read(lambda tx: tx.all("select kind, attempts, run_at from job"))
                done = {row[0] for row in rows if row[1] or row[2] > registry.clock.now()}
                by_itself = {kind for kind, seconds in RECURRING.items() if seconds is not None}
                return done == {*by_itself, "of.the.future", "store.discard"}

            await eventually(has_run)
            os.kill(os.getpid(), signal.SIGTERM)
            await running

    run(work())
    told = "".join(capfd.readouterr())
    assert "no handler for jobs of the kind of.the.future" in told
    assert "Traceback" in told
    assert "ValidationError: Expected `array`" in told


def test_a_worker_waits_for_a_database_that_is_away(capfd: pytest.CaptureFixture[str]) -> None:
    """It warns and tries again after a pause; then it tells what has happened meanwhile."""
    saboteur = Saboteur(at=1)
    with World(wrap_database=lambda database: FaultyDatabase(database, saboteur)) as world:

        async def wait() -> None:
            stop = asyncio.Event()
            running = asyncio.ensure_future(worker._run_until(world.registry, stop))

            async def has_tried() -> bool:
                return len(saboteur.calls) > 0

            async def has_told() -> bool:
                return len(saboteur.calls) > 3

            await eventually(has_tried)
            event = Event("user.created", "admin", "somebody", {"administrator": False})
            await world.database.transact(lambda tx: add_event(tx, event, world.clock.now()))
            await eventually(has_told)
            stop.set()
            await running

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "PAUSE_SECONDS", 0.01)
            world.run(wait())
    told = "".join(capfd.readouterr())
    assert "jobs wait" in told
    assert "user.created" in told
    assert "somebody" in told


def test_log_lines_are_json(settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The access log has who and what, and no secret."""

    async def talk() -> None:
        lifespan = Lifespan(application := build(settings))
        await lifespan.start()
        client = Client(application, asyncio.Runner())
        header = basic("admin", password_of("admin"))
        await client.exchange("GET", "/v2/library/app/tags/list?last=x", authorization=header, user_agent="test/1")
        await lifespan.stop()

    run(talk())
    (line,) = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines()]
    assert {key: line[key] for key in ("event", "method", "path", "status", "user", "client", "agent")} == {
        "event": "request", "method": "GET", "path": "/v2/library/app/tags/list", "status": 404,
        "user": "admin", "client": "198.51.100.7", "agent": "test/1",
    }  # fmt: skip
    assert password_of("admin") not in json.dumps(line)


def test_limits_are_settings(tmp_path: pathlib.Path) -> None:
    """A limit of the settings holds at the protocols, not in the machine room, and is counted."""
    limits = {"RATE__ADDRESS_PER_MINUTE": "2", "RATE__EXEMPT": "203.0.113.0/24", "AUTH__LOCKOUT_FAILURES": "0"}
    application = build(configured(tmp_path, **limits))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner)
        assert [client.request("GET", "/token").status for _ in range(3)] == [200, 200, 429]
        assert client.with_scope(client=("203.0.113.7", 1)).request("GET", "/token").status == 200
        assert [client.request("GET", path).status for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
        assert b'entrepot_limited_total{kind="rate.address"} 1.0' in client.request("GET", "/metrics").body
        runner.run(lifespan.stop())
