"""What is pushed and pulled, and how: request bytes, bodies that are never the same twice, whole images."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Generator
from typing import TypeVar

from bench.client import Connection, Engine, Lane, Reply, Tally, attempt
from bench.load import drive
from bench.servers import Registry, Target

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPT = f"{IMAGE_MANIFEST}, {IMAGE_INDEX}"
TAIL_BYTES = 24
COUNTER = itertools.count()
T = TypeVar("T")
Steps = Generator[float | None, None, T]


def digest_of(content: bytes) -> str:
    """The sha256 digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(frozen=True)
class Body:
    """Bytes to push: the first `size` bytes of an open file (0: none), then these in memory."""

    tail: bytes
    digest: str
    size: int = 0
    file: int = -1

    @property
    def total(self) -> int:
        """All its bytes."""
        return self.size + len(self.tail)

    def descriptor(self, media_type: str) -> dict[str, object]:
        """How a manifest names it."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.total}


def body_of(content: bytes) -> Body:
    """A body of known bytes."""
    return Body(content, digest_of(content))


def file_body(path: pathlib.Path, digest: str) -> Body:
    """A whole file, sent from where it lies."""
    return Body(b"", digest, path.stat().st_size, os.open(path, os.O_RDONLY))


class Stock:
    """Makes bodies of one size, each different, at the cost of hashing a few bytes (large) or all of them (small).

    A large body is a shared file and a tail of its own: the hash of the file is made once and copied.
    """

    def __init__(self, size: int, file: pathlib.Path | None = None) -> None:
        self.start = b"" if file else os.urandom(max(0, size - TAIL_BYTES))
        self.size = size - TAIL_BYTES if file else 0
        self.file = os.open(file, os.O_RDONLY) if file else -1
        self.hashed = hashlib.sha256(self.start)
        if file:
            with file.open("rb") as content:
                self._hash_file(content.fileno())

    def _hash_file(self, descriptor: int) -> None:
        left = self.size
        while left:
            piece = os.read(descriptor, min(left, 1 << 20))
            self.hashed.update(piece)
            left -= len(piece)

    def take(self) -> Body:
        """The next body."""
        tail = f"{next(COUNTER):012x}{os.urandom(6).hex()}".encode()
        hashed = self.hashed.copy()
        hashed.update(tail)
        return Body(self.start + tail, "sha256:" + hashed.hexdigest(), self.size, self.file)


def write_large_file(path: pathlib.Path, size: int) -> str:
    """A file of bytes that do not compress; its digest."""
    hashed = hashlib.sha256()
    with path.open("wb") as file:
        while size:
            piece = os.urandom(min(size, 1 << 20))
            hashed.update(piece)
            file.write(piece)
            size -= len(piece)
    path.chmod(0o644)
    return "sha256:" + hashed.hexdigest()


@dataclasses.dataclass(frozen=True)
class Caller:
    """One client of one server: preformats requests with its credentials; `close`: a new connection per request."""

    connection: Connection
    authorization: str
    close: bool = False

    def head(self, method: str, path: str, fields: str = "") -> bytes:
        """The head of one request."""
        host = f"127.0.0.1:{self.connection.address[1]}"
        ending = "Connection: close\r\n" if self.close else ""
        credentials = f"Authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{credentials}{ending}{fields}\r\n".encode()

    def call(self, request: bytes, status: int, *, keep: bool = False) -> Steps[Reply]:
        """One request and its answer."""
        reply = yield from self.connection.exchange(request, status, keep=keep)
        if self.close:
            self.connection.close()
        return reply

    def push_blob(self, repository: str, body: Body) -> Steps[None]:
        """POST, PATCH, PUT, as docker, podman and skopeo push."""
        started = yield from self.call(
            self.head("POST", f"/v2/{repository}/blobs/uploads/", "Content-Length: 0\r\n"), 202
        )
        fields = f"Content-Type: application/octet-stream\r\nContent-Length: {body.total}\r\n"
        patch = self.head("PATCH", location_of(started), fields)
        if body.size:
            yield from self.connection.send(patch)
            yield from self.connection.send_file(body.file, body.size)
            patched = yield from self.call(body.tail, 202)
        else:
            patched = yield from self.call(patch + body.tail, 202)
        location = location_of(patched)
        mark = "&" if "?" in location else "?"
        finish = self.head("PUT", f"{location}{mark}digest={body.digest}", "Content-Length: 0\r\n")
        yield from self.call(finish, 201)

    def push_manifest(self, repository: str, reference: str, raw: bytes) -> Steps[None]:
        """PUT one manifest or index."""
        media_type = json.loads(raw)["mediaType"]
        fields = f"Content-Type: {media_type}\r\nContent-Length: {len(raw)}\r\n"
        yield from self.call(self.head("PUT", f"/v2/{repository}/manifests/{reference}", fields) + raw, 201)

    def push_image(self, repository: str, reference: str, layers: list[Body]) -> Steps[bytes]:
        """Layers, config, manifest; the manifest's bytes."""
        config = body_of(json.dumps({"os": "linux", "made": next(COUNTER), "by": os.urandom(8).hex()}).encode())
        for body in [*layers, config]:
            yield from self.push_blob(repository, body)
        raw = image_manifest(config, layers)
        yield from self.push_manifest(repository, reference, raw)
        return raw


