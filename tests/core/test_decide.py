"""The one decision, as a table: who may do what where, with reasons."""

from __future__ import annotations

import pathlib
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.decide import decide, is_open, may, require, visible_namespaces, visible_ranges
from entrepot.core.listing import within
from entrepot.domain.access import ADMITS, ANONYMOUS, UNKNOWN, Action, Caller, Identity, Origin
from entrepot.domain.errors import Denied
from entrepot.domain.grants import EVERYONE, GRANTABLE, ROLES, SIGNED_IN, Conditions, Grant, Hours, Subject
from entrepot.domain.policy import AccountKind, AccountPolicy, NamespacePolicy, PolicySnapshot

KINDS: dict[str, AccountKind] = {"acme": "organisation", "ci": "service", "scanner": "service"}
NAMES = [
    "admin",
    "alice",
    "bob",
    "carol",
    "gone",
    "acme",
    "dan",
    "olga",
    "mia",
    "ci",
    "scanner",
    "night",
    "robot",
    "eve",
]
WHO = {name: Identity(number, name) for number, name in enumerate(NAMES, 1)}
TABLE = pathlib.Path(__file__).with_name("decisions.tsv")
DEVS, OPS = ("team", 1), ("team", 2)
DAY_AND_HOUR = Conditions(
    not_before=datetime(2026, 11, 1, tzinfo=UTC),
    not_after=datetime(2026, 12, 1, tzinfo=UTC),
    days=("mon", "tue", "wed", "thu", "fri"),
    hours=Hours("08:00", "18:00", "Europe/Berlin"),
)
TAGS = {Action.TAG_MOVE, Action.TAG_DELETE}
NO = True


def account(name: str) -> Subject:
    """The subject that an account is."""
    return ("account", WHO[name].account)


def _grants() -> dict[Subject, list[Grant]]:
    rows: list[tuple[Subject, str, set[Action] | frozenset[Action], str, bool, str, Conditions | None]] = [
        (account("bob"), "priv/app", ROLES["writer"], "writer", False, "", None),
        (account("bob"), "lost", ROLES["reader"], "reader", False, "", None),
        (account("bob"), "lost/app", ROLES["owner"], "owner", False, "", None),
        (account("carol"), "priv", ROLES["reader"], "reader", False, "", None),
        (account("gone"), "priv", ROLES["owner"], "owner", False, "", None),
        (DEVS, "acme-dev", ROLES["writer"], "writer", False, "", None),
        (DEVS, "acme-prod", ROLES["reader"], "reader", False, "", None),
        (OPS, "acme-prod", ROLES["maintainer"], "maintainer", False, "", Conditions(networks=("10.0.0.0/8",))),
        (account("ci"), "acme-dev", ROLES["writer"], "writer", False, "", None),
        (account("ci"), "acme-prod/base", ROLES["reader"], "reader", False, "", None),
        (account("ci"), "acme-prod/**", set(ADMITS["push"]), "push", NO, "", None),
        (EVERYONE, "acme-prod/**", TAGS, "tag.move, tag.delete", NO, "v*", None),
        (EVERYONE, "priv/open-*", {Action.PULL}, "pull", False, "", None),
        (account("dan"), "acme/team-**", {Action.PULL}, "pull", False, "", None),
        (account("scanner"), "", ROLES["reader"], "reader", False, "", None),
        (account("mia"), "acme/app", ROLES["writer"], "writer", False, "dev-*", None),
        (account("carol"), "lost/app", ROLES["writer"], "writer", False, "", DAY_AND_HOUR),
        (OPS, "acme/secret", {Action.PULL}, "pull", NO, "", None),
        (account("dan"), "dan-*", {Action.NAMESPACE_CREATE}, "namespace.create", False, "", None),
        (account("bob"), "pub/app", {Action.PULL}, "pull", NO, "", Conditions(networks=("203.0.113.0/24",))),
        (account("night"), "lost", ROLES["reader"], "reader", False, "", Conditions(hours=Hours("22:00", "06:00"))),
        (account("robot"), "lost", ROLES["writer"], "writer", False, "", Conditions(clients=("spiffe://acme/*",))),
        (EVERYONE, "acme/sealed", set(GRANTABLE), "sealed", NO, "", None),
        (SIGNED_IN, "signed/app", ROLES["reader"], "reader", False, "", None),
        (account("robot"), "taken", ROLES["reader"], "reader", False, "", Conditions(listeners=("private",))),
        (account("robot"), "", {Action.SCAN_READ}, "scan.read", False, "", None),
        (EVERYONE, "inner", set(GRANTABLE), "owner", NO, "", Conditions(not_networks=("10.0.0.0/8", "fd00::/8"))),
        (account("night"), "shy/app", ROLES["reader"], "reader", False, "", Conditions(not_networks=("192.0.2.0/24",))),
    ]
    found: dict[Subject, list[Grant]] = {}
    for number, (subject, resource, actions, title, is_deny, tags, conditions) in enumerate(rows, 1):
        grant = Grant(number, subject, frozenset(actions), resource, title, is_deny, tags, conditions)
        found.setdefault(subject, []).append(grant)
    return found


