"""Manifests through the door: pull, check, push, delete."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from entrepot.core.registry import Rules
from entrepot.domain import media_types
from entrepot.domain.digests import digest_of
from entrepot.domain.manifest import EdgeKind
from tests.support.asgi import Answer, Client
from tests.support.images import CONFIG, LAYER, Image, artifact, describe, image, index
from tests.support.world import World, push_blob, put_manifest

MISSING = "sha256:" + "0" * 64
IMAGE = image()
NEWER = image(annotations={"version": "2"})


def get(client: Client, reference: str, repository: str = "priv/app", method: str = "GET", **headers: str) -> Answer:
    """Pull or check a manifest."""
    return client.request(method, f"/v2/{repository}/manifests/{reference}", **headers)


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of a repository that has one image."""
    world.push("priv/app", IMAGE, "v1", user="alice")
    return world.client("alice")


@pytest.mark.parametrize("reference", ["v1", IMAGE.digest])
def test_what_was_pushed_is_pulled(alice: Client, reference: str) -> None:
    """The exact bytes with their media type and digest; HEAD says the same without them."""
    answer = get(alice, reference)
    assert (answer.status, answer.body) == (200, IMAGE.raw)
    assert answer["content-type"] == media_types.IMAGE_MANIFEST
    assert answer["docker-content-digest"] == IMAGE.digest
    assert answer["etag"] == f'"{IMAGE.digest}"'
    assert answer["content-length"] == str(len(IMAGE.raw))
    assert answer["x-content-type-options"] == "nosniff"
    assert answer["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer["docker-distribution-api-version"] == "registry/2.0"
    assert answer["vary"] == "accept"
    head = get(alice, reference, method="HEAD")
    assert (head.status, head.pairs) == (200, answer.pairs)


@pytest.mark.parametrize(
    ("repository", "reference", "expected"),
    [
        ("pub/app", "v1", "no-cache"),
        ("priv/app", "v1", "no-cache"),
        ("pub/app", IMAGE.digest, "max-age=31536000, immutable"),
        ("priv/app", IMAGE.digest, "private, max-age=31536000, immutable"),
    ],
)
def test_how_long_answers_may_be_kept(world: World, repository: str, reference: str, expected: str) -> None:
    """A tag must be asked about again, a digest never; what is private stays out of shared caches."""
    world.push(repository, IMAGE, "v1")
    assert get(world.client("admin"), reference, repository)["cache-control"] == expected


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", [f'"{IMAGE.digest}"', f'W/"{IMAGE.digest}"', "*", f'"x", "{IMAGE.digest}"'])
def test_what_the_client_has_is_not_sent_again(alice: Client, method: str, header: str) -> None:
    """304 with the validators and without a body."""
    answer = get(alice, "v1", method=method, if_none_match=header)
    assert (answer.status, answer.body) == (304, b"")
    assert answer["etag"] == f'"{IMAGE.digest}"'
    assert "content-length" not in answer


def test_what_the_client_has_not_is_sent(alice: Client) -> None:
    """Another entity tag is no match."""
    assert get(alice, "v1", if_none_match=f'"{MISSING}"').status == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("*/*", 200),
        (f"{media_types.DOCKER_MANIFEST}, {media_types.IMAGE_MANIFEST}", 200),
        (media_types.DOCKER_MANIFEST, 404),
        (f"{media_types.IMAGE_MANIFEST};q=0, */*", 404),
    ],
)
def test_only_what_is_accepted_is_sent(alice: Client, accept: str, status: int) -> None:
    """A client that cannot read the manifest is told that it is not there for it."""
    answer = get(alice, "v1", accept=accept)
    assert answer.status == status
    assert status == 200 or answer.code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    ("repository", "reference", "status", "code"),
    [
        ("priv/app", "v2", 404, "MANIFEST_UNKNOWN"),
        ("priv/app", MISSING, 404, "MANIFEST_UNKNOWN"),
        ("priv/app", "-no-tag", 404, "MANIFEST_UNKNOWN"),
        ("priv/app", "t" * 129, 404, "MANIFEST_UNKNOWN"),
        ("priv/app", "sha256:short", 400, "DIGEST_INVALID"),
        ("priv/app", "blake3:00", 400, "DIGEST_INVALID"),
        ("priv/none", "v1", 404, "NAME_UNKNOWN"),
        ("priv/none", MISSING, 404, "NAME_UNKNOWN"),
    ],
)
def test_what_is_not_there(alice: Client, repository: str, reference: str, status: int, code: str) -> None:
    """Unknown repository, unknown manifest, and references that are none."""
    answer = get(alice, reference, repository)
    assert (answer.status, answer.code) == (status, code)
    assert get(alice, reference, repository, method="HEAD").status == status


