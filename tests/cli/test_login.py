"""`entrepot login`, `logout`, `whoami`, and what they keep."""

from __future__ import annotations

import pathlib
import shlex
import shutil
import stat
import subprocess
import sys

import pytest

from entrepot.cli.certificates import prepare_certificates
from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server


def test_a_login_is_kept_for_its_owner_alone(nobody: Caller, server: Server) -> None:
    """The file with the password can be read by nobody else, nor can its folder."""
    words = ("login", server.url, "-u", "admin", "--password-stdin")
    assert nobody.run(*words, stdin=ADMIN_PASSWORD) == f"logged in to {server.url} as admin\n"
    assert stat.S_IMODE(nobody.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(nobody.credentials.parent.stat().st_mode) == 0o700
    assert nobody.run("whoami") == f"admin (administrator) on {server.url}\n"


def test_a_logout_forgets(admin: Caller, server: Server) -> None:
    """After a logout nothing of the password is left, and commands ask for a login."""
    assert admin.ask("logout") == {"server": server.url}
    assert ADMIN_PASSWORD not in admin.credentials.read_text()
    assert "no server is named" in admin.fail("whoami")
    assert "not logged in to" in admin.fail("logout", server.url)
    assert "no server is named" in admin.fail("logout")


def test_a_wrong_password_is_not_kept(nobody: Caller, server: Server) -> None:
    """A login that the server refuses leaves no trace."""
    message = nobody.fail("login", server.url, "--username", "admin", "--password-stdin", stdin="wrong")
    assert "wrong user name or password" in message
    assert not nobody.credentials.exists()


def test_several_servers_are_kept(admin: Caller, server: Server) -> None:
    """The last login is the one used where none is named; a logout goes back to another."""
    other = server.url.replace("127.0.0.1", "localhost")
    admin.run("login", other, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    assert admin.ask("whoami")["server"] == other
    assert admin.ask("whoami", "--server", server.url)["server"] == server.url
    assert admin.run("logout", other) == f"logged out of {other}\n"
    assert admin.ask("whoami")["server"] == server.url


def test_credentials_come_from_the_environment(nobody: Caller, server: Server) -> None:
    """A build logs in by variables, without a file; `login` takes them too."""
    build = nobody.having(ENTREPOT_SERVER_URL=server.url, ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=ADMIN_PASSWORD)
    assert build.ask("whoami")["name"] == "admin"
    assert not build.credentials.exists()
    assert build.ask("login")["name"] == "admin"
    assert build.credentials.exists()


def test_the_folder_of_settings_can_be_elsewhere(nobody: Caller, server: Server, tmp_path: pathlib.Path) -> None:
    """XDG_CONFIG_HOME says where the file is."""
    elsewhere = nobody.having(XDG_CONFIG_HOME=str(tmp_path / "elsewhere"))
    elsewhere.run("login", server.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    assert (tmp_path / "elsewhere" / "entrepot" / "credentials.json").exists()
    assert not nobody.credentials.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("login",), "no server is named"),
        (("login", "http://", "--username", "x"), "no address of a registry"),
        (("login", "ftp://host", "--username", "x"), "no address of a registry"),
        (("login", "http://host?x=1", "--username", "x"), "no address of a registry"),
        (("login", "http://[host", "--username", "x"), "no address of a registry"),
        (("login", "http://a:b@host", "--username", "x"), "shows it to everybody"),
        (("login", "http://127.0.0.1:1"), "use --username"),
        (("login", "http://127.0.0.1:1", "--username", "x"), "no terminal"),
        (("whoami", "--server", "http://127.0.0.1:1"), "nobody answers at http://127.0.0.1:1"),
    ],
)
def test_mistakes_are_one_line(nobody: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in nobody.fail(*words)


def test_a_broken_file_is_told(admin: Caller) -> None:
    """A file that cannot be read is named, and not overwritten."""
    admin.credentials.write_text("{")
    assert "remove it and log in again" in admin.fail("whoami")
    assert admin.credentials.read_text() == "{"


def test_a_private_ca_is_trusted_once_it_is_given(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """Over TLS, a certificate of an unknown CA is refused until --ca names it; the login remembers that."""
    files = prepare_certificates(tmp_path / "ca", ["127.0.0.1"])
    environment = {"ENTREPOT_TLS__CERTIFICATE": str(files.certificate), "ENTREPOT_TLS__KEY": str(files.key)}
    with Server(tmp_path / "data", environment=environment) as server:
        words = ("login", server.url, "--username", "admin", "--password-stdin")
        assert "give its CA with --ca FILE" in nobody.fail(*words, stdin=ADMIN_PASSWORD)
        nobody.run(*words, "--ca", str(files.ca), stdin=ADMIN_PASSWORD)
        assert nobody.ask("whoami")["name"] == "admin"
        assert "cannot read certificates" in nobody.fail("whoami", "--ca", str(tmp_path / "none"))


def test_an_open_connection_is_warned_of(nobody: Caller, server: Server) -> None:
    """A login over http to somewhere else than this machine says that others can read it."""
    address = server.url.replace("127.0.0.1", "127.1")
    done = nobody.call("login", address, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    assert done.returncode == 0
    assert "warning: http sends your password readable" in done.stderr


def test_a_terminal_is_asked(nobody: Caller, server: Server) -> None:
    """On a terminal, name and password are asked for, and the password is not shown."""
    if shutil.which("script") is None:
        pytest.skip("script is missing: apt-get install bsdutils")
    command = shlex.join([sys.executable, "-m", "entrepot", "login", server.url])
    with subprocess.Popen(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        env=nobody.variables,
        cwd=nobody.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        for prompt, answer in ((b"User: ", "admin"), (b"Password of admin: ", ADMIN_PASSWORD)):
            while not shown.endswith(prompt):
                shown += process.stdout.read(1)
            process.stdin.write(f"{answer}\n".encode())
            process.stdin.flush()
        shown += process.stdout.read()
    assert process.returncode == 0
    assert f"logged in to {server.url} as admin" in shown.decode()
    assert ADMIN_PASSWORD not in shown.decode()
