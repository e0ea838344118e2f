"""Manifests: what is read out of them, what is refused, and that their bytes stay the truth."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain import media_types
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import ManifestInvalid
from entrepot.domain.manifest import parse_manifest
from tests.support.images import CONFIG, LAYER, artifact, describe, image, index

IMAGE = image()
DIGEST = "sha256:" + "0" * 64


def render(**document: Any) -> bytes:
    """An image manifest with members replaced; None leaves one out."""
    whole = {**json.loads(IMAGE.raw), **document}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


@st.composite
def spaced(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON with its members in any order and any white space between."""

    def gap() -> str:
        return draw(st.text(" \n\t\r", max_size=2))

    if isinstance(value, dict):
        members = draw(st.permutations(sorted(value)))
        inner = ",".join(f"{gap()}{json.dumps(key)}{gap()}:{draw(spaced(value[key]))}" for key in members)
        text = f"{{{inner}{gap()}}}"
    elif isinstance(value, list):
        text = "[" + ",".join(draw(spaced(item)) for item in value) + gap() + "]"
    else:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return gap() + text + gap()


ANNOTATIONS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


@given(st.data(), ANNOTATIONS)
def test_bytes_round_trip_whatever_their_spacing(data: st.DataObject, annotations: dict[str, str]) -> None:
    """The raw bytes and their digest are kept exactly; what is read out does not depend on spacing or order."""
    document = json.loads(image(annotations=annotations, subject=IMAGE, artifactType="a/b").raw)
    raw = data.draw(spaced(document)).encode()
    manifest = parse_manifest(media_types.IMAGE_MANIFEST, raw)
    assert (manifest.raw, manifest.digest) == (raw, digest_of(raw))
    assert manifest.annotations == annotations
    assert [(edge.kind, edge.digest) for edge in manifest.edges] == [
        ("config", digest_of(CONFIG)),
        ("layer", digest_of(LAYER)),
        ("subject", IMAGE.digest),
    ]
    assert json.loads(manifest.describe())["size"] == len(raw)


@given(st.one_of(st.binary(max_size=60), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "digest", "size"]),
        inner, max_size=4),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_no_bytes_make_the_parser_fail(raw: bytes) -> None:
    """Anything at all is a manifest or ManifestInvalid."""
    for media_type in ("", *sorted(media_types.MANIFESTS | media_types.SCHEMA1)):
        with suppress(ManifestInvalid):
            assert parse_manifest(media_type, raw).raw == raw


@pytest.mark.parametrize("digest_algorithm", ["sha256", "sha512"])
def test_the_digest_is_of_the_algorithm_asked_for(digest_algorithm: str) -> None:
    """A push by a sha512 digest is known by that digest."""
    manifest = parse_manifest(IMAGE.media_type, IMAGE.raw, algorithm=digest_algorithm)
    assert manifest.digest == digest_of(IMAGE.raw, digest_algorithm)


@pytest.mark.parametrize(
    ("given", "raw", "expected"),
    [
        ("", IMAGE.raw, media_types.IMAGE_MANIFEST),
        ("", render(mediaType=None), media_types.IMAGE_MANIFEST),
        (media_types.IMAGE_MANIFEST, render(mediaType=None), media_types.IMAGE_MANIFEST),
        ("", image(media_type=media_types.DOCKER_MANIFEST).raw, media_types.DOCKER_MANIFEST),
        ("", json.dumps({"schemaVersion": 2, "manifests": []}).encode(), media_types.IMAGE_INDEX),
        (media_types.DOCKER_MANIFEST_LIST, index([], media_type=media_types.DOCKER_MANIFEST_LIST).raw, None),
    ],
)
def test_the_media_type_of_a_manifest(given: str, raw: bytes, expected: str | None) -> None:
    """The header decides, then the document, then its shape."""
    manifest = parse_manifest(given, raw)
    assert manifest.media_type == (expected or given)
    assert manifest.is_index == (manifest.media_type in media_types.INDEXES)