def test_one_segment_is_answered_as_it_was_asked(world: World) -> None:
    """`alpine` lives in the library, and locations say what the client said."""
    admin = world.client("admin")
    push_blob(admin, "alpine", LAYER)
    push_blob(admin, "alpine", CONFIG)
    answer = put_manifest(admin, "alpine", IMAGE, "v1")
    assert answer["location"] == f"/v2/alpine/manifests/{IMAGE.digest}"
    assert get(admin, "v1", "library/alpine").body == IMAGE.raw
    assert admin.request("GET", "/v2/alpine/tags/list").json["name"] == "alpine"


@pytest.mark.parametrize("reference", ["v1", IMAGE.digest])
def test_a_push_is_answered_with_where_and_what(alice: Client, reference: str) -> None:
    """201, Location by digest, the digest, and nothing about subjects or tags that were not asked for."""
    answer = put_manifest(alice, "priv/app", IMAGE, reference)
    assert (answer.status, answer.body) == (201, b"")
    assert answer["location"] == f"/v2/priv/app/manifests/{IMAGE.digest}"
    assert answer["docker-content-digest"] == IMAGE.digest
    assert "oci-subject" not in answer
    assert "oci-tag" not in answer
    assert get(alice, answer["location"].rpartition("/")[2]).body == IMAGE.raw


def test_a_push_by_digest_may_name_tags(alice: Client) -> None:
    """`?tag=` repeated: every tag points there, once, and OCI-Tag says which."""
    query = "?tag=v2&tag=latest&tag=v2&digest=x"
    answer = put_manifest(alice, "priv/app", NEWER, NEWER.digest + query)
    assert (answer.status, answer["oci-tag"]) == (201, "v2, latest")
    for tag in ("v2", "latest"):
        assert get(alice, tag).body == NEWER.raw


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?tag=-", 400, "MANIFEST_INVALID"),
        ("?tag=", 400, "MANIFEST_INVALID"),
        ("?tag=a%00", 400, "UNSUPPORTED"),
        ("?" + "&".join(f"tag=t{number}" for number in range(101)), 400, "UNSUPPORTED"),
    ],
)
def test_tags_that_cannot_be_pushed(alice: Client, query: str, status: int, code: str) -> None:
    """All or none: an illegal tag, or too many, and nothing was stored."""
    answer = put_manifest(alice, "priv/app", NEWER, NEWER.digest + query)
    assert (answer.status, answer.code) == (status, code)
    assert get(alice, NEWER.digest).status == 404


def test_tags_in_the_query_are_ignored_beside_a_tag(alice: Client) -> None:
    """end-7b is about digests only."""
    assert put_manifest(alice, "priv/app", NEWER, "v2?tag=v3").status == 201
    assert get(alice, "v3").status == 404


def test_a_push_by_sha512(alice: Client) -> None:
    """The digest in the address decides the algorithm; the manifest is then known by it."""
    digest = digest_of(NEWER.raw, "sha512")
    answer = put_manifest(alice, "priv/app", NEWER, f"{digest}?tag=v512")
    assert (answer.status, answer["docker-content-digest"]) == (201, digest)
    assert get(alice, digest).body == get(alice, "v512").body == NEWER.raw
    assert get(alice, NEWER.digest).status == 404


def test_a_push_without_a_content_type(alice: Client) -> None:
    """The document says what it is."""
    answer = alice.request("PUT", "/v2/priv/app/manifests/v2", NEWER.raw)
    assert answer.status == 201
    assert get(alice, "v2")["content-type"] == media_types.IMAGE_MANIFEST


