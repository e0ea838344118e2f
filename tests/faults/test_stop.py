"""SIGTERM with transfers in flight, and the death of single processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.behind import over
from tests.faults.machine import find_worker, require_no_process
from tests.faults.pusher import BASIC, Content, Door, digest_of
from tests.support.server import Server

REPOSITORY = "faults/stop"
DATA = Content(4, 4 << 20).data
LARGE = Content(5, 24 << 20).data
BLOB = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(DATA)}"
LIMIT_SECONDS = 30


def open_upload(server: Server, method: str, path: str, length: int) -> socket.socket:
    """Send the head of a request and the first half of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + DATA[: length // 2])
    return connection


def open_pull(server: Server, digest: str) -> socket.socket:
    """Ask for a blob on a connection that ends with the answer, and read nothing yet."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS)
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\n\r\n".encode())
    return connection


def read_status(connection: socket.socket) -> int:
    """The status of the answer."""
    with connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


@over("sqlite-file", "postgresql-s3")
def test_sigterm_finishes_what_is_in_flight(server: Server) -> None:
    """A push in flight at SIGTERM is answered 201 and a pull ends whole; the exit code is 0, and the blob is there."""
    with Door(server) as door:
        assert door.push(REPOSITORY, LARGE).status == 201
    assert server.process is not None
    with open_upload(server, "POST", BLOB, len(DATA)) as push, open_pull(server, digest_of(LARGE)) as pull:
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        push.sendall(DATA[len(DATA) // 2 :])
        assert read_status(push) == 201
        with pull.makefile("rb") as answer:
            assert answer.read().endswith(LARGE)
    assert server.process.wait(LIMIT_SECONDS) == 0
    require_no_process(server)
    server.start()
    with Door(server) as door:
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").body == DATA


@over("sqlite-file", "postgresql-s3")
def test_a_stop_has_an_end(make_server: Callable[..., Server]) -> None:
    """A client that never finishes cannot hold the server up for longer than `server.stop_seconds`; what it sent
    is not a blob.
    """
    server = make_server(server__stop_seconds=1)
    with open_upload(server, "POST", BLOB, len(DATA)):
        time.sleep(0.3)
        assert server.stop() == 0
    require_no_process(server)
    server.start()
    with Door(server) as door:
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").status == 404


def test_a_server_that_drains_says_so(make_server: Callable[..., Server]) -> None:
    """With `server.drain_seconds` a server that was told to end answers 503 at `/readyz`, for load balancers to go
    elsewhere, and everything else as before until the time is over.
    """
    server = make_server(server__drain_seconds=5)
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    while server.is_ready():
        assert server.process.poll() is None
    with Door(server) as door:
        answer = door.ask("GET", "/readyz")
        assert (answer.status, answer.body) == (503, b'{"status":"stopping"}')
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").body == DATA
        assert door.push(REPOSITORY, LARGE).status == 201
    assert server.process.wait(LIMIT_SECONDS) == 0
    require_no_process(server)


@over("sqlite-file", "postgresql-file")
@pytest.mark.parametrize("is_job", [False, True], ids=["http worker", "job process"])
def test_a_killed_child_is_replaced(server: Server, *, is_job: bool) -> None:
    """An HTTP worker or the job process that dies is started again, and pushes and pulls go on."""
    old = find_worker(server, is_job=is_job)
    os.kill(old.pid, signal.SIGKILL)
    limit = time.monotonic() + LIMIT_SECONDS
    while find_worker(server, is_job=is_job).pid == old.pid:
        assert time.monotonic() < limit
        time.sleep(0.02)
    while not server.is_ready():
        assert time.monotonic() < limit
        time.sleep(0.02)
    with Door(server) as door:
        assert door.push_chunked(REPOSITORY, DATA).status == 201
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").body == DATA
    assert server.stop() == 0
