"""Push, list, head, pull, referrers and delete of every data set, with each digest algorithm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from . import data, spec
from .conftest import Stored
from .verbs import (
    Repository,
    by_digest,
    check_blob,
    check_blob_head,
    check_manifest,
    check_manifest_head,
    delete_blob,
    delete_manifest,
    delete_tag,
    push_all,
    referrers,
    tags_page,
)

CASES = [(name, algorithm) for name in data.SETS for algorithm in data.ALGORITHMS]
every_set = pytest.mark.parametrize(("name", "algorithm"), CASES, ids=[f"{name}-{algo}" for name, algo in CASES])
Get = Callable[[str, str], Stored]


@every_set
def test_push(name: str, algorithm: str, repository: Repository) -> None:
    """Every blob, manifest and tag of the data set is accepted and can be fetched where the registry says."""
    made = data.make(name, algorithm)
    refused = push_all(repository, made)
    assert refused <= made.sparse, f"{spec.CATEGORY_CLAIMED}\n  refused: {refused}"


@every_set
def test_list(name: str, algorithm: str, stored: Get) -> None:
    """All tags of the data set are listed in order, whole and after any one of them."""
    repository, made, _ = stored(name, algorithm)
    tags, _ = tags_page(repository)
    spec.must(tags == sorted(made.tags), spec.TAGS_ORDER, tags)
    for place, tag in enumerate(tags):
        rest, _ = tags_page(repository, f"?last={tag}")
        spec.must(rest == tags[place + 1 :], spec.TAGS_AFTER, rest)


@every_set
def test_head(name: str, algorithm: str, stored: Get) -> None:
    """HEAD by tag and by digest tells type, digest and size of everything in the data set."""
    repository, made, refused = stored(name, algorithm)
    for tag, digest in made.tags.items():
        check_manifest_head(repository, tag, made.manifests[digest])
    for digest, manifest in made.manifests.items():
        if digest in refused:
            spec.must(repository.manifest("HEAD", digest).status == 404, spec.HEAD_MISSING)
        else:
            check_manifest_head(repository, digest, manifest)
    for digest, content in made.blobs.items():
        check_blob_head(repository, digest, content)


@every_set
def test_pull(name: str, algorithm: str, stored: Get) -> None:
    """GET by tag and by digest gives everything in the data set back byte for byte."""
    repository, made, refused = stored(name, algorithm)
    for tag, digest in made.tags.items():
        check_manifest(repository, tag, made.manifests[digest])
    for digest, manifest in made.manifests.items():
        if digest in refused:
            spec.must(repository.manifest("GET", digest).status == 404, spec.MANIFEST_MISSING)
        else:
            check_manifest(repository, digest, manifest)
    for digest, content in made.blobs.items():
        check_blob(repository, digest, content)


@every_set
def test_referrers(name: str, algorithm: str, stored: Get) -> None:
    """The referrers of every manifest and subject are those of the data set, whole and filtered by type."""
    repository, made, _ = stored(name, algorithm)
    for digest in {*made.manifests, *made.referrers}:
        expected = by_digest(made.referrers.get(digest, []))
        found = by_digest(referrers(repository, digest))
        spec.must(
            [each["digest"] for each in found] == [each["digest"] for each in expected], spec.REFERRERS_NEW, found
        )
        spec.must(found == expected, spec.REFERRERS_ANNOTATIONS, found)
        for artifact_type in {each["artifactType"] for each in expected if "artifactType" in each}:
            chosen = [each for each in expected if each.get("artifactType") == artifact_type]
            filtered = by_digest(referrers(repository, digest, artifact_type))
            spec.should(filtered == chosen, spec.REFERRERS_FILTER, filtered)


@every_set
def test_delete(name: str, algorithm: str, repository: Repository) -> None:
    """Tags, then manifests from the top down, then blobs can be deleted, and nothing is left."""
    made = data.make(name, algorithm)
    refused = push_all(repository, made)
    for tag in made.tags:
        delete_tag(repository, tag)
    tags, _ = tags_page(repository)
    spec.must(tags == [], spec.TAG_GONE, tags)
    for digest in [digest for digest in reversed(made.manifests) if digest not in refused]:
        check_manifest(repository, digest, made.manifests[digest])
        delete_manifest(repository, digest)
    for subject in made.referrers:
        spec.must(referrers(repository, subject) == [], spec.REFERRERS_EMPTY)
    for digest in made.blobs:
        delete_blob(repository, digest)
