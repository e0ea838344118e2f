"""Requests over raw sockets: order, framing, what is refused, and what a connection survives."""

from __future__ import annotations

import hashlib
import http.client
import json
import pathlib
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from entrepot.cli.certificates import prepare_certificates
from entrepot.server.hub import Receive, Scope, Send
from entrepot.server.listeners import Tls
from tests.server.applications import START, Parts, echo
from tests.server.conftest import LIMIT_SECONDS, Serve, request


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something has come about in another thread."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < limit, "it has not come about"
        time.sleep(0.01)


def test_requests_follow_one_another(serve: Serve) -> None:
    """One connection serves many requests, with bodies and without, and says what it was asked."""
    wire = serve(echo).connect()
    for body in (b"", b"hello", b""):
        told = json.loads(wire.ask("PUT", "/a%20b?c=d", "X-Name: v", body=body).body)
        assert (told["path"], told["query"], told["headers"]["x-name"]) == ("/a b", "c=d", "v")
        assert told["length"] == len(body)
    assert wire.ask("HEAD", "/").body == b""
    assert wire.ask("GET", "/").status == 200


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    """Requests that arrive together, bodies included, however the packets are cut."""
    wire = serve(echo).connect()
    chunked = request("PUT", "/2", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    several = request("PUT", "/1", body=b"12345") + chunked + request("GET", "/3")
    wire.send(several)
    assert [json.loads(wire.read().body)["path"] for _ in range(3)] == ["/1", "/2", "/3"]
    wire.send(*(several[n : n + 1] for n in range(len(several))))
    assert [json.loads(wire.read().body)["length"] for _ in range(3)] == [5, 3, 0]


@pytest.mark.parametrize(
    ("version", "header", "stays"),
    [("1.1", "X: y", True), ("1.1", "Connection: close", False), ("1.0", "X: y", False)],
)
def test_connections_close_when_they_should(serve: Serve, version: str, header: str, stays: bool) -> None:
    """HTTP/1.1 keeps a connection unless it is told otherwise, 1.0 does not."""
    wire = serve(echo).connect()
    wire.send(f"GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n\r\n".encode())
    reply = wire.read()
    assert (reply.status, reply["connection"]) == (200, "" if stays else "close")
    if stays:
        assert wire.ask("GET", "/").status == 200
    else:
        assert wire.is_closed()


def test_old_clients_may_ask_to_stay(serve: Serve) -> None:
    """HTTP/1.0 with `Connection: keep-alive` is told that it may."""
    wire = serve(echo).connect()
    for _ in range(2):
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert wire.read()["connection"] == "keep-alive"


def test_responses_are_framed(serve: Serve) -> None:
    """By the length that the application says, the length that is known, chunks, or the end of the connection."""
    server = serve(Parts())
    wire = server.connect()
    assert (wire.ask("GET", "/length")["content-length"], wire.ask("GET", "/length").body) == ("3", b"abc")
    streamed = wire.ask("GET", "/stream")
    assert (streamed["transfer-encoding"], streamed.body) == ("chunked", b"onetwo")
    nothing = wire.ask("GET", "/empty")
    assert (nothing.status, nothing["content-length"], nothing["transfer-encoding"]) == (204, "", "")
    assert "GMT" in nothing["date"]
    wire.send(b"GET /stream HTTP/1.0\r\n\r\n")
    assert wire.read().body == b"onetwo"
    assert wire.is_closed()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 140_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 400_000, 431),
    ],
)
def test_what_is_no_request_is_refused(serve: Serve, raw: bytes, status: int) -> None:
    """Broken lines, two meanings of one length (smuggling), and heads without measure: an error, then the end."""
    server = serve(echo)
    wire = server.connect()
    with suppress(ConnectionError):
        wire.send(raw)
    reply = wire.read()
    assert (reply.status, reply["connection"]) == (status, "close")
    assert json.loads(reply.body)["errors"][0]["message"]
    assert wire.is_closed()
    assert server.hub.refused == {str(status): 1}


def test_nonsense_after_a_request_does_not_hurt_it(serve: Serve) -> None:
    """The request is answered first, then what followed it is refused."""
    application = Parts()
    wire = serve(application).connect()
    wire.send(request("GET", "/wait"), b"nonsense\r\n\r\n")
    application.go.set()
    assert wire.read().body == b"waited"
    assert wire.read().status == 400
    assert wire.is_closed()


