"""People at the pages with Debian's Chromium, signing on with a real provider (oidc-provider of the npm registry)."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from entrepot.app import open_registry
from entrepot.core import sign_on_follow
from entrepot.settings import load
from tests.clients.machine import PROGRAMS, STORE, Machine, ended, need, need_file, wait_until_answers
from tests.support.engines import Engines
from tests.support.server import ADMIN_PASSWORD, Server, free_port

pytestmark = pytest.mark.tier_a
SECRET = "the secret of the registry"
CODE = re.compile(r"^\s+([B-Z]{4}-[B-Z]{4})$", re.MULTILINE)
NEAR = {"ENTREPOT_FEDERATION__PRIVATE_ADDRESSES": "true", "ENTREPOT_SERVER__WORKERS": "2"}


@dataclass
class People:
    """A server, a provider, and a browser; `removed` is the file with those who are gone at the provider."""

    server: Server
    machine: Machine
    removed: pathlib.Path
    folder: pathlib.Path

    def browse(self, state: str, *words: str) -> str:
        """The text of the page that the browser ends at."""
        return self.machine.python("browser.py", self.folder / state, self.server.url, *words)

    def entrepot(self, *words: str, stdin: str = "", home: str = "admin") -> str:
        """A command of ours, which must succeed; what it printed."""
        environment = {**os.environ, "HOME": str(self.folder / home), "ENTREPOT_PASSWORD": ""}
        done = subprocess.run(
            self.server.command(*words), env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
        return done.stdout

    def follow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run the job that asks the provider, as if 15 minutes had passed."""
        monkeypatch.setattr(sign_on_follow, "EVERY_SECONDS", 0)

        async def check() -> None:
            async with open_registry(load(None, self.server.data, None, self.server.environment)) as registry:
                await sign_on_follow.check_links(registry)

        asyncio.run(check())


@pytest.fixture
def people(tmp_path: pathlib.Path, machine: Machine, engines: Engines) -> Iterator[People]:
    """A server that knows a provider, both on this machine."""
    need("chromium")
    need_file(next((STORE / "venv" / "lib").glob("python3*"), STORE) / "site-packages" / "playwright", "a")
    modules = STORE / "node" / "node_modules"
    need_file(modules / "oidc-provider", "a")
    port, removed, log = free_port(), tmp_path / "removed", tmp_path / "provider.log"
    issuer = f"http://127.0.0.1:{port}"
    with Server(tmp_path / "data", environment=engines.redirecting() | NEAR) as server:
        back = f"{server.url}/login/oidc/idp/callback"
        words = (PROGRAMS / "oidc_provider.mjs", modules, str(port), back, removed)
        with ended(machine.start("node", *words, log=log)) as process:
            discovery = f"import urllib.request; urllib.request.urlopen('{issuer}/.well-known/openid-configuration')"
            wait_until_answers(machine, process, log, sys.executable, "-c", discovery)
            people = People(server, machine, removed, tmp_path)
            people.entrepot("login", server.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
            scopes = [word for scope in ("profile", "email", "groups") for word in ("--scope", scope)]
            client = ("--issuer", issuer, "--client-id", "entrepot", "--secret-file", "-")
            people.entrepot("sign-on", "add", "idp", *client, *scopes, stdin=SECRET)
            yield people


def test_a_password_at_the_page(people: People) -> None:
    """The form works in a browser without scripts, and signing in lasts from page to page."""
    assert "You are admin" in people.browse("admin.json", "password", "admin", ADMIN_PASSWORD)
    assert "You are admin" in people.browse("admin.json", "read", "/login")
    assert "wrong user name or password" in people.browse("nobody.json", "password", "admin", "wrong")


def test_a_real_provider_from_sign_in_to_removal(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody signs on and is in the team of their group; the provider vouches for them, until they are gone there."""
    people.entrepot("organisation", "create", "acme")
    people.entrepot("team", "create", "acme/devs")
    people.entrepot("team-group", "add", "acme/devs", "idp:devs")
    assert "You are erin, by idp" in people.browse("erin.json", "oidc", "idp", "erin")
    assert "erin" in people.entrepot("team", "members", "acme/devs")
    assert "erin@example.com" in people.entrepot("sign-on", "links", "idp")
    people.follow(monkeypatch)
    people.follow(monkeypatch)
    assert "You are erin" in people.browse("erin.json", "read", "/login")
    people.removed.write_text("erin\n")
    people.follow(monkeypatch)
    assert "Password" in people.browse("erin.json", "read", "/login")
    assert "erin" not in people.entrepot("team", "members", "acme/devs")


def test_a_name_that_is_taken(people: People) -> None:
    """Whoever is called admin at the provider is not the administrator here; the page says what to do."""
    assert "entrepot user link NAME idp admin" in people.browse("other.json", "oidc", "idp", "admin")


def test_a_login_by_a_page(people: People) -> None:
    """The command prints a code, somebody signs on in a browser and confirms it, and the command is logged in."""
    assert "You are erin" in people.browse("erin.json", "oidc", "idp", "erin")
    environment = {**os.environ, "HOME": str(people.folder / "erin"), "PYTHONUNBUFFERED": "1"}
    words = people.server.command("login", people.server.url, "--device")
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        shown = ""
        while not (code := CODE.search(shown)):
            line = process.stderr.readline()
            assert line, shown
            shown += line
        assert "Done" in people.browse("erin.json", "device", code[1], "approve")
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert f"logged in to {people.server.url} as erin" in output
    assert "erin on" in people.entrepot("whoami", home="erin")
    assert people.entrepot("login-password", home="erin").startswith("ent_tmp_")
