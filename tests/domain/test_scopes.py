"""Scopes of secrets, and the ceilings that they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.access import ADMITS, Action, Caller
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.scopes import MOST_SCOPES, UNSCOPED, ceiling_of_scopes

APP = "acme/app"


def admitted(*scopes: str, resource: str = APP) -> set[Action]:
    """What a secret with these scopes admits on a resource."""
    caller = Caller(None, ceiling_of_scopes(scopes))
    return {action for action in Action if caller.is_admitted(action, resource)}


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((), UNSCOPED),
        (("admin",), frozenset(Action)),
        (("pull",), ADMITS["pull"] | {Action.CATALOG}),
        (("push",), ADMITS["push"]),
        (("delete",), ADMITS["delete"]),
        (("pull", "push"), ADMITS["pull"] | ADMITS["push"] | {Action.CATALOG}),
        (("repository:acme/app:pull",), ADMITS["pull"]),
        (("repository:acme/app:pull,push",), ADMITS["pull"] | ADMITS["push"]),
        (("repository:acme/app:pull", "repository:acme/app:delete"), ADMITS["pull"] | ADMITS["delete"]),
        (("repository:acme/*:pull",), ADMITS["pull"]),
        (("repository:**:push",), ADMITS["push"]),
        (("repository:acme/a?p:pull", "repository:acme/**:push"), ADMITS["pull"] | ADMITS["push"]),
        (("repository:acme/other:pull",), frozenset()),
        (("repository:acme/*/app:pull",), frozenset()),
    ],
)
def test_what_scopes_admit(scopes: tuple[str, ...], expected: frozenset[Action]) -> None:
    """Exactly the actions of their words, where their names and patterns say."""
    assert admitted(*scopes) == expected


def test_administration_takes_its_own_scope() -> None:
    """No scope but `admin` admits to administer the instance, and a secret without scopes does not either."""
    every = ("pull", "push", "delete", "repository:**:pull,push,delete")
    for scopes in ((), every):
        assert Action.ADMIN not in admitted(*scopes, resource="")
    assert Action.ADMIN in admitted("admin", resource="")


def test_names_of_one_segment_live_in_library() -> None:
    """`alpine` means `library/alpine`, as everywhere."""
    assert admitted("repository:alpine:pull", resource="library/alpine") == ADMITS["pull"]


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "*",
        "write",
        "repository:acme/app",
        "repository:acme/app:",
        "repository:acme/app:fly",
        "repository:acme/app:pull,admin",
        "repository:acme/app:*",
        "repository::pull",
        "repository:ACME/app:pull",
        "repository:acme:x:pull",
        "repository:acme*:pull",
        "repository:acme/***:pull",
        "repository:a/*/*/*/*/*:pull",
        "registry:catalog:*",
        "repository:acme/app:pull ",
    ],
)
def test_scopes_that_are_refused(scope: str) -> None:
    """What is no scope is refused with its place in the list, before anything is made of it."""
    with pytest.raises(RequestInvalid) as refused:
        ceiling_of_scopes(["pull", scope])
    assert refused.value.detail["field"] == "scopes[1]"


def test_there_are_not_too_many() -> None:
    """A list that nobody could read is refused."""
    assert ceiling_of_scopes(["pull"] * MOST_SCOPES)
    with pytest.raises(RequestInvalid):
        ceiling_of_scopes(["pull"] * (MOST_SCOPES + 1))


words = st.sampled_from(["pull", "push", "delete", "repository:acme/*:pull", "repository:acme/app:push", "admin"])


@given(st.lists(words, min_size=1, max_size=5), words)
def test_a_scope_only_adds(scopes: list[str], more: str) -> None:
    """With one scope more, a secret admits all that it admitted, and nothing but what the two admit by themselves."""
    both = admitted(*scopes, more)
    assert both == admitted(*scopes) | admitted(more)
