"""Large bodies: poured out of sockets in threads, and sent out of files by the kernel."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import itertools
import pathlib
import socket
import threading
import time

import pytest

from entrepot.server.hub import Receive, Scope, Send
from tests.server.applications import Answering, Files, Parts, Pouring
from tests.server.conftest import LIMIT_SECONDS, Serve, Wire, request
from tests.server.test_connection import eventually

MIB = 1 << 20
BODY = bytes(range(251)) * 13_000
DIGEST = hashlib.sha256(BODY).hexdigest().encode()


def chunked(body: bytes, size: int = 32 << 10) -> bytes:
    """A body in chunks."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def head_of(kind: str, body: bytes = BODY) -> bytes:
    """The head of a request with this body, and how it is sent."""
    return request("PUT", "/", "Transfer-Encoding: chunked" if kind == "chunks" else f"Content-Length: {len(body)}")


def form_of(kind: str, body: bytes = BODY) -> bytes:
    """The body as it is sent."""
    return chunked(body) if kind == "chunks" else body


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_bodies_are_poured(serve: Serve, kind: str) -> None:
    """Whole, in threads, one after the other on one connection; what follows at once is the next request."""
    application = Pouring()
    wire = serve(application).connect()
    for _ in range(3):
        wire.send(head_of(kind), form_of(kind))
        assert wire.read().body == DIGEST
    wire.send(head_of(kind) + form_of(kind) + head_of(kind, b"short") + form_of(kind, b"short"))
    assert wire.read().body == DIGEST
    assert wire.read().body == hashlib.sha256(b"short").hexdigest().encode()
    assert all(name.startswith("pour") for name in application.threads)
    assert application.threads


@pytest.mark.parametrize("kind", ["length", "chunks"])
@pytest.mark.parametrize("what", ["upgrade", "nonsense"])
def test_what_follows_a_poured_body_does_not_hurt_it(serve: Serve, kind: str, what: str) -> None:
    """An offer of another protocol, or nonsense, in the packet that ends a large body: the body is whole."""
    wire = serve(Pouring()).connect()
    offer = request("PUT", "/next", "Connection: Upgrade", "Upgrade: h2c", body=b"abc")
    wire.send(head_of(kind), form_of(kind) + (offer if what == "upgrade" else b"nonsense\r\n\r\n"))
    assert wire.read().body == DIGEST
    following = wire.read()
    assert following.status == (200 if what == "upgrade" else 400)
    if what == "upgrade":
        assert following.body == hashlib.sha256(b"abc").hexdigest().encode()


@pytest.mark.parametrize("rest", [1, 60_000, 100_000])
@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_what_came_before_anybody_wanted_it_is_poured(serve: Serve, kind: str, rest: int) -> None:
    """Whoever begins late finds the buffer full, and the client stopped, be it shortly before the end of the body."""
    pouring, wanted = Pouring(idle_seconds=5), threading.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        # As a password takes its time to be proved.
        await asyncio.to_thread(wanted.wait, LIMIT_SECONDS)
        await pouring(scope, receive, send)

    server = serve(late)
    wire, body = server.connect(), bytes(280_000 + rest)
    form = form_of(kind, body)
    wire.send(head_of(kind, body) + form[:200_000])
    eventually(lambda: [each._arriving for each in server.hub.connections] not in ([], [None]))
    [connection] = server.hub.connections
    exchange = connection._arriving
    assert exchange is not None
    eventually(lambda: exchange.buffered > 190_000)
    wire.send(form[200_000:280_000])
    eventually(lambda: not connection._is_reading)
    wire.send(form[280_000:])
    wanted.set()
    assert wire.read().body == hashlib.sha256(body).hexdigest().encode()
    assert pouring.errors == []


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_slow_bodies_hold_no_thread(serve: Serve, kind: str) -> None:
    """Bytes that drip come by the loop; more clients than threads drip at once, and all are served."""
    server = serve(Pouring())
    body = BODY[: 1 << 17]
    wires = [server.connect() for _ in range(24)]
    form = form_of(kind, body)
    for wire in wires:
        wire.send(head_of(kind, body) + form[:100])
    for start, stop in itertools.pairwise((100, 1000, 70_000, 70_001, len(form))):
        time.sleep(0.03)
        for wire in wires:
            wire.send(form[start:stop])
    digest = hashlib.sha256(body).hexdigest().encode()
    assert [wire.read().body for wire in wires] == [digest] * len(wires)


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_drips_are_watched(serve: Serve, kind: str) -> None:
    """Whoever pours hears how much has arrived, however little, and may end it; no thread is held meanwhile."""
    application = Pouring()
    wire = serve(application).connect()
    form = form_of(kind)
    wire.send(head_of(kind))
    for position in range(20):
        wire.send(form[position : position + 1])
        time.sleep(0.01)
    eventually(lambda: len(application.seen) > 5)
    assert application.seen == sorted(application.seen)
    assert application.threads == set()
    wire.send(form[20:])
    assert wire.read().body == DIGEST


