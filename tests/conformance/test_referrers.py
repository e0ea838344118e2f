"""Referrers: what is listed, how it is described, filtering, and what deleting changes."""

from __future__ import annotations

import pytest

from . import data, spec
from .verbs import (
    Repository,
    by_digest,
    check_manifest,
    delete_manifest,
    listed,
    push_all,
    push_blob,
    push_manifest,
    referrers,
    with_query,
)
from .wire import error_codes

every_algorithm = pytest.mark.parametrize("algorithm", data.ALGORITHMS)
MANY = 120


def push(repository: Repository, made: data.DataSet) -> None:
    """Push a data set that is not sparse."""
    assert push_all(repository, made) == set()


@every_algorithm
def test_nothing_refers(algorithm: str, repository: Repository) -> None:
    """In a repository that nobody has pushed to, any digest has an empty list of referrers."""
    found = referrers(repository, data.digest_of(data.random_text().encode(), algorithm))
    spec.must(found == [], spec.REFERRERS_EMPTY, found)


def test_nothing_refers_to_content(repository: Repository) -> None:
    """A manifest without referrers, a blob and an unknown digest have empty lists, filtered or not."""
    made = data.make("image", "sha256")
    push(repository, made)
    for digest in (*made.manifests, *made.blobs, data.digest_of(b"unknown")):
        assert referrers(repository, digest) == [], spec.REFERRERS_EMPTY
        assert referrers(repository, digest, data.SBOM) == [], spec.REFERRERS_EMPTY


@pytest.mark.parametrize("digest", ["sha256:short", "latest", "sha256:" + "g" * 64, "md5:" + "0" * 32])
def test_invalid_digest(digest: str, repository: Repository) -> None:
    """What is no digest is refused with 400, whatever the repository holds."""
    push(repository, data.make("image", "sha256"))
    response = repository.request("GET", f"referrers/{digest}")
    spec.must(response.status == 400, spec.REFERRERS_INVALID, response)
    assert error_codes(response) & {"DIGEST_INVALID", "MANIFEST_INVALID", "UNSUPPORTED"}, spec.REFERRERS_INVALID


@every_algorithm
@pytest.mark.parametrize("is_subject_first", [True, False], ids=["subject-first", "referrer-first"])
def test_either_order(is_subject_first: bool, algorithm: str, repository: Repository) -> None:
    """A referrer is listed whether it came after its subject or before."""
    subjects, attached = data.DataSet(algorithm), data.DataSet(algorithm)
    subject = subjects.image()
    attached.artifact(subject=subject)
    for made in (subjects, attached) if is_subject_first else (attached, subjects):
        push(repository, made)
    found = referrers(repository, subject["digest"])
    spec.must(found == attached.referrers[subject["digest"]], spec.REFERRERS_NEW, found)


def described(repository: Repository, made: data.DataSet, subject: data.Descriptor) -> data.Descriptor:
    """Push a set with one referrer and answer how that is listed."""
    push(repository, made)
    found = referrers(repository, subject["digest"])
    spec.must(len(found) == 1, spec.REFERRERS_NEW, found)
    return found[0]


def test_artifact_type_of_a_manifest(repository: Repository) -> None:
    """A referrer that has an artifact type is listed with it."""
    made = data.DataSet()
    subject = made.image()
    made.artifact(data.SIGNATURE, subject=subject)
    found = described(repository, made, subject)
    spec.must(found["artifactType"] == data.SIGNATURE, spec.REFERRERS_ARTIFACT_TYPE, found)


@pytest.mark.parametrize("members", [{}, {"artifactType": ""}], ids=["missing", "empty"])
def test_artifact_type_of_a_config(members: dict[str, str], repository: Repository) -> None:
    """A manifest without an artifact type is listed with its config's media type."""
    made = data.DataSet()
    subject = made.image()
    config = made.blob(data.SBOM, b"config")
    made.manifest({"config": config, "layers": [config], "subject": subject, **members})
    found = described(repository, made, subject)
    spec.must(found["artifactType"] == data.SBOM, spec.REFERRERS_CONFIG_TYPE, found)


@pytest.mark.parametrize("members", [{}, {"artifactType": ""}], ids=["missing", "empty"])
def test_artifact_type_of_an_index(members: dict[str, str], repository: Repository) -> None:
    """An index without an artifact type is listed without one."""
    made = data.DataSet()
    subject = made.image()
    made.index([], subject=subject, **members)
    found = described(repository, made, subject)
    spec.must("artifactType" not in found, spec.REFERRERS_INDEX_OMITS, found)
    spec.must(found["mediaType"] == data.IMAGE_INDEX, spec.REFERRERS_INDEX, found)