def test_a_content_type_with_parameters(alice: Client) -> None:
    """They are no part of the media type, and are not served."""
    answer = put_manifest(alice, "priv/app", NEWER, "v2", content_type=f"{media_types.IMAGE_MANIFEST}; charset=utf-8")
    assert answer.status == 201
    assert get(alice, "v2")["content-type"] == media_types.IMAGE_MANIFEST


def test_one_digest_has_one_media_type(world: World) -> None:
    """Nobody can make a manifest be served to others under another type than its own bytes say."""
    bare = json.dumps({key: value for key, value in json.loads(IMAGE.raw).items() if key != "mediaType"}).encode()
    ours, theirs = Image(bare, media_types.IMAGE_MANIFEST, IMAGE.blobs), Image(bare, media_types.DOCKER_MANIFEST)
    world.push("bob/app", image(), "v1", user="bob")
    assert put_manifest(world.client("bob"), "bob/app", theirs, "v1").code == "MANIFEST_INVALID"
    world.push("priv/app", ours, "v1", user="alice")
    assert get(world.client("alice"), "v1")["content-type"] == media_types.IMAGE_MANIFEST


@pytest.mark.parametrize(
    ("raw", "reference", "status", "code"),
    [
        (b"", "v2", 400, "MANIFEST_INVALID"),
        (b"not JSON", "v2", 400, "MANIFEST_INVALID"),
        (b'{"schemaVersion":1}', "v2", 400, "MANIFEST_INVALID"),
        (NEWER.raw, "-", 400, "MANIFEST_INVALID"),
        (NEWER.raw, quote("ä"), 400, "MANIFEST_INVALID"),
        (NEWER.raw, "t" * 129, 400, "MANIFEST_INVALID"),
        (NEWER.raw, MISSING, 400, "DIGEST_INVALID"),
        (NEWER.raw, "sha256:short", 400, "DIGEST_INVALID"),
        (NEWER.raw, "blake3:00", 400, "DIGEST_INVALID"),
        (image([b"unknown"]).raw, "v2", 400, "MANIFEST_BLOB_UNKNOWN"),
        (image(config=b"unknown").raw, "v2", 400, "MANIFEST_BLOB_UNKNOWN"),
        (b" " * (4 << 20) + b" ", "v2", 413, "SIZE_INVALID"),
    ],
)
def test_pushes_that_are_refused(alice: Client, raw: bytes, reference: str, status: int, code: str) -> None:
    """Each says why, and leaves nothing behind."""
    answer = alice.request("PUT", f"/v2/priv/app/manifests/{reference}", raw, content_type=media_types.IMAGE_MANIFEST)
    assert (answer.status, answer.code) == (status, code)
    assert alice.request("GET", "/v2/priv/app/tags/list").json["tags"] == ["v1"]


def test_missing_content_is_named(alice: Client) -> None:
    """The detail lists the digests to push first; content of another repository is missing too."""
    answer = put_manifest(alice, "priv/other", IMAGE, "v1")
    assert answer.json["errors"][0]["detail"]["digests"] == sorted([digest_of(CONFIG), digest_of(LAYER)])
    assert get(alice, "v1", "priv/other").code == "NAME_UNKNOWN"


def test_a_subject_is_acknowledged(alice: Client) -> None:
    """OCI-Subject names it, whether it is there or not."""
    for subject in (IMAGE, image(annotations={"not": "pushed"})):
        signature = artifact(subject, "application/vnd.example.signature")
        push_blob(alice, "priv/app", b"{}")
        answer = put_manifest(alice, "priv/app", signature, signature.digest)
        assert (answer.status, answer["oci-subject"]) == (201, subject.digest)


