"""`docker-credential-entrepot`: the protocol of docker's credential helpers."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from entrepot import __version__
from entrepot.cli import helper
from entrepot.client.credentials import CredentialsFile
from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server

NOT_FOUND = "credentials not found in native keychain\n"


def call(caller: Caller, *words: str, stdin: str = "", status: int = 0) -> str:
    """Run the helper as clients do; what it prints on standard output."""
    program = pathlib.Path(sys.executable).parent / "docker-credential-entrepot"
    done = subprocess.run(
        [program, *words], env=caller.variables, input=stdin, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, ""), done
    return done.stdout


def get(caller: Caller, server: str) -> Any:
    """What a client is handed for a server."""
    return json.loads(call(caller, "get", stdin=f"{server}\n"))


def store(caller: Caller, server: str, username: str, secret: str, status: int = 0) -> str:
    """What a client does after a login."""
    document = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
    return call(caller, "store", stdin=document, status=status)


def test_a_known_server_gives_a_login_password(admin: Caller, server: Server) -> None:
    """However clients write its address; the same one again, until shortly before it ends."""
    found = get(admin, server.host)
    assert (found["ServerURL"], found["Username"]) == (server.host, "admin")
    assert found["Secret"].startswith("ent_tmp_")
    for written in (server.host, f"http://{server.host}", f"https://{server.host}/v2/", f"{server.host}/acme/app"):
        assert get(admin, written)["Secret"] == found["Secret"]
    login = admin.having(ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=found["Secret"])
    assert login.ask("whoami")["name"] == "admin"
    assert ADMIN_PASSWORD not in json.dumps(found)


def test_a_password_that_nears_its_end_is_replaced(admin: Caller, server: Server) -> None:
    """So that what begins with it has time to end; and so is one of another login."""
    first = get(admin, server.host)["Secret"]
    kept = json.loads(admin.credentials.read_text())
    kept["handed"][server.url]["until"] = 1.0
    admin.credentials.write_text(json.dumps(kept))
    second = get(admin, server.host)["Secret"]
    assert second != first
    kept["handed"][server.url] |= {"until": 9e9, "username": "somebody"}
    admin.credentials.write_text(json.dumps(kept))
    assert get(admin, server.host)["Username"] == "admin"


def test_a_new_login_makes_new_passwords(admin: Caller, server: Server) -> None:
    """What was handed out before a login is not handed out after it."""
    first = get(admin, server.host)["Secret"]
    admin.run("login", server.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    assert get(admin, server.host)["Secret"] != first


@pytest.mark.parametrize("asked", ["docker.io", "https://index.docker.io/v1/", "127.0.0.1:1", "127.0.0.1"])
def test_other_servers_are_not_known(admin: Caller, server: Server, asked: str) -> None:
    """As the protocol wants: the one line on standard output, exit code 1; also where nobody is logged in."""
    assert call(admin, "get", stdin=asked, status=1) == NOT_FOUND
    assert call(admin, "erase", stdin=asked, status=1) == NOT_FOUND
    stranger = Caller(admin.home / "elsewhere")
    assert call(stranger, "get", stdin=server.host, status=1) == NOT_FOUND
    assert call(stranger, "list") == "{}\n"


def test_a_build_needs_no_file(nobody: Caller, server: Server) -> None:
    """The login of the environment is used for the server of the environment, and never for another one."""
    build = nobody.having(
        ENTREPOT_SERVER_URL=server.url, ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=ADMIN_PASSWORD, HOME="/dev/null"
    )
    assert get(build, server.host)["Secret"].startswith("ent_tmp_")
    assert call(build, "get", stdin="registry.example.com", status=1) == NOT_FOUND
    nameless = nobody.having(ENTREPOT_SERVER_URL=server.url)
    assert call(nameless, "get", stdin=server.host, status=1) == NOT_FOUND
    store(nobody, "registry.example.com", "joe", "stored")
    elsewhere = nobody.having(
        ENTREPOT_SERVER_URL=server.url, ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=ADMIN_PASSWORD
    )
    assert get(elsewhere, "registry.example.com")["Secret"] == "stored"


def test_what_a_client_stores_comes_back(nobody: Caller) -> None:
    """Until it is erased, under the address that it was stored for; docker's identity tokens as well."""
    assert store(nobody, "registry.example.com:8443", "joe", "first") == ""
    store(nobody, "https://registry.example.com:8443", "<token>", "second")
    expected = {"ServerURL": "registry.example.com:8443", "Username": "<token>", "Secret": "second"}
    assert get(nobody, "registry.example.com:8443") == expected
    assert json.loads(call(nobody, "list")) == {"https://registry.example.com:8443": "<token>"}
    assert call(nobody, "erase", stdin="registry.example.com:8443") == ""
    assert call(nobody, "get", stdin="registry.example.com:8443", status=1) == NOT_FOUND


def test_erase_logs_out(admin: Caller, server: Server) -> None:
    """docker logout means it: no password is made for the server afterwards."""
    get(admin, server.host)
    assert json.loads(call(admin, "list")) == {server.url: "admin"}
    call(admin, "erase", stdin=server.host)
    assert call(admin, "get", stdin=server.host, status=1) == NOT_FOUND
    assert "no server is named" in admin.fail("whoami")


def test_a_login_that_is_void_is_told(admin: Caller, server: Server) -> None:
    """The line says what to do, where clients look for it."""
    void = admin.having(ENTREPOT_SERVER_URL=server.url, ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD="wrong-password")
    assert call(void, "get", stdin=server.host, status=1).startswith("wrong user name or password")


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        ((), "", helper.USAGE),
        (("fly",), "", helper.USAGE),
        (("get", "x"), "", helper.USAGE),
        (("get",), "", "no credentials server URL"),
        (("erase",), " \n", "no credentials server URL"),
        (("store",), "nonsense", "standard input is not the JSON of the protocol"),
        (("store",), '{"ServerURL": "", "Username": "a", "Secret": "b"}', "no credentials server URL"),
        (("store",), '{"ServerURL": "a.example", "Username": "", "Secret": "b"}', "no credentials username"),
        (("get",), "http://[", "'https://[' is no address"),
    ],
)
def test_mistakes_are_told_on_standard_output(nobody: Caller, words: tuple[str, ...], stdin: str, said: str) -> None:
    """One line and exit code 1, as clients of the protocol expect."""
    assert call(nobody, *words, stdin=stdin, status=1).startswith(said)


def test_the_version_is_told(nobody: Caller) -> None:
    """As newer clients ask for it."""
    assert call(nobody, "version").strip().endswith(__version__)


def test_the_file_stays_private(admin: Caller, server: Server) -> None:
    """Only its owner reads what is kept, and a file of an earlier version is read."""
    get(admin, server.host)
    assert admin.credentials.stat().st_mode & 0o777 == 0o600
    kept = json.loads(admin.credentials.read_text())
    del kept["handed"]
    admin.credentials.write_text(json.dumps(kept))
    assert CredentialsFile({"HOME": str(admin.home)}).load().handed == {}
    assert get(admin, server.host)["Username"] == "admin"
