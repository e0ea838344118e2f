"""All plans, and who has which, as a whole: compared, applied in one step, exported, and refused."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.core import plan_book
from tests.api.door import Door

FREE = {"name": "free", "pulls": 100, "window_seconds": 21_600, "anonymous": True, "signed_in": False}
TEAM = {"name": "team", "pulls": None, "window_seconds": 3600, "anonymous": False, "signed_in": False}
BOOK = {"plans": [FREE, TEAM], "plan_owners": {"alice": "team", "bob": "free"}}
CHANGES = "/plan-book/changes"


def test_a_book_is_compared_and_applied(door: Door) -> None:
    """The changes first, which change nothing; then exactly these; the second time there are none."""
    compared = door.send("admin", "POST", CHANGES, BOOK)
    assert door.send("admin", "GET", "/plan-book") == {"plans": [], "plan_owners": {}}
    assert compared == {
        "plans": [{"name": "free", "before": None, "after": FREE}, {"name": "team", "before": None, "after": TEAM}],
        "plan_owners": [
            {"owner": "alice", "before": None, "after": "team"},
            {"owner": "bob", "before": None, "after": "free"},
        ],
        "kept": 0,
        "hash": compared["hash"],
    }
    assert door.send("admin", "PUT", "/plan-book", {**BOOK, "hash": compared["hash"]}) == compared
    assert door.send("admin", "GET", "/plan-book") == BOOK
    again = door.send("admin", "PUT", "/plan-book", BOOK)
    assert (again["plans"], again["plan_owners"], again["kept"]) == ([], [], 4)
    assert door.send("alice", "GET", "/pull-usage")["plan"] == "team"
    assert [subject for _, subject, _ in door.events("plan.set")] == ["free", "team"]
    assert [detail for _, _, detail in door.events("plan.assigned")] == [
        {"plan": [None, "team"]},
        {"plan": [None, "free"]},
    ]


def test_what_is_not_listed_goes(door: Door) -> None:
    """Plans and assignments alike, each only where the document is about them; a flag moves with its plan."""
    door.send("admin", "PUT", "/plan-book", BOOK)
    owners = door.send("admin", "PUT", "/plan-book", {"plan_owners": {"alice": "free"}})
    assert owners["plan_owners"] == [
        {"owner": "alice", "before": "team", "after": "free"},
        {"owner": "bob", "before": "free", "after": None},
    ]
    moved = [{**FREE, "anonymous": False}, {**TEAM, "name": "crew", "anonymous": True}]
    plans = door.send("admin", "PUT", "/plan-book", {"plans": moved})
    assert [(each["name"], each["before"] is None, each["after"] is None) for each in plans["plans"]] == [
        ("crew", True, False),
        ("free", False, False),
        ("team", False, True),
    ]
    assert door.send("admin", "GET", "/plan-book") == {"plans": moved[::-1], "plan_owners": {"alice": "free"}}
    door.send("admin", "PUT", "/plan-book", {"plans": [], "plan_owners": {}})
    assert door.send("admin", "GET", "/plan-book") == {"plans": [], "plan_owners": {}}
    assert [subject for _, subject, _ in door.events("plan.removed")] == ["team", "crew", "free"]


def test_a_plan_that_somebody_has_does_not_go(door: Door) -> None:
    """Where the document is not about who has which, it is told before anything is applied."""
    door.send("admin", "PUT", "/plan-book", BOOK)
    for method, path in (("POST", CHANGES), ("PUT", "/plan-book")):
        answer = door.ask("admin", method, path, {"plans": [FREE]})
        assert (answer.status, answer.code) == (409, "CONFLICT")
        assert answer.json["errors"][0]["message"].startswith("1 account has the plan team")
    assert door.send("admin", "GET", "/plan-book") == BOOK


def test_other_changes_than_those_agreed_to(door: Door) -> None:
    """Whoever looked before somebody else changed a plan applies nothing."""
    seen = door.send("admin", "POST", CHANGES, BOOK)["hash"]
    door.send("admin", "PUT", "/plans/free", {"pulls": 7, "window_seconds": 60})
    answer = door.ask("admin", "PUT", "/plan-book", {**BOOK, "hash": seen})
    assert (answer.status, answer.code) == (412, "PRECONDITION_FAILED")
    assert door.send("admin", "GET", "/plan-book")["plan_owners"] == {}


@pytest.mark.parametrize(
    ("document", "status", "code", "field"),
    [
        ({"plans": [{**FREE, "name": "Free"}]}, 400, "NAME_INVALID", "plans[0].name"),
        ({"plans": [TEAM, {**FREE, "pulls": -1}]}, 400, "REQUEST_INVALID", "plans[1].pulls"),
        ({"plans": [FREE, {**TEAM, "name": "free"}]}, 400, "REQUEST_INVALID", "plans[1]"),
        ({"plans": [FREE, {**TEAM, "anonymous": True}]}, 400, "REQUEST_INVALID", "plans[1]"),
        ({"plans": [{**FREE, "signed_in": True}, {**TEAM, "signed_in": True}]}, 400, "REQUEST_INVALID", "plans[1]"),
        ({"plans": [{**TEAM, "name": f"p{n}"} for n in range(501)]}, 400, "REQUEST_INVALID", "plans"),
        ({"plan_owners": {f"u{n}": "free" for n in range(5001)}}, 400, "REQUEST_INVALID", "plan_owners"),
        ({"plans": [FREE], "plan_owners": {"alice": "team"}}, 409, "UNMET", "plan_owners.alice"),
        ({"plans": [FREE], "plan_owners": {"nobody": "free"}}, 409, "UNMET", "plan_owners.nobody"),
    ],
)
def test_books_that_cannot_be(shared: Door, document: Any, status: int, code: str, field: str) -> None:
    """Each is refused with the place in the document, already when it is compared."""
    for method, path in (("POST", CHANGES), ("PUT", "/plan-book")):
        answer = shared.ask("admin", method, path, document)
        assert (answer.status, answer.code) == (status, code)
        assert answer.json["errors"][0]["detail"]["field"] == field


def test_a_book_that_is_too_large(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """More plans or owners than a document holds are neither exported nor compared in part."""
    door.send("admin", "PUT", "/plan-book", BOOK)
    for name in ("MOST_OWNERS", "MOST_PLANS"):
        with monkeypatch.context() as patch:
            patch.setattr(plan_book, name, 1)
            answer = door.ask("admin", "GET", "/plan-book")
            assert (answer.status, answer.code) == (413, "SIZE_INVALID")
            assert "one by one" in answer.json["errors"][0]["message"]
