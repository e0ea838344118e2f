"""Range requests of blobs, as RFC 9110 has them."""

from __future__ import annotations

import os

import pytest

from . import data, spec
from .verbs import Repository, push_blob

SIZE = 2048
every_algorithm = pytest.mark.parametrize("algorithm", data.ALGORITHMS)
SATISFIABLE = {
    "500-1499": (500, 1499),
    "500-": (500, 2047),
    "-500": (1548, 2047),
    "2000-5000": (2000, 2047),
    "0-0": (0, 0),
    "2047-": (2047, 2047),
    "-5000": (0, 2047),
    "0-2047": (0, 2047),
}
UNSATISFIABLE = ["500-0", "5000-10000", "2048-", "-0"]


def pushed(repository: Repository, algorithm: str, way: str = "post-put") -> tuple[str, bytes]:
    """A blob in the repository: its digest and content."""
    content = os.urandom(SIZE)
    digest = data.digest_of(content, algorithm)
    push_blob(repository, content, digest, way)
    return digest, content


@pytest.mark.parametrize("given", SATISFIABLE)
@every_algorithm
def test_range(algorithm: str, given: str, repository: Repository) -> None:
    """A range that touches the blob answers 206 with just those bytes and says which they are."""
    digest, content = pushed(repository, algorithm)
    first, last = SATISFIABLE[given]
    response = repository.request("GET", f"blobs/{digest}", (("Range", f"bytes={given}"),))
    spec.should(response.status == 206 and response.body == content[first : last + 1], spec.BLOB_RANGE, response.status)
    spec.should(response.header("Content-Length") == str(last - first + 1), spec.BLOB_RANGE, response.headers)
    allowed = {f"bytes {first}-{last}/{SIZE}", f"bytes {first}-{last}/*"}
    spec.should(response.header("Content-Range") in allowed, spec.BLOB_RANGE, response.headers)


@pytest.mark.parametrize("given", UNSATISFIABLE)
@every_algorithm
def test_unsatisfiable_range(algorithm: str, given: str, repository: Repository) -> None:
    """A range that is backwards or beyond the blob answers 416."""
    digest, _ = pushed(repository, algorithm)
    response = repository.request("GET", f"blobs/{digest}", (("Range", f"bytes={given}"),))
    spec.should(response.status == 416, spec.BLOB_RANGE, response)


@pytest.mark.parametrize("way", ["post-only", "patch-stream", "patch-chunked"])
@every_algorithm
def test_range_however_pushed(algorithm: str, way: str, repository: Repository) -> None:
    """Ranges do not depend on how the blob was pushed, even across the borders of its chunks."""
    digest, content = pushed(repository, algorithm, way)
    response = repository.request("GET", f"blobs/{digest}", (("Range", "bytes=1000-1099"),))
    spec.should(response.status == 206 and response.body == content[1000:1100], spec.BLOB_RANGE, response.status)


@pytest.mark.parametrize("given", ["lines=1-2", "bytes=a-b", "bytes"])
def test_range_of_another_form(given: str, repository: Repository) -> None:
    """A Range in an unknown unit or form is ignored, or refused, but never half obeyed."""
    digest, content = pushed(repository, "sha256")
    response = repository.request("GET", f"blobs/{digest}", (("Range", given),))
    whole = response.status == 200 and response.body == content
    spec.should(whole or response.status in {400, 416}, spec.HTTP_SEMANTICS, response.status)


def test_range_of_a_missing_blob(repository: Repository) -> None:
    """A range of what is not there is 404, not 416."""
    pushed(repository, "sha256")
    response = repository.request("GET", f"blobs/{data.digest_of(b'none')}", (("Range", "bytes=0-1"),))
    spec.must(response.status == 404, spec.BLOB_MISSING, response)


def test_resumed_pull(repository: Repository) -> None:
    """A pull cut off at any byte goes on from there to the same content."""
    digest, content = pushed(repository, "sha256")
    start = b""
    while len(start) < SIZE:
        wanted = f"bytes={len(start)}-{len(start) + 699}"
        response = repository.request("GET", f"blobs/{digest}", (("Range", wanted),))
        spec.should(response.status == 206 and response.body, spec.BLOB_RANGE, response)
        start += response.body
    spec.must(start == content, spec.BLOB_RANGE)
