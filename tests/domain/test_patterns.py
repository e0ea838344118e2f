"""Patterns of names: what they stand for, and that none is slow."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.patterns import (
    RESOURCE_PATTERN,
    TAG_PATTERN,
    contains,
    is_pattern,
    literal_prefix,
    matches,
    overlap,
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


SHORT = st.text(st.sampled_from("ab/*?"), max_size=6).filter(lambda text: "***" not in text)
# Whatever two of those have in common, they have in a name of these letters that is not longer than both.
NAMES = ["".join(letters) for length in range(7) for letters in itertools.product("ab/", repeat=length)]


@given(SHORT, SHORT)
def test_two_patterns_overlap_where_a_name_fits_both(one: str, other: str) -> None:
    """Whichever is asked of the other; and for short ones a name can be found, or there is none."""
    found = any(matches(one, name) and matches(other, name) for name in NAMES)
    assert overlap(one, other) is overlap(other, one)
    assert overlap(one, other) or not found
    assert found or not overlap(one, other) or len(one) + len(other) > 6


@given(SHORT, SHORT)
def test_what_contains_another_has_all_of_it(outer: str, inner: str) -> None:
    """No name of the inner one is outside; and what is written the same is inside."""
    assert not contains(outer, inner) or all(matches(outer, name) for name in NAMES if matches(inner, name))
    assert contains(inner, inner)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("acme/**", "acme/*", True),
        ("acme/*", "acme/**", False),
        ("acme/**", "acme/a?/b*", True),
        ("acme/*", "acme/a?", True),
        ("acme/a?", "acme/a*", False),
        ("acme/??", "acme/a?", True),
        ("acme/a*", "acme/*", False),
        ("*/app", "acme/app", True),
        ("acme/app", "acme/*", False),
        ("*?", "?*", False),
    ],
)
def test_which_pattern_is_the_wider_one(outer: str, inner: str, expected: bool) -> None:
    """Two stars are more than one, a star is more than a question mark; odd ones are not said to be the same."""
    assert contains(outer, inner) is expected


def test_patterns_that_nearly_overlap_end_too() -> None:
    """As long as they may be, neither question takes its time."""
    long, other = "*a*" + "?" * 248 + "*b", "*b*" + "?" * 248 + "*c"
    assert not overlap(long, other)
    assert not contains(long, other)
