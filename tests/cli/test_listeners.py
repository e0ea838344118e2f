"""`entrepot serve` with several listeners, and the commands that are about them."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tomllib
from collections.abc import Iterator

import pytest

from tests.cli.caller import Caller
from tests.server.test_connection import eventually
from tests.support.certificates import Authority, Client, uri
from tests.support.server import ADMIN_PASSWORD, Server, free_port

HEADER = b"PROXY TCP4 192.0.2.7 10.0.0.9 40000 443\r\n"


class Doors:
    """A server with the listeners `main`, `private` (plain), `machines` (asks for certificates), `edge` (a header)."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.authority = Authority(folder)
        self.ci = self.authority.client("ci", uri("spiffe://acme/ci"))
        self.crl = self.authority.revoke([], folder / "crl.pem")
        self.ports = {name: free_port() for name in ("private", "machines", "edge")}
        self.file = folder / "entrepot.toml"
        self.file.write_text(
            f"[tls]\nauto = true\n[listeners.main]\ntls = 'off'\n"
            f"[listeners.private]\naddress = '127.0.0.1:{self.ports['private']}'\ntls = 'off'\n"
            f"[listeners.machines]\naddress = '127.0.0.1:{self.ports['machines']}'\n"
            f"client_certificates = 'optional'\nclient_ca = '{self.authority.file}'\nclient_crl = '{self.crl}'\n"
            f"[listeners.edge]\naddress = '127.0.0.1:{self.ports['edge']}'\ntls = 'off'\n"
            "proxy_protocol = true\nproxies = ['127.0.0.1']\n"
        )
        self.server = Server(folder / "data", arguments=("--config", str(self.file)))

    @property
    def ca(self) -> pathlib.Path:
        """The authority that the server made for itself."""
        return self.server.data / "tls" / "ca.crt"

    def whoami(self, client: Client | None) -> int:
        """The status of asking `machines` who somebody is."""
        context = ssl.create_default_context(cafile=self.ca)
        secured = client.join(context) if client else context
        connection = http.client.HTTPSConnection("localhost", self.ports["machines"], context=secured, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/whoami")
            return connection.getresponse().status

    def at(self, caller: Caller, name: str) -> Caller:
        """The administrator, coming by a listener."""
        url = self.server.url if name == "main" else f"http://127.0.0.1:{self.ports[name]}"
        return caller.having(ENTREPOT_SERVER_URL=url, ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=ADMIN_PASSWORD)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """One server for these tests."""
    made = Doors(tmp_path_factory.mktemp("doors"))
    with made.server:
        yield made


def test_a_namespace_answers_on_one_listener(doors: Doors, nobody: Caller) -> None:
    """Set by a command, seen by its listener and by the files only, and opened again from the files."""
    main, private = doors.at(nobody, "main"), doors.at(nobody, "private")
    main.run("namespace", "create", "inner")
    assert "there are: edge, machines, main, private" in main.fail("namespace", "set", "inner", "--listeners", "x")
    told = main.run("namespace", "set", "inner", "--listeners", "private, machines")
    assert told == "namespace inner changed: private, owned by admin, only on machines, private\n"
    assert "inner" not in main.run("namespace", "list")
    assert "inner" in private.run("namespace", "list")
    assert "is refused" in main.fail("namespace", "set", "inner", "--public")
    local = ("--data", str(doors.server.data))
    assert nobody.ask("namespace", "set", "inner", "--listeners", "any", *local)["listeners"] == ["any"]
    assert "inner" not in private.run("namespace", "list")
    assert nobody.ask("namespace", "set", "inner", "--listeners", "", *local)["listeners"] == []
    assert "inner" in main.run("namespace", "list")


def test_grants_by_listener_and_certificate(doors: Doors, nobody: Caller) -> None:
    """Given by a command, shown by the list, and judged as the question says."""
    main = doors.at(nobody, "main")
    main.run("namespace", "create", "byl")
    main.ask("service-account", "create", "byl")
    main.run("grant", "add", "service:byl", "reader", "byl", "--listener", "private", "--client", "spiffe://acme/*")
    assert "listeners private" in main.run("grant", "list", "byl")
    question = ("can-i", "pull", "byl/app", "as", "byl", "--listener", "private")
    assert main.ask(*question, "--client", "spiffe://acme/ci")["allowed"] is True
    assert "only for the client certificates spiffe://acme/*" in main.call(*question).stdout


def test_a_certificate_is_an_account(doors: Doors, nobody: Caller) -> None:
    """By a command; nobody without it; and a revoked one is refused after SIGHUP."""
    main = doors.at(nobody, "main")
    main.ask("service-account", "create", "cert")
    assert doors.whoami(doors.ci) == 401
    told = main.run("service-account", "certificate", "cert", "spiffe://acme/ci")
    assert told == "service account robot$cert has the certificate spiffe://acme/ci\n"
    eventually(lambda: doors.whoami(doors.ci) == 200)
    assert doors.whoami(None) == 401
    doors.authority.revoke([doors.ci], doors.crl)
    assert doors.server.process is not None
    doors.server.process.send_signal(signal.SIGHUP)
    eventually(lambda: is_refused(doors))
    told = main.run("service-account", "certificate", "cert", "")
    assert told == "service account robot$cert has no certificate\n"


def is_refused(doors: Doors) -> bool:
    """Whether the certificate opens nothing any more."""
    try:
        return doors.whoami(doors.ci) >= 400
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return True


def test_a_header_before_the_request(doors: Doors) -> None:
    """The address in it is the client's in the log; without one the connection is closed and counted."""
    for sent, expected in ((HEADER, b"HTTP/1.1 401"), (b"", b"")):
        with socket.create_connection(("127.0.0.1", doors.ports["edge"]), timeout=20) as connection:
            connection.sendall(sent + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(len(expected) or 1) == expected
    eventually(lambda: '"client":"192.0.2.7"' in doors.server.output())
    eventually(lambda: 'entrepot_connections_refused_total{listener="edge",reason="malformed"}' in metrics(doors))


def metrics(doors: Doors) -> str:
    """What a scrape sees."""
    connection = http.client.HTTPConnection("127.0.0.1", doors.server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def test_listeners_are_told(doors: Doors, nobody: Caller) -> None:
    """At start each with its address, and by `config show` as settings that can be read again."""
    assert f'"url":"https://127.0.0.1:{doors.ports["machines"]}","listener":"machines"' in doors.server.output()
    shown = tomllib.loads(nobody.run("config", "show", "--config", str(doors.file)))
    assert shown["listeners"]["edge"]["proxies"] == ["127.0.0.1"]


def end_of(*arguments: str, data: pathlib.Path) -> tuple[int, str]:
    """How a server ends that cannot start."""
    words = Server(data).command("serve", "--data", str(data), "--listen", f"127.0.0.1:{free_port()}", *arguments)
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, timeout=60, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_taken_address_is_named(doors: Doors, tmp_path: pathlib.Path) -> None:
    """Exit 1 with the listener's key, the port and who has it."""
    file = tmp_path / "entrepot.toml"
    file.write_text(f"[listeners.other]\naddress = '127.0.0.1:{doors.ports['private']}'\n")
    code, told = end_of("--config", str(file), data=tmp_path / "data")
    assert code == 1
    assert f"listeners.other.address: port {doors.ports['private']} on 127.0.0.1 is in use by process" in told


def test_a_missing_authority_is_named(tmp_path: pathlib.Path) -> None:
    """A server whose files cannot be read ends with the listener's name instead of starting again and again."""
    file = tmp_path / "entrepot.toml"
    file.write_text(
        "[tls]\nauto = true\n[listeners.main]\nclient_certificates = 'required'\n"
        f"client_ca = '{tmp_path / 'none.crt'}'\n"
    )
    code, told = end_of("--config", str(file), data=tmp_path / "data")
    assert (code, "listener main: its certificates cannot be read" in told) == (1, True)
