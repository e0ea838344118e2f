"""`entrepot sign-on`, `session`, `user link` and `login --device`, with a browser at the pages of a real server."""

from __future__ import annotations

import http.client
import re
import threading
from urllib.parse import urlencode, urlsplit

import pytest

from entrepot.cli import device
from tests.cli.caller import Caller, Done
from tests.support.server import ADMIN_PASSWORD, Server

FORM = "application/x-www-form-urlencoded"
CODE = re.compile(r"\b[B-Z]{4}-[B-Z]{4}\b")
ISSUER = "https://idp.example"


class Page:
    """A browser at a real server: cookies and forms."""

    def __init__(self, server: Server) -> None:
        self.host = urlsplit(server.url).netloc
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, fields: dict[str, str] | None = None) -> str:
        """The page behind a path, or what a form is answered."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None if fields is None else urlencode(fields)
        connection.request("GET" if body is None else "POST", path, body, {**headers, "content-type": FORM})
        answer = connection.getresponse()
        for value in answer.headers.get_all("set-cookie") or []:
            name, _, rest = value.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        page = answer.read().decode()
        connection.close()
        assert answer.status < 400, page
        return page

    def submit(self, page: str, path: str, **fields: str) -> str:
        """Fill in the form of a page."""
        hidden = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', page))
        return self.ask(path, {**hidden, **fields})

    def sign_in(self, name: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        """Sign in by the form."""
        self.submit(self.ask("/login"), "/login", name=name, password=password)

    def decide(self, code: str, answer: str) -> None:
        """Type a code and decide."""
        page = self.submit(self.ask("/login/device"), "/login/device", code=code)
        self.submit(page, "/login/device/confirm", answer=answer)


def login(nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch, answer: str, *words: str) -> Done:
    """`entrepot login --device` while somebody decides at the page, once the code is shown."""
    page = Page(server)
    page.sign_in()
    shown = threading.Event()
    codes: list[str] = []
    begin = device.DeviceDoor.begin

    def watched(self: device.DeviceDoor, machine: str, scopes: list[str]) -> object:
        begun = begin(self, machine, scopes)
        codes.append(begun.code)
        shown.set()
        return begun

    def person() -> None:
        assert shown.wait(20)
        page.decide(codes[0], answer)

    monkeypatch.setattr(device.DeviceDoor, "begin", watched)
    decided = threading.Thread(target=person)
    decided.start()
    # Not to wait for five seconds each time is the one thing that is not as it is for people.
    monkeypatch.setattr(device.time, "sleep", lambda _: decided.join())
    monkeypatch.setattr(device.ByPage.log_in, "__defaults__", (device.time.sleep,))
    return nobody.call("login", server.url, "--device", *words)


def test_login_by_a_page(nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked at the terminal; what the page gives is kept as a login, which administers and pushes."""
    done = login(nobody, server, monkeypatch, "approve")
    assert done.returncode == 0, done
    assert f"logged in to {server.url} as admin" in done.stdout
    assert CODE.search(done.stderr)
    assert "(administrator)" in nobody.run("whoami")
    kept = (nobody.home / ".config" / "entrepot" / "credentials.json").read_text()
    assert "ent_pat_" in kept
    assert ADMIN_PASSWORD not in kept
    assert "admin" in nobody.run("user", "list")


def test_login_by_a_page_with_less(nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for as less is less."""
    assert login(nobody, server, monkeypatch, "approve", "--scope", "pull").returncode == 0
    assert nobody.call("user", "list").returncode == 1


def test_a_refused_login(nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused at the page is told so, and nothing is kept."""
    done = login(nobody, server, monkeypatch, "deny")
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused at the page" in done.stderr
    assert not (nobody.home / ".config").exists()


def test_nobody_confirms(nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not confirmed in ten minutes is told to begin again; asking too often only makes the pauses longer."""
    monkeypatch.setattr(device.ByPage.log_in, "__defaults__", (lambda _: None,))
    done = nobody.call("login", server.url, "--sso")
    assert done.returncode == 1
    assert "begin again" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "--username", "admin"), "without --username"),
        (("--device", "--scope", "everything"), "a scope is pull, push"),
    ],
)
def test_logins_that_cannot_be(nobody: Caller, server: Server, words: tuple[str, ...], message: str) -> None:
    """What contradicts itself, or asks for what there is not, is told before anybody opens a browser."""
    done = nobody.call("login", server.url, *words)
    assert done.returncode == 1
    assert message in done.stderr


def test_sessions(admin: Caller, server: Server) -> None:
    """Browsers are listed, one's own and those of others, and signed out."""
    page = Page(server)
    page.sign_in()
    listed = admin.ask("session", "list")
    assert {each["user"] for each in listed} == {"admin"}
    newest = listed[-1]
    assert (newest["by"], newest["address"]) == ("password", "127.0.0.1")
    assert "You are signed in" in page.ask("/login")
    assert f"session {newest['id']} ended" in admin.run("session", "revoke", str(newest["id"]))
    assert "You are signed in" not in page.ask("/login")
    assert admin.call("session", "revoke", str(newest["id"])).returncode == 1
    assert "seen at" in admin.run("session", "list", "--user", "admin").lower()
    page.sign_in()
    (*_, last) = admin.ask("session", "list")
    assert admin.ask("session", "revoke", str(last["id"])) == {"id": last["id"]}


def test_providers(admin: Caller) -> None:
    """A provider is added, listed, changed and removed; its secret is read from a file and never shown."""
    words = ("--issuer", ISSUER, "--client-id", "entrepot", "--secret-file", "-", "--domain", "example.com")
    added = admin.run("sign-on", "add", "idp", *words, stdin="very-secret\n")
    assert added == f"provider idp added: {ISSUER}, enabled\n"
    (listed,) = admin.ask("sign-on", "list")
    assert (listed["confidential"], listed["domains"], listed["name_claim"]) == (
        True,
        ["example.com"],
        "preferred_username",
    )
    assert "very-secret" not in str(listed)
    assert ISSUER in admin.run("sign-on", "list")
    changed = admin.ask(
        "sign-on", "set", "idp", "--any-domain", "--no-create-accounts", "--disable", "--client-id", "x"
    )
    assert (changed["domains"], changed["creates_accounts"], changed["enabled"]) == ([], False, False)
    for wrong in (["--enable", "--disable"], [], ["--secret-file", "/none"]):
        assert admin.call("sign-on", "set", "idp", *wrong).returncode == 1
    admin.run("user", "add", "linked", "--password-stdin", stdin="linked-password")
    assert "u-1 of idp signs on as linked" in admin.run("user", "link", "linked", "idp", "u-1")
    assert admin.ask("sign-on", "links", "idp")[0]["user"] == "linked"
    assert "u-1" in admin.run("sign-on", "links", "idp")
    assert admin.ask("user", "unlink", "linked", "idp") == {"name": "linked", "provider": "idp"}
    assert admin.ask("user", "link", "linked", "idp", "u-2")["subject"] == "u-2"
    assert "any more" in admin.run("user", "unlink", "linked", "idp")
    assert admin.run("sign-on", "remove", "idp") == "provider idp removed\n"
    assert admin.call("sign-on", "remove", "idp").returncode == 1
