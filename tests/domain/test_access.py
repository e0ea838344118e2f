"""Scopes, roles and the words of the token protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.access import (
    ADMITS,
    ANONYMOUS,
    SCOPE_WORD,
    Action,
    Caller,
    Scope,
    parse_scopes,
)
from entrepot.domain.grants import GRANTABLE, ROLES
from entrepot.domain.policy import EMPTY_POLICY, AccountPolicy, PolicySnapshot


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([], []),
        (["repository:a/b:pull"], [Scope("repository", "a/b", ("pull",))]),
        (["repository:a/b:pull,push"], [Scope("repository", "a/b", ("pull", "push"))]),
        (["repository:a:pull repository:b:*"], [Scope("repository", "a", ("pull",)), Scope("repository", "b", ("*",))]),
        (["repository:a:pull", "repository:a:pull,push"], [Scope("repository", "a", ("pull", "push"))]),
        (["repository:host:5000/a:pull"], [Scope("repository", "host:5000/a", ("pull",))]),
        (["repository(plugin):a:pull"], [Scope("repository", "a", ("pull",))]),
        (["registry:catalog:*"], [Scope("registry", "catalog", ("*",))]),
        (["repository:a:"], [Scope("repository", "a", ())]),
        (["repository:a:,pull,"], [Scope("repository", "a", ("pull",))]),
        (["", "  ", "repository", "repository:a", "::", "repository::pull"], []),
    ],
)  # fmt: skip
def test_scopes(parameters: list[str], expected: list[Scope]) -> None:
    """Repeated, space-separated and merged by resource; what is no scope is left out."""
    assert parse_scopes(parameters) == expected


@given(st.lists(st.text(st.sampled_from("ab:,*( )/"), max_size=20)))
def test_any_text_is_scopes(parameters: list[str]) -> None:
    """Nothing fails, each resource comes once, and writing the scopes down and reading them again changes nothing."""
    scopes = parse_scopes(parameters)
    assert len({(scope.type, scope.name) for scope in scopes}) == len(scopes)
    again = [f"{scope.type}:{scope.name}:{','.join(scope.actions)}" for scope in scopes]
    assert parse_scopes(again) == scopes


def test_every_scope_word_admits_what_it_says() -> None:
    """Each action that needs a role on a repository is admitted by one word, and by the star."""
    assert {word: SCOPE_WORD[Action(word)] for word in ("pull", "push", "delete")} == {
        "pull": "pull", "push": "push", "delete": "delete",
    }  # fmt: skip
    assert ADMITS["*"] > ADMITS["pull"] | ADMITS["push"] | ADMITS["delete"]
    assert ROLES["reader"] < ROLES["writer"] < ROLES["maintainer"] < ROLES["owner"] < GRANTABLE


def test_a_ceiling_is_by_resource() -> None:
    """Without a token everything is admitted; with one, what it says of that resource."""
    caller = Caller(None, {"a/b": ADMITS["pull"]})
    assert caller.is_admitted(Action.PULL, "a/b")
    assert not caller.is_admitted(Action.PUSH, "a/b")
    assert not caller.is_admitted(Action.PULL, "a/c")
    assert ANONYMOUS.is_admitted(Action.ADMIN, "anything")


def test_disabled_accounts_are_not_found() -> None:
    """Whoever is disabled or unknown may not act."""
    accounts = {1: AccountPolicy("a", False, False, 0), 2: AccountPolicy("b", False, True, 0)}
    snapshot = PolicySnapshot(version=1, accounts=accounts)
    assert snapshot.find_account(1) == accounts[1]
    assert snapshot.find_account(2) is None
    assert EMPTY_POLICY.find_account(1) is None