def snapshot_of(grants: dict[Subject, list[Grant]]) -> PolicySnapshot:
    """The world of the table under other grants."""
    return PolicySnapshot(
        version=1,
        accounts={
            identity.account: AccountPolicy(name, name == "admin", name == "gone", 0, KINDS.get(name, "user"))
            for name, identity in WHO.items()
            if name != "eve"
        },
        namespaces={
            "priv": NamespacePolicy(WHO["alice"].account, "private"),
            "pub": NamespacePolicy(WHO["alice"].account, "public"),
            "lost": NamespacePolicy(None, "private"),
            "taken": NamespacePolicy(None, "private"),
            "inner": NamespacePolicy(WHO["alice"].account, "public"),
            "shy": NamespacePolicy(None, "private"),
            **{name: NamespacePolicy(WHO["acme"].account, "private") for name in ("acme", "acme-dev", "acme-prod")},
        },
        repositories={"priv/show": "public", "pub/hide": "private"},
        grants=grants,
        teams={WHO["dan"].account: frozenset({1}), WHO["mia"].account: frozenset({2})},
        organisations={"acme": WHO["acme"].account},
        memberships={WHO[name].account: frozenset({WHO["acme"].account}) for name in ("olga", "mia", "gone")},
        owners={WHO["acme"].account: frozenset({WHO["olga"].account})},
    )


SNAPSHOT = snapshot_of(_grants())


def origins(text: str) -> list[Origin]:
    """Origins out of the table: addresses, times, or none."""
    found = [Origin()] if not text else []
    for word in text.split():
        if "T" in word:
            found.append(Origin("", int(datetime.fromisoformat(word).timestamp() * 1_000_000)))
        else:
            found.append(Origin(word))
    return found


def rows() -> list[tuple[str, str, str, Origin, bool, str]]:
    """Every decision of the table, one by one."""
    found = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("#"):
            continue
        who, actions, resources, origin, verdict, reason = line.split("\t")
        found += [
            (name, action, resource, place, verdict == "yes", reason)
            for name in who.split() or [""]
            for action in actions.split()
            for resource in resources.split() or [""]
            for place in origins(origin)
        ]
    return found


@pytest.mark.parametrize(("who", "action", "resource", "origin", "allowed", "reason"), rows())
def test_who_may_do_what(who: str, action: str, resource: str, origin: Origin, allowed: bool, reason: str) -> None:
    """The verdict of the table, with its reason; asked twice, it is the same."""
    for _ in range(2):
        decision = decide(SNAPSHOT, WHO.get(who), Action(action), resource, origin)
        assert decision.allowed is allowed, decision.reasons
        assert allowed or any(reason in each for each in decision.reasons), decision.reasons
        assert allowed is not bool(decision.reasons)


def test_the_table_is_as_long_as_it_has_to_be() -> None:
    """At least 200 decisions, about every action and everybody."""
    found = rows()
    assert len(found) >= 200
    assert {Action(action) for _, action, *_ in found} >= GRANTABLE
    assert {who for who, *_ in found} == {"", *NAMES}


