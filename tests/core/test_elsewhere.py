"""Namespaces that answer only on certain listeners: nobody and nothing gets round it, and nothing else changes."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.decide import OF_ORGANISATIONS, decide, is_elsewhere, is_open, knows, told_reasons
from entrepot.core.namespaces import is_visible
from entrepot.domain.access import LOCAL, Action, Caller, Origin
from tests.core.test_decide import SNAPSHOT, WHO

CLOSED = ("acme", "pub", "priv", "taken")
INNER = msgspec.structs.replace(SNAPSHOT, elsewhere=dict.fromkeys(CLOSED, ("private", "lab")), compiled={})
NOBODY = Caller(WHO["eve"], None)
ACTIONS = st.sampled_from(sorted(set(Action) - OF_ORGANISATIONS - {Action.ADMIN, Action.CATALOG}))
SOMEBODY = st.sampled_from(["", *(name for name in WHO if name != "acme")])
PLACES = st.sampled_from(["", "/app", "/show", "/app:v1", "/team-a"])


@given(SOMEBODY, ACTIONS, st.sampled_from(CLOSED), PLACES, st.sampled_from(["main", "", "privat"]))
def test_elsewhere_nobody_may_do_anything(who: str, action: Action, name: str, place: str, listener: str) -> None:
    """Whoever they are and whatever they were granted, and nothing tells them that there is such a place."""
    origin = Origin("10.0.0.1", 1, "", listener)
    caller, asked = Caller(WHO.get(who), None, origin), name + place
    assert not decide(INNER, caller.identity, action, asked, origin).allowed
    assert not knows(caller, INNER, asked)
    assert not is_open(INNER, name, origin)
    assert not is_visible(INNER, caller, name)
    stranger = msgspec.structs.replace(NOBODY, origin=origin)
    told = told_reasons(caller, INNER, action, asked)
    alike = [reason.replace("eve", who or "anonymous") for reason in told_reasons(stranger, SNAPSHOT, action, "none")]
    assert [reason.replace(asked.partition(":")[0], "none") for reason in told] == alike


@given(SOMEBODY, ACTIONS, st.sampled_from([*CLOSED, "lost", "acme-dev", "none"]), PLACES)
def test_where_it_answers_nothing_changes(who: str, action: Action, name: str, place: str) -> None:
    """By its listeners, and from the files, decisions are what they are without the rule; so they are about others."""
    identity = WHO.get(who)
    for listener in ("private", "lab", LOCAL):
        origin = Origin("10.0.0.1", 1, "", listener)
        expected = decide(SNAPSHOT, identity, action, name + place, origin)
        assert decide(INNER, identity, action, name + place, origin) == expected
    if name not in CLOSED:
        origin = Origin("10.0.0.1", 1, "", "main")
        assert not is_elsewhere(INNER, name + place, origin)
        expected = decide(SNAPSHOT, identity, action, name + place, origin)
        assert decide(INNER, identity, action, name + place, origin) == expected