def location_of(reply: Reply) -> str:
    """The path and query of an answer's Location."""
    location = reply.header(b"location").decode()
    return "/" + location.split("/", 3)[3] if location.startswith("http") else location


def image_manifest(config: Body, layers: list[Body]) -> bytes:
    """The bytes of an image manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": config.descriptor(IMAGE_CONFIG),
            "layers": [layer.descriptor(LAYER) for layer in layers],
        }
    ).encode()


def image_index(manifests: list[bytes]) -> bytes:
    """The bytes of an index over these manifests."""
    entries = [
        {**body_of(raw).descriptor(IMAGE_MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}}
        for raw in manifests
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries}).encode()


@dataclasses.dataclass(frozen=True)
class Image:
    """An image that was pushed: tag `latest` is an index over one image manifest."""

    repository: str
    index: bytes
    manifest: bytes
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The image manifest's digest."""
        return digest_of(self.manifest)


def address_of(target: Target) -> tuple[str, int]:
    """Where a target listens."""
    return ("127.0.0.1", target.port)


def caller_of(engine: Engine, target: Target, authorization: str, *, close: bool = False) -> Caller:
    """A client for a target."""
    return Caller(Connection(engine, address_of(target), target.tls), authorization, close)


def put_image(registry: Registry, repository: str, layers: list[Body]) -> Image:
    """Push an image under the tags `latest` (an index over it) and `single` (the manifest itself)."""
    config = body_of(json.dumps({"os": "linux", "for": repository}).encode())
    manifest = image_manifest(config, layers)
    index = image_index([manifest])
    authorization = registry.bearer(f"repository:{repository}:pull,push")

    def lanes(engine: Engine, tally: Tally) -> list[Lane]:
        caller = caller_of(engine, registry, authorization)

        def push() -> Steps[None]:
            for body in [*layers, config]:
                yield from caller.push_blob(repository, body)
            yield from caller.push_manifest(repository, "single", manifest)
            yield from caller.push_manifest(repository, "latest", index)

        return [attempt(tally, caller.connection, push)]

    outcome = drive(lanes)
    if outcome.errors:
        raise RuntimeError(f"{registry.name}: cannot push {repository}: {outcome.message}")
    return Image(repository, index, manifest, (config.digest, *(layer.digest for layer in layers)))


def bearer_in(reply: Reply) -> str:
    """The Authorization header's value out of a token service's answer."""
    return f"Bearer {json.loads(reply.body)['token']}"