@pytest.mark.parametrize("kind", ["length", "chunks"])
@pytest.mark.parametrize("size", [0, 1, 1000, 70_000])
def test_small_bodies_are_left_to_the_caller(serve: Serve, kind: str, size: int) -> None:
    """What has arrived whole, or nearly, is worth no thread."""
    wire = serve(Pouring()).connect()
    body = BODY[:size]
    if size or kind == "chunks":
        wire.send(head_of(kind, body) + form_of(kind, body)[:-1], form_of(kind, body)[-1:])
        assert wire.read().body == hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("kind", ["length", "chunks"])
@pytest.mark.parametrize("sent", [10, 300_000])
def test_clients_that_go_away_or_stand_still(serve: Serve, kind: str, sent: int) -> None:
    """The application is told by an error, whether a thread was at work or not; others are served."""
    application = Pouring(idle_seconds=0.3)
    server = serve(application)
    gone, still = server.connect(), server.connect()
    for wire in (gone, still):
        wire.send(head_of(kind), form_of(kind)[:sent])
    gone.close()
    assert still.read().status == 507
    eventually(lambda: len(application.errors) == 2)
    assert {type(error) for error in application.errors} == {ConnectionResetError, TimeoutError}
    whole = server.connect()
    whole.send(head_of(kind), form_of(kind))
    assert whole.read().body == DIGEST


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_consumers_may_fail(serve: Serve, kind: str) -> None:
    """A full disk is answered at once; the connection ends, because the rest of the body is still on its way."""
    application = Pouring(fails_after=MIB)
    wire = serve(application).connect()
    wire.send(head_of(kind), form_of(kind))
    reply = wire.read()
    assert reply.status == 507
    assert str(application.errors[0]) == "no room"


def test_broken_chunks_are_refused(serve: Serve) -> None:
    """In a thread as elsewhere: the client is told, the application sees its body end."""
    application = Pouring()
    wire = serve(application).connect()
    wire.send(head_of("chunks"), chunked(BODY)[:200_000])
    eventually(lambda: application.poured > 100_000)
    wire.send(b"\r\nnonsense\r\n" * 20_000)
    assert wire.read().status == 400
    eventually(lambda: len(application.errors) == 1)


