"""The whole registry on PostgreSQL: one process, and two replicas over one database and one folder of blobs."""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
import requests

from entrepot.app import build
from entrepot.domain.digests import digest_of
from entrepot.settings import load
from tests.contract.engines import PostgresqlUrls
from tests.support.asgi import Client, Lifespan, eventually
from tests.support.images import Image, artifact, image
from tests.support.pgbouncer import pgbouncer
from tests.support.postgresql import Postgres
from tests.support.server import ADMIN_PASSWORD, Server, free_port
from tests.support.world import basic, push_blob, put_manifest

REPOSITORY = "acme/app"
PASSWORD = "a-password-of-the-tests"
STALE_SECONDS = 10
WITHIN_SECONDS = 30


@pytest.fixture
def url(postgresql_urls: PostgresqlUrls) -> str:
    """An empty database: the registry itself makes the tables."""
    return postgresql_urls.empty()


def test_an_application_pushes_and_pulls(url: str, tmp_path: pathlib.Path) -> None:
    """The application in this process pushes, pulls, lists, moves and deletes with PostgreSQL behind it."""
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD}
    application = build(load(None, tmp_path, None, environment))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        assert runner.run(lifespan.start()) == {"type": "lifespan.startup.complete"}
        use(Client(application, runner).with_headers(authorization=basic("admin", ADMIN_PASSWORD)))
        assert runner.run(lifespan.stop()) == {"type": "lifespan.shutdown.complete"}