def test_a_token_narrows_and_never_widens() -> None:
    """Both the ceiling and the policy must allow it, whether the ceiling names a repository or a pattern."""
    narrow = Caller(WHO["alice"], {"priv/app": ADMITS["pull"]})
    wide = Caller(WHO["bob"], {"priv/none": ADMITS["*"]})
    patterned = Caller(WHO["alice"], {"priv/a*": ADMITS["pull"]})
    assert may(narrow, SNAPSHOT, Action.PULL, "priv/app:v1")
    assert not may(narrow, SNAPSHOT, Action.PUSH, "priv/app")
    assert not may(wide, SNAPSHOT, Action.PULL, "priv/none")
    assert may(patterned, SNAPSHOT, Action.PULL, "priv/app")
    assert not may(patterned, SNAPSHOT, Action.PULL, "priv/other")
    assert not may(patterned, SNAPSHOT, Action.PUSH, "priv/app")


def test_a_refusal_is_raised_with_its_reasons() -> None:
    """`require` raises Denied, or nothing."""
    require(Caller(WHO["alice"], None), SNAPSHOT, Action.PUSH, "priv/app")
    with pytest.raises(Denied, match="push on priv/app is refused") as refused:
        require(Caller(WHO["carol"], None), SNAPSHOT, Action.PUSH, "priv/app")
    assert refused.value.detail["reasons"] == [
        "push on priv/app needs the role writer",
        "carol has reader there",
        "an owner of priv gives it with: entrepot grant add user:carol writer priv/app",
    ]


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("admin", [""]),
        ("scanner", [""]),
        ("alice", ["inner/", "priv/", "pub/", "signed/app"]),
        ("bob", ["inner/", "lost/", "priv/app", "priv/open-*", "priv/show", "pub/", "signed/app"]),
        ("carol", ["inner/", "lost/app", "priv/", "pub/", "signed/app"]),
        ("dan", ["acme-dev/", "acme-prod/", "acme/team-*", "inner/", "priv/open-*", "priv/show", "pub/", "signed/app"]),
        ("gone", ["inner/", "priv/open-*", "priv/show", "pub/"]),
        ("", ["inner/", "priv/open-*", "priv/show", "pub/"]),
    ],
)
def test_where_there_may_be_something_to_read(who: str, expected: list[str] | None) -> None:
    """Namespaces, single repositories and beginnings in order; all of it where a denial must be looked at each time."""
    assert visible_ranges(SNAPSHOT, Caller(WHO.get(who), None)) == expected


def test_administrators_list_without_asking() -> None:
    """Where nothing is denied, nothing has to be filtered."""
    plain = msgspec.structs.replace(SNAPSHOT, grants={}, compiled={})
    assert visible_ranges(plain, Caller(WHO["admin"], None)) is None
    assert visible_namespaces(plain, None) == set(plain.namespaces)
    assert visible_namespaces(plain, ["acme/x", "p*", "gone/"]) == {"acme", "priv", "pub"}


NAMESPACES = st.sampled_from(["priv", "pub", "lost", "taken", "none", "acme", "acme-dev", "acme-prod", "signed"])
PATHS = st.sampled_from(["app", "show", "hide", "hide-1", "x", "a/b", "team-a", "team-/b", "secret", "sealed", "base"])


@given(st.sampled_from(["", *WHO]), NAMESPACES, PATHS)
def test_listings_and_decisions_agree(who: str, namespace: str, path: str) -> None:
    """Whatever may be pulled lies in a range that is listed, and its namespace is one that is seen."""
    identity, name = WHO.get(who), f"{namespace}/{path}"
    ranges = visible_ranges(SNAPSHOT, Caller(identity, None))
    if namespace in SNAPSHOT.namespaces and decide(SNAPSHOT, identity, Action.PULL, name).allowed:
        assert ranges is None or any(within(prefix, name) for prefix in ranges)
        assert namespace in visible_namespaces(SNAPSHOT, ranges)


def test_open_namespaces() -> None:
    """Those whose default is public, and that are there."""
    assert [name for name in ("priv", "pub", "none", "") if is_open(SNAPSHOT, name, UNKNOWN)] == ["pub"]
    assert not may(ANONYMOUS, SNAPSHOT, Action.PUSH, "pub/app")