def test_an_index_may_lack_children(alice: Client) -> None:
    """Sparse indexes are on by default, and an index may list blobs as BuildKit's cache export does."""
    lists = index([IMAGE, image(annotations={"not": "pushed"})])
    assert put_manifest(alice, "priv/app", lists, "multi").status == 201
    assert get(alice, "multi")["content-type"] == media_types.IMAGE_INDEX


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": f'"{IMAGE.digest}"'}, 201),
        ({"if_match": f'W/"{IMAGE.digest}"'}, 201),
        ({"if_match": "*"}, 201),
        ({"if_match": f'"{MISSING}", "{IMAGE.digest}"'}, 201),
        ({"if_match": f'"{MISSING}"'}, 412),
        ({"if_none_match": "*"}, 412),
        ({"if_none_match": f'"{MISSING}"'}, 201),
    ],
)
def test_a_tag_moves_only_as_expected(alice: Client, headers: dict[str, str], status: int) -> None:
    """RFC 9110 section 13.1: whoever read a tag may move it only if nobody else has."""
    push_blob(alice, "priv/app", LAYER)
    answer = put_manifest(alice, "priv/app", NEWER, "v1", **headers)
    assert answer.status == status
    assert get(alice, "v1").body == (NEWER.raw if status == 201 else IMAGE.raw)
    assert status == 201 or answer.code == "DENIED"


def test_a_new_tag_is_expected_to_be_new(alice: Client) -> None:
    """If-None-Match: * is satisfied where there is no tag; If-Match is not."""
    for wanted in (f'"{IMAGE.digest}"', "*"):
        assert put_manifest(alice, "priv/app", NEWER, "v2", if_match=wanted).status == 412
    assert put_manifest(alice, "priv/app", NEWER, "v2", if_none_match="*").status == 201


@pytest.mark.parametrize("reference", ["v1", IMAGE.digest])
def test_a_deleted_manifest_is_gone_at_once(alice: Client, reference: str) -> None:
    """202; a tag takes only itself along, a digest every tag on it."""
    assert put_manifest(alice, "priv/app", IMAGE, "also").status == 201
    assert alice.request("DELETE", f"/v2/priv/app/manifests/{reference}").status == 202
    assert get(alice, "v1").code == "MANIFEST_UNKNOWN"
    is_tag = reference == "v1"
    assert get(alice, IMAGE.digest).status == (200 if is_tag else 404)
    assert alice.request("GET", "/v2/priv/app/tags/list").json["tags"] == (["also"] if is_tag else [])
    assert alice.request("DELETE", f"/v2/priv/app/manifests/{reference}").code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("priv/app/manifests/v2", 404, "MANIFEST_UNKNOWN"),
        ("priv/app/manifests/-", 404, "MANIFEST_UNKNOWN"),
        (f"priv/app/manifests/{MISSING}", 404, "MANIFEST_UNKNOWN"),
        ("priv/app/manifests/sha256:x", 400, "DIGEST_INVALID"),
        ("priv/none/manifests/v1", 404, "NAME_UNKNOWN"),
        (f"priv/none/manifests/{MISSING}", 404, "NAME_UNKNOWN"),
    ],
)
def test_deleting_what_is_not_there(alice: Client, target: str, status: int, code: str) -> None:
    """404, or 400 for what is no digest."""
    answer = alice.request("DELETE", f"/v2/{target}")
    assert (answer.status, answer.code) == (status, code)


def test_a_deleted_manifest_is_back_when_it_is_pushed_again(alice: Client) -> None:
    """Deleting hides; the same push as before makes it whole again."""
    assert alice.request("DELETE", f"/v2/priv/app/manifests/{IMAGE.digest}").status == 202
    assert put_manifest(alice, "priv/app", IMAGE, "v1").status == 201
    assert get(alice, "v1").body == get(alice, IMAGE.digest).body == IMAGE.raw


def test_package_paths_are_not_pushed_to(alice: Client) -> None:
    """`namespace/<format>/package` belongs to that format; its errors are those of names."""
    answer = put_manifest(alice, "priv/npm/left-pad", IMAGE, "v1")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize("is_sparse", [True, False])
def test_sparse_images_are_a_rule(is_sparse: bool) -> None:
    """What may be absent is a rule of the registry, handed to every push."""
    kinds: frozenset[EdgeKind] = frozenset({"config", "layer"}) if is_sparse else frozenset()
    with World(rules=Rules(optional_edges=kinds)) as world:
        answer = put_manifest(world.client("alice"), "priv/app", IMAGE, "v1")
        assert answer.status == (201 if is_sparse else 400)
        lists = index([], manifests=[describe(b"nothing", media_types.IMAGE_MANIFEST)])
        assert put_manifest(world.client("alice"), "priv/app", lists, "v2").code == "MANIFEST_BLOB_UNKNOWN"
