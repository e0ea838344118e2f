"""Deleting tags, manifests and blobs: what goes, what stays, and what was never there."""

from __future__ import annotations

import json
import os

import pytest

from . import data, spec
from .verbs import (
    Repository,
    check_blob,
    check_manifest,
    delete_blob,
    delete_manifest,
    delete_tag,
    push_all,
    push_blob,
    push_manifest,
    tags_page,
)
from .wire import error_codes


@pytest.fixture
def image(repository: Repository) -> tuple[data.DataSet, data.Manifest]:
    """An image pushed to the test's repository under the tag `image`."""
    made = data.make("image", "sha256")
    push_all(repository, made)
    return made, next(iter(made.manifests.values()))


Image = tuple[data.DataSet, data.Manifest]


def test_tag(repository: Repository, image: Image) -> None:
    """Deleting a tag leaves the manifest and its other tags."""
    _, manifest = image
    push_manifest(repository, manifest, "other")
    delete_tag(repository, "image")
    assert tags_page(repository) == (["other"], None), spec.TAG_GONE
    check_manifest(repository, "other", manifest)
    check_manifest(repository, manifest.digest, manifest)


def test_last_tag(repository: Repository, image: Image) -> None:
    """Deleting the last tag leaves the manifest by its digest and an empty list."""
    _, manifest = image
    delete_tag(repository, "image")
    assert tags_page(repository) == ([], None), spec.TAG_GONE
    check_manifest(repository, manifest.digest, manifest)


def test_manifest(repository: Repository, image: Image) -> None:
    """Deleting a manifest takes every tag that points at it, and no other."""
    _, manifest = image
    other = data.make("no-layers", "sha256")
    push_all(repository, other)
    push_manifest(repository, manifest, "second")
    delete_manifest(repository, manifest.digest)
    for tag in ("image", "second"):
        response = repository.manifest("GET", tag)
        spec.must(response.status == 404, spec.MANIFEST_GONE, response)
    assert tags_page(repository) == (["bare"], None), spec.MANIFEST_GONE


def test_tag_then_manifest(repository: Repository, image: Image) -> None:
    """A manifest can be deleted after its tag, and then the tag list says so."""
    _, manifest = image
    delete_tag(repository, "image")
    delete_manifest(repository, manifest.digest)
    response = repository.request("GET", "tags/list")
    assert response.status in {200, 404}, spec.TAGS_FOUND


@pytest.mark.parametrize("reference", ["missing", data.digest_of(b"missing"), data.digest_of(b"missing", "sha512")])
def test_missing_manifest(reference: str, repository: Repository, image: Image) -> None:
    """A tag or digest that the repository does not have cannot be deleted."""
    _, manifest = image
    response = repository.manifest("DELETE", reference)
    spec.must(response.status == 404, spec.MANIFEST_MISSING, response)
    assert error_codes(response) == {"MANIFEST_UNKNOWN"}
    check_manifest(repository, "image", manifest)


def test_manifest_twice(repository: Repository, image: Image) -> None:
    """What has been deleted is not found when it is deleted again."""
    _, manifest = image
    delete_manifest(repository, manifest.digest)
    response = repository.manifest("DELETE", manifest.digest)
    spec.must(response.status == 404, spec.MANIFEST_GONE, response)


def test_in_no_repository(repository: Repository) -> None:
    """In a repository that does not exist nothing can be deleted."""
    for reference in ("latest", data.digest_of(b"none")):
        response = repository.manifest("DELETE", reference)
        spec.must(response.status == 404, spec.DELETE_NO_REPOSITORY, response)
    response = repository.blob("DELETE", data.digest_of(b"none"))
    spec.must(response.status == 404, spec.DELETE_NO_BLOB, response)


def test_missing_blob(repository: Repository, image: Image) -> None:
    """A blob that the repository does not have cannot be deleted."""
    made, _ = image
    response = repository.blob("DELETE", data.digest_of(os.urandom(8)))
    spec.must(response.status == 404, spec.DELETE_NO_BLOB, response)
    assert error_codes(response) == {"BLOB_UNKNOWN"}
    for digest, content in made.blobs.items():
        check_blob(repository, digest, content)


def test_blob_twice(repository: Repository) -> None:
    """A deleted blob is not found when it is deleted again, and can be pushed again."""
    content = os.urandom(100)
    digest = data.digest_of(content)
    push_blob(repository, content, digest)
    delete_blob(repository, digest)
    response = repository.blob("DELETE", digest)
    spec.must(response.status == 404, spec.DELETE_NO_BLOB, response)
    push_blob(repository, content, digest)
    check_blob(repository, digest, content)


def test_blob_of_a_manifest(repository: Repository, image: Image) -> None:
    """A blob that a manifest names is deleted, or kept with an answer that says deleting it is not allowed."""
    made, manifest = image
    digest = json.loads(manifest.raw)["layers"][0]["digest"]
    response = repository.blob("DELETE", digest)
    spec.must(response.status in {202, 400, 405}, spec.BLOB_DELETE_DISABLED, response)
    if response.status != 202:
        assert error_codes(response) <= {"UNSUPPORTED", "DENIED"}, spec.BLOB_DELETE_DISABLED
        check_blob(repository, digest, made.blobs[digest])
    delete_manifest(repository, manifest.digest)
    if response.status != 202:
        delete_blob(repository, digest)


def test_manifest_pushed_again(repository: Repository, image: Image) -> None:
    """A deleted manifest can be pushed again and is whole."""
    made, manifest = image
    delete_manifest(repository, manifest.digest)
    for digest, content in made.blobs.items():
        push_blob(repository, content, digest)
    push_manifest(repository, manifest, "again")
    check_manifest(repository, "again", manifest)
    assert tags_page(repository) == (["again"], None)


def test_index_leaves_its_children(repository: Repository) -> None:
    """Deleting an index leaves the manifests that it listed."""
    made = data.make("index", "sha256")
    push_all(repository, made)
    *children, index = made.manifests.values()
    delete_manifest(repository, index.digest)
    for child in children:
        check_manifest(repository, child.digest, child)
