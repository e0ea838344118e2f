"""The one decision, as a table: who may do what where, with reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.decide import decide, is_open, may, require, visible_ranges
from entrepot.domain.access import (
    ADMITS,
    ANONYMOUS,
    NEEDS,
    AccountPolicy,
    Action,
    Caller,
    Identity,
    NamespacePolicy,
    PolicySnapshot,
    Role,
)
from entrepot.domain.errors import Denied

ADMIN, ALICE, BOB, CAROL, GONE, EVE = (
    Identity(number, name) for number, name in enumerate(("admin", "alice", "bob", "carol", "gone", "eve"), 1)
)
WHO = {identity.name: identity for identity in (ADMIN, ALICE, BOB, CAROL, GONE, EVE)}
SNAPSHOT = PolicySnapshot(
    version=1,
    accounts={
        identity.account: AccountPolicy(identity.name, identity is ADMIN, identity is GONE, 0)
        for identity in (ADMIN, ALICE, BOB, CAROL, GONE)
    },
    namespaces={
        "priv": NamespacePolicy(ALICE.account, "private"),
        "pub": NamespacePolicy(ALICE.account, "public"),
        "lost": NamespacePolicy(None, "private"),
        "taken": NamespacePolicy(None, "private"),
    },
    repositories={"priv/show": "public", "pub/hide": "private"},
    grants={
        BOB.account: {"priv/app": Role.WRITER, "lost": Role.READER, "lost/app": Role.OWNER},
        CAROL.account: {"priv": Role.READER},
        GONE.account: {"priv": Role.OWNER},
    },
)
READ, WRITE, OWN = {Action.PULL}, set(ADMITS["pull"] | ADMITS["push"]), set(NEEDS)


@pytest.mark.parametrize(
    ("who", "resource", "allowed"),
    [
        ("", "priv/app", set()),
        ("", "priv/show", READ),
        ("", "pub/app", READ),
        ("", "pub/none", READ),
        ("", "pub/hide", set()),
        ("", "none/app", set()),
        ("admin", "priv/app", OWN),
        ("admin", "none/app", OWN),
        ("alice", "priv/app", OWN),
        ("alice", "priv", OWN),
        ("alice", "pub/hide", OWN),
        ("alice", "lost/app", set()),
        ("alice", "alice/app", OWN),
        ("alice", "bob/app", set()),
        ("bob", "priv/app", WRITE),
        ("bob", "priv/apps", set()),
        ("bob", "priv", set()),
        ("bob", "pub/app", READ),
        ("bob", "lost/other", READ),
        ("bob", "lost/app", OWN),
        ("carol", "priv/app", READ),
        ("carol", "priv", READ),
        ("gone", "priv/app", set()),
        ("gone", "gone/app", set()),
        ("gone", "pub/app", READ),
        ("eve", "pub/app", READ),
        ("eve", "priv/app", set()),
        ("eve", "eve/app", set()),
    ],
)
def test_who_may_do_what(who: str, resource: str, allowed: set[Action]) -> None:
    """Exactly these actions; whoever is disabled, unknown to the policy or nobody has no role anywhere."""
    identity = WHO.get(who)
    decisions = {action: decide(SNAPSHOT, identity, action, resource) for action in NEEDS}
    assert {action for action, decision in decisions.items() if decision.allowed} == allowed
    for decision in decisions.values():
        assert decision.allowed is not bool(decision.reasons)


@pytest.mark.parametrize(
    ("who", "action", "resource", "is_allowed"),
    [
        ("admin", Action.ADMIN, "", True),
        ("alice", Action.ADMIN, "", False),
        ("", Action.ADMIN, "", False),
        ("admin", Action.NAMESPACE_CREATE, "new", True),
        ("alice", Action.NAMESPACE_CREATE, "alice", True),
        ("alice", Action.NAMESPACE_CREATE, "new", False),
        ("gone", Action.NAMESPACE_CREATE, "gone", False),
        ("", Action.NAMESPACE_CREATE, "new", False),
        ("alice", Action.PUSH, "alice/app", True),
        ("alice", Action.PUSH, "new/app", False),
    ],
)
def test_what_is_about_the_registry(who: str, action: Action, resource: str, is_allowed: bool) -> None:
    """Administrators do everything; a namespace is made by them, and by a user of its name."""
    assert decide(SNAPSHOT, WHO.get(who), action, resource).allowed is is_allowed


def test_reasons_are_for_people() -> None:
    """What is needed and what one has; how to get a namespace."""
    assert decide(SNAPSHOT, CAROL, Action.PUSH, "priv/app").reasons == (
        "push on priv/app needs the role writer",
        "carol has reader there",
    )
    assert decide(SNAPSHOT, None, Action.PULL, "priv/app").reasons[1] == "anonymous has no role there"
    assert "entrepot namespace create new" in decide(SNAPSHOT, BOB, Action.PUSH, "new/app").reasons[1]


def test_a_token_narrows_and_never_widens() -> None:
    """Both the ceiling and the policy must allow it."""
    narrow = Caller(ALICE, {"priv/app": ADMITS["pull"]})
    wide = Caller(BOB, {"priv/none": ADMITS["*"]})
    assert may(narrow, SNAPSHOT, Action.PULL, "priv/app")
    assert not may(narrow, SNAPSHOT, Action.PUSH, "priv/app")
    assert not may(wide, SNAPSHOT, Action.PULL, "priv/none")


def test_a_refusal_is_raised_with_its_reasons() -> None:
    """`require` raises Denied, or nothing."""
    require(Caller(ALICE, None), SNAPSHOT, Action.PUSH, "priv/app")
    with pytest.raises(Denied, match="push on priv/app is refused") as refused:
        require(Caller(CAROL, None), SNAPSHOT, Action.PUSH, "priv/app")
    assert refused.value.detail["reasons"] == list(decide(SNAPSHOT, CAROL, Action.PUSH, "priv/app").reasons)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("admin", None),
        ("alice", ["priv/", "pub/"]),
        ("bob", ["lost/", "priv/app", "priv/show", "pub/"]),
        ("carol", ["priv/", "pub/"]),
        ("gone", ["priv/show", "pub/"]),
        ("", ["priv/show", "pub/"]),
    ],
)
def test_where_there_may_be_something_to_read(who: str, expected: list[str] | None) -> None:
    """Namespaces and single repositories in order; everything for administrators."""
    assert visible_ranges(SNAPSHOT, Caller(WHO.get(who), None)) == expected


@given(
    st.sampled_from(["", *WHO]),
    st.sampled_from(["priv", "pub", "lost", "taken", "none"]),
    st.sampled_from(["app", "show", "hide", "x", "a/b"]),
)
def test_listings_and_decisions_agree(who: str, namespace: str, path: str) -> None:
    """Whatever may be pulled lies in a range that is listed."""
    identity, name = WHO.get(who), f"{namespace}/{path}"
    ranges = visible_ranges(SNAPSHOT, Caller(identity, None))
    if namespace in SNAPSHOT.namespaces and decide(SNAPSHOT, identity, Action.PULL, name).allowed:
        assert ranges is None or name in ranges or f"{namespace}/" in ranges


def test_open_namespaces() -> None:
    """Those whose default is public, and that are there."""
    assert [name for name in ("priv", "pub", "none", "") if is_open(SNAPSHOT, name)] == ["pub"]
    assert not may(ANONYMOUS, SNAPSHOT, Action.PUSH, "pub/app")
