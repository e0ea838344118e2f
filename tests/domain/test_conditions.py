"""Conditions on claims: their text form, and what fits them."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.domain.conditions import find_claim, parse_conditions, render_conditions, require_conditions, unmet
from entrepot.domain.errors import RequestInvalid

CLAIMS: dict[str, Any] = {
    "repository": "acme/app",
    "ref": "refs/tags/v1.2",
    "protected": True,
    "run": 7,
    "groups": ["acme", "acme/ci", {"odd": 1}],
    "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder"}},
    "nothing": None,
    "long": "x" * 513,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("repo == acme/app && ref == refs/heads/main", {"repository": ("acme/app",), "ref": ("refs/heads/main",)}),
        ("ref =~ refs/tags/*", {"ref": ("refs/tags/*",)}),
        (
            '  environment=="blue green"&&sub=~repo:acme/*:** ',
            {"environment": ("blue green",), "sub": ("repo:acme/*:**",)},
        ),
        ("kubernetes.io.namespace == ci", {"kubernetes.io.namespace": ("ci",)}),
    ],
)
def test_texts_that_are_conditions(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    """`==` and `=~` joined by `&&`; `repo` is GitHub's `repository`."""
    assert parse_conditions(text) == expected
    assert require_conditions(expected) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repository", "is no condition"),
        ("repository = acme/app", "is no condition"),
        ("repository != acme/app", "is no condition"),
        ("a == b || c == d", "is no condition"),
        ("a == b &&", "is no condition"),
        ("ref == refs/heads/*", "write ref =~"),
        ("repo == a && repository == b", "asked for twice"),
    ],
)
def test_texts_that_are_none(text: str, message: str) -> None:
    """Everything else is refused with how to write it."""
    with pytest.raises(RequestInvalid, match=message):
        parse_conditions(text)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"a b": ["x"]}, "conditions.a b"),
        ({"": ["x"]}, "conditions."),
        ({"ref": []}, "conditions.ref"),
        ({"ref": [""]}, "conditions.ref"),
        ({"ref": ["a\n"]}, "conditions.ref"),
        ({"ref": ["x" * 513]}, "conditions.ref"),
        ({"ref": ["x"] * 51}, "conditions.ref"),
        ({"ref": ["a***"]}, "conditions.ref"),
        ({"ref": ["*a*b*c*"]}, "conditions.ref"),
        ({"ref": ["**a**b**c**d**"]}, "conditions.ref"),
        ({f"c{number}": ["x"] for number in range(21)}, "conditions"),
    ],
)
def test_conditions_that_cannot_be_judged(conditions: dict[str, list[str]], field: str) -> None:
    """Each limit is refused with the path of the claim."""
    with pytest.raises(RequestInvalid) as caught:
        require_conditions(conditions)
    assert caught.value.detail["field"] == field


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("repository == acme/app", True),
        ("repository == acme/ap", False),
        ("repository =~ acme/*", True),
        ("repository =~ *", False),
        ("ref =~ refs/tags/v?.*", True),
        ("ref =~ refs/**", True),
        ("protected == true", True),
        ("protected == True", False),
        ("run == 7", True),
        ("groups == acme/ci", True),
        ("groups == other", False),
        ("kubernetes.io.serviceaccount.name == builder", True),
        ("kubernetes.io.serviceaccount == builder", False),
        ("kubernetes.io.pod.name == builder", False),
        ("nothing == None", False),
        ("absent == x", False),
        ("long =~ x*", False),
        ("repository == acme/app && run == 8", False),
    ],
)
def test_what_fits(text: str, fits: bool) -> None:
    """Texts, patterns, lists, numbers, truths and claims inside claims."""
    assert (unmet(parse_conditions(text), CLAIMS) == []) is fits


def test_reasons_say_what_was_wanted_and_what_is_there() -> None:
    """One line a claim, with every value that would do."""
    conditions = {"ref": ("refs/heads/main", "refs/heads/*-stable"), "absent": ("x",)}
    assert unmet(conditions, CLAIMS) == [
        "ref must be (== refs/heads/main or =~ refs/heads/*-stable), and is refs/tags/v1.2",
        "absent must be == x, and is not there",
    ]
    assert render_conditions({"a": ("b",), "c": ("d*",)}) == "a == b && c =~ d*"
    assert find_claim(CLAIMS, "groups") == ("acme", "acme/ci")
