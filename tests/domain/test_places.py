"""Places: which names a resource is about, what two have in common, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import Grant
from entrepot.domain.places import is_within, meet, parse_range, parse_spot, place_of, touches

RESOURCES = st.sampled_from(
    [
        "acme",
        "acme/app",
        "acme/*",
        "acme/**",
        "a**",
        "*",
        "**",
        "*/app",
        "**/app",
        "a*e",
        "a**p",
        "?cme/a*",
        "acme**/x**",
    ]
)
NAMES = st.sampled_from(["acme", "acme/app", "acme/a/app", "acme-dev/app", "ae", "b", "b/x", "acme/x/y", "axp/b"])


@given(RESOURCES, NAMES)
def test_a_place_is_what_a_grant_is_about(resource: str, name: str) -> None:
    """A name is in it where a grant on the resource is applied to it."""
    namespace = name.partition("/")[0]
    grant = Grant(1, ("everyone", 0), frozenset(), resource, "none")
    assert meet(place_of(resource), (name,)) is grant.covers(namespace, name)
    assert is_within((name,), place_of(resource)) is grant.covers(namespace, name)
    assert touches(place_of(resource), namespace) or not grant.covers(namespace, name)
    assert meet(place_of(""), (name,))


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("acme/*", "acme", True),
        ("acme/**", "acme", True),
        ("acme", "acme/**", False),
        ("acme-*", "acme-*", True),
        ("acme-*/x", "acme-*", True),
        ("**", "*", True),
        ("*", "", True),
        ("", "**", True),
        ("a**", "a*", True),
        ("a*", "acme", False),
        ("acme", "acme/app", False),
    ],
)
def test_what_is_part_of_what(inner: str, outer: str, expected: bool) -> None:
    """A namespace is itself and all below; the registry is everything."""
    assert is_within(place_of(inner), place_of(outer)) is expected


@pytest.mark.parametrize("text", ["", "acme", "acme/app", "acme/a/b", "acme/app:v1", "a_b/c"])
def test_places_that_are_taken(text: str) -> None:
    """The registry, namespaces, repositories and tags, as they are written."""
    assert parse_spot(text) == parse_range(text) == text


NONE = ["ACME", "ACME/..//x", "acme/", "/app", "acme//app", "acme:v1", ":v1", "acme/app:", "acme/app:v:1", "acme/app@x"]


@pytest.mark.parametrize("text", [*NONE, "a b", "-", "a" * 64, "acme/app:v*"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """With the field, what is wrong and what is taken."""
    for parse in (parse_spot, parse_range):
        with pytest.raises(RequestInvalid) as refused:
            parse(text)
        assert refused.value.detail["field"] == "resource"


@pytest.mark.parametrize("text", ["acme/*", "acme-*", "**", "a?/b", "acme/*:v1"])
def test_patterns_are_many_places(text: str) -> None:
    """They are taken where many are meant, and where one is meant, the question that is meant is named."""
    assert parse_range(text) == text
    with pytest.raises(RequestInvalid, match="entrepot who-can"):
        parse_spot(text)


@pytest.mark.parametrize("text", ["ACME/*", "a***", "*a*b*c*d*e", "acme/*:", "acme/*:v*:"])
def test_patterns_that_are_none(text: str) -> None:
    """They have the grammar of grants."""
    with pytest.raises(RequestInvalid) as refused:
        parse_range(text)
    assert refused.value.detail["field"] == "resource"
