"""Who may do something: it agrees with the one decision, name by name, and for patterns with all names that fit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.able import MOST_TOLD, Able, Inquiry, find_able
from entrepot.core.decide import MAKING, decide
from entrepot.core.listing import Page
from entrepot.domain.access import Action, Caller, Origin
from entrepot.domain.grants import EVERYONE, GRANTABLE, OF_TAGS, SIGNED_IN, Conditions, Grant, Subject
from entrepot.domain.places import meet, place_of
from entrepot.domain.policy import NamespacePolicy, PolicySnapshot
from tests.core.test_decide import ASKED, DEVS, GRANTS, OPS, SNAPSHOT, WHO, account, collected

ALL = frozenset({"address", "now", "client", "listener"})
INSIDE, OUTSIDE = Origin("10.0.0.1", 43_200_000_000, "", "main"), Origin("192.0.2.1", 3_600_000_000, "", "main")
ADMIN = Caller(WHO["admin"], None, INSIDE)
PATTERNS = st.sampled_from(["acme/*", "acme/**", "a*", "*", "**", "*/app", "acme*/**", "acme/a?p", "**/app", "none/*"])
WHOLE = Page("", 1000)
EARLY, LATE = datetime(1970, 1, 1, 11, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def asked(snapshot: PolicySnapshot, inquiry: Inquiry) -> dict[str, Able]:
    """Everybody who may, by subject."""
    found, following = find_able(snapshot, ADMIN, inquiry, WHOLE)
    assert following is None
    return {each.subject: each for each in found}


def able(action: Action, resource: str, *grants: Grant) -> dict[str, Able]:
    """Everybody who may, under these grants, of whatever origin."""
    return asked(collected(list(grants)), Inquiry(action, resource, INSIDE))


def grant(subject: Subject, resource: str, actions: str, **limits: Any) -> Grant:
    """A grant of some actions."""
    return msgspec.structs.replace(
        Grant(7, subject, frozenset(Action(word) for word in actions.split()), resource, "some"), **limits
    )


@given(st.lists(GRANTS, max_size=6), st.sampled_from(sorted(GRANTABLE)), ASKED, st.sampled_from([INSIDE, OUTSIDE]))
def test_of_one_place_it_says_what_is_decided(held: list[Grant], action: Action, resource: str, origin: Origin) -> None:
    """Whoever is listed may; whoever may is listed, or may as everybody does; denied is denied."""
    if action in OF_TAGS and ":" not in resource:
        return
    snapshot = collected(held)
    found = asked(snapshot, Inquiry(action, resource, origin, ALL))
    assert ("everyone" in found) is decide(snapshot, None, action, resource, origin).allowed
    for number, each in snapshot.accounts.items():
        if each.kind == "organisation" or each.is_disabled:
            continue
        is_allowed = decide(snapshot, WHO[each.name], action, resource, origin).allowed
        is_listed = f"{each.kind}:{each.name}" in found
        assert is_allowed or not is_listed, (number, each)
        assert is_listed or not is_allowed or {"everyone", "signed-in"} & set(found)
    assert all(entry.everywhere for entry in found.values())


@given(st.lists(GRANTS, max_size=6), st.sampled_from(sorted(GRANTABLE - OF_TAGS)), PATTERNS, ASKED)
def test_of_a_pattern_it_says_what_is_decided_somewhere(
    held: list[Grant], action: Action, pattern: str, resource: str
) -> None:
    """Whoever may somewhere in it is listed; whoever may on all of it without exception may there."""
    snapshot, name = collected(held), resource.partition(":")[0]
    if not meet(place_of(pattern), (name,)):
        return
    found = asked(snapshot, Inquiry(action, pattern, INSIDE, ALL))
    is_new = action in MAKING and name.partition("/")[0] not in snapshot.namespaces
    for each in snapshot.accounts.values():
        if each.kind == "organisation" or each.is_disabled:
            continue
        is_allowed = decide(snapshot, WHO[each.name], action, name, INSIDE).allowed
        listed = found.get(f"{each.kind}:{each.name}")
        assert listed or not is_allowed or {"everyone", "signed-in"} & set(found)
        assert listed is None or not listed.everywhere or listed.exceptions or is_allowed or is_new


def test_a_pattern_says_where() -> None:
    """On all of it, or on the parts that grants and ownership are about; who has nothing there is not named."""
    found = able(
        Action.PUSH,
        "acme-prod/*",
        grant(account("bob"), "acme-prod/app", "push"),
        grant(account("carol"), "acme-prod", "push"),
        grant(account("ci"), "acme-*/web", "push"),
        grant(account("night"), "acme-dev/app", "push"),
        grant(account("mia"), "acme-prod/a/b", "push"),
    )
    assert {who: (each.everywhere, each.where) for who, each in found.items()} == {
        "user:admin": (True, ("acme-prod/*",)),
        "user:olga": (True, ("acme-prod/*",)),
        "user:bob": (False, ("acme-prod/app",)),
        "user:carol": (True, ("acme-prod/*",)),
        "service:ci": (False, ("acme-*/web",)),
    }
    assert found["user:bob"].through == ("some on acme-prod/app (grant 7)",)


def test_denials_take_away_or_are_exceptions() -> None:
    """What is denied in all of a place is gone; a denial of a part, for tags, or under conditions is told."""
    bob, push = account("bob"), "push tag.move"
    held = [grant(bob, "acme", push), grant(account("carol"), "acme/app", push)]
    denial = grant(EVERYONE, "acme/app", push, is_deny=True, id=9)
    found = able(Action.PUSH, "acme/*", *held, denial)
    assert found["user:bob"].exceptions == ("push is denied on acme/app (some, grant 9)",)
    assert "user:carol" not in found
    assert "user:bob" not in able(Action.PUSH, "acme/app", *held, denial)
    night = Conditions(networks=("192.0.2.0/24",))
    found = able(Action.PUSH, "acme/app", *held, msgspec.structs.replace(denial, conditions=night))
    assert found["user:bob"].exceptions == ("push is denied on acme/app, only from 192.0.2.0/24 (some, grant 9)",)
    found = able(Action.TAG_MOVE, "acme/app", *held, msgspec.structs.replace(denial, tags="v*"))
    assert found["user:bob"].exceptions == ("tag.move is denied on acme/app for tags like v* (some, grant 9)",)
    assert "user:bob" not in able(Action.TAG_MOVE, "acme/app:v1", *held, msgspec.structs.replace(denial, tags="v*"))


def test_tags_of_a_grant_and_of_a_denial() -> None:
    """Who may move some tags is named with them, but not for what no tag covers, nor where all of those are denied."""
    held = [grant(account("bob"), "acme", "tag.move delete", tags="v1.*")]
    assert able(Action.TAG_MOVE, "acme/app", *held)["user:bob"].through == (
        "some on acme for tags like v1.* (grant 7)",
    )
    assert "user:bob" not in able(Action.DELETE, "acme/app", *held)
    denial = grant(EVERYONE, "acme/**", "tag.move", is_deny=True, tags="v*")
    assert "user:bob" not in able(Action.TAG_MOVE, "acme/app", *held, denial)
    other = msgspec.structs.replace(denial, tags="dev-*")
    assert able(Action.TAG_MOVE, "acme/app", *held, other)["user:bob"].exceptions == ()


def test_owners_are_not_denied_what_undoes_a_denial() -> None:
    """An office allows it all the same, and no exception is told of it; a role is gone."""
    denial = grant(EVERYONE, "", "repository.admin", is_deny=True)
    found = able(Action.REPOSITORY_ADMIN, "acme/app", grant(account("bob"), "acme", "repository.admin"), denial)
    assert set(found) == {"user:admin", "user:olga"}
    assert found["user:olga"].exceptions == ()


@pytest.mark.parametrize(
    ("conditions", "inquiry", "expected"),
    [
        (Conditions(networks=("10.0.0.0/8",)), set(), ", only from 10.0.0.0/8"),
        (Conditions(networks=("192.0.2.0/24",)), {"address"}, None),
        (Conditions(networks=("10.0.0.0/8",), listeners=("private",)), {"address"}, ", only on the listeners private"),
        (Conditions(listeners=("private",)), {"listener"}, None),
        (Conditions(clients=("ci",)), {"now"}, ", only for the client certificates ci"),
        (Conditions(not_after=EARLY), set(), None),
        (Conditions(not_after=LATE), set(), ", only until 2026-12-01"),
        (Conditions(not_before=LATE), set(), ", only from 2026-12-01"),
        (Conditions(not_before=LATE), {"now"}, None),
        (Conditions(days=("thu",)), {"now"}, ", only on thu"),
        (Conditions(days=("fri",)), {"now"}, None),
        (Conditions(days=("fri",)), {"address"}, ", only on fri"),
    ],
)
def test_conditions_are_told_or_judged(conditions: Conditions, inquiry: set[str], expected: str | None) -> None:
    """What was asked about is judged; the rest is told."""
    snapshot = collected([grant(account("bob"), "acme", "push", conditions=conditions)])
    found = asked(snapshot, Inquiry(Action.PUSH, "acme/app", INSIDE, frozenset(inquiry))).get("user:bob")
    assert (found is None) is (expected is None)
    assert found is None or expected in found.through[0]


def test_a_denial_that_is_over_or_begun() -> None:
    """One that ended is nothing, one that has begun for good takes away, and one that will begin is an exception."""
    held = grant(account("bob"), "acme", "push")
    for conditions, is_there, count in (
        (Conditions(not_after=EARLY), True, 0),
        (Conditions(not_before=EARLY), False, 0),
        (Conditions(not_before=LATE), True, 1),
        (Conditions(not_after=LATE), True, 1),
    ):
        denial = grant(EVERYONE, "acme", "push", is_deny=True, conditions=conditions)
        found = able(Action.PUSH, "acme/app", held, denial).get("user:bob")
        assert (found is not None) is is_there
        assert found is None or len(found.exceptions) == count


def test_groups_come_first_with_those_who_are_denied() -> None:
    """Everybody and all who are signed in are entries of their own; who is denied what they may is an exception."""
    found = able(
        Action.PULL,
        "pub/app",
        grant(SIGNED_IN, "pub", "pull"),
        grant(account("bob"), "pub/app", "pull", is_deny=True, id=1),
        grant(("account", 99), "pub/app", "pull", is_deny=True, id=2),
        grant(DEVS, "pub/*", "pull", is_deny=True, id=3),
        grant(SIGNED_IN, "", "pull", is_deny=True, id=4, tags="x*"),
        grant(OPS, "pub", "pull"),
    )
    assert list(found) == ["everyone", "signed-in", "user:admin", "user:alice", "user:mia"]
    assert found["everyone"].through == ("public",)
    assert found["everyone"].exceptions == (
        "pull is denied to all who are signed in on the whole registry for tags like x* (some, grant 4)",
        "pull is denied to bob on pub/app (some, grant 1)",
        "pull is denied to somebody on pub/app (some, grant 2)",
        "pull is denied to a team on pub/* (some, grant 3)",
    )
    assert found["signed-in"].through == ("some on pub for all who are signed in (grant 7)", "public")
    assert found["user:mia"].through[0] == "some on pub of a team (grant 7)"
    assert list(able(Action.PULL, "pub/app", grant(EVERYONE, "pub", "pull", is_deny=True))) == []


def test_what_is_public_in_a_pattern() -> None:
    """Namespaces with what they hide, and single repositories elsewhere; who has more is not told what is hidden."""
    found = asked(SNAPSHOT, Inquiry(Action.PULL, "p*/**", OUTSIDE))
    assert found["everyone"].through[:2] == ("priv/show is public", "pub is public")
    assert "pub/hide is private" in found["everyone"].exceptions
    assert "pub/hide is private" not in found["user:alice"].exceptions
    assert asked(SNAPSHOT, Inquiry(Action.PULL, "pub/hide", OUTSIDE)).keys() == {
        "user:admin",
        "user:alice",
        "service:scanner",
    }
    assert "everyone" not in asked(SNAPSHOT, Inquiry(Action.PULL, "pub", OUTSIDE))
    assert asked(SNAPSHOT, Inquiry(Action.PULL, "pub/a*", OUTSIDE))["everyone"].through == ("pub is public",)


def test_names_of_ones_own_and_of_organisations() -> None:
    """Who would make a namespace by pushing, and who may make those that begin as their organisation does."""
    assert able(Action.PUSH, "bob/app")["user:bob"].through == ("their own name",)
    assert able(Action.PUSH, "b*/app")["user:bob"].where == ("bob",)
    held = grant(account("bob"), "", "push")
    assert set(able(Action.PUSH, "none/app", held)) == {"user:admin"}
    made = able(Action.NAMESPACE_CREATE, "acme-new")
    assert made["user:olga"].through == ("owner of the organisation acme",)
    assert able(Action.NAMESPACE_CREATE, "acme-n*")["user:olga"].everywhere
    assert "user:olga" not in able(Action.NAMESPACE_CREATE, "other")
    assert set(able(Action.ADMIN, "")) == {"user:admin"}


def test_namespaces_that_answer_elsewhere() -> None:
    """By a listener that they do not answer on nobody may; where none is asked about, it is told; and never shown
    where the question itself comes by another one.
    """
    bound = {**SNAPSHOT.namespaces, "priv": NamespacePolicy(WHO["alice"].account, "private", ("private",))}
    snapshot = msgspec.structs.replace(SNAPSHOT, namespaces=bound, elsewhere={"priv": ("private",)}, compiled={})
    private = Caller(WHO["admin"], None, Origin("10.0.0.1", 1, "", "private"))

    def ask(caller: Caller, resource: str, listener: str = "") -> list[Able]:
        given = frozenset({"listener"}) if listener else frozenset[str]()
        inquiry = Inquiry(Action.PUSH, resource, Origin("10.0.0.1", 1, "", listener), given)
        return find_able(snapshot, caller, inquiry, WHOLE)[0]

    told = "priv answers only on the listeners private"
    assert [each.who for each in ask(private, "priv/app", "main")] == []
    assert {each.who for each in ask(private, "priv/app", "private")} >= {"admin", "alice", "bob"}
    assert all(each.exceptions == (told,) for each in ask(private, "priv/app"))
    assert "bob" in {each.who for each in ask(private, "p*/app")}
    assert "bob" not in {each.who for each in ask(ADMIN, "p*/app")}


def test_it_comes_by_pages() -> None:
    """Groups first, then names; each page begins after the key of the one before; long explanations are cut."""
    inquiry = Inquiry(Action.PULL, "pub/app", INSIDE)
    snapshot = collected([grant(SIGNED_IN, "pub", "pull"), grant(OPS, "pub", "pull")])
    keys, after = [], ""
    while True:
        found, following = find_able(snapshot, ADMIN, inquiry, Page(after, 1))
        keys += [each.subject for each in found]
        if following is None:
            break
        after = following
    assert keys == ["everyone", "signed-in", "user:admin", "user:alice", "user:mia"]
    many = [grant(account("bob"), f"acme/app{number}", "push", id=number) for number in range(MOST_TOLD + 5)]
    told = able(Action.PUSH, "acme/**", *many)["user:bob"].through
    assert (len(told), told[-1]) == (MOST_TOLD + 1, "and 5 more")
