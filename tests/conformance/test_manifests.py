"""Manifests: exact bytes, references, sizes, what is refused, and tags given as parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from . import data, spec
from .verbs import (
    Repository,
    check_blob,
    check_blob_head,
    check_manifest,
    check_manifest_head,
    delete_blob,
    delete_manifest,
    listed,
    push_blob,
    push_manifest,
    tags_page,
)
from .wire import error_codes

FOUR_MEBIBYTES = 4 * 1024 * 1024
BEYOND_ANY_LIMIT = (5 * 1024 * 1024, 40 * 1024 * 1024)
every_algorithm = pytest.mark.parametrize("algorithm", data.ALGORITHMS)


def pushed_image(repository: Repository, algorithm: str = "sha256") -> data.Manifest:
    """Push the blobs of an image; answers its manifest, not yet pushed."""
    made = data.make("image", algorithm)
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    return next(iter(made.manifests.values()))


def of(raw: bytes, media_type: str = data.IMAGE_MANIFEST, algorithm: str = "sha256") -> data.Manifest:
    """A manifest of these bytes."""
    return data.Manifest(data.digest_of(raw, algorithm), media_type, raw)


@pytest.mark.parametrize("style", ["compact", "indented", "spaced", "reordered"])
def test_bytes_are_kept(style: str, repository: Repository) -> None:
    """However the JSON is written, the same bytes come back."""
    document = json.loads(pushed_image(repository).raw)
    raw = {
        "compact": json.dumps(document, separators=(",", ":")).encode(),
        "indented": json.dumps(document, indent="\t").encode(),
        "spaced": b"\n  " + json.dumps(document).encode() + b" \n\n",
        "reordered": json.dumps(dict(reversed(document.items()))).encode(),
    }[style]
    push_manifest(repository, of(raw))
    push_manifest(repository, of(raw), "kept")
    check_manifest(repository, "kept", of(raw))


def test_type_without_media_type_member(repository: Repository) -> None:
    """A manifest without `mediaType` is of the type that its Content-Type says."""
    document = json.loads(pushed_image(repository).raw)
    del document["mediaType"]
    manifest = of(data.encode(document))
    push_manifest(repository, manifest, "untyped")
    check_manifest(repository, "untyped", manifest)


def test_content_type_parameters_are_ignored(repository: Repository) -> None:
    """Parameters of the Content-Type of a push are dropped and do not come back."""
    manifest = pushed_image(repository)
    headers = (("Content-Type", f"{manifest.media_type}; charset=utf-8"),)
    response = repository.request("PUT", "manifests/parameters", headers, manifest.raw)
    spec.should(response.status == 201, spec.MANIFEST_PARAMETERS_IGNORED, response)
    check_manifest(repository, "parameters", manifest)


def test_streamed_manifest(repository: Repository) -> None:
    """A manifest may come without a length, in pieces."""
    manifest = pushed_image(repository)
    pieces = (manifest.raw[:100], manifest.raw[100:])
    response = repository.request("PUT", "manifests/streamed", (("Content-Type", manifest.media_type),), pieces)
    spec.must(response.status == 201, spec.MANIFEST_PUSHED, response)
    check_manifest(repository, manifest.digest, manifest)


def test_same_manifest_under_many_tags(repository: Repository) -> None:
    """One manifest can be pushed again under further tags, and each of them leads to it."""
    manifest = pushed_image(repository)
    for number in range(4):
        push_manifest(repository, manifest, f"test{number}")
    for number in range(4):
        check_manifest(repository, f"test{number}", manifest)
    check_manifest(repository, manifest.digest, manifest)


def test_tag_moves(repository: Repository) -> None:
    """A tag pushed again leads to the new manifest, and the old one stays by digest."""
    old, new = pushed_image(repository), pushed_image(repository)
    push_manifest(repository, old, "latest")
    push_manifest(repository, new, "latest")
    check_manifest(repository, "latest", new)
    check_manifest(repository, old.digest, old)


def test_no_layers(repository: Repository) -> None:
    """An image manifest with an empty list of layers is accepted."""
    made = data.make("no-layers", "sha256")
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    manifest = next(iter(made.manifests.values()))
    response = repository.put_manifest(manifest, "no-layers")
    spec.must(response.status == 201, spec.MANIFEST_NO_BLOBS, response)


@every_algorithm
def test_bad_digest_image(algorithm: str, repository: Repository) -> None:
    """A manifest pushed by a digest that is not its own is refused, while its blobs are there as before."""
    made = data.make("image", algorithm)
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    manifest = next(iter(made.manifests.values()))
    changed = data.Manifest(manifest.digest, manifest.media_type, manifest.raw + b"  ")
    response = repository.put_manifest(changed)
    spec.should(response.status == 400, spec.MANIFEST_PUSHED_DIGEST, response)
    assert error_codes(response) == {"DIGEST_INVALID"}
    assert tags_page(repository) == ([], None)
    for digest, content in made.blobs.items():
        check_blob_head(repository, digest, content)
        check_blob(repository, digest, content)
    response = repository.manifest("DELETE", manifest.digest)
    spec.must(response.status == 404, spec.MANIFEST_MISSING, response)
    for digest in made.blobs:
        delete_blob(repository, digest)


@pytest.mark.parametrize("reference", ["sha256:baddigeststring", "sha256:totallywrong", "sha256:", "md5:" + "0" * 32])
def test_invalid_digest_format(reference: str, repository: Repository) -> None:
    """A reference that looks like a digest and is none can be neither pushed nor pulled nor deleted."""
    made = data.make("image", "sha256")
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    manifest = next(iter(made.manifests.values()))
    response = repository.put_manifest(manifest, reference)
    spec.must(response.status == 400, spec.PUSH_REFERENCE_FORM, response)
    for method in ("GET", "HEAD", "DELETE"):
        response = repository.manifest(method, reference)
        spec.must(response.status in {400, 404}, spec.REFERENCE_OTHER, response)
    push_manifest(repository, manifest)
    delete_manifest(repository, manifest.digest)
    for digest in made.blobs:
        delete_blob(repository, digest)


def test_missing_manifest_by_digest(repository: Repository) -> None:
    """A digest that the repository does not have is not found."""
    push_manifest(repository, pushed_image(repository))
    for algorithm in data.ALGORITHMS:
        digest = data.digest_of(os.urandom(64), algorithm)
        response = repository.manifest("GET", digest)
        spec.must(response.status == 404, spec.MANIFEST_MISSING, response)
        assert error_codes(response) == {"MANIFEST_UNKNOWN"}
        spec.must(repository.manifest("HEAD", digest).status == 404, spec.HEAD_MISSING)


@pytest.mark.parametrize("tag", ["missing", ".INVALID_MANIFEST_NAME"])
def test_missing_manifest_by_tag(tag: str, repository: Repository) -> None:
    """A tag that the repository does not have, even one that no repository can have, is not found."""
    push_manifest(repository, pushed_image(repository))
    response = repository.manifest("GET", tag)
    spec.must(response.status == 404, spec.MANIFEST_MISSING, response)
    assert error_codes(response) == {"MANIFEST_UNKNOWN"}
    spec.must(repository.manifest("HEAD", tag).status == 404, spec.HEAD_MISSING)


def test_manifest_of_another_repository(new_repository: Callable[[], Repository]) -> None:
    """What one repository has, another does not."""
    here, elsewhere = new_repository(), new_repository()
    push_manifest(here, pushed_image(here))
    manifest = pushed_image(elsewhere)
    push_manifest(elsewhere, manifest, "theirs")
    for reference in ("theirs", manifest.digest):
        response = here.manifest("GET", reference)
        spec.must(response.status == 404, spec.MANIFEST_MISSING, response)


@pytest.mark.parametrize("tag", ["a", "_", "0", "1.2.3-rc.1_x", "UPPER", "a" * 128])
def test_tag_grammar(tag: str, repository: Repository) -> None:
    """Every tag of the grammar can be pushed and pulled."""
    manifest = pushed_image(repository)
    response = repository.put_manifest(manifest, tag)
    spec.must(response.status == 201, spec.TAG_GRAMMAR, response)
    check_manifest_head(repository, tag, manifest)
    spec.must(tags_page(repository) == ([tag], None), spec.TAG_GRAMMAR)


@pytest.mark.parametrize("tag", [".hidden", "-dash", "a" * 129, "a%20b", "%C3%A4", "a+b"])
def test_tag_outside_the_grammar(tag: str, repository: Repository) -> None:
    """A tag outside the grammar is refused."""
    response = repository.put_manifest(pushed_image(repository), tag)
    spec.must(400 <= response.status < 500, spec.REFERENCE_FORM, response)
    assert error_codes(response) & {"MANIFEST_INVALID", "NAME_INVALID", "UNSUPPORTED"}, spec.TAG_GRAMMAR


@pytest.mark.parametrize("suffix", ["", "/a/b/c", "/a-b.c_d__e---f", "/0"])
def test_name_grammar(suffix: str, repository: Repository) -> None:
    """Every repository name of the grammar can be pushed to and pulled from."""
    place = Repository(repository.client, repository.name + suffix)
    manifest = pushed_image(place)
    push_manifest(place, manifest, "named")
    response = place.manifest("GET", "named")
    spec.must(response.status == 200, spec.NAME_GRAMMAR, response)
    assert tags_page(place) == (["named"], None)


@pytest.mark.parametrize("suffix", ["/UPPER", "/-a", "/a-", "/a..b", "/a___b", "/.a", "/%C3%A4"])
def test_name_outside_the_grammar(suffix: str, repository: Repository) -> None:
    """A repository name outside the grammar is refused or not found, and nothing can be pushed to it."""
    place = Repository(repository.client, repository.name + suffix)
    response = place.request("POST", "blobs/uploads/")
    spec.must(response.status in {400, 404}, spec.NAME_GRAMMAR, response)
    response = place.manifest("GET", "latest")
    spec.must(response.status in {400, 404}, spec.NAME_GRAMMAR, response)


@pytest.mark.parametrize("raw", [b"", b"blablabla", b"[]", b"{}", b'{"schemaVersion": 2,', b"\xff\xfe"])
def test_invalid_manifest(raw: bytes, repository: Repository) -> None:
    """What is no manifest is refused with its error code and does not move the tag."""
    kept = pushed_image(repository)
    push_manifest(repository, kept, "kept")
    response = repository.put_manifest(of(raw), "kept")
    assert (response.status, error_codes(response)) == (400, {"MANIFEST_INVALID"}), spec.ERROR_CODE_KNOWN
    check_manifest(repository, "kept", kept)


@pytest.mark.parametrize("lacking", ["config", "layer"])
def test_unknown_blob(lacking: str, repository: Repository) -> None:
    """A manifest whose config or layer is not in the repository is accepted, or refused with the right code."""
    made = data.make("image", "sha256")
    manifest = next(iter(made.manifests.values()))
    document = json.loads(manifest.raw)
    absent = document["config"] if lacking == "config" else document["layers"][0]
    for digest, content in made.blobs.items():
        if digest != absent["digest"]:
            push_blob(repository, content, digest)
    response = repository.put_manifest(manifest, "lacking")
    refused = "MANIFEST_BLOB_UNKNOWN" in error_codes(response)
    spec.must(response.status == 201 or refused, spec.MANIFEST_UNKNOWN_REFERENCES, response)
    found = repository.manifest("GET", "lacking").status
    spec.must(found == (200 if response.status == 201 else 404), spec.MANIFEST_MISSING, found)


def test_blob_of_another_repository(new_repository: Callable[[], Repository]) -> None:
    """A manifest does not reach into another repository for its blobs."""
    here, elsewhere = new_repository(), new_repository()
    manifest = pushed_image(elsewhere)
    pushed_image(here)
    response = here.put_manifest(manifest, "reaching")
    refused = "MANIFEST_BLOB_UNKNOWN" in error_codes(response)
    spec.must(response.status == 201 or refused, spec.MANIFEST_UNKNOWN_REFERENCES, response)
    digest = json.loads(manifest.raw)["config"]["digest"]
    spec.must(here.blob("GET", digest).status == 404, spec.BLOB_MISSING)


def test_four_megabytes(repository: Repository) -> None:
    """A manifest of four mebibytes is accepted and comes back whole."""
    document = json.loads(pushed_image(repository).raw)
    document["annotations"] = {"org.example.filling": ""}
    missing = FOUR_MEBIBYTES - len(json.dumps(document))
    document["annotations"]["org.example.filling"] = "x" * missing
    manifest = of(json.dumps(document).encode())
    response = repository.put_manifest(manifest, "four")
    spec.should(response.status == 201, spec.MANIFEST_FOUR_MEGABYTES, response)
    check_manifest(repository, "four", manifest)


def test_too_large(repository: Repository) -> None:
    """Somewhere beyond four mebibytes a manifest is refused with 413."""
    document = json.loads(pushed_image(repository).raw)
    statuses = []
    for size in BEYOND_ANY_LIMIT:
        document["annotations"] = {"org.example.filling": "x" * size}
        statuses.append(repository.put_manifest(of(json.dumps(document).encode()), "large").status)
    spec.should(set(statuses) != {201}, spec.MANIFEST_LIMIT, statuses)
    spec.should(413 in statuses, spec.MANIFEST_TOO_LARGE, statuses)


@every_algorithm
def test_ten_tags(algorithm: str, repository: Repository) -> None:
    """A push by digest can set ten tags at once, and each is named in the answer and leads to the manifest."""
    manifest = pushed_image(repository, algorithm)
    tags = [f"t{number}" for number in range(10)]
    response = repository.put_manifest(manifest, tags=tags)
    spec.must(response.status == 201, spec.MANIFEST_PUSHED, response)
    spec.should(set(listed(response, "OCI-Tag")) == set(tags), spec.MANIFEST_TEN_TAGS, response.headers)
    for tag in tags:
        check_manifest(repository, tag, manifest)
    assert tags_page(repository) == (tags, None)


def test_invalid_tag_parameter(repository: Repository) -> None:
    """A tag parameter outside the grammar is refused or left out of the answer, and is not set."""
    response = repository.put_manifest(pushed_image(repository), tags=["good", "-bad"])
    spec.must("-bad" not in listed(response, "OCI-Tag"), spec.MANIFEST_TAGS, response.headers)
    spec.must(response.status in {201, 400}, spec.MANIFEST_TAGS, response)
    spec.must(repository.manifest("HEAD", "-bad").status == 404, spec.TAG_GRAMMAR)


def test_tag_of_a_sha512_image(repository: Repository) -> None:
    """A manifest whose blobs have sha512 digests can be pushed by tag, under the digest that the registry chooses."""
    raw = pushed_image(repository, "sha512").raw
    response = repository.put_manifest(of(raw), "by-tag")
    spec.must(response.status == 201, spec.MANIFEST_PUSHED, response)
    given = response.header("Docker-Content-Digest") or ""
    spec.must(
        given in {data.digest_of(raw, algorithm) for algorithm in data.ALGORITHMS}, spec.MANIFEST_PUSHED_DIGEST, given
    )
    check_manifest(repository, given, data.Manifest(given, data.IMAGE_MANIFEST, raw))


def test_conditional_pull(repository: Repository) -> None:
    """An entity tag that the registry gives is honoured when it comes back."""
    manifest = pushed_image(repository)
    push_manifest(repository, manifest, "conditional")
    etag = repository.manifest("GET", "conditional").header("ETag")
    if etag is not None:
        response = repository.request("GET", "manifests/conditional", (("If-None-Match", etag),))
        spec.should(response.status == 304 and not response.body, spec.HTTP_SEMANTICS, response)


def test_unknown_subject(repository: Repository) -> None:
    """A manifest may come before its subject, and the answer names the subject."""
    made = data.make("missing-subject", "sha256")
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    manifest = next(iter(made.manifests.values()))
    response = repository.put_manifest(manifest)
    spec.must(response.status == 201, spec.MANIFEST_UNKNOWN_SUBJECT, response)
    spec.must(response.header("OCI-Subject") == manifest.subject, spec.SUBJECT_HEADER, response.headers)
