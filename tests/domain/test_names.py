"""Grammars of repository names, namespaces, tags and references."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain import names
from entrepot.domain.digests import Digest
from entrepot.domain.errors import DigestInvalid, NameInvalid, TagInvalid
from entrepot.domain.names import (
    RepositoryName,
    Tag,
    parse_label,
    parse_namespace_name,
    parse_reference,
    parse_repository_name,
    parse_tag,
    require_free_name,
    require_image_repository,
)

# distribution-spec, "Pulling manifests", copied as it stands there.
SPEC_NAME = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
)
SPEC_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
SHA256 = "sha256:" + "a" * 64
NAMES = ["a", "0", "a/b", "a.b/c_d", "a__b/c", "a---b/c", "acme/app/deep/er", "manifests/blobs", "x/tags/list", "a/_/b"]
TEXT = st.text(st.sampled_from("aA0._-/:@\n é"), max_size=12)


@pytest.mark.parametrize("text", ["a/b", "a.b/c_d", "a__b/c", "a---b/c", "0/1", "a/" + "b" * 253, "blobs/uploads"])
def test_legal_repository_names_are_kept_as_they_are(text: str) -> None:
    """A legal name of several parts is itself, with its first part as namespace."""
    name = parse_repository_name(text)
    assert (name, name.namespace) == (text, text.split("/", maxsplit=1)[0])
    assert isinstance(name, RepositoryName)


def test_one_segment_lives_in_the_library() -> None:
    """`alpine` is `library/alpine`, unless that makes it too long."""
    assert parse_repository_name("alpine") == "library/alpine"
    assert parse_repository_name("a" * 247).namespace == "library"
    with pytest.raises(NameInvalid, match="with its namespace"):
        parse_repository_name("a" * 248)


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/", "/a", "a//b", "A/b", "a/b\n", "a..b/c", "a___b/c", "-a/b", "a-/b", "é/b", "a b/c", "a/..", "a:b/c"],
)
def test_illegal_repository_names_are_refused(text: str) -> None:
    """What the grammar does not have is NameInvalid."""
    with pytest.raises(NameInvalid):
        parse_repository_name(text)


def test_repository_names_have_at_most_255_characters() -> None:
    """One more is refused, and the message does not repeat it."""
    assert parse_repository_name("a/" + "b" * 253)
    with pytest.raises(NameInvalid) as refused:
        parse_repository_name("a/" + "b" * 254)
    assert refused.value.detail == {"length": 256}


@given(st.one_of(TEXT, st.sampled_from(NAMES)))
def test_repository_names_are_those_of_the_specification(text: str) -> None:
    """Accepted exactly where the specification's own expression matches."""
    if SPEC_NAME.fullmatch(text):
        assert parse_repository_name(text).endswith(text)
    else:
        with pytest.raises(NameInvalid):
            parse_repository_name(text)


@given(TEXT)
def test_tags_are_those_of_the_specification(text: str) -> None:
    """Accepted exactly where the specification's own expression matches."""
    if SPEC_TAG.fullmatch(text):
        assert parse_tag(text) == text
    else:
        with pytest.raises(TagInvalid):
            parse_tag(text)


@pytest.mark.parametrize(("text", "is_legal"), [("a" * 128, True), ("a" * 129, False), ("v1\n", False), ("_", True)])
def test_tags_have_at_most_128_characters(text: str, is_legal: bool) -> None:
    """The edge of the grammar."""
    if is_legal:
        assert isinstance(parse_tag(text), Tag)
    else:
        with pytest.raises(TagInvalid):
            parse_tag(text)


def test_a_reference_with_a_colon_is_a_digest() -> None:
    """Everything else is a tag, and each raises its own error."""
    assert isinstance(parse_reference(SHA256), Digest)
    assert isinstance(parse_reference("latest"), Tag)
    with pytest.raises(DigestInvalid):
        parse_reference("a:b")
    with pytest.raises(TagInvalid):
        parse_reference("-")


@pytest.mark.parametrize("text", ["acme", "a-b", "a.b", "a_b", "0", "a" * 63])
def test_legal_namespaces(text: str) -> None:
    """Lower-case letters and digits with single separators, 63 at most."""
    assert parse_namespace_name(text) == text
    assert require_free_name(text) == text


@pytest.mark.parametrize("text", ["", "A", "a__b", "a--b", "-a", "a-", "a/b", "a" * 64, "a\n", "é"])
def test_illegal_namespaces(text: str) -> None:
    """Everything else is NameInvalid."""
    with pytest.raises(NameInvalid):
        parse_namespace_name(text)


@pytest.mark.parametrize("text", sorted(names.RESERVED))
def test_reserved_names_are_not_free(text: str) -> None:
    """The registry's own addresses and every format name stay its own."""
    with pytest.raises(NameInvalid, match="reserved"):
        require_free_name(text)


@pytest.mark.parametrize("text", ["acme/npm/left-pad", "acme/maven/group/artifact"])
def test_package_paths_are_kept_for_packages(text: str) -> None:
    """A format name as second segment with something behind it belongs to that format."""
    with pytest.raises(NameInvalid, match="is kept for"):
        require_image_repository(parse_repository_name(text))


@pytest.mark.parametrize("text", ["acme/npm", "npm", "acme/app/npm", "acme/npmx/a"])
def test_other_paths_are_free_for_images(text: str) -> None:
    """The name of a format elsewhere in a path means nothing."""
    require_image_repository(parse_repository_name(text))


def test_teams_and_roles_are_named_like_namespaces() -> None:
    """What a namespace may be called, a team and a role may be too, and the message says which of them it is about."""
    assert parse_label("dev-ops", "team") == "dev-ops"
    for text in ("Devs", "", "a/b", "x" * 64):
        with pytest.raises(NameInvalid, match="a role is at most 63"):
            parse_label(text, "role")
