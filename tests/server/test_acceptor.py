"""Listeners whose connections open with a proxy's header or show client certificates, over real sockets."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import ssl
from contextlib import suppress
from typing import Any

import pytest

from entrepot.cli.certificates import Files, prepare_certificates
from entrepot.server import acceptor
from entrepot.server.hub import Receive, Scope, Send
from entrepot.server.listeners import ClientCertificates, Demand, Listener, Tls
from tests.server.conftest import Serve, Served, Wire, request
from tests.server.test_connection import eventually
from tests.server.test_proxy import binary
from tests.support.certificates import Authority, Client, uri

LOOPBACK = ("127.0.0.0/8",)
LINE = b"PROXY TCP4 192.0.2.7 10.0.0.9 40000 443\r\n"


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the server says of the connection."""
    names = scope.get("entrepot.certificate", {}).get("subjectAltName", ())
    told = [scope["client"], scope["scheme"], scope.get("entrepot.listener"), names]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def ask(wire: Wire) -> list[Any]:
    """What the server says of a connection."""
    told: list[Any] = json.loads(wire.ask("GET", "/").body)
    return told


def relayed(listening: socket.socket) -> Listener:
    """A listener behind proxies."""
    return Listener("edge", listening, None, LOOPBACK)


def refused(server: Served, reason: str) -> None:
    """Wait until a connection has been counted as refused."""
    eventually(lambda: server.hub.turned_away.get(f"edge {reason}", 0) > 0)


@pytest.fixture
def own(tmp_path: pathlib.Path) -> Files:
    """The server's own certificate."""
    return prepare_certificates(tmp_path / "own", ["localhost"])


@pytest.mark.parametrize("header", [LINE, binary()])
def test_a_proxy_says_who_the_client_is(serve: Serve, header: bytes) -> None:
    """With a request in the same packet, split at every byte, and for all requests of the connection."""
    server = serve(tell, listen=relayed)
    ordinary = request("GET", "/")
    whole = server.connect()
    whole.send(header + ordinary)
    assert json.loads(whole.read().body) == [["192.0.2.7", 40000], "http", "edge", []]
    assert ask(whole)[0] == ["192.0.2.7", 40000]
    for place in range(1, len(header) + 1):
        wire = server.connect()
        wire.send(header[:place], header[place:] + ordinary)
        assert json.loads(wire.read().body)[0] == ["192.0.2.7", 40000]
    dripping = server.connect()
    dripping.send(*(bytes([byte]) for byte in header))
    assert ask(dripping)[0] == ["192.0.2.7", 40000]


def test_a_proxy_that_speaks_for_itself_or_names_nobody(serve: Serve) -> None:
    """A health check has the proxy's own address; a client that is not named has none."""
    server = serve(tell, listen=relayed)
    checking, unnamed = server.connect(), server.connect()
    checking.send(binary(b"", command=0x20, family=0))
    unnamed.send(b"PROXY UNKNOWN\r\n")
    assert ask(checking)[0] == ["127.0.0.1", checking.socket.getsockname()[1]]
    assert ask(unnamed)[0] is None