def test_an_application_without_its_database(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What was pulled before goes on, metrics and one line of the log say that the database is away, and one that it is
    back; pushes are refused meanwhile and taken afterwards.
    """
    with Postgres() as postgres, asyncio.Runner() as runner:
        environment = {"ENTREPOT_DATABASE__URL": postgres.new_database(), "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD}
        application = build(load(None, tmp_path, None, environment))
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner).with_headers(authorization=basic("admin", ADMIN_PASSWORD))
        kept = image([b"kept"])
        for content in kept.blobs:
            push_blob(client, REPOSITORY, content)
        assert put_manifest(client, REPOSITORY, kept, "latest").status == 201
        pulled = client.request("GET", f"/v2/{REPOSITORY}/manifests/latest")
        assert (pulled.status, "warning" in pulled) == (200, False)
        postgres.kill()
        runner.run(eventually(lambda: reports(client, "degraded")))
        stale = client.request("GET", f"/v2/{REPOSITORY}/manifests/latest")
        assert (stale.body, stale["warning"]) == (pulled.body, '110 - "Response is Stale"')
        assert client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 503
        runner.run(asyncio.sleep(1.2))
        metrics = client.request("GET", "/metrics").body.decode()
        assert "entrepot_database_away 1.0" in metrics
        assert 'entrepot_remembered_total{kind="stale"} 1.0' in metrics
        postgres.start()
        runner.run(eventually(lambda: reports(client, "ready")))
        push_blob(client, REPOSITORY, b"after")
        assert "warning" not in client.request("GET", f"/v2/{REPOSITORY}/manifests/latest")
        runner.run(asyncio.sleep(0.6))
        runner.run(lifespan.stop())
    log = capfd.readouterr().err
    assert (log.count("the database is away; pulls go on"), log.count("the database is back")) == (1, 1)


def test_a_table_that_somebody_holds(url: str, tmp_path: pathlib.Path) -> None:
    """A tag that cannot be asked for while the database is there is 503, not what it was, and 200 once it can."""
    environment = {"ENTREPOT_DATABASE__URL": f"{url}?limit_seconds=1", "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD}
    application = build(load(None, tmp_path, None, environment))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner).with_headers(authorization=basic("admin", ADMIN_PASSWORD))
        for content in image().blobs:
            push_blob(client, REPOSITORY, content)
        assert put_manifest(client, REPOSITORY, image(), "latest").status == 201
        for target in ("latest", image().digest):
            assert client.request("GET", f"/v2/{REPOSITORY}/manifests/{target}").status == 200
        holder = runner.run(asyncpg.connect(url))
        runner.run(holder.execute("begin; lock table tag in access exclusive mode"))
        held = client.request("GET", f"/v2/{REPOSITORY}/manifests/latest")
        assert (held.status, held["retry-after"], "warning" in held) == (503, "5", False)
        by_digest = client.request("GET", f"/v2/{REPOSITORY}/manifests/{image().digest}")
        assert (by_digest.status, "warning" in by_digest) == (200, False)
        runner.run(holder.close())
        assert "warning" not in client.request("GET", f"/v2/{REPOSITORY}/manifests/latest")
        runner.run(lifespan.stop())


async def reports(client: Client, status: str) -> bool:
    """Whether the application calls itself so."""
    return bool((await client.exchange("GET", "/readyz")).json["status"] == status)


def use(client: Client) -> None:
    """One round of everything that clients do."""
    one, two = image([b"layer one"]), image([b"layer two"])
    signature = artifact(one, "application/vnd.example.signature")
    for pushed, reference in ((one, "1.0"), (two, "latest"), (one, "latest"), (signature, signature.digest)):
        for content in pushed.blobs:
            push_blob(client, REPOSITORY, content)
        assert put_manifest(client, REPOSITORY, pushed, reference).status == 201
    for reference in ("1.0", "latest", one.digest):
        assert client.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}").body == one.raw
        assert client.request("HEAD", f"/v2/{REPOSITORY}/manifests/{reference}").status == 200
    assert client.request("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(b'layer one')}").body == b"layer one"
    assert client.request("GET", f"/v2/{REPOSITORY}/tags/list").json["tags"] == ["1.0", "latest"]
    assert client.request("GET", "/v2/_catalog").json["repositories"] == [REPOSITORY]
    referrers = client.request("GET", f"/v2/{REPOSITORY}/referrers/{one.digest}").json["manifests"]
    assert [found["digest"] for found in referrers] == [signature.digest]
    blob = f"/v2/{REPOSITORY}/blobs/{digest_of(b'layer one')}"
    assert client.request("DELETE", blob).status == 405
    mount = f"/v2/acme/other/blobs/uploads/?mount={digest_of(b'layer one')}&from={REPOSITORY}"
    assert client.request("POST", mount).status == 201
    assert client.request("DELETE", f"/v2/{REPOSITORY}/manifests/latest").status == 202
    assert client.request("DELETE", f"/v2/{REPOSITORY}/manifests/{one.digest}").status == 202
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/1.0").status == 404
    assert client.request("GET", "/readyz").status == 200


def test_names_that_cannot_be_stored_are_wrong_names(url: str, tmp_path: pathlib.Path) -> None:
    """A user name that PostgreSQL could not even look for is a wrong user name, not an error of the server."""
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD}
    application = build(load(None, tmp_path, None, environment))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        runner.run(lifespan.start())
        client = Client(application, runner)
        assert client.request("GET", "/v2/", authorization=basic("ad\0min", "x")).status == 401
        assert client.request("GET", "/token?service=x", authorization=basic("ad\0min", "x")).status == 401
        runner.run(lifespan.stop())


def test_a_server_behind_pgbouncer(tmp_path: pathlib.Path) -> None:
    """A whole server pushes and pulls through it; PostgreSQL is stopped and started beneath, pulls go on from memory
    meanwhile, and soon after its return all is as before.
    """
    with Postgres() as postgres, pgbouncer(tmp_path / "pgbouncer", postgres, server_login_retry=1) as port:
        url = f"{postgres.new_database().replace(f':{postgres.port}/', f':{port}/')}?statement_cache_size=0"
        with Server(tmp_path / "data", environment={"ENTREPOT_DATABASE__URL": url}) as server:
            session, base = _session(), f"{server.url}/v2/{REPOSITORY}"
            _push(session, base, image([b"before"]))
            _require_pullable(session, base, image([b"before"]))
            postgres.stop()
            stale = _until(lambda: session.get(f"{base}/manifests/latest"), lambda answer: "warning" in answer.headers)
            assert stale.content == image([b"before"]).raw
            assert session.post(f"{base}/blobs/uploads/").status_code == 503
            postgres.start()
            _until(lambda: session.post(f"{base}/blobs/uploads/"), lambda answer: answer.status_code == 202)
            _push(session, base, image([b"after"]))
            _require_pullable(session, base, image([b"after"]))


def _until(ask: Callable[[], requests.Response], is_it: Callable[[requests.Response], bool]) -> requests.Response:
    """The first answer that is wanted, within the time that a database may take to be seen away or back."""
    limit = time.monotonic() + WITHIN_SECONDS
    while not is_it(answer := ask()):
        assert time.monotonic() < limit, (answer.status_code, answer.headers, answer.text)
        time.sleep(0.1)
    return answer


def _push(session: requests.Session, base: str, pushed: Image) -> None:
    for content in pushed.blobs:
        answer = session.post(f"{base}/blobs/uploads/", params={"digest": digest_of(content)}, data=content)
        assert answer.status_code == 201, answer.text
    answer = session.put(f"{base}/manifests/latest", data=pushed.raw, headers={"content-type": pushed.media_type})
    assert answer.status_code == 201, answer.text


@pytest.fixture(params=["file", "s3"])
def replicas(request: pytest.FixtureRequest, url: str, tmp_path: pathlib.Path) -> Iterator[list[Server]]:
    """Two servers, each with data of its own, over one database and one folder or bucket of blobs."""
    store: str = request.param
    blobs = request.getfixturevalue("seaweed").fresh_url() if store == "s3" else f"file://{tmp_path}/blobs"
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_STORAGE__URL": blobs}
    with ExitStack() as stack:
        yield [stack.enter_context(Server(tmp_path / name, environment=environment)) for name in ("one", "two")]


def test_what_one_replica_takes_the_other_gives(replicas: list[Server]) -> None:
    """An image pushed to one replica, its upload spread over both, is pulled from the other at once."""
    pushed = image([b"layer of many replicas", os.urandom(20 << 20)])
    sessions = [_session() for _ in replicas]
    bases = [f"{replica.url}/v2/{REPOSITORY}" for replica in replicas]
    for content in pushed.blobs:
        answer = sessions[0].post(f"{bases[0]}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        path = answer.headers["location"].partition("/v2/")[2].partition("?")[0]
        answer = sessions[1].patch(f"{replicas[1].url}/v2/{path}", data=content)
        assert answer.status_code == 202, answer.text
        answer = sessions[0].put(f"{replicas[0].url}/v2/{path}", params={"digest": digest_of(content)})
        assert answer.status_code == 201, answer.text
    answer = sessions[0].put(
        f"{bases[0]}/manifests/latest", data=pushed.raw, headers={"content-type": pushed.media_type}
    )
    assert answer.status_code == 201, answer.text
    _require_pullable(sessions[1], bases[1], pushed)
    replicas[0].kill_group()
    _require_pullable(sessions[1], bases[1], pushed)


@pytest.fixture
def pair(url: str, tmp_path: pathlib.Path) -> Iterator[list[Server]]:
    """Two servers over one database and one folder of blobs."""
    environment = {"ENTREPOT_DATABASE__URL": url, "ENTREPOT_STORAGE__URL": f"file://{tmp_path}/blobs"}
    with ExitStack() as stack:
        yield [stack.enter_context(Server(tmp_path / name, environment=environment)) for name in ("one", "two")]


def test_what_one_replica_revokes_the_other_refuses(pair: list[Server]) -> None:
    """Tokens and secrets that are revoked, and accounts that are disabled or removed, open nothing at the other replica
    within seconds, though it had just let them in; those that are enabled again do.
    """
    one, two = pair
    for name in ("disabled", "removed", "holder"):
        manage(one, "POST", "/users", {"name": name, "password": PASSWORD})
    for name in ("rotated", "halted"):
        manage(one, "POST", "/service-accounts", {"name": name})
    secrets = {
        path: manage(one, "POST", f"{path}/{kind}", {"name": name})
        for path, kind, name in (
            ("/users/disabled", "tokens", "own"),
            ("/users/holder", "tokens", "lost"),
            ("/service-accounts/robot$rotated", "secrets", "old"),
            ("/service-accounts/robot$halted", "secrets", "only"),
        )
    }
    old, new = (
        secrets["/service-accounts/robot$rotated"],
        manage(one, "POST", "/service-accounts/robot$rotated/secrets", {"name": "new"}),
    )
    shown = {
        "user": basic("disabled", PASSWORD),
        "personal token of the user": f"Bearer {secrets['/users/disabled']['secret']}",
        "removed user": basic("removed", PASSWORD),
        "personal token": f"Bearer {secrets['/users/holder']['secret']}",
        "secret": basic("robot$rotated", old["secret"]),
        "machine": basic("robot$halted", secrets["/service-accounts/robot$halted"]["secret"]),
    }
    for what in ("user", "removed user", "secret", "machine", "personal token"):
        token = requests.get(f"{two.url}/token", headers={"authorization": shown[what]}, timeout=20).json()["token"]
        shown[f"token of the {what}"] = f"Bearer {token}"
    kept = {"other secret": basic("robot$rotated", new["secret"]), "holder": basic("holder", PASSWORD)}
    become(pair, shown | kept, 200)
    manage(one, "PATCH", "/users/disabled", {"disabled": True})
    manage(one, "DELETE", "/users/removed")
    manage(one, "DELETE", f"/users/holder/tokens/{secrets['/users/holder']['details']['id']}")
    manage(one, "DELETE", f"/service-accounts/robot$rotated/secrets/{old['details']['id']}")
    manage(one, "PATCH", "/service-accounts/robot$halted", {"disabled": True})
    become(pair, shown, 401)
    become(pair, kept, 200)
    manage(two, "PATCH", "/users/disabled", {"disabled": False})
    manage(two, "PATCH", "/service-accounts/robot$halted", {"disabled": False})
    back = ("user", "personal token of the user", "token of the user", "machine", "token of the machine")
    become(pair, {what: shown[what] for what in back}, 200)
    become(pair, {what: header for what, header in shown.items() if what not in back}, 401)


def manage(server: Server, method: str, path: str, document: object = None) -> Any:
    """A call of `/api/v1`, which must succeed."""
    answer = _session().request(method, f"{server.url}/api/v1{path}", json=document, timeout=20)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def become(servers: list[Server], shown: dict[str, str], status: int) -> None:
    """Wait until each replica answers like this whoever shows any of these, which it must within seconds."""
    limit = time.monotonic() + STALE_SECONDS
    expected = dict.fromkeys(shown, status)
    for server in servers:
        while (found := {what: _status(server, header) for what, header in shown.items()}) != expected:
            assert time.monotonic() < limit, found
            time.sleep(0.1)


def _status(server: Server, authorization: str) -> int:
    answer = requests.get(f"{server.url}/api/v1/whoami", headers={"authorization": authorization}, timeout=20)
    return answer.status_code


def test_a_store_that_is_away(tmp_path: pathlib.Path) -> None:
    """Nothing is acknowledged while the object store is away: 503 to come again; its address is for the log alone."""
    environment = {"ENTREPOT_STORAGE__URL": f"s3://blobs/x?endpoint=http://127.0.0.1:{free_port()}"}
    with Server(tmp_path / "data", environment=environment) as server:
        session, base = _session(), f"{server.url}/v2/{REPOSITORY}"
        path = session.post(f"{base}/blobs/uploads/").headers["location"].partition("/v2/")[2].partition("?")[0]
        answer = session.patch(f"{server.url}/v2/{path}", data=b"some bytes")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert "127.0.0.1" not in answer.text
    assert "error sending request" in server.output()


def _session() -> requests.Session:
    session = requests.Session()
    session.auth = ("admin", ADMIN_PASSWORD)
    session.trust_env = False
    return session


def _require_pullable(session: requests.Session, base: str, pushed: Image) -> None:
    manifest = session.get(f"{base}/manifests/latest")
    assert (manifest.status_code, manifest.content) == (200, pushed.raw)
    for content in pushed.blobs:
        blob = session.get(f"{base}/blobs/{digest_of(content)}")
        assert (blob.status_code, blob.content) == (200, content)
