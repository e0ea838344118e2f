"""How the command line behaves whatever the command: help, mistakes, pipes, secrets, and what it loads."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import cyclopts
import pytest

from entrepot.cli.main import app
from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server

COMMANDS = [
    ("user", "add"),
    ("user", "passwd"),
    ("namespace", "create"),
    ("namespace", "grant"),
    ("repository", "set"),
    ("tag", "move"),
    ("tag", "rollback"),
    ("config", "show"),
    ("service-account", "create"),
    ("service-account", "secret", "add"),
    ("token", "create"),
    ("login-password",),
    ("login",),
    ("whoami",),
]


class Stranger(http.server.BaseHTTPRequestHandler):
    """Something that is no registry; the first segment of the path says how it behaves."""

    def do_GET(self) -> None:
        answers = {"html": (200, b"<html>"), "error": (500, b"<html>"), "odd": (403, b'{"errors": 1}')}
        status, body = answers.get(self.path.split("/")[1], (302, b""))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 302:
            self.send_header("location", "http://elsewhere.example/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a server that is no registry."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("html", "this is no Entrepot"),
        ("error", "answered 500, and not as an Entrepot would"),
        ("odd", "answered 403, and not as an Entrepot would"),
        ("moved", "redirects to http://elsewhere.example/"),
    ],
)
def test_strangers_are_recognised(nobody: Caller, stranger: str, path: str, message: str) -> None:
    """An answer that no registry gives is told as such."""
    assert message in nobody.fail("whoami", "--server", f"{stranger}/{path}")


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("user", "nonsense"),
        ("user", "add"),
        ("user", "add", "x", "--nonsense"),
        ("user", "add", "x", "--password", "secret"),
        ("namespace", "grant", "acme", "bob", "emperor"),
        ("namespace", "grant", "acme"),
        ("tag", "move", "acme/app:1"),
    ],
)
def test_wrong_usage_is_exit_2(nobody: Caller, words: tuple[str, ...]) -> None:
    """A command that is not written as it should be is exit code 2 and one line, and nothing is done."""
    done = nobody.call(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("entrepot: ")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_secret_is_a_word_of_a_command(nobody: Caller, words: tuple[str, ...]) -> None:
    """No command takes a password as an option, where everybody on the machine could read it."""
    text = nobody.run(*words, "--help")
    assert "--password" not in text.replace("--password-stdin", "")


def parameters(parent: cyclopts.App, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[str]]]:
    """Every command that a user can call, with the sentences of its parameters."""
    inner = [found for name in parent if not name.startswith("-") for found in parameters(parent[name], (*words, name))]
    if parent.default_command is None:
        return inner
    arguments = parent.assemble_argument_collection()
    return [*inner, (words, [each.parameter.help for each in arguments if each.parameter.help and each.show])]


def test_help_says_what_was_written(nobody: Caller) -> None:
    """Nothing is taken for emphasis, such as the star of a pattern: every sentence is printed as it stands."""
    wide, lost = nobody.having(COLUMNS="2000"), []
    found = parameters(app)
    for words, sentences in found:
        text = " ".join(wide.run(*words, "--help").split())
        lost += [(words, sentence) for sentence in sentences if " ".join(sentence.split()) not in text]
    assert lost == []
    assert any("*" in sentence for _, sentences in found for sentence in sentences)
    assert 'such as "acme/web-*", or "*" for all namespaces' in wide.run("grant", "add", "--help")
    assert "`entrepot serve` starts one." in wide.run("--help")


def test_help_names_every_command(nobody: Caller) -> None:
    """`entrepot --help` lists what there is, a line each, without importing any of it."""
    done = nobody.spawn("--help")
    assert done.returncode == 0
    managed = ("user", "namespace", "organisation", "team", "role", "token", "repository", "tag")
    for name in ("serve", "config", *managed, "login", "logout", "whoami"):
        assert f"│ {name} " in done.stdout


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ("--help", ["httptools", "uvloop", "litestar", "apsw", "http.client", "entrepot.app"]),
        ("whoami --server http://127.0.0.1:1", ["httptools", "uvloop", "litestar", "apsw", "aiohttp", "entrepot.app"]),
    ],
)
def test_commands_load_what_they_need(words: str, absent: list[str]) -> None:
    """A command of the client loads neither the server nor the frameworks that it is made of."""
    code = (
        "import sys\n"
        f"sys.argv = ['entrepot', *{words.split()}]\n"
        "from entrepot.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"assert not set({absent}) & set(sys.modules), set({absent}) & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_closed_pipe_is_no_error(nobody: Caller) -> None:
    """Whoever reads the first line only is not told about the others."""
    command = f"{sys.executable} -m entrepot config show | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=nobody.variables)
    assert done.stdout.startswith("data = ")
    assert done.stderr == ""


def test_what_others_wrote_does_not_reach_the_terminal(nobody: Caller) -> None:
    """Control characters in a mistake are not printed: a terminal would obey them."""
    message = nobody.call("tag", "history", "evil\x1b[31m\nname").stderr
    assert "\x1b" not in message
    assert len(message.splitlines()) == 1


def test_secrets_stay_out_of_logs_and_output(admin: Caller, server: Server) -> None:
    """Nothing that was typed as a password is in what a command prints or a server logs."""
    password = "never-to-be-seen-again"
    outputs = [
        admin.call("user", "add", "quiet", "--password-stdin", stdin=password),
        admin.call("user", "add", "quiet", "--password-stdin", stdin=password),
        admin.call("user", "add", "Quiet", "--password-stdin", "--json", stdin=password),
        admin.call("login", server.url, "--username", "quiet2", "--password-stdin", stdin=password),
        admin.call("whoami", "--json"),
    ]
    text = "".join(done.stdout + done.stderr for done in outputs) + server.output()
    assert password not in text
    assert ADMIN_PASSWORD not in text
