"""The API as a whole: support, authentication, categories, errors and parameters of every endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from . import data, spec
from .transport import Response
from .verbs import Repository, check_manifest, push_all, push_blob, tags_page, with_query
from .wire import Client, Credentials, check_errors, error_codes

NEVER_PUSHED = data.digest_of(b"nobody has pushed this")


@pytest.fixture
def guarded(client: Client) -> Client:
    """The client, when the registry asks for credentials; skips when it was started without."""
    if client.credentials is None:
        pytest.skip("the registry is open to all: give --username and --password")
    return client


def test_ping(client: Client) -> None:
    """The registry says that it implements the specification."""
    response = client.request("GET", "/v2/")
    spec.must(response.status == 200, spec.SUPPORT, response)


@pytest.mark.parametrize("mode", ["bearer", "basic"])
def test_ping_with_credentials(mode: str, guarded: Client) -> None:
    """Both a token of the service that the challenge names and a name with a password are accepted."""
    response = guarded.by(mode).request("GET", "/v2/")
    spec.must(response.status == 200, spec.SUPPORT, response)


@pytest.mark.parametrize("mode", ["bearer", "basic"])
def test_push_and_pull_with_credentials(mode: str, guarded: Client, repository: Repository) -> None:
    """A whole push and pull works in either way of authenticating."""
    place = Repository(guarded.by(mode), repository.name)
    made = data.make("image", "sha256")
    push_all(place, made)
    for tag, digest in made.tags.items():
        check_manifest(place, tag, made.manifests[digest])


def test_no_credentials(guarded: Client, repository: Repository) -> None:
    """Without credentials a push is answered with a challenge that names what is asked for."""
    response = guarded.anonymous().request("POST", repository.path("blobs/uploads/"))
    assert (response.status, error_codes(response)) == (401, {"UNAUTHORIZED"}), spec.ERROR_CODE_KNOWN
    challenge = response.header("WWW-Authenticate") or ""
    assert challenge.startswith("Bearer "), challenge
    assert f"repository:{repository.name}:" in challenge, challenge


def test_wrong_password(guarded: Client) -> None:
    """A wrong password is 401, directly and at the token service."""
    wrong = Client(guarded.transport, guarded.recorder, Credentials("admin", "not-the-password"), "basic")
    response = wrong.request("GET", "/v2/")
    assert (response.status, error_codes(response)) == (401, {"UNAUTHORIZED"}), spec.ERROR_CODE_KNOWN


@pytest.mark.parametrize("algorithm", data.ALGORITHMS)
def test_every_category(algorithm: str, repository: Repository) -> None:
    """Pull, push, discovery and management are all there: no endpoint of the table is unknown or not allowed."""
    made = data.make("image", algorithm)
    push_all(repository, made)
    digest, blob = next(iter(made.manifests)), next(iter(made.blobs))
    reads = ("manifests/image", f"manifests/{digest}", f"blobs/{blob}", "tags/list", "tags/list?n=1&last=a")
    lists = (f"referrers/{digest}", f"referrers/{digest}?artifactType=a/b")
    for suffix in (*reads, *lists):
        response = repository.request("GET", suffix)
        spec.must(response.status == 200, spec.CATEGORY_PULL, (suffix, response))
    for suffix in ("manifests/image", f"manifests/{digest}"):
        response = repository.request("DELETE", suffix)
        spec.should(response.status == 202, spec.CATEGORY_OTHERS, (suffix, response))
    response = repository.request("DELETE", f"blobs/{blob}")
    spec.must(response.status == 202, spec.CATEGORY_CLAIMED, response)


READS = ["manifests/latest", f"manifests/{NEVER_PUSHED}", f"blobs/{NEVER_PUSHED}"]


@pytest.mark.parametrize("suffix", READS)
def test_nonexistent_repository(suffix: str, repository: Repository) -> None:
    """Nothing can be pulled from a repository that does not exist."""
    response = repository.request("GET", suffix)
    spec.must(response.status == 404, spec.REPOSITORY_MISSING, response)
    spec.must(error_codes(response), spec.ERROR_FORMAT, response)
    spec.must(repository.request("HEAD", suffix).status == 404, spec.HEAD_MISSING)


def refusals(repository: Repository) -> dict[str, Response]:
    """One answer for each kind of mistake, by the code that it must carry."""
    made = data.make("image", "sha256")
    push_all(repository, made)
    manifest = next(iter(made.manifests.values()))
    bad = data.Manifest(NEVER_PUSHED, manifest.media_type, manifest.raw)
    upload = with_query("blobs/uploads/", digest=NEVER_PUSHED)
    opened = repository.request("POST", "blobs/uploads/").header("Location") or ""
    repository.follow("DELETE", opened)
    return {
        "BLOB_UNKNOWN": repository.blob("GET", NEVER_PUSHED),
        "BLOB_UPLOAD_UNKNOWN": repository.follow("PATCH", opened, (), b"content"),
        "DIGEST_INVALID": repository.request("POST", upload, (("Content-Type", data.OCTETS),), os.urandom(8)),
        "MANIFEST_INVALID": repository.request("PUT", "manifests/x", (("Content-Type", data.IMAGE_MANIFEST),), b"{"),
        "MANIFEST_UNKNOWN": repository.manifest("GET", NEVER_PUSHED),
        "DIGEST_INVALID ": repository.put_manifest(bad),
    }


def test_error_codes(repository: Repository) -> None:
    """Each kind of mistake is answered in the format of errors, with its own code."""
    for code, response in refusals(repository).items():
        assert response.status in {400, 404}, response
        check_errors(response)
        spec.must(error_codes(response) == {code.strip()}, spec.ERROR_CODE_KNOWN, response)


def test_name_codes(repository: Repository) -> None:
    """A name that cannot be is invalid, and one that could be is unknown."""
    invalid = Repository(repository.client, repository.name + "/UPPER").request("POST", "blobs/uploads/")
    assert error_codes(invalid) <= {"NAME_INVALID", "NAME_UNKNOWN"}, spec.ERROR_CODE_KNOWN
    check_errors(invalid)
    unknown = repository.manifest("GET", "latest")
    assert error_codes(unknown) <= {"NAME_UNKNOWN", "MANIFEST_UNKNOWN"}, spec.ERROR_CODE_KNOWN
    check_errors(unknown)


@pytest.mark.parametrize("suffix", ["tags/list", "manifests/latest"])
def test_method_not_allowed(suffix: str, repository: Repository) -> None:
    """A method that an endpoint does not have is refused as not allowed."""
    push_all(repository, data.make("image", "sha256"))
    response = repository.request("PATCH", suffix, (), b"x")
    spec.should(response.status in {404, 405}, spec.HTTP_SEMANTICS, response)


def test_source_host(repository: Repository) -> None:
    """The `ns` parameter is ignored, or comes back in its header."""
    made = data.make("image", "sha256")
    push_all(repository, made)
    response = repository.request("GET", "manifests/image?ns=registry.example.com", (("Accept", data.IMAGE_MANIFEST),))
    assert response.status == 200, spec.MANIFEST_FOUND
    spec.should(response.header("OCI-Namespace") in {None, "registry.example.com"}, spec.NAMESPACE_HEADER, response)


def test_content_length_is_held_to(repository: Repository) -> None:
    """A single POST is measured by what it brings: content of another length is not taken for the blob."""
    content = os.urandom(1000)
    upload = with_query("blobs/uploads/", digest=data.digest_of(content))
    response = repository.request("POST", upload, (("Content-Type", data.OCTETS),), content[:-1])
    spec.must(response.status in {400, 202}, spec.SINGLE_POST_LENGTH, response)
    spec.must(repository.blob("HEAD", data.digest_of(content)).status == 404, spec.BLOB_MISSING)


def test_many_repositories(new_repository: Callable[[], Repository]) -> None:
    """The same content lives in several repositories, each with its own names."""
    made = data.make("image", "sha256")
    places = [new_repository() for _ in range(3)]
    for place in places:
        push_all(place, made)
    places[0].manifest("DELETE", next(iter(made.manifests)))
    assert tags_page(places[0]) == ([], None)
    for place in places[1:]:
        check_manifest(place, "image", next(iter(made.manifests.values())))
        push_blob(place, b"more", data.digest_of(b"more"))