REFUSED = [
    ("", b"", "not the JSON document"),
    ("", b"[]", "not the JSON document"),
    ("", b"\xff{}", "not the JSON document"),
    ("", b"[" * 100_000, "not the JSON document"),
    ("", b"{}", "not the JSON document"),
    ("", render(schemaVersion=3), "schemaVersion must be 2"),
    ("", render(schemaVersion=1), "schema 1"),
    ("", b'{"schemaVersion":1,"fsLayers":[]}', "schema 1"),
    ("", b'{"schemaVersion":1,"config":7}', "schema 1"),
    (media_types.DOCKER_SCHEMA1_SIGNED, b"not JSON", "schema 1"),
    (media_types.DOCKER_SCHEMA1, IMAGE.raw, "schema 1"),
    (media_types.DOCKER_MANIFEST, IMAGE.raw, "differ"),
    (media_types.DOCKER_MANIFEST, render(mediaType=None), "needs its mediaType"),
    (media_types.DOCKER_MANIFEST_LIST, b'{"schemaVersion":2,"manifests":[]}', "needs its mediaType"),
    ("application/json", render(mediaType=None), "not supported"),
    ("", render(mediaType="text/plain"), "not supported"),
    ("", render(layers=None), "needs config and the list layers"),
    ("", render(config=None), "needs config and the list layers"),
    ("", render(manifests=[]), "has no list manifests"),
    (media_types.IMAGE_INDEX, b'{"schemaVersion":2}', "needs the list manifests"),
    ("", index([], layers=[]).raw, "neither config nor layers"),
    ("", index([], config=describe(CONFIG)).raw, "neither config nor layers"),
    ("", render(layers=[{"digest": "x", "size": 1}]), "a layer descriptor's digest is not one"),
    ("", render(config={"digest": DIGEST[:-1], "size": 1}), "a config descriptor's digest is not one"),
    ("", render(subject={"digest": "no", "size": 1}), "a subject descriptor's digest is not one"),
    ("", render(layers=[{"digest": DIGEST, "size": -1}]), "never negative"),
    ("", render(layers=[{"digest": DIGEST}]), "not the JSON document"),
    ("", render(layers=[{"size": 1}]), "not the JSON document"),
    ("", render(annotations={"a": 1}), "not the JSON document"),
    ("", render(artifactType="a/\0"), "no NUL"),
    ("", render(artifactType="a/" + "b" * 254), "at most 255 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("media_type", "raw", "reason"), REFUSED)
def test_refused_manifests(media_type: str, raw: bytes, reason: str) -> None:
    """Each is ManifestInvalid with a sentence that says why."""
    with pytest.raises(ManifestInvalid, match=reason):
        parse_manifest(media_type, raw)


@pytest.mark.parametrize("media_type", sorted(media_types.NON_DISTRIBUTABLE))
def test_foreign_layers_may_be_absent(media_type: str) -> None:
    """Their bytes come from elsewhere, so the edge is optional."""
    manifest = parse_manifest("", render(layers=[describe(LAYER, media_type), describe(LAYER)]))
    assert [edge.is_optional for edge in manifest.edges] == [False, True, False]


def test_optional_kinds_are_the_callers_choice() -> None:
    """Edges of the kinds named may lead to nothing; a subject always may."""
    lists = index([IMAGE], subject=IMAGE.describe())
    assert [edge.is_optional for edge in parse_manifest("", lists.raw).edges] == [False, True]
    sparse = parse_manifest("", lists.raw, optional=frozenset({"manifest"}))
    assert [edge.is_optional for edge in sparse.edges] == [True, True]
    hollow = parse_manifest("", IMAGE.raw, optional=frozenset({"config", "layer"}))
    assert [edge.is_optional for edge in hollow.edges] == [True, True]


def test_the_descriptor_of_a_referrer() -> None:
    """Media type, digest, size, artifact type and annotations, as a referrers listing shows them."""
    signature = artifact(IMAGE, "application/vnd.example.signature")
    assert json.loads(parse_manifest("", signature.raw).describe()) == {
        "mediaType": media_types.IMAGE_MANIFEST,
        "digest": signature.digest,
        "size": len(signature.raw),
        "artifactType": "application/vnd.example.signature",
        "annotations": {"org.example.note": "application/vnd.example.signature"},
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (IMAGE.raw, media_types.IMAGE_CONFIG),
        (image(artifactType="a/b").raw, "a/b"),
        (index([]).raw, ""),
        (index([], artifactType="a/b").raw, "a/b"),
    ],
)
def test_the_artifact_type(raw: bytes, expected: str) -> None:
    """What the manifest says; else the media type of an image's config, and nothing for an index."""
    manifest = parse_manifest("", raw)
    assert manifest.artifact_type == expected
    assert ("artifactType" in json.loads(manifest.describe())) == bool(expected)


def test_unknown_members_are_no_matter() -> None:
    """A manifest of a later specification is read as far as this one goes."""
    raw = render(futureThing={"deep": [1, None]}, subject={"digest": "blake3:00", "size": 0, "more": 1})
    manifest = parse_manifest("", raw)
    assert manifest.subject == "blake3:00"


def test_media_types_lose_their_parameters() -> None:
    """What stands in a Content-Type header is compared without charset, case and space."""
    assert media_types.without_parameters(" Application/JSON ; charset=utf-8") == "application/json"
