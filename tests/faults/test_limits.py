"""Everything a client may send is bounded, by a setting, with a clear error."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import pathlib
import re
import socket
import time
from collections.abc import Callable

from tests.faults.behind import over
from tests.faults.machine import check, list_processes
from tests.faults.pusher import BASIC, IMAGE, Answer, Content, Door, digest_of, image_of
from tests.support.server import ADMIN_PASSWORD, Server

REPOSITORY = "faults/limits"
DATA = Content(8, 3000).data
LIMIT_SECONDS = 30
BLOCK = bytes(1 << 20)
BLOCKS = 192
MOST_GROWTH_KIB = 96 << 10
# What is refused leaves nothing in either kind of database or store.
both = over("sqlite-file", "postgresql-s3")

Making = Callable[..., Server]


class Raw:
    """One connection on which a test writes what it likes."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def head(self, method: str, path: str, *headers: str) -> None:
        """Send a request without its body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {BASIC}", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def answer(self) -> Answer:
        """Read one answer."""
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        return Answer(response.status, dict(response.getheaders()), response.read())

    def is_closed(self) -> bool:
        """Whether the server hangs up, having said nothing."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def require_refusal(answer: Answer, status: int, code: str) -> None:
    """The answer is the specification's error document."""
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert answer.error["message"]


def data_requests(server: Server) -> list[tuple[str, str]]:
    """Every request that takes a body."""
    with Door(server) as door:
        location = door.start(REPOSITORY)
    return [
        ("PATCH", location),
        ("PUT", f"{location}?digest={digest_of(DATA)}"),
        ("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(DATA)}"),
        ("PUT", f"/v2/{REPOSITORY}/manifests/slow"),
        ("POST", "/token"),
    ]


def test_headers_that_never_end(make_server: Making) -> None:
    """A client that drips its headers, or holds an idle connection, is cut off after `server.header_seconds`."""
    server = make_server(server__header_seconds=1)
    with Raw(server) as idle, Raw(server) as slow:
        slow.socket.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert slow.is_closed()
        assert idle.is_closed()
    assert server.is_ready()


@both
def test_bodies_that_stand_still(make_server: Making) -> None:
    """A body of which nothing more comes is answered 408 after `limits.body_idle_seconds`, whatever it was for."""
    server = make_server(limits__body_idle_seconds=0.3)
    for method, path in data_requests(server):
        with Raw(server) as raw:
            raw.head(method, path, "Content-Length: 3000", "Content-Type: application/x-www-form-urlencoded")
            raw.socket.sendall(DATA[:10])
            answer = raw.answer()
            assert answer.status == 408, (method, path, answer)
            assert answer.body.startswith(b'{"errors":[')
    assert check(server).report["keys"]["unreferenced"] == 0


def test_bodies_that_drip(make_server: Making) -> None:
    """A body that keeps moving, but more slowly than `limits.body_bytes_per_second`, is answered 408."""
    server = make_server(limits__body_idle_seconds=0.5, limits__body_bytes_per_second=1000)
    for method, path in data_requests(server)[:3]:
        with Raw(server) as raw:
            raw.head(method, path, "Content-Length: 3000")
            for byte in itertools.islice(itertools.cycle(DATA), 100):
                try:
                    raw.socket.sendall(bytes([byte]))
                except OSError:
                    break
                time.sleep(0.02)
            require_refusal(raw.answer(), 408, "SIZE_INVALID")


def test_huge_headers(server: Server) -> None:
    """Headers well beyond `server.header_bytes`, or more than a hundred of them, are 431, an address of 64 KiB is
    414; below the limits they pass.
    """
    with Raw(server) as raw:
        raw.head("GET", "/v2/", f"X-A: {'a' * (5 << 16)}")
        assert raw.answer().status == 431
    with Raw(server) as raw:
        raw.head("GET", f"/v2/?{'a' * (1 << 16)}")
        assert raw.answer().status == 414
    with Raw(server) as raw:
        raw.head("GET", "/v2/", *[f"X-{number}: a" for number in range(200)])
        assert raw.answer().status == 431
    with Raw(server) as raw:
        raw.head("GET", "/v2/", f"X-A: {'a' * 60_000}")
        assert raw.answer().status == 200


@both
def test_many_open_uploads(make_server: Making) -> None:
    """Beyond `limits.open_uploads` an account gets 429 with Retry-After, until it finishes or cancels one."""
    server = make_server(limits__open_uploads=3)
    with Door(server) as door:
        locations = [door.start(REPOSITORY) for _ in range(3)]
        answer = door.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        require_refusal(answer, 429, "TOOMANYREQUESTS")
        assert int(answer.headers["retry-after"]) > 0
        assert door.ask("DELETE", locations[0]).status == 204
        door.start(REPOSITORY)
        assert door.finish(locations[1], digest_of(DATA), DATA).status == 201
        door.start(REPOSITORY)


