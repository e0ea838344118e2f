"""Upload sessions: chunks in order and out of it, where an upload stands, and sessions that do not exist."""

from __future__ import annotations

import os
import re

import pytest

from . import data, spec
from .transport import Response
from .verbs import (
    NO_LENGTH,
    OCTETS,
    Repository,
    accepted,
    check_blob,
    check_blob_head,
    chunk_size,
    close_upload,
    delete_blob,
    location_of,
    open_upload,
    patch_chunk,
    with_query,
)
from .wire import error_codes

every_algorithm = pytest.mark.parametrize("algorithm", data.ALGORITHMS)


def three_chunks(repository: Repository) -> tuple[str, list[bytes]]:
    """An open upload's location and content for it in three chunks, the last one shorter."""
    opened = open_upload(repository)
    size = chunk_size(opened, 0)
    content = os.urandom(size * 3 - 5)
    return location_of(opened), [content[start : start + size] for start in range(0, len(content), size)]


def put_chunk(repository: Repository, location: str, chunk: bytes, start: int) -> Response:
    """PUT a last chunk with its range; the digest is of that chunk alone and must not matter."""
    headers = (*OCTETS, ("Content-Range", f"{start}-{start + len(chunk) - 1}"))
    return repository.follow("PUT", location, headers, chunk)


def status(repository: Repository, location: str, end: int | None) -> str:
    """GET an upload's state, held to its sentences; answers where to go on. No end: nothing has come yet."""
    response = repository.follow("GET", location)
    spec.must(response.status == 204 and response.header("Location"), spec.UPLOAD_STATUS, response)
    given = response.header("Range") or ""
    spec.must(re.fullmatch(r"0-[0-9]+", given), spec.UPLOAD_STATUS, response.headers)
    spec.must(end is None or given == f"0-{end}", spec.UPLOAD_STATUS_END, given)
    return location_of(response)


def is_closed(repository: Repository, response: Response, digest: str, content: bytes) -> None:
    """The session was closed and the blob is there."""
    spec.must(response.status == 201 and response.header("Location"), spec.CLOSED, response)
    check_blob_head(repository, digest, content)
    check_blob(repository, digest, content)
    delete_blob(repository, digest)


def test_sessions_are_unique(repository: Repository) -> None:
    """Each POST opens a session of its own."""
    locations = {location_of(open_upload(repository)) for _ in range(10)}
    spec.must(len(locations) == 10, spec.UPLOAD_UNIQUE, locations)


@every_algorithm
def test_single_chunk(algorithm: str, repository: Repository) -> None:
    """One ranged PATCH that brings all of the content is a chunked upload too."""
    content = os.urandom(512)
    digest = data.digest_of(content, algorithm)
    location = accepted(patch_chunk(repository, location_of(open_upload(repository)), content, 0), 511)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


@every_algorithm
def test_many_chunks(algorithm: str, repository: Repository) -> None:
    """Chunks in order are accepted one after the other and make up the blob."""
    location, chunks = three_chunks(repository)
    content, start = b"".join(chunks), 0
    for chunk in chunks:
        location = accepted(patch_chunk(repository, location, chunk, start), start + len(chunk) - 1)
        start += len(chunk)
    digest = data.digest_of(content, algorithm)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


@every_algorithm
def test_last_chunk_in_put(algorithm: str, repository: Repository) -> None:
    """The closing PUT may bring the last chunk, and its digest is that of the whole."""
    location, (first, second, third) = three_chunks(repository)
    size = len(first)
    content = first + second + third
    location = accepted(patch_chunk(repository, location, first, 0), size - 1)
    location = accepted(patch_chunk(repository, location, second, size), 2 * size - 1)
    digest = data.digest_of(content, algorithm)
    response = put_chunk(repository, with_query(location, digest=digest), third, 2 * size)
    is_closed(repository, response, digest, content)


@every_algorithm
def test_chunks_out_of_order(algorithm: str, repository: Repository) -> None:
    """A chunk ahead of or behind the upload is 416 each time, and the upload goes on where it stood."""
    location, chunks = three_chunks(repository)
    content, size, end = b"".join(chunks), len(chunks[0]), None
    for number, chunk in enumerate(chunks):
        wrong = number + 1 if number + 1 < len(chunks) else 0
        response = patch_chunk(repository, location, chunks[wrong], wrong * size)
        spec.must(response.status == 416, spec.CHUNK_OUT_OF_ORDER, response)
        location = status(repository, location, end)
        end = number * size + len(chunk) - 1
        location = accepted(patch_chunk(repository, location, chunk, number * size), end)
    digest = data.digest_of(content, algorithm)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


@every_algorithm
def test_last_chunk_out_of_order(algorithm: str, repository: Repository) -> None:
    """A closing PUT whose chunk comes too early is 416, and the upload can still be finished."""
    location, (first, second, third) = three_chunks(repository)
    size, content = len(first), first + second + third
    digest = data.digest_of(content, algorithm)
    location = accepted(patch_chunk(repository, location, first, 0), size - 1)
    response = put_chunk(repository, with_query(location, digest=digest), third, 2 * size)
    spec.must(response.status == 416, spec.CLOSING_OUT_OF_ORDER, response)
    location = status(repository, location, size - 1)
    location = accepted(patch_chunk(repository, location, second, size), 2 * size - 1)
    response = put_chunk(repository, with_query(location, digest=digest), third, 2 * size)
    is_closed(repository, response, digest, content)


def test_first_chunk_begins_with_zero(repository: Repository) -> None:
    """A first chunk that begins anywhere else is out of order."""
    response = patch_chunk(repository, location_of(open_upload(repository)), b"content", 1)
    spec.must(response.status == 416, spec.CHUNK_FIRST, response)