def test_who_is_not_let_in(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a header, with a broken one, in silence, or from elsewhere: closed without a word, and counted."""
    monkeypatch.setattr(acceptor, "PROXY_SECONDS", 0.1)
    server = serve(tell, listen=relayed)
    for sent in (request("GET", "/"), LINE.replace(b"TCP4", b"TCP6"), b"\x16\x03\x01"):
        wire = server.connect()
        wire.send(sent)
        assert wire.is_closed()
    refused(server, "malformed")
    silent = server.connect()
    silent.send(LINE[:20])
    assert silent.is_closed()
    refused(server, "silent")
    gone = server.connect()
    gone.close()
    stranger = serve(tell, listen=lambda listening: Listener("edge", listening, None, ("192.0.2.0/24",)))
    assert stranger.connect().is_closed()
    refused(stranger, "stranger")


def test_only_so_many_may_be_silent(serve: Serve) -> None:
    """More connections without a header than a worker holds are not kept; those that wait end with the server."""
    server = serve(tell, listen=relayed, connections=1)
    waiting = server.connect()
    assert server.connect().is_closed()
    refused(server, "full")
    server.retire()
    assert waiting.is_closed()


def test_the_header_comes_before_tls(serve: Serve, own: Files) -> None:
    """In front of the handshake, in one packet with its first message or split at every byte."""
    tls = Tls(str(own.certificate), str(own.key), "tls1.2")
    server = serve(tell, listen=lambda listening: Listener("edge", listening, tls, LOOPBACK))
    for place in range(len(LINE) + 1):
        assert shake_hands(server, own, [LINE[:place], LINE[place:]]) == [["192.0.2.7", 40000], "https", "edge", []]
    plain = server.connect()
    plain.send(LINE + request("GET", "/"))
    with suppress(ConnectionError):
        plain.is_closed()
    refused(server, "tls")


def shake_hands(server: Served, own: Files, header: list[bytes]) -> list[Any]:
    """TLS by hand: the last part of the header is in one packet with the client's first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=own.ca)
    secured = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    wire = server.connect()
    first, last = header
    wire.send(*([first] if first else []))
    with suppress(ssl.SSLWantReadError):
        secured.do_handshake()
    wire.send(last + outgoing.read())
    while True:
        incoming.write(wire.socket.recv(65536))
        try:
            secured.do_handshake()
            break
        except ssl.SSLWantReadError:
            wire.send(outgoing.read())
    secured.write(request("GET", "/"))
    wire.send(outgoing.read())
    answer = b""
    while not answer.endswith(b"]"):
        with suppress(ssl.SSLWantReadError):
            answer += secured.read(65536)
            continue
        incoming.write(wire.socket.recv(65536))
    told: list[Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return told


def trusting(own: Files, client: Client | None = None) -> ssl.SSLContext:
    """A client's context, which may show a certificate."""
    context = ssl.create_default_context(cafile=own.ca)
    return client.join(context) if client else context


def is_refused(server: Served, own: Files, client: Client | None) -> bool:
    """Whether a client gets no answer; in TLS 1.3 it hears of that only after its own part of the handshake."""
    try:
        wire = server.connect(trusting(own, client))
        wire.send(request("GET", "/"))
        return wire.file.read(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def secured(own: Files, demand: Demand, ca: pathlib.Path, crl: pathlib.Path | None = None) -> Any:
    """Makes a listener that asks for certificates."""
    clients = ClientCertificates(demand, str(ca), str(crl or ""))
    tls = Tls(str(own.certificate), str(own.key), "tls1.2", clients)
    return lambda listening: Listener("edge", listening, tls)


def test_client_certificates(serve: Serve, own: Files, tmp_path: pathlib.Path) -> None:
    """One by the authority is told of, with every request; one by another is refused; none is as the listener says."""
    authority = Authority(tmp_path)
    ci, other = authority.client("ci", uri("spiffe://acme/ci")), Authority(tmp_path, "Others").client("x")
    optional = serve(tell, listen=secured(own, "optional", authority.file))
    wire = optional.connect(trusting(own, ci))
    assert [ask(wire)[3], ask(wire)[3]] == [[["URI", "spiffe://acme/ci"]]] * 2
    assert ask(optional.connect(trusting(own)))[3] == []
    assert is_refused(optional, own, other)
    refused(optional, "tls")
    required = serve(tell, listen=secured(own, "required", authority.file))
    assert ask(required.connect(trusting(own, ci)))[3]
    assert is_refused(required, own, None)


def test_files_are_read_again(serve: Serve, own: Files, tmp_path: pathlib.Path) -> None:
    """A certificate that is revoked, and an authority that is taken away, are refused from the next connection on."""
    first, second = Authority(tmp_path), Authority(tmp_path, "Second")
    one, two = first.client("one"), first.client("two")
    crl = first.revoke([], tmp_path / "crl.pem")
    ca = tmp_path / "ca.crt"
    ca.write_bytes(first.file.read_bytes())
    server = serve(tell, listen=secured(own, "required", ca, crl))
    assert server.acceptor is not None
    assert not is_refused(server, own, one)
    idle = server.connect(trusting(own, one))
    assert ask(idle)[1] == "https"
    first.revoke([one], crl)
    server.run(server.acceptor.reload)
    assert idle.is_closed()
    assert is_refused(server, own, one)
    assert not is_refused(server, own, two)
    ca.write_bytes(second.file.read_bytes())
    second.revoke([], crl)
    server.run(server.acceptor.reload)
    assert is_refused(server, own, two)
    assert not is_refused(server, own, second.client("three"))
    plain = serve(tell, listen=relayed)
    assert plain.acceptor is not None
    plain.run(plain.acceptor.reload)


def test_a_reload_lets_answers_end(serve: Serve, own: Files, tmp_path: pathlib.Path) -> None:
    """Who is being answered with a certificate gets the answer and is then closed; others stay connected."""
    authority = Authority(tmp_path)
    ci, waiting = authority.client("ci", uri("spiffe://acme/ci")), asyncio.Event()

    async def slowly(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await waiting.wait()
        await tell(scope, receive, send)

    server = serve(slowly, listen=secured(own, "optional", authority.file))
    assert server.acceptor is not None
    busy, other = server.connect(trusting(own, ci)), server.connect(trusting(own))
    busy.send(request("GET", "/slow"))
    assert ask(other)[3] == []
    eventually(lambda: len(server.hub.connections) > len(server.hub.idle))
    server.run(server.acceptor.reload)
    server.run(waiting.set)
    assert busy.read().status == 200
    assert busy.is_closed()
    assert ask(other)[3] == []


class Halting:
    """A client that holds back the last part of its handshake, in which its certificate is."""

    def __init__(self, server: Served, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._secured = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.wire = server.connect()
        with suppress(ssl.SSLWantReadError):
            self._secured.do_handshake()
        self.wire.send(self._outgoing.read())
        while True:
            self._incoming.write(self.wire.socket.recv(65536))
            with suppress(ssl.SSLWantReadError):
                self._secured.do_handshake()
                break

    def go_on(self) -> bytes:
        """Send the rest and a request in one packet; what is answered before the server hangs up or waits."""
        self._secured.write(request("GET", "/", "Connection: close"))
        self.wire.send(self._outgoing.read())
        answer = b""
        while received := self.wire.socket.recv(65536):
            self._incoming.write(received)
            with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                answer += self._secured.read(65536)
        return answer


def test_a_handshake_that_outlasts_a_reload(serve: Serve, own: Files, tmp_path: pathlib.Path) -> None:
    """Begun before a certificate was revoked, it gets its certificate no answer; who shows none is answered."""
    authority = Authority(tmp_path)
    ci, crl = authority.client("ci", uri("spiffe://acme/ci")), authority.revoke([], tmp_path / "crl.pem")
    server = serve(tell, listen=secured(own, "optional", authority.file, crl))
    assert server.acceptor is not None
    assert Halting(server, trusting(own, ci)).go_on().startswith(b"HTTP/1.1 200")
    revoked, other = Halting(server, trusting(own, ci)), Halting(server, trusting(own))
    authority.revoke([ci], crl)
    server.run(server.acceptor.reload)
    assert revoked.go_on() == b""
    assert other.go_on().startswith(b"HTTP/1.1 200")
    eventually(lambda: not server.hub.connections)


def ordinary(own: Files) -> Any:
    """Makes a listener with TLS alone."""
    return lambda listening: Listener("edge", listening, Tls(str(own.certificate), str(own.key), "tls1.2"))


def test_handshakes_are_connections(serve: Serve, own: Files) -> None:
    """They count from the first moment, those that say nothing make room first, and end with the server."""
    server = serve(tell, listen=ordinary(own), connections=2)
    silent = [server.connect() for _ in range(2)]
    eventually(lambda: len(server.hub.connections) == 2)
    assert ask(server.connect(trusting(own)))[1] == "https"
    assert silent[0].is_closed()
    refused(server, "tls")
    assert len(server.hub.connections) == 2
    server.retire()
    assert silent[1].is_closed()
    eventually(lambda: not server.hub.connections)


def test_no_handshake_begins_where_all_are_busy(serve: Serve, own: Files) -> None:
    """Where nobody can make room, whoever comes is closed without a word, and counted."""
    waiting = asyncio.Event()

    async def slowly(scope: Scope, receive: Receive, send: Send) -> None:
        await waiting.wait()
        await tell(scope, receive, send)

    server = serve(slowly, listen=ordinary(own), connections=1)
    busy = server.connect(trusting(own))
    busy.send(request("GET", "/"))
    eventually(lambda: bool(server.hub.connections) and not server.hub.idle)
    assert server.connect().is_closed()
    refused(server, "full")
    server.run(waiting.set)
    assert busy.read().status == 200


class Exhausted:
    """A listening socket that cannot accept, once."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.failures = 1

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail as when no descriptors are left, then as ever."""
        if self.failures:
            self.failures -= 1
            raise OSError(24, "Too many open files")
        return self._listening.accept()

    def fileno(self) -> int:
        """As ever."""
        return self._listening.fileno()

    def close(self) -> None:
        """As ever."""
        self._listening.close()


def test_accepting_goes_on_when_it_can(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without descriptors nobody is accepted for a moment, and then whoever waits."""
    monkeypatch.setattr(acceptor, "PAUSE_SECONDS", 0.05)
    server = serve(tell, listen=lambda listening: Listener("edge", Exhausted(listening)))  # type: ignore[arg-type]
    assert ask(server.connect())[2] == "edge"
    assert [problem["message"] for problem in server.problems] == ["connections cannot be accepted"]