def test_an_application_that_is_cut_off_frees_its_thread(serve: Serve) -> None:
    """A stop in mid-body shuts the socket down under the thread that reads it."""
    application = Pouring()
    server = serve(application, stop_seconds=0.1)
    wire = server.connect()
    wire.send(head_of("length"), BODY[:MIB])
    eventually(lambda: application.poured > 0)
    server.retire()
    assert wire.is_closed()


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file of some MiB."""
    made = tmp_path / "file"
    made.write_bytes(BODY * 3)
    return made


@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, 0), (0, 1), (5, 1000), (0, 128 << 10), (1, (128 << 10) + 1), (7, 3 * MIB), (0, 3 * len(BODY))],
)
def test_files_are_sent(serve: Serve, path: pathlib.Path, offset: int, count: int) -> None:
    """Small and large spans arrive as they are, and the connection goes on."""
    application = Files(path)
    wire = serve(application).connect()
    content = path.read_bytes()[offset : offset + count]
    for _ in range(2):
        reply = wire.ask("GET", f"/?{offset}-{count}")
        assert (reply["content-length"], reply["x-from"]) == (str(count), "file")
        assert reply.body == content
    eventually(lambda: application.ends == [None, None])


def test_files_keep_their_place_behind_other_responses(serve: Serve, path: pathlib.Path) -> None:
    """What the client has yet to take of earlier responses stays before a file, whoever moves that."""
    wire, content = serve(Files(path)).connect(), path.read_bytes()
    spans = [(number, 120 << 10) for number in range(80)] + [(7, 3 * MIB), (5, 64 << 10), (3, 1000)]
    wire.send(b"".join(request("GET", f"/?{offset}-{count}") for offset, count in spans))
    # Until now nothing was read: the socket is full, and the rest waits in the server.
    time.sleep(0.3)
    wrong = [span for span in spans if wire.read().body != content[span[0] : sum(span)]]
    assert not wrong


def test_answers_are_not_heaped_up(serve: Serve) -> None:
    """Whoever asks on and on without taking what they were given gets no further answers until they do."""
    application = Answering(2 * MIB)
    wire = serve(application).connect()
    wire.send(request("GET", "/") * 60)
    eventually(lambda: application.count > 0)
    time.sleep(1.0)
    # The kernel's buffers hold some.
    assert application.count < 20
    assert {len(wire.read().body) for _ in range(60)} == {2 * MIB}


def test_who_asks_and_takes_nothing_is_dropped(serve: Serve) -> None:
    """Further requests do not make a client that stands still look alive."""
    application = Answering(32 * MIB)
    server = serve(application, write_seconds=0.5, header_seconds=60.0)
    wire = server.connect()
    wire.send(request("GET", "/") * 3)
    eventually(lambda: application.count > 0)
    eventually(lambda: not server.hub.connections)


@pytest.mark.parametrize("count", [64 << 10, 128 << 10])
def test_small_files_go_on_where_the_socket_was_full(serve: Serve, path: pathlib.Path, count: int) -> None:
    """A client that reads little by little gets all of a span that the socket did not take at once."""
    server = serve(Files(path))
    slow, content = server.connect(), path.read_bytes()
    eventually(lambda: len(server.hub.connections) == 1)
    [connection] = server.hub.connections
    with connection.channel() as channel:
        # Less than a span, also where the kernel doubles it.
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
    for offset in range(20):
        slow.send(request("GET", f"/?{offset}-{count}"))
    wrong = [offset for offset in range(20) if slow.read().body != content[offset : offset + count]]
    assert not wrong


def test_many_take_files_at_once(serve: Serve, path: pathlib.Path) -> None:
    """Slow ones and fast ones, each its own span."""
    server = serve(Files(path))
    wires = [server.connect() for _ in range(20)]
    for number, wire in enumerate(wires):
        wire.send(request("GET", f"/?{number}-{2 * MIB}"))
    for number, wire in enumerate(wires):
        assert wire.read().body == path.read_bytes()[number : number + 2 * MIB]


def half_read(server_wire: Wire, count: int) -> None:
    """Ask for a file and read only its beginning."""
    server_wire.send(request("GET", f"/?0-{count}"))
    assert len(server_wire.file.read(1000)) == 1000


def test_downloads_may_break_off(serve: Serve, tmp_path: pathlib.Path) -> None:
    """The client goes, takes nothing for too long, or the file ends early: an error, never a short answer."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 * MIB)
    application = Files(large)
    server = serve(application, write_seconds=1.0)
    gone, still, short = server.connect(), server.connect(), server.connect()
    half_read(gone, 64 * MIB)
    half_read(still, 64 * MIB)
    gone.close()
    short.send(request("GET", f"/?0-{65 * MIB}"))
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        short.read()
    eventually(lambda: len(application.ends) == 3)
    assert {type(end) for end in application.ends} == {ConnectionResetError}
    assert server.problems == []


def test_a_stop_ends_downloads(serve: Serve, tmp_path: pathlib.Path) -> None:
    """Those that do not end in time are cut off, and the threads with them."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 * MIB)
    application = Files(large)
    server = serve(application, stop_seconds=0.1)
    wire = server.connect()
    half_read(wire, 64 * MIB)
    server.retire()
    wire.socket.settimeout(LIMIT_SECONDS)
    assert len(wire.file.read()) < 64 * MIB
    eventually(lambda: len(application.ends) == 1)


def test_other_parts_are_framed_with_files(serve: Serve) -> None:
    """An application without files is served by the same connection afterwards."""
    wire = serve(Parts()).connect()
    assert [wire.ask("GET", "/stream").body for _ in range(2)] == [b"onetwo"] * 2