SUBJECTS = st.sampled_from([EVERYONE, SIGNED_IN, DEVS, account("bob"), account("ci"), account("mia")])
RESOURCES = st.sampled_from(["", "acme", "acme/app", "acme/*", "acme/**", "a**", "pub", "pub/app", "*/app", "lost/a?p"])
CONDITIONS = st.sampled_from([None, Conditions(networks=("10.0.0.0/8",)), Conditions(hours=Hours("08:00", "18:00"))])
GRANTS = st.builds(
    lambda subject, actions, resource, is_deny, tags, conditions: Grant(
        0, subject, frozenset(actions), resource, "some", is_deny, tags, conditions
    ),
    SUBJECTS,
    st.sets(st.sampled_from(sorted(GRANTABLE)), min_size=1),
    RESOURCES,
    st.booleans(),
    st.sampled_from(["", "v*", "dev-*"]),
    CONDITIONS,
)
ASKED = st.sampled_from(
    ["acme", "acme/app", "acme/app:v1", "acme/a/b", "pub/app:dev-1", "lost/app", "none/app", "priv/app"]
)
PLACES = st.sampled_from([Origin(), Origin("10.0.0.1", 43_200_000_000), Origin("192.0.2.1", 3_600_000_000)])


def collected(grants: list[Grant]) -> PolicySnapshot:
    """The world under these grants."""
    found: dict[Subject, list[Grant]] = {}
    for grant in grants:
        found.setdefault(grant.subject, []).append(grant)
    return snapshot_of(found)


@given(
    st.lists(GRANTS, max_size=6), GRANTS, st.sampled_from(["", *WHO]), st.sampled_from(sorted(GRANTABLE)), ASKED, PLACES
)
def test_denying_never_widens_and_taking_never_adds(
    held: list[Grant], one: Grant, who: str, action: Action, resource: str, origin: Origin
) -> None:
    """One more denial allows nothing that was not allowed; nor does one allowing grant less."""
    before = decide(collected(held), WHO.get(who), action, resource, origin).allowed
    after = decide(collected([*held, one]), WHO.get(who), action, resource, origin).allowed
    assert before or not after if one.is_deny else after or not before


@given(st.lists(GRANTS, max_size=6), st.sampled_from(["", *WHO]), st.sampled_from(sorted(GRANTABLE)), PLACES)
def test_verdicts_that_are_kept_are_those_that_are_made(
    held: list[Grant], who: str, action: Action, origin: Origin
) -> None:
    """Asking about a tag, another place or the same again in any order changes no answer."""
    snapshot = collected(held)
    questions = [
        (name, place) for name in ("acme/app", "acme/app:v1", "acme/app:x") for place in (origin, Origin("10.9.9.9"))
    ]
    fresh = [decide(collected(held), WHO.get(who), action, name, place) for name, place in questions]
    assert [decide(snapshot, WHO.get(who), action, name, place) for name, place in questions] == fresh
    assert [decide(snapshot, WHO.get(who), action, name, place) for name, place in reversed(questions)] == fresh[::-1]


def test_verdicts_are_bounded() -> None:
    """An identity that asks about ever new names does not fill the memory."""
    snapshot = collected([])
    for number in range(3000):
        decide(snapshot, None, Action.PULL, f"acme/{number}")
    assert len(snapshot.rights_of(None).verdicts) <= 1024


def test_the_table_has_no_stray_line() -> None:
    """Six columns each, separated by tabs."""
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    assert all(len(re.findall("\t", line)) == 5 for line in lines)


@given(st.lists(GRANTS, max_size=6), st.sampled_from(["", *WHO]), st.sampled_from(sorted(GRANTABLE)), ASKED, PLACES)
def test_the_short_way_is_the_long_one(
    held: list[Grant], who: str, action: Action, resource: str, origin: Origin
) -> None:
    """Where nothing is denied a plain grant is enough; a denial of something else leads the long way to the same."""
    allowing = [grant for grant in held if not grant.is_deny]
    elsewhere = Grant(0, EVERYONE, frozenset(GRANTABLE), "zz/zz", "none", is_deny=True)
    short = decide(collected(allowing), WHO.get(who), action, resource, origin)
    assert decide(collected([*allowing, elsewhere]), WHO.get(who), action, resource, origin).allowed is short.allowed