def test_annotations(repository: Repository) -> None:
    """A referrer is listed with all its annotations and no others."""
    made = data.DataSet()
    subject = made.image()
    annotations = {"org.example.empty": "", "org.example.text": 'quoted " and \u00e4', "org.example.third": "3"}
    made.artifact(subject=subject, annotations=annotations)
    found = described(repository, made, subject)
    spec.must(found["annotations"] == annotations, spec.REFERRERS_ANNOTATIONS, found)


def test_filter(repository: Repository) -> None:
    """A filter gives those of that type alone, says that it was applied, and may match nothing."""
    made = data.make("artifacts-with-subject", "sha256")
    push(repository, made)
    subject, expected = next(iter(made.referrers.items()))
    for artifact_type in (data.SBOM, data.SIGNATURE, data.IMAGE_CONFIG, "application/vnd.example.other"):
        found = by_digest(referrers(repository, subject, artifact_type))
        chosen = by_digest(each for each in expected if each["artifactType"] == artifact_type)
        spec.should(found == chosen, spec.REFERRERS_FILTER, found)
    response = repository.request("GET", f"referrers/{subject}")
    spec.must(listed(response, "OCI-Filters-Applied") == [], spec.REFERRERS_FILTERED, response.headers)


def test_filter_with_reserved_characters(repository: Repository) -> None:
    """An artifact type with a plus and a semicolon is filtered by when it comes percent-encoded."""
    artifact_type = "application/vnd.example.sbom+json;v=1"
    made = data.DataSet()
    subject = made.image()
    made.artifact(artifact_type, subject=subject)
    made.artifact(data.SBOM, subject=subject)
    push(repository, made)
    found = referrers(repository, subject["digest"], artifact_type)
    spec.should([each["artifactType"] for each in found] == [artifact_type], spec.REFERRERS_FILTER, found)


def test_pushed_twice(repository: Repository) -> None:
    """A referrer pushed again, by digest and by tag, is listed once."""
    made = data.DataSet()
    subject = made.image()
    attached = made.artifact(subject=subject)
    push(repository, made)
    push_manifest(repository, made.manifests[attached["digest"]], "again")
    found = referrers(repository, subject["digest"])
    spec.must(found == made.referrers[subject["digest"]], spec.REFERRERS_INDEX, found)


def test_deleted_referrer(repository: Repository) -> None:
    """A referrer that is deleted is no longer listed, and its subject and siblings stay."""
    made = data.DataSet()
    subject = made.image()
    gone, kept = made.artifact(subject=subject), made.artifact(subject=subject)
    push(repository, made)
    delete_manifest(repository, gone["digest"])
    found = referrers(repository, subject["digest"])
    spec.must([each["digest"] for each in found] == [kept["digest"]], spec.MANIFEST_GONE, found)
    check_manifest(repository, subject["digest"], made.manifests[subject["digest"]])


def test_chain(repository: Repository) -> None:
    """A referrer can be the subject of another, and each is listed only under its own subject."""
    made = data.DataSet()
    subject = made.image()
    first = made.artifact(subject=subject)
    second = made.artifact(data.SIGNATURE, subject=first)
    push(repository, made)
    assert [each["digest"] for each in referrers(repository, subject["digest"])] == [first["digest"]]
    assert [each["digest"] for each in referrers(repository, first["digest"])] == [second["digest"]]


def test_many(repository: Repository) -> None:
    """Many referrers are all listed, on one page or on several that are linked."""
    made = data.DataSet()
    subject = made.image()
    children = [made.index([], subject=subject, annotations={"org.example.n": str(n)}) for n in range(MANY)]
    push(repository, made)
    found = by_digest(referrers(repository, subject["digest"]))
    expected = [each["digest"] for each in by_digest(children)]
    spec.must([each["digest"] for each in found] == expected, spec.REFERRERS_PAGES, len(found))


def test_listed_in_a_referrers_tag(repository: Repository) -> None:
    """What an index under the subject's referrers tag lists is also listed by the API."""
    made = data.DataSet()
    subject = made.image()
    made.artifact(subject=subject)
    fallback = made.index([made.artifact(data.SIGNATURE, subject=subject)])
    made.tag(subject["digest"].replace(":", "-"), fallback)
    push(repository, made)
    found = by_digest(referrers(repository, subject["digest"]))
    expected = by_digest(made.referrers[subject["digest"]])
    spec.must(found == expected, spec.REFERRERS_PREEXISTING, found)


def test_unknown_parameter(repository: Repository) -> None:
    """A parameter that the registry does not know does not change the list."""
    made = data.make("artifacts-with-subject", "sha256")
    push(repository, made)
    subject, expected = next(iter(made.referrers.items()))
    push_blob(repository, b"{}", data.digest_of(b"{}"))
    response = repository.request("GET", with_query(f"referrers/{subject}", unknown="x"))
    assert response.status == 200, spec.REFERRERS_FOUND
    assert len(referrers(repository, subject)) == len(expected)
