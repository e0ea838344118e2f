"""Two replicas over PostgreSQL: what begins at one is confirmed at the other, a provider included."""

from __future__ import annotations

import http.client
import json
import pathlib
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from tests.cli.caller import Caller
from tests.cli.test_sign_on import FORM, Page
from tests.support.postgresql import Postgres
from tests.support.provider import CLIENT, SECRET, LocalProvider
from tests.support.server import ADMIN_PASSWORD, Server

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def replicas(tmp_path: pathlib.Path) -> Iterator[tuple[Server, Server]]:
    """Two servers over one database."""
    with Postgres() as postgres:
        settings = {
            "ENTREPOT_DATABASE__URL": postgres.new_database(),
            "ENTREPOT_FEDERATION__PRIVATE_ADDRESSES": "true",
        }
        with (
            Server(tmp_path / "one", environment=settings) as one,
            Server(tmp_path / "two", environment=settings) as two,
        ):
            yield one, two


def post(server: Server, path: str, **fields: str) -> dict[str, str]:
    """What a program is answered."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request("POST", path, urlencode(fields), {"content-type": FORM})
    found = json.loads(connection.getresponse().read())
    connection.close()
    return dict(found)


def leave(page: Page, path: str) -> str:
    """Where a browser is sent."""
    connection = http.client.HTTPConnection(page.host, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    for value in answer.headers.get_all("set-cookie") or []:
        name, _, rest = value.partition("=")
        page.cookies[name] = rest.partition(";")[0]
    connection.close()
    assert answer.status == 303, answer.status
    return answer.headers["location"]


def test_replicas_share_what_people_do(nobody: Caller, replicas: tuple[Server, Server]) -> None:
    """A provider added at one signs somebody in at both, and a code of one is confirmed at the other."""
    one, two = replicas
    nobody.run("login", one.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    with LocalProvider() as provider:
        provider.now = int(time.time())
        words = ("--issuer", provider.url, "--client-id", CLIENT, "--secret-file", "-")
        nobody.run("sign-on", "add", "idp", *words, stdin=SECRET)
        page = Page(two)
        page.ask(provider.authorize(leave(page, "/login/oidc/idp")))
        assert "<strong>erin</strong>, by idp" in page.ask("/login")
    page.host = urlsplit(one.url).netloc
    assert "<strong>erin</strong>, by idp" in page.ask("/login")
    codes = post(one, "/login/device/code", machine="laptop", scope="pull")
    asked = {"grant_type": GRANT, "device_code": codes["device_code"]}
    assert post(two, "/login/device/token", **asked) == {"error": "authorization_pending"}
    page.decide(codes["user_code"], "approve")
    made = post(two, "/login/device/token", **asked)
    assert (made["username"], made["scope"]) == ("erin", "pull")
    assert 11 * 3600 < int(made["expires_in"]) <= 12 * 3600
    assert [each["user"] for each in nobody.ask("session", "list", "--user", "erin")] == ["erin"]
