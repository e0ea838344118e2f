"""`entrepot user`."""

from __future__ import annotations

import http.client
import pathlib
import sqlite3
import time
from contextlib import closing

import pytest

from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.world import basic


def test_a_user_is_made_and_can_log_in(admin: Caller, server: Server, tmp_path: pathlib.Path) -> None:
    """A user with a generated password is printed once, and logs in with it."""
    output = admin.run("user", "add", "erin", "--generate")
    first, second = output.splitlines()
    assert first == "user erin made"
    password = second.removeprefix("password: ")
    assert len(password) >= 20
    erin = Caller(tmp_path / "erin")
    erin.home.mkdir()
    erin.run("login", server.url, "--username", "erin", "--password-stdin", stdin=password)
    assert erin.run("whoami") == f"erin on {server.url}\n"


def test_a_password_comes_by_standard_input(admin: Caller, server: Server) -> None:
    """The first line of standard input is the password, and it is not repeated."""
    output = admin.run("user", "add", "frank", "--password-stdin", stdin="frank-password\nmore")
    assert output == "user frank made\n"
    frank = admin.having(ENTREPOT_USERNAME="frank", ENTREPOT_PASSWORD="frank-password")
    me = {"server": server.url, "name": "frank", "administrator": False, "token": False}
    assert frank.ask("whoami") == {**me, "organisations": [], "teams": []}


def test_users_are_listed_and_removed(admin: Caller) -> None:
    """The list has a line per user, and a removed one leaves it."""
    made = admin.ask("user", "add", "gone", "--admin", "--generate")
    assert (made["name"], made["administrator"]) == ("gone", True)
    header, *lines = admin.run("user", "list").splitlines()
    assert header.split() == ["NAME", "ADMINISTRATOR", "DISABLED", "SOURCE", "LOCKED", "UNTIL", "CREATED", "AT"]
    assert ["gone", "yes", "no", "local", "-"] in [line.split()[:5] for line in lines]
    assert admin.run("user", "remove", "gone") == "user gone removed\n"
    assert "gone" not in [user["name"] for user in admin.ask("user", "list")]


def test_a_user_changes_their_own_password(admin: Caller, server: Server) -> None:
    """The login that is kept follows the change, so that the next command works."""
    admin.run("user", "add", "grace", "--password-stdin", stdin="first-password")
    admin.run("login", server.url, "--username", "grace", "--password-stdin", stdin="first-password")
    assert admin.run("user", "passwd", "grace", "--password-stdin", stdin="second-password").count("\n") == 1
    assert admin.ask("whoami")["name"] == "grace"
    assert "second-password" in admin.credentials.read_text()


def test_an_administrator_changes_a_password(admin: Caller, server: Server) -> None:
    """Somebody else's password is made and printed, and the administrator's own login stays."""
    admin.run("user", "add", "heidi", "--generate")
    password = admin.ask("user", "passwd", "heidi", "--generate")["password"]
    heidi = admin.having(ENTREPOT_USERNAME="heidi", ENTREPOT_PASSWORD=password)
    assert heidi.ask("whoami")["name"] == "heidi"
    assert admin.ask("whoami")["name"] == "admin"


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("add", "admin", "--generate"), "", "this name is reserved"),
        (("add", "Erin", "--generate"), "", "lower-case"),
        (("add", "erin2", "--password-stdin"), "short", "8 to 256 characters"),
        (("add", "erin2", "--password-stdin"), "", "standard input holds no password"),
        (("add", "erin2"), "", "use --password-stdin or --generate"),
        (("add", "erin2", "--password-stdin", "--generate"), "x", "exclude each other"),
        (("remove", "nobody"), "", "there is no such user"),
        (("remove", "admin"), "", "last administrator"),
        (("passwd", "nobody", "--generate"), "", "there is no such user"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], stdin: str, message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail("user", *words, stdin=stdin)