@both
def test_huge_manifests(server: Server) -> None:
    """A manifest of `limits.manifest_bytes` (4 MiB) is taken; one byte more is 413, with its length said or not."""
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
        raw = image_of(DATA, [DATA])
        largest = raw + b" " * ((4 << 20) - len(raw))
        assert door.put_manifest(REPOSITORY, "large", largest).status == 201
        require_refusal(door.put_manifest(REPOSITORY, "larger", largest + b" "), 413, "SIZE_INVALID")
        chunks = [largest[start : start + 65536] for start in range(0, len(largest), 65536)]
        path = f"/v2/{REPOSITORY}/manifests/larger"
        require_refusal(door.ask("PUT", path, iter([*chunks, b" "]), {"Content-Type": IMAGE}), 413, "SIZE_INVALID")
        assert door.ask("HEAD", path).status == 404


@both
def test_huge_blobs(make_server: Making) -> None:
    """A blob over `limits.blob_bytes` is 413 by all ways, with its length said or not; one of that size is taken."""
    server = make_server(limits__blob_bytes=len(DATA))
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
        larger = DATA + b"x"
        for method, path in data_requests(server)[:3]:
            for body in (larger, iter([larger[:1000], larger[1000:]])):
                require_refusal(door.ask(method, path, body), 413, "SIZE_INVALID")
    assert check(server).report["keys"]["unreferenced"] == 0


@both
def test_huge_blobs_in_small_chunks(make_server: Making) -> None:
    """Chunks that only together exceed `limits.blob_bytes` are 413 too, at the chunk that does."""
    server = make_server(limits__blob_bytes=len(DATA))
    with Door(server) as door:
        location = door.start(REPOSITORY)
        assert door.append(location, DATA[:2000]).status == 202
        require_refusal(door.append(location, DATA), 413, "SIZE_INVALID")
        require_refusal(door.finish(location, digest_of(DATA[:2000] + DATA), DATA), 413, "SIZE_INVALID")
        assert door.finish(location, digest_of(DATA), DATA[2000:]).status == 201


@both
def test_huge_pages(server: Server) -> None:
    """No `n` makes a page without bounds: it is refused, or cut to the most a page has."""
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
        assert door.put_manifest(REPOSITORY, "v1", image_of(DATA, [DATA])).status == 201
        for n in ("99999999999999999999999", "1000000000", "-1", "x", "1e9", "9" * 5000):
            for path in (f"/v2/{REPOSITORY}/tags/list", "/v2/_catalog"):
                answer = door.ask("GET", f"{path}?n={n}")
                assert answer.status in {200, 400}, answer
                assert json.loads(answer.body)


def test_large_forms_and_credentials(server: Server) -> None:
    """A form beyond 64 KiB is 413 and a password of a megabyte is no work for the hasher."""
    with Door(server) as door:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert door.ask("POST", "/token", b"a=" + b"b" * 70_000, form).status == 413
        long = base64.b64encode(f"admin:{ADMIN_PASSWORD}{'x' * 20_000}".encode()).decode()
        assert door.ask("GET", "/v2/", None, {"Authorization": f"Basic {long}"}).status == 401


def peaks(server: Server) -> dict[int, int]:
    """The most memory that each process has ever held, in KiB."""
    found = {}
    for process in list_processes(server):
        match = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
        found[process.pid] = int(match[1]) if match else 0
    return found


@both
def test_bodies_are_streamed_both_ways(server: Server) -> None:
    """Pushing a blob of 192 MiB and pulling it whole and by range costs far less memory than its size."""
    digest = f"sha256:{hashlib.sha256(BLOCK * BLOCKS).hexdigest()}"
    before = peaks(server)
    with Door(server) as door:
        size = {"Content-Length": str(len(BLOCK) * BLOCKS)}
        location = door.start(REPOSITORY)
        assert door.ask("PATCH", location, itertools.repeat(BLOCK, BLOCKS), size).status == 202
        assert door.finish(location, digest).status == 201
        for headers in ({}, {"Range": "bytes=1-"}):
            assert len(door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}", None, headers).body) > 191 << 20
    after = peaks(server)
    assert set(after) == set(before)
    assert max(after[pid] - before[pid] for pid in before) < MOST_GROWTH_KIB