def test_chunk_sent_twice(repository: Repository) -> None:
    """A chunk sent again to an older location is 416, and that location still tells where the upload stands."""
    old, (first, second, third) = three_chunks(repository)
    accepted(patch_chunk(repository, old, first, 0), len(first) - 1)
    response = patch_chunk(repository, old, first, 0)
    spec.must(response.status == 416, spec.CHUNK_OUT_OF_ORDER, response)
    location = status(repository, old, len(first) - 1)
    location = accepted(patch_chunk(repository, location, second + third, len(first)), len(first + second + third) - 1)
    content = first + second + third
    digest = data.digest_of(content)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


def test_overlapping_chunk(repository: Repository) -> None:
    """A chunk that begins inside what has been uploaded is 416 and changes nothing."""
    location, (first, second, third) = three_chunks(repository)
    location = accepted(patch_chunk(repository, location, first, 0), len(first) - 1)
    response = patch_chunk(repository, location, second, len(first) - 1)
    spec.must(response.status == 416, spec.CHUNK_ORDER, response)
    location = status(repository, location, len(first) - 1)
    accepted(patch_chunk(repository, location, second + third, len(first)), len(first + second + third) - 1)


@pytest.mark.parametrize("given", ["bytes 5-11/12", "bytes=0-6", "0", "0-", "-7", "a-b", "6-0"])
def test_malformed_content_range(given: str, repository: Repository) -> None:
    """A Content-Range in another form, or in that of RFC 9110 out of order, is refused and nothing is taken."""
    location = location_of(open_upload(repository))
    response = repository.follow("PATCH", location, (*OCTETS, ("Content-Range", given)), b"content")
    spec.must(response.status in {400, 416}, spec.CHUNK_RANGE_GRAMMAR, response)
    accepted(patch_chunk(repository, location, b"another", 0), 6)


def test_content_range_against_length(repository: Repository) -> None:
    """A Content-Range that says another length than the chunk has is refused."""
    location = location_of(open_upload(repository))
    response = repository.follow("PATCH", location, (*OCTETS, ("Content-Range", "0-9")), b"content")
    spec.must(response.status in {400, 416}, spec.CHUNK_INCLUSIVE, response)
    accepted(patch_chunk(repository, location, b"another", 0), 6)


def test_patches_without_ranges(repository: Repository) -> None:
    """Several PATCHes without Content-Range append one to the other."""
    content = os.urandom(3000)
    location = location_of(open_upload(repository))
    for start in range(0, 3000, 1000):
        response = repository.follow("PATCH", location, OCTETS, content[start : start + 1000])
        location = accepted(response, start + 999)
    digest = data.digest_of(content)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


def test_status_of_a_new_upload(repository: Repository) -> None:
    """An upload that has received nothing is active too."""
    status(repository, location_of(open_upload(repository)), None)


def test_closing_needs_a_digest(repository: Repository) -> None:
    """A PUT without the digest of the whole does not close the session."""
    location = location_of(open_upload(repository))
    response = repository.follow("PUT", location, OCTETS, b"content")
    spec.must(response.status == 400, spec.CLOSING_DIGEST, response)


def test_open_upload_is_no_blob(repository: Repository) -> None:
    """However much has been uploaded, there is no blob before the session is closed."""
    content = os.urandom(100)
    digest = data.digest_of(content)
    location = accepted(patch_chunk(repository, location_of(open_upload(repository)), content, 0), 99)
    spec.must(repository.blob("HEAD", digest).status == 404, spec.CLOSED_BY_PUT)
    is_closed(repository, close_upload(repository, location, digest), digest, content)


def test_closed_upload_is_gone(repository: Repository) -> None:
    """A session ends when it is closed."""
    content = os.urandom(100)
    location = location_of(open_upload(repository))
    response = close_upload(repository, location, data.digest_of(content), content)
    spec.must(response.status == 201, spec.CLOSED, response)
    response = repository.follow("GET", location)
    assert (response.status, error_codes(response)) == (404, {"BLOB_UPLOAD_UNKNOWN"}), spec.UPLOAD_STATUS


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_cancelled_upload_is_unknown(method: str, repository: Repository) -> None:
    """Whatever is sent to a cancelled upload is answered with 404 and its error code."""
    location = location_of(open_upload(repository))
    assert repository.follow("DELETE", location, NO_LENGTH).status == 204, spec.UPLOAD_CANCELLED
    target = with_query(location, digest=data.digest_of(b"")) if method == "PUT" else location
    response = repository.follow(method, target, NO_LENGTH)
    assert (response.status, error_codes(response)) == (404, {"BLOB_UPLOAD_UNKNOWN"}), spec.UPLOAD_CANCELLED


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "nothing"])
def test_unsupported_algorithm(algorithm: str, repository: Repository) -> None:
    """An upload cannot be opened for an algorithm that the registry does not support."""
    response = repository.request("POST", with_query("blobs/uploads/", **{"digest-algorithm": algorithm}), NO_LENGTH)
    spec.should(response.status == 400, spec.DIGEST_INVALID, response)


def test_upload_ends_with_another_algorithm_than_announced(repository: Repository) -> None:
    """The digest of the closing PUT decides, whatever algorithm was announced."""
    content = os.urandom(2000)
    location = location_of(open_upload(repository, **{"digest-algorithm": "sha512"}))
    location = accepted(patch_chunk(repository, location, content, 0), 1999)
    digest = data.digest_of(content)
    is_closed(repository, close_upload(repository, location, digest), digest, content)