def test_files_are_worked_on_beside_their_server(nobody: Caller, server: Server) -> None:
    """With --data, users are made in the database of a running server, which knows them within its next look."""
    data = str(server.data)
    password = nobody.ask("user", "add", "ivan", "--generate", "--data", data)["password"]
    ivan = nobody.having(ENTREPOT_USERNAME="ivan", ENTREPOT_PASSWORD=password, ENTREPOT_SERVER_URL=server.url)
    assert ivan.ask("whoami")["name"] == "ivan"
    assert "ivan" in nobody.run("user", "list", "--data", data)
    assert "ivan" in nobody.having(ENTREPOT_DATA=data).run("user", "list")
    nobody.run("user", "passwd", "ivan", "--password-stdin", "--data", data, stdin="another-password")
    nobody.run("user", "remove", "ivan", "--data", data)
    assert nobody.fail("user", "remove", "ivan", "--data", data) == "there is no such user"
    assert nobody.fail("user", "remove", "admin", "--data", data).startswith("this is the last administrator")
    while ivan.call("whoami").returncode == 0:  # the server looks each second; the time limit of tests ends this
        time.sleep(0.1)
    assert "user name or password" in ivan.fail("whoami")


def test_files_are_worked_on_without_a_server(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """In the folder of a server, the commands need neither login nor address; elsewhere they say what they lack."""
    assert "no server is named" in nobody.fail("user", "list")
    with Server(tmp_path / "data"):
        pass
    assert nobody.ask("user", "list")[0]["name"] == "admin"
    assert "made" in nobody.run("user", "add", "judy", "--generate")
    config = tmp_path / "entrepot.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\n')
    assert [user["name"] for user in nobody.ask("user", "list", "--config", str(config))] == ["admin", "judy"]


def test_a_mistyped_folder_is_not_made(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """A folder without a registry is refused, and stays as it is."""
    assert "there is no registry" in nobody.fail("user", "list", "--data", str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_a_named_server_is_stronger_than_a_folder(nobody: Caller, server: Server) -> None:
    """--server beats --data and ENTREPOT_DATA, and --data beats ENTREPOT_SERVER_URL."""
    local = nobody.having(ENTREPOT_DATA=str(server.data))
    assert "authentication is required" in local.fail("user", "list", "--server", server.url)
    remote = nobody.having(ENTREPOT_SERVER_URL=server.url, ENTREPOT_DATA=str(server.data))
    assert "authentication is required" in remote.fail("user", "list")
    assert "admin" in remote.run("user", "list", "--data", str(server.data))
    assert ADMIN_PASSWORD not in remote.run("user", "list", "--data", str(server.data))


def test_a_user_is_unlocked(admin: Caller, server: Server) -> None:
    """Wrong passwords lock a user, which is shown until an administrator unlocks them: told in words and as JSON."""
    admin.run("user", "add", "mallory", "--generate")
    guesses = []
    for number in range(11):
        connection = http.client.HTTPConnection(server.host, timeout=30)
        connection.request("GET", "/token", headers={"authorization": basic("mallory", f"wrong {number}")})
        guesses.append(connection.getresponse().status)
        connection.close()
    assert guesses == [401] * 10 + [429]
    # The first lock is over in a second.
    with closing(sqlite3.connect(server.data / "entrepot.db", timeout=30)) as connection, connection:
        connection.execute("update attempt set locked_until = 4102444800000000 where locked_until > 0")
    (line,) = admin.run("user", "list", "--prefix", "mallory").splitlines()[1:]
    assert line.split()[:5] == ["mallory", "no", "no", "local", "2100-01-01T00:00:00Z"]
    assert "locked until: 2100-01-01T00:00:00Z" in admin.run("user", "show", "mallory").splitlines()
    assert "mallory unlocked" in admin.run("user", "unlock", "mallory")
    assert admin.ask("user", "unlock", "mallory") == {"name": "mallory"}
    assert "locked until: -" in admin.run("user", "show", "mallory").splitlines()
