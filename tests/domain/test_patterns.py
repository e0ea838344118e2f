"""Patterns of names: what they stand for, and that none is slow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.patterns import (
    RESOURCE_PATTERN,
    TAG_PATTERN,
    is_pattern,
    literal_prefix,
    matches,
    require_pattern,
)

MEANINGS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("acme/*", ["acme/app", "acme/"], ["acme", "acme/a/b", "acme2/app"]),
        ("acme/**", ["acme/app", "acme/a/b"], ["acme", "acme-dev/app"]),
        ("acme/team-?", ["acme/team-a"], ["acme/team-", "acme/team-ab", "acme/team-/"]),
        ("*/app", ["acme/app", "/app"], ["acme/x/app", "app"]),
        ("**/app", ["acme/app", "acme/x/app"], ["app", "acme/apps"]),
        ("**app", ["app", "acme/app"], ["apps"]),
        ("v*.*", ["v1.2", "v.", "v1.2.3"], ["v1", "1.2"]),
        ("*", ["acme", ""], ["acme/app"]),
        ("", [""], ["a"]),
        ("a.c", ["a.c"], ["abc"]),
        ("**a*c", ["a/abc", "ac", "a/ac"], ["a/b/c", "ab/c"]),
    ],
)
def test_what_patterns_stand_for(pattern: str, fitting: list[str], others: list[str]) -> None:
    """All of a name must fit; a star stays within a part, two cross parts."""
    assert [name for name in fitting if not matches(pattern, name)] == []
    assert [name for name in others if matches(pattern, name)] == []


TEXTS = st.text(st.sampled_from("ab/.*?"), max_size=8).filter(lambda text: "***" not in text)


@given(TEXTS, st.text(st.sampled_from("ab/."), max_size=8))
def test_they_are_what_a_regular_expression_would_be(pattern: str, name: str) -> None:
    """For short names, where that is not slow, both say the same."""
    parts = re.findall(r"\*\*|\*|\?|[^*?]+", pattern)
    same = re.compile("".join(MEANINGS.get(part) or re.escape(part) for part in parts), re.DOTALL)
    assert matches(pattern, name) is (same.fullmatch(name) is not None)


@given(TEXTS, st.text(st.sampled_from("ab/."), max_size=8))
def test_what_fits_begins_with_the_prefix(pattern: str, name: str) -> None:
    """The literal beginning is one of everything that fits; without a wildcard it is all of it."""
    assert not matches(pattern, name) or name.startswith(literal_prefix(pattern))
    assert is_pattern(pattern) or literal_prefix(pattern) == pattern


def test_a_name_that_nearly_fits_ends_too() -> None:
    """Where a regular expression would try for hours: every character is looked at once."""
    assert not matches("*a" * 100 + "b", "a" * 255)


@pytest.mark.parametrize("text", ["acme/*", "acme/**", "*", "a?-b*.c_*", "*a*b*c*"])
def test_patterns_that_are_taken(text: str) -> None:
    """Characters of names, and at most four stars."""
    assert require_pattern(text, RESOURCE_PATTERN, "resource") == text


@pytest.mark.parametrize("text", ["", "A*", "a b", "***", "a*b*c*d*e*", "é*", "a" * 256, "a\n*"])
def test_patterns_that_are_refused(text: str) -> None:
    """With the field that they stand in."""
    with pytest.raises(RequestInvalid) as refused:
        require_pattern(text, RESOURCE_PATTERN, "resource")
    assert refused.value.detail["field"] == "resource"
    assert require_pattern("V1.*", TAG_PATTERN, "tags") == "V1.*"