def test_trailers_are_no_headers(serve: Serve) -> None:
    """What follows a body in chunks is dropped, however much it is, and the connection goes on."""
    wire = serve(echo).connect()
    for count in (1, 5000):
        trailers = b"Authorization: Basic eDp5\r\nHost: other\r\nUpgrade: h2c\r\n" * count
        wire.send(request("PUT", "/", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n" + trailers + b"\r\n")
        told = json.loads(wire.read().body)
        assert (told["length"], set(told["headers"])) == (1, {"host", "transfer-encoding"})


def test_a_client_that_never_takes_the_end_is_dropped(serve: Serve) -> None:
    """An answer that is written but not taken holds its connection for `write_seconds`, asked to close or not."""
    large = {"type": "http.response.body", "body": bytes(32 << 20)}

    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(large)

    server = serve(application, write_seconds=0.3, header_seconds=0.3)
    for header in ("Connection: close", "X: y"):
        server.connect().send(request("GET", "/", header))
    eventually(lambda: len(server.hub.connections) == 2)
    eventually(lambda: not server.hub.connections)


def test_slow_is_not_silent(serve: Serve) -> None:
    """A client that takes a large answer bit by bit may take longer than `write_seconds`, in one piece or in parts."""
    size = 24 << 20

    async def application(scope: Scope, _: Receive, send: Send) -> None:
        parts = 24 if scope["path"] == "/parts" else 1
        await send(START)
        for number in range(parts):
            body = bytes(size // parts)
            await send({"type": "http.response.body", "body": body, "more_body": number < parts - 1})

    server = serve(application, write_seconds=0.4)
    for path in ("/parts", "/whole"):
        wire = server.connect()
        wire.send(request("GET", path, "Connection: close"))
        taken = 0
        while piece := wire.socket.recv(1 << 19):
            taken += len(piece)
            time.sleep(0.02)
        assert taken > size


def test_upgrades_are_ignored(serve: Serve) -> None:
    """Java's client offers HTTP/2 with each request, and is answered in HTTP/1.1, body or not."""
    wire = serve(echo).connect()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    for body in (b"", b"with a body"):
        wire.send(request("PUT", "/", *offer, body=body) + request("GET", "/next"))
        assert json.loads(wire.read().body)["length"] == len(body)
        assert json.loads(wire.read().body)["path"] == "/next"


def test_a_client_that_asks_first_is_invited(serve: Serve) -> None:
    """`Expect: 100-continue` is answered once the application reads."""
    wire = serve(echo).connect()
    wire.send(request("PUT", "/", "Expect: 100-continue", "Content-Length: 5"))
    assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert wire.file.readline() == b"\r\n"
    wire.send(b"hello")
    assert json.loads(wire.read().body)["length"] == 5


async def refuse(_: Scope, __: Receive, send: Send) -> None:
    """Answers without having read."""
    await send({**START, "status": 401})
    await send({"type": "http.response.body", "body": b"no"})


def test_a_client_that_asks_first_may_be_refused(serve: Serve) -> None:
    """It is not invited, and the connection closes: nobody can tell whether its body comes or not."""
    wire = serve(refuse).connect()
    wire.send(request("PUT", "/", "Expect: 100-continue", "Content-Length: 5"))
    assert (wire.read().status, wire.is_closed()) == (401, True)


def test_an_answer_reaches_a_client_that_is_still_sending(serve: Serve) -> None:
    """The server goes on reading for a moment before it hangs up, else the answer would be lost in a reset."""
    wire = serve(refuse).connect()
    wire.send(request("PUT", "/", f"Content-Length: {1 << 30}"))
    for _ in range(64):
        wire.send(bytes(1 << 16))
        time.sleep(0.001)
    assert wire.read().status == 401


def test_what_nobody_reads_is_not_taken(serve: Serve) -> None:
    """A body that the application leaves alone fills the network's buffers, not the server's memory."""
    application = Parts()
    server = serve(application)
    wire = server.connect()
    wire.send(request("PUT", "/wait", f"Content-Length: {1 << 40}"))
    wire.socket.setblocking(False)
    sent, quiet = 0, 0
    while quiet < 20:
        try:
            sent += wire.socket.send(bytes(1 << 18))
            quiet = 0
        except BlockingIOError:
            time.sleep(0.01)
            quiet += 1
    (connection,) = server.hub.connections
    assert connection._arriving is not None
    assert connection._arriving.buffered <= 1 << 20
    assert sent < 64 << 20
    application.go.set()


@pytest.mark.parametrize("path", ["/silent", "/half", "/fails", "/split"])
def test_failed_applications_are_cut_off(serve: Serve, path: str) -> None:
    """No answer, half of one, or one that would split headers: the client sees a broken connection."""
    server = serve(Parts())
    wire = server.connect()
    wire.send(request("GET", path))
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        wire.read()
    assert server.connect().ask("GET", "/length").status == 200


def test_applications_hear_that_a_client_went_away(serve: Serve) -> None:
    """By what they receive, and by an error when they send."""
    application = Parts()
    server = serve(application)
    for path in ("/gone", "/endless"):
        wire = server.connect()
        wire.send(request("GET", path))
        if path == "/endless":
            wire.file.read(1000)
        wire.close()
    eventually(lambda: len(application.ends) == 2)
    assert {type(end) for end in application.ends} == {RuntimeError, ConnectionResetError}
    assert server.problems == []


def test_a_client_that_takes_nothing_is_dropped(serve: Serve) -> None:
    """After `write_seconds`; what waits for it meanwhile is bounded."""
    application = Parts()
    wire = serve(application, write_seconds=0.3).connect()
    wire.send(request("GET", "/endless"))
    eventually(lambda: bool(application.ends))
    assert application.sent < 64 << 20


def test_silent_connections_are_closed(serve: Serve) -> None:
    """After `header_seconds`: without a request, with half of one, and between two."""
    server = serve(echo, header_seconds=0.3)
    idle, half, between = server.connect(), server.connect(), server.connect()
    half.send(b"GET / HT")
    assert between.ask("GET", "/").status == 200
    assert [wire.is_closed() for wire in (idle, half, between)] == [True, True, True]


def test_a_slow_application_is_no_silence(serve: Serve) -> None:
    """The limit is for clients: an answer may take as long as it takes."""
    application = Parts()
    wire = serve(application, header_seconds=0.1).connect()
    wire.send(request("GET", "/wait"))
    time.sleep(0.5)
    application.go.set()
    assert wire.read().body == b"waited"


def test_idle_connections_make_room(serve: Serve) -> None:
    """At the limit the one that has been idle longest goes; where all are busy the newcomer is told so."""
    application = Parts()
    server = serve(application, connections=2)
    first, second = server.connect(), server.connect()
    assert [wire.ask("GET", "/length").status for wire in (first, second)] == [200, 200]
    third = server.connect()
    assert third.ask("GET", "/length").status == 200
    assert first.is_closed()
    for wire in (second, third):
        wire.send(request("GET", "/wait"))
    eventually(lambda: not server.run(lambda: server.hub.idle))
    fourth = server.connect()
    refused = fourth.read()
    assert (refused.status, refused["retry-after"]) == (503, "1")
    application.go.set()
    assert second.read().body == b"waited"


def test_a_stop_lets_answers_finish(serve: Serve) -> None:
    """Idle connections close at once, the others after their answer, which says so."""
    application = Parts()
    server = serve(application)
    idle, busy = server.connect(), server.connect()
    assert idle.ask("GET", "/length").status == 200
    busy.send(request("GET", "/wait"))
    eventually(lambda: len(server.run(lambda: server.hub.idle)) == 1)
    server.retire()
    assert idle.is_closed()
    application.go.set()
    reply = busy.read()
    assert (reply.body, reply["connection"]) == (b"waited", "close")
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1).recv(1)


def test_a_stop_does_not_wait_for_ever(serve: Serve) -> None:
    """After `stop_seconds` whoever is still busy is cut off."""
    application = Parts()
    server = serve(application, stop_seconds=0.1)
    wire = server.connect()
    wire.send(request("GET", "/wait"))
    eventually(lambda: not server.run(lambda: server.hub.idle))
    server.retire()
    assert wire.is_closed()
    application.go.set()


def test_bodies_arrive_whole(serve: Serve) -> None:
    """Megabytes, with a length and in chunks, are read as they were sent."""
    wire = serve(echo).connect()
    body = bytes(range(256)) * (3 << 12)
    digest = hashlib.sha256(body).hexdigest()
    assert json.loads(wire.ask("PUT", "/", body=body).body)["sha256"] == digest
    pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:1], body[1:70_000], body[70_000:])]
    wire.send(request("PUT", "/", "Transfer-Encoding: chunked"), *pieces, b"0\r\n\r\n")
    assert json.loads(wire.read().body)["sha256"] == digest


def test_tls_is_the_same(serve: Serve, tmp_path: pathlib.Path) -> None:
    """Over TLS bodies come by the loop, and the application is told that the kernel sends nothing by itself."""
    files = prepare_certificates(tmp_path, ["localhost"])
    scopes: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    server = serve(application, Tls(str(files.certificate), str(files.key), "tls1.2").load())
    wire = server.connect(ssl.create_default_context(cafile=files.ca))
    for body in (b"", bytes(range(256)) * 8192, b"small"):
        told = json.loads(wire.ask("PUT", "/", body=body).body)
        assert (told["scheme"], told["sha256"]) == ("https", hashlib.sha256(body).hexdigest())
    assert not {"extensions", "entrepot.pour"} & set(scopes[0])
    plain = server.connect()
    with suppress(ConnectionError):
        plain.send(request("GET", "/"))
    assert plain.is_closed()
    unread = serve(refuse, Tls(str(files.certificate), str(files.key), "tls1.3").load())
    wire = unread.connect(ssl.create_default_context(cafile=files.ca))
    assert wire.ask("PUT", "/", "Content-Length: 5").status == 401
