"""Who may do something, and what allows it: `/access/able` and the reasons of `/access/check`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.door import Door

WRITER = {"subject": "user:bob", "resource": "priv/app", "role": "writer"}
INSIDE = {"conditions": {"networks": ["10.0.0.0/8"]}}


def able(door: Door, action: str, resource: str, **more: str) -> dict[str, Any]:
    """Who may, by subject, as alice is told, who owns `priv` and `pub`."""
    query = urlencode({"action": action, "resource": resource, **more})
    return {each["subject"]: each for each in door.send("alice", "GET", f"/access/able?{query}")["able"]}


def test_everybody_who_may_is_named(shared: Door) -> None:
    """With what allows it, and what everybody may; for those who own the namespace."""
    found = able(shared, "push", "priv/app")
    assert list(found) == ["user:admin", "user:alice", "user:dora"]
    assert found["user:dora"]["through"][0].startswith("writer on priv/app (grant ")
    assert found["user:alice"] == {
        "who": "alice",
        "subject": "user:alice",
        "everywhere": True,
        "where": ["priv/app"],
        "through": ["owner of priv"],
        "exceptions": [],
    }
    found = able(shared, "pull", "pub/app")
    assert found["everyone"]["through"] == ["public"]
    assert shared.ask("carol", "GET", "/access/able?action=push&resource=priv/app").status == 403
    assert shared.ask("alice", "GET", "/access/able?action=push").status == 403
    fly = shared.ask("alice", "GET", "/access/able?action=fly&resource=priv")
    assert fly.json["errors"][0]["detail"]["field"] == "action"
    token = shared.world.token("alice", "repository:priv/app:pull")
    narrow = shared.client(token=token).request("GET", "/api/v1/access/able?action=push&resource=priv/app")
    assert narrow.status == 401


def test_a_pattern_is_answered_with_where(door: Door) -> None:
    """Whoever may somewhere in it, on all of it or on what their grant is about, with what is denied of it."""
    denial = {"subject": "everyone", "resource": "priv/secret", "actions": ["push"], "effect": "deny"}
    number = door.send("alice", "POST", "/grants", denial)["id"]
    door.send("alice", "POST", "/grants", {**WRITER, "resource": "priv"})
    found = able(door, "push", "priv/*")
    assert {who: (each["everywhere"], each["where"]) for who, each in found.items()} == {
        "user:admin": (True, ["priv/*"]),
        "user:alice": (True, ["priv/*"]),
        "user:bob": (True, ["priv/*"]),
        "user:dora": (False, ["priv/app"]),
    }
    assert found["user:bob"]["exceptions"] == [f"push is denied on priv/secret (push, grant {number})"]
    assert found["user:dora"]["exceptions"] == []
    for resource in ("p*", "*", "*/app", "**"):
        assert door.ask("alice", "GET", f"/access/able?action=push&resource={resource}").status == 403
        assert door.send("admin", "GET", f"/access/able?action=push&resource={resource}")["able"]
    assert door.ask("carol", "GET", "/access/able?action=push&resource=priv/*").status == 403


def test_conditions_are_told_until_they_are_asked_about(door: Door) -> None:
    """Wherever the question comes from; with an address, a time or a listener, exactly that is judged."""
    number = door.send("alice", "POST", "/grants", {**WRITER, **INSIDE})["id"]
    (through,) = able(door, "push", "priv/app")["user:bob"]["through"]
    assert through == f"writer on priv/app, only from 10.0.0.0/8 (grant {number})"
    assert "user:bob" in able(door, "push", "priv/app", address="10.1.2.3")
    assert "user:bob" not in able(door, "push", "priv/app", address="192.0.2.1")
    assert "user:bob" in able(door, "push", "priv/app", at="2026-11-29T00:00:00Z", listener="main")
    limits = {"not_before": "2030-01-01T00:00:00Z", "listeners": ["main"]}
    door.send("alice", "POST", "/grants", {**WRITER, "subject": "user:carol", "conditions": limits})
    assert "only from 2030-01-01" in able(door, "push", "priv/app")["user:carol"]["through"][0]
    assert "user:carol" in able(door, "push", "priv/app", at="2030-02-01T00:00:00+01:00")
    assert "user:carol" not in able(door, "push", "priv/app", at="2029-02-01T00:00:00Z")
    assert "user:carol" not in able(door, "push", "priv/app", listener="other")
    assert "user:carol" in able(door, "push", "priv/app", client="ci")


def test_what_does_not_hold_is_no_reason(door: Door) -> None:
    """A grant that is over, for other tags or from elsewhere allows nothing, and is named by neither question."""
    over = {**WRITER, "role": "reader", "conditions": {"not_after": "2020-01-01T00:00:00Z"}}
    tags = {**WRITER, "role": "maintainer", "tags": "dev-*"}
    numbers = [door.send("alice", "POST", "/grants", new)["id"] for new in (over, tags, {**WRITER, **INSIDE})]
    assert [each.partition(" (")[0] for each in able(door, "pull", "priv/app:v1")["user:bob"]["through"]] == [
        "writer on priv/app, only from 10.0.0.0/8"
    ]
    ask = {"action": "pull", "who": "bob", "address": "10.0.0.1"}
    told = door.send("alice", "POST", "/access/check", {**ask, "resource": "priv/app:v1"})
    assert told["reasons"] == [f"writer on priv/app, only from 10.0.0.0/8 (grant {numbers[2]})"]
    told = door.send("alice", "POST", "/access/check", {**ask, "resource": "priv/app:dev-1", "address": "192.0.2.1"})
    assert told["reasons"] == [f"maintainer on priv/app for tags like dev-* (grant {numbers[1]})"]
    for number in numbers[1:]:
        door.send("alice", "DELETE", f"/grants/{number}")
    assert "user:bob" not in able(door, "pull", "priv/app")


def test_making_namespaces_has_its_reason(door: Door) -> None:
    """An owner of an organisation may make those that begin with its name, and is told why."""
    door.send("admin", "POST", "/organisations", {"name": "acme"})
    own = door.send("admin", "POST", "/access/check", {"action": "namespace.create", "resource": "acme-new"})
    assert own["reasons"] == ["instance administrator", "owner of the organisation acme"]
    pushed = door.send("admin", "POST", "/access/check", {"action": "push", "resource": "none/app"})
    assert pushed["reasons"] == ["instance administrator"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"resource": "ACME/..//x"}, "resource"),
        ({"resource": "priv/***"}, "resource"),
        ({"resource": "priv:v1"}, "resource"),
        ({"resource": "priv/app:v*"}, "resource"),
        ({"resource": "priv", "address": "10.0.0.0/8"}, "address"),
        ({"resource": "priv", "at": "2026-11-25T10:00:00"}, "at"),
        ({"resource": "priv", "at": "soon"}, "at"),
    ],
)
def test_questions_that_make_no_sense(shared: Door, query: dict[str, str], field: str) -> None:
    """They are refused with the field, before anybody is asked who they are."""
    answer = shared.ask("carol", "GET", f"/access/able?{urlencode({'action': 'push', **query})}")
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (400, field), answer


def test_it_comes_by_pages(door: Door) -> None:
    """Each is as long as was asked for, and the Link of each leads to the next, with the same question."""
    door.send("alice", "POST", "/grants", {**WRITER, "resource": "pub", "role": "reader", "subject": "signed-in"})
    path: str | None = "/access/able?action=pull&resource=pub%2F%2A&n=1"
    subjects = []
    while path is not None:
        page = door.ask("alice", "GET", path)
        subjects += [each["subject"] for each in page.json["able"]]
        path = page["link"].partition("<")[2].partition(">")[0].removeprefix("/api/v1") or None
    assert subjects == ["everyone", "signed-in", "user:admin", "user:alice"]
