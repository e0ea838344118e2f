"""Blobs: the ways to push one, what a bad digest does, mounting, cancelling and fetching."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from . import data, spec
from .verbs import (
    OCTETS,
    WAYS,
    Repository,
    accepted,
    check_blob,
    check_blob_head,
    check_location,
    chunk_size,
    close_upload,
    delete_blob,
    location_of,
    open_upload,
    patch_chunk,
    push_blob,
    with_query,
)
from .wire import error_codes

every_algorithm = pytest.mark.parametrize("algorithm", data.ALGORITHMS)
every_way = pytest.mark.parametrize("way", WAYS)
KNOWN_CONTENTS = {"empty": b"", "empty-json": b"{}"}


@every_way
@every_algorithm
def test_push(algorithm: str, way: str, repository: Repository) -> None:
    """A blob pushed in each of the four ways can be checked, fetched and deleted."""
    content = os.urandom(5000)
    digest = data.digest_of(content, algorithm)
    response = push_blob(repository, content, digest, way)
    check_location(repository, response, content, spec.BLOB_LOCATION)
    check_blob_head(repository, digest, content)
    check_blob(repository, digest, content)
    delete_blob(repository, digest)


@every_way
def test_push_with_announced_algorithm(way: str, repository: Repository) -> None:
    """A blob whose algorithm was announced on POST is stored under the digest of that algorithm."""
    content = os.urandom(3000)
    digest = data.digest_of(content, "sha512")
    response = push_blob(repository, content, digest, way, **{"digest-algorithm": "sha512"})
    spec.should(response.status == 201, spec.UPLOAD_ALGORITHM, response)
    check_blob(repository, digest, content)


@every_way
@pytest.mark.parametrize("kind", KNOWN_CONTENTS)
@every_algorithm
def test_known_content(algorithm: str, kind: str, way: str, repository: Repository) -> None:
    """The empty blob and the empty JSON document are blobs like any other."""
    content = KNOWN_CONTENTS[kind]
    digest = data.digest_of(content, algorithm)
    push_blob(repository, content, digest, way)
    check_blob_head(repository, digest, content)
    check_blob(repository, digest, content)
    delete_blob(repository, digest)


@every_algorithm
def test_push_twice(algorithm: str, repository: Repository) -> None:
    """Pushing content that is already there succeeds again and changes nothing."""
    content = os.urandom(100)
    digest = data.digest_of(content, algorithm)
    push_blob(repository, content, digest)
    push_blob(repository, content, digest, "patch-stream")
    check_blob(repository, digest, content)


@every_algorithm
def test_missing_blob(algorithm: str, new_repository: Callable[[], Repository]) -> None:
    """A blob that was never pushed, or only to another repository, is not found."""
    here, elsewhere = new_repository(), new_repository()
    content = os.urandom(64)
    digest = data.digest_of(content, algorithm)
    push_blob(elsewhere, content, digest)
    known = os.urandom(64)
    push_blob(here, known, data.digest_of(known, algorithm))
    response = here.blob("GET", digest)
    spec.must(response.status == 404, spec.BLOB_MISSING, response)
    assert error_codes(response) == {"BLOB_UNKNOWN"}
    spec.must(here.blob("HEAD", digest).status == 404, spec.HEAD_MISSING)


@every_way
@every_algorithm
def test_bad_digest(algorithm: str, way: str, repository: Repository) -> None:
    """Content that does not match its digest is refused in each way and is not stored."""
    content = os.urandom(3000)
    digest = data.digest_of(content, algorithm)
    response = WAYS[way](repository, content + b"more", digest)
    spec.should(response.status == 400, spec.DIGEST_INVALID, response)
    assert error_codes(response) == {"DIGEST_INVALID"}
    spec.must(repository.blob("HEAD", digest).status == 404, spec.SINGLE_POST_DIGEST)


@every_algorithm
def test_bad_digest_on_closing_chunk(algorithm: str, repository: Repository) -> None:
    """A closing PUT that brings the last chunk is refused when the whole does not match the digest."""
    opened = open_upload(repository)
    size = chunk_size(opened, 3000)
    content = os.urandom(2 * size + 952)
    digest = data.digest_of(content + b"other", algorithm)
    location = accepted(patch_chunk(repository, location_of(opened), content[:size], 0), size - 1)
    headers = (*OCTETS, ("Content-Range", f"{size}-{len(content) - 1}"))
    response = repository.follow("PUT", with_query(location, digest=digest), headers, content[size:])
    spec.should(response.status == 400, spec.DIGEST_INVALID, response)
    spec.must(repository.blob("HEAD", digest).status == 404, spec.BLOB_MISSING)


@pytest.mark.parametrize(
    "digest",
    ["sha256:short", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", "", "sha256:" + "A" * 64],
    ids=["short", "bare", "unsupported", "empty", "upper-case"],
)
def test_invalid_digest(digest: str, repository: Repository) -> None:
    """A digest that is malformed or of an unsupported algorithm is refused with 400."""
    response = close_upload(repository, location_of(open_upload(repository)), digest, b"content")
    spec.should(response.status == 400, spec.DIGEST_INVALID, response)
    assert error_codes(response) == {"DIGEST_INVALID"}


@every_way
@every_algorithm
def test_mount(algorithm: str, way: str, new_repository: Callable[[], Repository]) -> None:
    """A blob of another repository is mounted without its bytes, and stays when the other loses it."""
    source, target = new_repository(), new_repository()
    content = os.urandom(512)
    digest = data.digest_of(content, algorithm)
    push_blob(source, content, digest, way)
    target = target.asking(f"repository:{source.name}:pull")
    response = target.request("POST", with_query("blobs/uploads/", mount=digest, **{"from": source.name}))
    spec.must(response.status == 201 and response.header("Location"), spec.MOUNTED, response)
    spec.must(response.header("Docker-Content-Digest") in {None, digest}, spec.BLOB_DIGEST_MATCHES, response.headers)
    check_location(target, response, content, spec.MOUNTED)
    check_blob_head(target, digest, content)
    delete_blob(source, digest)
    check_blob(target, digest, content)
    delete_blob(target, digest)


@every_way
@every_algorithm
def test_mount_anonymous(algorithm: str, way: str, new_repository: Callable[[], Repository]) -> None:
    """A mount that names no source is done, or becomes an upload that can be finished."""
    source, target = new_repository(), new_repository()
    content = os.urandom(512)
    digest = data.digest_of(content, algorithm)
    push_blob(source, content, digest, way)
    response = target.request("POST", with_query("blobs/uploads/", mount=digest))
    if response.status != 201:
        spec.should(response.status == 202 and response.header("Location"), spec.MOUNT_UNABLE, response)
        response = close_upload(target, location_of(response), digest, content)
    spec.must(response.status == 201, spec.MOUNTED, response)
    check_location(target, response, content, spec.MOUNTED)
    delete_blob(target, digest)
    delete_blob(source, digest)


@every_algorithm
def test_mount_missing(algorithm: str, new_repository: Callable[[], Repository]) -> None:
    """A mount of what the source does not have becomes an upload that can be finished."""
    source, target = new_repository(), new_repository()
    push_blob(source, b"another", data.digest_of(b"another", algorithm))
    content = os.urandom(512)
    digest = data.digest_of(content, algorithm)
    target = target.asking(f"repository:{source.name}:pull")
    response = target.request("POST", with_query("blobs/uploads/", mount=digest, **{"from": source.name}))
    spec.should(response.status == 202 and response.header("Location"), spec.MOUNT_UNABLE, response)
    closed = close_upload(target, location_of(response), digest, content)
    spec.must(closed.status == 201, spec.UPLOAD_DONE, closed)
    check_blob_head(target, digest, content)
    check_blob(target, digest, content)
    delete_blob(target, digest)


def test_mount_unknown_without_source(repository: Repository) -> None:
    """A mount without a source of a blob that nobody has opens an upload in this repository."""
    digest = data.digest_of(os.urandom(16))
    response = repository.request("POST", with_query("blobs/uploads/", mount=digest))
    spec.should(response.status == 202 and response.header("Location"), spec.MOUNT_UNABLE, response)


@every_algorithm
def test_cancel(algorithm: str, repository: Repository) -> None:
    """A cancelled upload is gone: it can be neither read, continued nor closed."""
    content = os.urandom(512)
    digest = data.digest_of(content, algorithm)
    location = location_of(repository.request("POST", "blobs/uploads/"))
    response = repository.follow("DELETE", location, (("Content-Length", "0"),))
    spec.should(response.status == 204, spec.UPLOAD_CANCELLED, response)
    assert repository.follow("GET", location).status == 404, spec.UPLOAD_STATUS
    assert close_upload(repository, location, digest, content).status == 404, spec.UPLOAD_CANCELLED
    response = repository.blob("DELETE", digest)
    spec.must(response.status == 404, spec.DELETE_NO_BLOB, response)
