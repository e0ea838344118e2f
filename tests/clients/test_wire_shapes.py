"""The shapes in which clients send uploads and manifests: raw replays of what was recorded."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.clients import images
from tests.clients.target import Registry
from tests.clients.wire import TEXT, bearer, get_token, location, manifest_of, push_blob, start_upload, token_of

pytestmark = pytest.mark.tier_a
# The beginning of a TLS 1.2 ClientHello: record type, version, length, handshake type.
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)


@pytest.fixture
def token(registry: Registry, repository: str) -> str:
    """A token that may push and pull the test's repository."""
    return token_of(get_token(registry, f"repository:{repository}:pull,push"))


def chunks(content: bytes, size: int = 7) -> Iterator[bytes]:
    """The content piece by piece, which makes the client use chunked transfer encoding."""
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("shape", ["length", "chunked", "range"])
def test_patch_then_put(registry: Registry, repository: str, token: str, shape: str) -> None:
    """docker sends PATCH in chunks, crane with a length, wash with `Content-Range`; PUT has no body."""
    digest = images.digest_of(TEXT)
    path = location(registry, start_upload(registry, repository, token))
    headers = {"Content-Type": "application/octet-stream"}
    if shape == "range":
        headers["Content-Range"] = f"0-{len(TEXT) - 1}"
    body = chunks(TEXT) if shape == "chunked" else TEXT
    patched = registry.request("PATCH", path, data=body, **bearer(token, **headers))
    assert patched.headers["Range"] == f"0-{len(TEXT) - 1}"
    done = registry.request("PUT", location(registry, patched, digest), **bearer(token))
    assert done.status_code == 201
    assert registry.request("HEAD", f"/v2/{repository}/blobs/{digest}", **bearer(token)).status_code == 200
    assert registry.blob(repository, digest) == TEXT


def test_several_ranges(registry: Registry, repository: str, token: str) -> None:
    """Chunks with `Content-Range` join in order, and one out of order is 416 and changes nothing."""
    path = location(registry, start_upload(registry, repository, token))
    for start in range(0, len(TEXT), 10):
        piece = TEXT[start : start + 10]
        span = {"Content-Range": f"{start}-{start + len(piece) - 1}"}
        answer = registry.request("PATCH", path, data=piece, **bearer(token, **span))
        path = location(registry, answer)
    late = registry.request("PATCH", path, data=b"x", **bearer(token, **{"Content-Range": "0-0"}))
    assert late.status_code == 416
    done = registry.request("PUT", location(registry, answer, images.digest_of(TEXT)), **bearer(token))
    assert done.status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_put_in_one_piece(registry: Registry, repository: str, token: str, chunked: bool) -> None:
    """Helm and the Dev Container CLI put the whole blob with the PUT."""
    digest = images.digest_of(TEXT)
    path = location(registry, start_upload(registry, repository, token), digest)
    done = registry.request("PUT", path, data=chunks(TEXT) if chunked else TEXT, **bearer(token))
    assert done.status_code == 201
    assert done.headers["Docker-Content-Digest"] == digest
    assert registry.blob(repository, digest) == TEXT


def test_manifest_in_chunks(registry: Registry, repository: str, token: str) -> None:
    """The Dev Container CLI sends manifests with chunked transfer encoding and no length."""
    blob = push_blob(registry, repository, token)
    content = manifest_of(blob, blob, len(TEXT))
    options = bearer(token, **{"Content-Type": images.IMAGE_MANIFEST})
    done = registry.request("PUT", f"/v2/{repository}/manifests/v1", data=chunks(content, 50), **options)
    assert done.status_code == 201
    assert registry.manifest(repository, "v1").content == content


def test_manifest_by_digest_then_by_tag(registry: Registry, repository: str, token: str) -> None:
    """Helm 4 puts the manifest by its digest, reads it, and then puts it again under the tag."""
    blob = push_blob(registry, repository, token)
    content = manifest_of(blob, blob, len(TEXT))
    options = bearer(token, **{"Content-Type": images.IMAGE_MANIFEST})
    for reference in (images.digest_of(content), "0.1.0"):
        done = registry.request("PUT", f"/v2/{repository}/manifests/{reference}", data=content, **options)
        assert done.status_code == 201
        assert done.headers["Docker-Content-Digest"] == images.digest_of(content)
        assert registry.manifest(repository, images.digest_of(content)).content == content
    assert registry.tags(repository) == ["0.1.0"]


def test_accept_with_anything(registry: Registry, repository: str, token: str) -> None:
    """containerd accepts `*/*` beside its types, and asks for a blob by a media type of its own."""
    blob = push_blob(registry, repository, token)
    content = manifest_of(blob, blob, len(TEXT))
    options = bearer(token, **{"Content-Type": images.IMAGE_MANIFEST})
    registry.request("PUT", f"/v2/{repository}/manifests/v1", data=content, **options)
    accept = f"{images.DOCKER_MANIFEST}, */*"
    answer = registry.request("GET", f"/v2/{repository}/manifests/v1", **bearer(token, Accept=accept))
    assert answer.headers["Content-Type"] == images.IMAGE_MANIFEST
    accept = "application/vnd.docker.image.rootfs.diff.tar.gzip, */*"
    assert registry.request("GET", f"/v2/{repository}/blobs/{blob}", **bearer(token, Accept=accept)).content == TEXT


def test_mirror_parameter_changes_nothing(registry: Registry, repository: str, token: str) -> None:
    """`?ns=docker.io`, which containerd adds for a mirror, is accepted on every read and means nothing here."""
    blob = push_blob(registry, repository, token)
    content = manifest_of(blob, blob, len(TEXT))
    options = bearer(token, **{"Content-Type": images.IMAGE_MANIFEST})
    registry.request("PUT", f"/v2/{repository}/manifests/v1", data=content, **options)
    for method in ("HEAD", "GET"):
        for path in ("manifests/v1", f"manifests/{images.digest_of(content)}", f"blobs/{blob}"):
            address = f"/v2/{repository}/{path}?ns=docker.io"
            assert registry.request(method, address, **bearer(token)).status_code == 200
    assert registry.request("HEAD", f"/v2/{repository}/manifests/none?ns=docker.io", **bearer(token)).status_code == 404


def test_plain_port_answers_a_tls_hello_in_http(registry: Registry) -> None:
    """A TLS greeting on the plain port gets bytes that begin `HTTP/`: Go clients then know to speak plain HTTP."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", registry.port), timeout=10)) as connection:
        connection.sendall(CLIENT_HELLO)
        assert connection.recv(5) == b"HTTP/"


def test_expect_continue(registry: Registry, repository: str, token: str) -> None:
    """A client that waits for `100 Continue` before it sends a body gets it."""
    digest = images.digest_of(TEXT)
    path = location(registry, start_upload(registry, repository, token), digest)
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: {registry.host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(TEXT)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection(("127.0.0.1", registry.port), timeout=10)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(TEXT)
        assert connection.recv(100).startswith(b"HTTP/1.1 201")
