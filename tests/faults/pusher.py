"""Clients that push over keep-alive connections and remember exactly what was acknowledged."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.support.server import ADMIN_PASSWORD

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
BASIC = "Basic " + base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()
COMMON_BLOBS = 12
PUSH_LIMIT_SECONDS = 60
GONE = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Content:
    """Bytes that can be made again from two numbers, so that a test need not hold them."""

    seed: int
    size: int

    @property
    def data(self) -> bytes:
        """The bytes."""
        return random.Random(self.seed).randbytes(self.size)

    @property
    def digest(self) -> str:
        """Their digest."""
        return digest_of(self.data)


@dataclass(frozen=True)
class AckedBlob:
    """A blob that the server answered 201 to."""

    repository: str
    digest: str
    content: Content


@dataclass(frozen=True)
class AckedManifest:
    """A manifest that the server answered 201 to."""

    repository: str
    tag: str
    raw: bytes


@dataclass(frozen=True)
class AckedChunk:
    """An unfinished upload whose bytes the server answered 202 to."""

    repository: str
    location: str
    content: Content


@dataclass
class Ledger:
    """What was acknowledged, in the order in which clients heard of it."""

    blobs: list[AckedBlob] = field(default_factory=list)
    manifests: list[AckedManifest] = field(default_factory=list)
    chunks: list[AckedChunk] = field(default_factory=list)

    def copy(self) -> Ledger:
        """What was acknowledged until now."""
        return Ledger(list(self.blobs), list(self.manifests), list(self.chunks))

    def drain(self) -> Ledger:
        """What was acknowledged since the last time; unfinished uploads stay."""
        drained = Ledger(self.blobs, self.manifests)
        self.blobs, self.manifests = [], []
        return drained

    def wait_for(self, pushes: int) -> None:
        """Wait until so many more pushes are acknowledged."""
        limit = time.monotonic() + PUSH_LIMIT_SECONDS
        wanted = pushes + len(self.blobs) + len(self.manifests)
        while len(self.blobs) + len(self.manifests) < wanted:
            assert time.monotonic() < limit, "nobody pushes"
            time.sleep(0.01)


@dataclass(frozen=True)
class Answer:
    """One response, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, object]:
        """The first of the errors in the body."""
        first: dict[str, object] = json.loads(self.body)["errors"][0]
        return first


class Listening(Protocol):
    """A server, or a load balancer in front of several."""

    port: int


class Door:
    """One keep-alive connection as the administrator."""

    def __init__(self, server: Listening, *, timeout: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request and read the answer; after an error the next request connects again.

        A server that refuses a body answers before its end and hangs up: then the answer is there to be read.
        """
        try:
            if self._connection.sock is None:
                # A server that is killed at this moment has no answer to be read.
                self._connection.connect()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._connection.request(method, path, body, {"Authorization": BASIC, **(headers or {})})
            response = self._connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except GONE:
            self._connection.close()
            raise
        if body is not None and answer.status >= 400:
            self._connection.close()
        return answer

    def start(self, repository: str) -> str:
        """Begin an upload; its location."""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]

    def append(self, location: str, data: bytes) -> Answer:
        """Send bytes to an upload."""
        return self.ask("PATCH", location, data, {"Content-Type": "application/octet-stream"})

    def finish(self, location: str, digest: str, data: bytes | None = None) -> Answer:
        """Close an upload."""
        return self.ask("PUT", f"{location}?digest={digest}", data)

    def push(self, repository: str, data: bytes) -> Answer:
        """Push a blob in one request."""
        return self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", data)

    def push_chunked(self, repository: str, data: bytes) -> Answer:
        """Push a blob as docker does: POST, PATCH, PUT."""
        location = self.start(repository)
        answer = self.append(location, data)
        return self.finish(location, digest_of(data)) if answer.status == 202 else answer

    def put_manifest(self, repository: str, reference: str, raw: bytes) -> Answer:
        """Push a manifest."""
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", raw, {"Content-Type": IMAGE})


def digest_of(data: bytes) -> str:
    """The sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image_of(config: bytes, layers: Sequence[bytes]) -> bytes:
    """An image manifest over a config and layers."""

    def describe(media_type: str, data: bytes) -> dict[str, object]:
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": describe(CONFIG, config),
        "layers": [describe(LAYER, data) for data in layers],
    }
    return json.dumps(document).encode()


