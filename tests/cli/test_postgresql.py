"""The same commands over PostgreSQL: every statement behind them runs on both engines."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from entrepot.client.api import call, path_of
from entrepot.client.credentials import Login
from entrepot.client.http import Server as Remote
from tests.cli.caller import Caller, push
from tests.support.images import image
from tests.support.postgresql import Postgres
from tests.support.server import ADMIN_PASSWORD, Server

OLD, NEW = image((b"old layer",)), image((b"new layer",))


@pytest.fixture
def replica(tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server whose rows are in PostgreSQL; its settings file is beside its data."""
    with Postgres() as postgres:
        url = postgres.new_database()
        (tmp_path / "entrepot.toml").write_text(f'data = "{tmp_path / "data"}"\n[database]\nurl = "{url}"\n')
        with Server(tmp_path / "data", environment={"ENTREPOT_DATABASE__URL": url}) as server:
            yield server


def test_everything_works_on_postgresql(nobody: Caller, replica: Server, tmp_path: pathlib.Path) -> None:
    """Users, namespaces, roles, tags and jobs through a server, and users and namespaces beside it."""
    nobody.run("login", replica.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    nobody.run("user", "add", "z", "--generate")
    nobody.run("namespace", "create", "acme", "--public", "--owner", "z")
    nobody.run("namespace", "create", "a.b")
    assert [each["name"] for each in nobody.ask("namespace", "list")] == ["a.b", "acme", "library"]
    for pushed in (OLD, NEW):
        push(replica, "acme/app", pushed, "latest")
    push(replica, "acme/app", NEW, "B")
    assert [each["name"] for each in nobody.ask("tag", "list", "acme/app")] == ["B", "latest"]
    assert nobody.ask("tag", "rollback", "acme/app:latest")["digest"] == OLD.digest
    assert [each["restorable"] for each in nobody.ask("tag", "history", "acme/app:latest")] == [True, True, False]
    assert nobody.ask("repository", "set", "acme/app", "--private")["override"] == "private"
    nobody.run("namespace", "grant", "acme/app", "z", "owner")
    assert nobody.ask("namespace", "members", "acme/app") == [{"user": "z", "role": "owner"}]
    admin = Remote(replica.url, Login("admin", ADMIN_PASSWORD))
    assert call(admin, "GET", path_of("jobs", "counts"))["dead"] == 0
    assert call(admin, "GET", f"{path_of('jobs')}?state=dead") == {"jobs": []}
    config = str(tmp_path / "entrepot.toml")
    nobody.run("user", "remove", "z", "--config", config)
    assert "last administrator" in nobody.fail("user", "remove", "admin", "--config", config)
    owners = {each["name"]: each["owner"] for each in nobody.ask("namespace", "list", "--config", config)}
    assert owners["acme"] is None
