"""The whole application with a directory: logins, teams, tokens; and what goes on while the directory does not."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Iterator

import pytest

from entrepot.app import build, open_registry
from entrepot.core.directory import check_accounts
from entrepot.core.registry import Registry
from entrepot.settings import Settings, load
from tests.support.asgi import Answer, Client, Lifespan
from tests.support.slapd import BASE, GROUPS, READER, READER_PASSWORD, Slapd
from tests.support.world import basic, password_of

AWAY = "the directory is away, so its passwords cannot be checked now; tokens and local accounts work"


@pytest.fixture
def settings(tmp_path: pathlib.Path, own_slapd: Slapd) -> Settings:
    """Settings as somebody who sets the registry up writes them, for tests with less patience."""
    secret = tmp_path / "ldap-password"
    secret.write_text(f"{READER_PASSWORD}\n")
    file = tmp_path / "entrepot.toml"
    file.write_text(
        f"""
        data = "{tmp_path}/data"
        admin_password = "{password_of("admin")}"
        [storage]
        url = "memory://"
        [ldap]
        urls = ["{own_slapd.url}"]
        bind_dn = "{READER}"
        bind_password_file = "{secret}"
        base = "{BASE}"
        group_base = "{GROUPS}"
        group_filter = "(&(objectClass=posixGroup)(memberUid={{name}}))"
        ca = "{own_slapd.authority.ca}"
        timeout_seconds = 1.0
        """
    )
    return load(file, None, None, {})


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client of the application, started as a server starts it."""
    application = build(settings)
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        assert runner.run(lifespan.start()) == {"type": "lifespan.startup.complete"}
        yield Client(application, runner)
        assert runner.run(lifespan.stop()) == {"type": "lifespan.shutdown.complete"}


def ask(client: Client, path: str, name: str, password: str = "") -> Answer:
    """A request with a name and password."""
    return client.request("GET", path, authorization=basic(name, password or f"{name}-secret"))


def make_secret(client: Client, name: str, password: str, path: str) -> str:
    """A secret of a service account, which is made if it must, or a personal token."""
    headers = {"authorization": basic(name, password), "content_type": "application/json"}
    if path.startswith("/service-accounts"):
        assert client.request("POST", "/api/v1/service-accounts", b'{"name": "ci"}', **headers).status == 201
    answer = client.request("POST", f"/api/v1{path}", b'{"name": "laptop"}', **headers)
    assert answer.status == 201, answer
    return str(answer.json["secret"])


def test_people_of_the_directory_log_in(client: Client) -> None:
    """As they do everywhere else, and get tokens; wrong passwords and unknown names look the same."""
    assert ask(client, "/api/v1/whoami", "alice").json["name"] == "alice"
    assert ask(client, "/v2/", "Carol", "carol-secret").status == 200
    assert {ask(client, "/v2/", name, "x").body for name in ("alice", "nobody", "admin")} == {
        b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong user name or password"}]}'
    }
    users = ask(client, "/api/v1/users", "admin", password_of("admin")).json["users"]
    assert {user["name"]: user["source"] for user in users} == {"admin": "local", "alice": "ldap", "carol": "ldap"}


@pytest.mark.parametrize("way", ["hangs", "stopped"])
def test_a_directory_that_is_away_is_said(client: Client, own_slapd: Slapd, way: str) -> None:
    """To those who need it; tokens, robots, personal tokens and local accounts work, and health and metrics tell."""
    token = ask(client, "/token", "alice").json["token"]
    robot = make_secret(client, "admin", password_of("admin"), "/service-accounts/robot$ci/secrets")
    personal = make_secret(client, "alice", "alice-secret", "/users/alice/tokens")
    if way == "hangs":
        own_slapd.hang()
    else:
        own_slapd.stop()
    for _ in range(2):
        answer = ask(client, "/v2/", "bob")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert answer.json["errors"][0]["message"] == AWAY
    assert client.request("GET", "/v2/", authorization=f"Bearer {token}").status == 200
    # Never shown before, so that nothing is remembered of them.
    assert ask(client, "/token?scope=repository:acme/app:pull", "robot$ci", robot).status == 200
    assert ask(client, "/token?scope=repository:acme/app:pull", "alice", personal).status == 200
    assert ask(client, "/v2/", "admin", password_of("admin")).status == 200
    report = client.request("GET", "/readyz?full=1")
    assert (report.status, report.json["status"], list(report.json["away"])) == (200, "degraded", ["directory"])
    assert client.request("GET", "/readyz").json["status"] == "ready"
    text = client.request("GET", "/metrics").body.decode()
    assert f'entrepot_directory_away{{kind="{own_slapd.url}"}} 1.0' in text
    assert 'entrepot_directory_logins_total{result="unavailable"} 2.0' in text
    assert READER_PASSWORD not in text + str(report.json)


def test_a_directory_that_comes_back(client: Client, own_slapd: Slapd) -> None:
    """Is asked again after a pause, without a restart."""
    own_slapd.stop()
    assert ask(client, "/v2/", "bob").status == 503
    own_slapd.start()
    while ask(client, "/v2/", "bob").status == 503:  # the time limit of tests ends this
        time.sleep(0.1)
    assert ask(client, "/v2/", "bob").status == 200
    assert client.request("GET", "/readyz?full=1").json["away"] == {}


def test_whoever_leaves_the_directory(client: Client, own_slapd: Slapd, settings: Settings) -> None:
    """Is found out by the job: tokens, refresh tokens and logins end, which every process sees."""
    tokens = ask(client, "/token?offline_token=true", "dora").json
    bearer = client.with_headers(authorization=f"Bearer {tokens['token']}")
    assert bearer.request("GET", "/v2/").status == 200
    own_slapd.remove("dora")
    own_slapd.change(f"dn: cn=builders,{GROUPS}\nchangetype: modify\ndelete: memberUid\nmemberUid: alice\n")

    async def look() -> None:
        async with open_registry(settings) as registry:
            await _check(registry)

    client.runner.run(look())
    while bearer.request("GET", "/v2/").status == 200:  # the server looks each second
        time.sleep(0.1)
    form = f"grant_type=refresh_token&refresh_token={tokens['refresh_token']}".encode()
    kind = "application/x-www-form-urlencoded"
    assert client.request("POST", "/token", form, content_type=kind).status == 401
    assert ask(client, "/v2/", "dora").status == 401


async def _check(registry: Registry) -> None:
    await check_accounts(registry)


def test_settings_that_cannot_be_used(settings: Settings, tmp_path: pathlib.Path) -> None:
    """A password file that is not there keeps the server from starting, and says so."""
    (tmp_path / "ldap-password").unlink()
    with asyncio.Runner() as runner:
        started = runner.run(Lifespan(build(settings)).start())
    assert started["type"] == "lifespan.startup.failed"
    assert "ldap.bind_password_file" in started["message"]