class Pusher(threading.Thread):
    """Pushes images until told to stop, through every way to push a blob; a dead server only makes it wait.

    Some blobs are the same for all pushers at once; now and then an upload is left unfinished.
    """

    def __init__(self, server: Listening, ledger: Ledger, number: int, *, largest: int = 65536) -> None:
        super().__init__(name=f"pusher-{number}", daemon=True)
        self._server = server
        self._ledger = ledger
        self._random = random.Random(number)
        self._repository = f"faults/app{number}"
        self._largest = largest
        self._count = 0
        self._stop_asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def stop(self) -> None:
        """End after the present request."""
        self._stop_asked.set()
        self.gate.set()

    def run(self) -> None:
        """Push one image after another."""
        with Door(self._server) as door:
            while not self._stop_asked.is_set():
                self.gate.wait()
                try:
                    self._push_image(door)
                except (*GONE, AssertionError):
                    # The server was killed; what it did not acknowledge is not in the ledger.
                    self._stop_asked.wait(0.02)

    def _push_image(self, door: Door) -> None:
        self._count += 1
        seed = self._random.getrandbits(48)
        shared = Content(self._random.randrange(COMMON_BLOBS), 20_000)
        contents = [Content(seed, self._random.randint(1, self._largest)), shared, Content(seed + 1, 300)]
        for content in contents:
            self._push_blob(door, content)
        raw = image_of(contents[2].data, [content.data for content in contents[:2]])
        tag = f"v{self._count}"
        if door.put_manifest(self._repository, tag, raw).status == 201:
            self._ledger.manifests.append(AckedManifest(self._repository, tag, raw))
        if self._count % 4 == 0:
            self._leave_upload(door, Content(seed + 2, 30_000))

    def _push_blob(self, door: Door, content: Content) -> None:
        data, digest = content.data, content.digest
        way = self._random.randrange(4)
        if way == 0:
            answer = door.push(self._repository, data)
        elif way == 1:
            answer = door.push_chunked(self._repository, data)
        elif way == 2:
            answer = door.finish(door.start(self._repository), digest, data)
        else:
            location = door.start(self._repository)
            middle = len(data) // 2
            answer = door.append(location, data[:middle])
            answer = door.finish(location, digest, data[middle:]) if answer.status == 202 else answer
        assert answer.status == 201, answer
        self._ledger.blobs.append(AckedBlob(self._repository, digest, content))

    def _leave_upload(self, door: Door, content: Content) -> None:
        location = door.start(self._repository)
        if door.append(location, content.data).status == 202:
            self._ledger.chunks.append(AckedChunk(self._repository, location, content))


class Crowd:
    """Several pushers as a context manager; leaving it stops them."""

    def __init__(self, server: Listening, ledger: Ledger, size: int, *, largest: int = 65536) -> None:
        self._pushers = [Pusher(server, ledger, number, largest=largest) for number in range(size)]

    def __enter__(self) -> Crowd:
        for pusher in self._pushers:
            pusher.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for pusher in self._pushers:
            pusher.stop()
        for pusher in self._pushers:
            pusher.join(60)

    def pause(self) -> None:
        """Let each finish its image and wait."""
        for pusher in self._pushers:
            pusher.gate.clear()

    def resume(self) -> None:
        """Go on."""
        for pusher in self._pushers:
            pusher.gate.set()


def list_losses(server: Listening, ledger: Ledger) -> list[str]:
    """What was acknowledged and is not there byte for byte, by digest and, for manifests, by tag."""
    wanted = [(f"/v2/{each.repository}/blobs/{each.digest}", each.content) for each in dict.fromkeys(ledger.blobs)]
    with Door(server) as door:
        lost = [path for path, content in wanted if _pull(door, path) != content.data]
        for manifest in ledger.manifests:
            for reference in (manifest.tag, digest_of(manifest.raw)):
                path = f"/v2/{manifest.repository}/manifests/{reference}"
                if _pull(door, path) != manifest.raw:
                    lost.append(path)
    return lost


def _pull(door: Door, path: str) -> bytes | None:
    """The body of a 200; None for another answer, or one that breaks off."""
    try:
        answer = door.ask("GET", path)
    except GONE:
        return None
    return answer.body if answer.status == 200 else None


def finish_chunks(server: Listening, ledger: Ledger) -> list[int]:
    """Close the uploads that were left unfinished; the statuses, and no 201 for bytes that are not there."""
    statuses = []
    with Door(server) as door:
        for chunk in ledger.chunks:
            answer = door.finish(chunk.location, chunk.content.digest)
            statuses.append(answer.status)
            if answer.status == 201:
                pulled = door.ask("GET", f"/v2/{chunk.repository}/blobs/{chunk.content.digest}")
                assert pulled.body == chunk.content.data
    return statuses


def abandon(server: Listening, method: str, path: str, data: bytes, announced: int) -> None:
    """Announce a body, send a part of it and hang up."""
    with Door(server) as door:
        connection = door._connection
        connection.putrequest(method, path)
        connection.putheader("Authorization", BASIC)
        connection.putheader("Content-Length", str(announced))
        connection.endheaders()
        with contextlib.suppress(OSError):
            connection.send(data)
