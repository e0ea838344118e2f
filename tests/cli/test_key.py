"""`entrepot key`: what tokens are signed by, on a server and on files."""

from __future__ import annotations

import http.client
import json
import pathlib
from collections.abc import Iterator

import pytest

from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.world import basic


@pytest.fixture
def own(tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server whose tokens nobody else uses."""
    with Server(tmp_path / "own") as server:
        yield server


@pytest.fixture
def keeper(nobody: Caller, own: Server) -> Caller:
    """The administrator of that server."""
    nobody.run("login", own.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    return nobody


def ask(server: Server, path: str, authorization: str) -> tuple[int, str]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection(server.host, timeout=30)
    connection.request("GET", path, headers={"authorization": authorization})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def token(server: Server) -> str:
    """A token of the administrator, as an Authorization header."""
    return f"Bearer {json.loads(ask(server, '/token', basic('admin', ADMIN_PASSWORD))[1])['token']}"


def test_keys_are_rotated_and_revoked(keeper: Caller, own: Server) -> None:
    """The next one waits; a revocation ends all of them, and every token, for each worker of the server."""
    (first,) = keeper.ask("key", "list")
    assert first["state"] == "signing"
    given = token(own)
    assert keeper.run("key", "rotate").partition(" ")[2].startswith("signs from ")
    waiting = keeper.ask("key", "list")[0]
    assert waiting["state"] == "waiting"
    assert waiting["kid"] in keeper.run("key", "list")
    assert keeper.ask("key", "rotate") == waiting
    assert ask(own, "/v2/", given)[0] == 200
    made = keeper.ask("key", "rotate", "--revoke")
    assert made["state"] == "signing"
    for _ in range(4):
        published = json.loads(ask(own, "/.well-known/jwks.json", "")[1])["keys"]
        assert [key["kid"] for key in published] == [made["kid"]]
    assert [key["state"] for key in keeper.ask("key", "list")].count("revoked") == 2


def test_keys_are_revoked_on_files(keeper: Caller, own: Server) -> None:
    """Whoever has the files needs no password, and the running server follows."""
    output = keeper.run("key", "rotate", "--revoke", "--data", str(own.data))
    assert output.startswith("every token made so far is void; ")
    assert output.endswith(" signs from now on\n")
    states = [key["state"] for key in keeper.ask("key", "list", "--data", str(own.data))]
    assert sorted(states) == ["revoked", "signing"]
    assert [key["state"] for key in keeper.ask("key", "list")] == states


def test_only_administrators_rotate(keeper: Caller, own: Server) -> None:
    """Everybody else is refused."""
    keeper.run("user", "add", "peter", "--password-stdin", stdin="peter-password")
    peter = keeper.having(ENTREPOT_SERVER_URL=own.url, ENTREPOT_USERNAME="peter", ENTREPOT_PASSWORD="peter-password")
    assert "refused" in peter.fail("key", "rotate", "--revoke")
    assert "refused" in peter.fail("key", "list")
