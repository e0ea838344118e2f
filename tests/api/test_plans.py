"""Plans: made, given and taken, who sees them, and where somebody stands."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.formats.oci.routes import GRAMMAR
from entrepot.wire.face import Face
from tests.api.door import Door
from tests.support.asgi import Client
from tests.support.world import basic, password_of

FREE = {"pulls": 100, "window_seconds": 21_600}
NOTHING = {"assigned": None, "plan": None, "pulls": None, "window_seconds": None}
UNUSED = {"used": None, "remaining": None, "ends_at": None}


def pull(door: Door, user: str) -> int:
    """The status of a pull."""
    client = Client(Face(door.world.context, GRAMMAR), door.world.runner)
    return client.request("GET", "/v2/pub/app/manifests/latest", authorization=basic(user, password_of(user))).status


def test_a_plan_is_made_and_changed(door: Door) -> None:
    """It stands in the list, page by page; what it is for is taken from the one before; each change is an event."""
    made = door.send("admin", "PUT", "/plans/free", {**FREE, "anonymous": True, "signed_in": True})
    assert made == {"name": "free", **FREE, "anonymous": True, "signed_in": True}
    door.send("admin", "PUT", "/plans/team", {"pulls": None, "window_seconds": 60, "signed_in": True})
    assert door.send("bob", "GET", "/plans/free") == {**made, "signed_in": False}
    page = door.ask("bob", "GET", "/plans?n=1")
    assert [plan["name"] for plan in page.json["plans"]] == ["free"]
    assert "last=free" in page["link"]
    assert [plan["name"] for plan in door.send("bob", "GET", "/plans?last=free")["plans"]] == ["team"]
    before = door.version()
    door.send("admin", "PUT", "/plans/team", {"pulls": None, "window_seconds": 60, "signed_in": True})
    assert door.version() == before
    assert door.events("plan.set") == [
        ("admin", "free", {"pulls": 100, "window_seconds": 21_600, "anonymous": True, "signed_in": True}),
        ("admin", "team", {"pulls": None, "window_seconds": 60, "anonymous": False, "signed_in": True}),
    ]


@pytest.mark.parametrize(
    ("name", "change", "code", "field"),
    [
        ("Free", {}, "NAME_INVALID", None),
        ("free", {"pulls": -1}, "REQUEST_INVALID", "pulls"),
        ("free", {"pulls": 10**10}, "REQUEST_INVALID", "pulls"),
        ("free", {"window_seconds": 59}, "REQUEST_INVALID", "window_seconds"),
        ("free", {"window_seconds": 10**7}, "REQUEST_INVALID", "window_seconds"),
        ("free", {"pulls": "100"}, "REQUEST_INVALID", "pulls"),
    ],
)
def test_plans_that_cannot_be(shared: Door, name: str, change: dict[str, Any], code: str, field: str | None) -> None:
    """Each is refused with the path of the field and what is allowed."""
    answer = shared.ask("admin", "PUT", f"/plans/{name}", {**FREE, **change})
    assert (answer.status, answer.code) == (400, code)
    assert field is None or answer.json["errors"][0]["detail"]["field"] == field


def test_a_plan_is_assigned_and_taken(door: Door) -> None:
    """A user and an organisation have one until it is taken; one that somebody has is not removed."""
    door.send("admin", "PUT", "/plans/team", FREE)
    door.send("admin", "POST", "/organisations", {"name": "acme"})
    given = door.send("admin", "PUT", "/owners/bob/plan", {"plan": "team"})
    terms = {"plan": "team", "pulls": 100, "window_seconds": 21_600}
    assert given == {"owner": "bob", "assigned": "team", **terms, "used": 0, "remaining": 100, "ends_at": None}
    door.send("admin", "PUT", "/owners/acme/plan", {"plan": "team"})
    door.send("admin", "PUT", "/owners/acme/plan", {"plan": "team"})
    refused = door.ask("admin", "DELETE", "/plans/team")
    assert (refused.status, refused.code) == (409, "CONFLICT")
    assert refused.json["errors"][0]["message"].startswith("2 accounts have the plan team")
    door.send("admin", "DELETE", "/owners/acme/plan")
    assert door.ask("admin", "DELETE", "/plans/team").json["errors"][0]["message"].startswith("1 account has")
    door.send("admin", "DELETE", "/owners/bob/plan")
    door.send("admin", "DELETE", "/plans/team")
    assert door.ask("admin", "GET", "/plans/team").code == "PLAN_UNKNOWN"
    assert door.send("bob", "GET", "/owners/bob/plan") == {"owner": "bob", **NOTHING, **UNUSED}
    assert door.events("plan.assigned") == [
        ("admin", "bob", {"plan": [None, "team"]}),
        ("admin", "acme", {"plan": [None, "team"]}),
        ("admin", "acme", {"plan": ["team", None]}),
        ("admin", "bob", {"plan": ["team", None]}),
    ]
    assert door.events("plan.removed") == [("admin", "team", {})]


@pytest.mark.parametrize(
    ("owner", "plan", "code"),
    [("nobody", "free", "USER_UNKNOWN"), ("robot$ci", "free", "USER_UNKNOWN"), ("bob", "none", "PLAN_UNKNOWN")],
)
def test_what_is_not_there_is_not_assigned(door: Door, owner: str, plan: str, code: str) -> None:
    """Neither a plan that is not there, nor one to nobody; machines have that of their owner."""
    door.send("admin", "PUT", "/plans/free", FREE)
    door.send("admin", "POST", "/service-accounts", {"name": "ci"})
    answer = door.ask("admin", "PUT", f"/owners/{owner}/plan", {"plan": plan})
    assert (answer.status, answer.code) == (404, code)


def test_where_somebody_stands(door: Door) -> None:
    """Users see their own pulls, members those of their organisation, administrators all; others see nobody's."""
    door.send("admin", "PUT", "/plans/free", {**FREE, "signed_in": True})
    door.send("admin", "POST", "/organisations", {"name": "acme"})
    door.send("admin", "PUT", "/organisations/acme/members/carol", {"role": "member"})
    assert pull(door, "bob") == 200
    own = door.send("bob", "GET", "/pull-usage")
    assert own == door.send("bob", "GET", "/owners/bob/plan") == door.send("admin", "GET", "/owners/bob/plan")
    assert (own["owner"], own["plan"], own["assigned"]) == ("bob", "free", None)
    assert (own["used"], own["remaining"], own["ends_at"]) == (1, 99, "2026-09-21T20:13:20Z")
    assert door.send("carol", "GET", "/owners/acme/plan")["used"] == 0
    hidden = [door.ask("bob", "GET", f"/owners/{owner}/plan") for owner in ("alice", "acme", "nobody")]
    assert {(answer.status, answer.code) for answer in hidden} == {(404, "USER_UNKNOWN")}
    assert len({answer.json["errors"][0]["message"] for answer in hidden}) == 1


def test_who_is_gone_has_no_usage(door: Door) -> None:
    """A token of somebody who was removed this moment, by another worker, is told so."""
    caller = door.client(token=door.world.token("bob", "repository:pub/app:pull"))
    assert caller.request("GET", "/api/v1/pull-usage").json["plan"] is None
    door.world.run(door.world.database.transact(lambda tx: tx.execute("delete from account where name = 'bob'")))
    answer = caller.request("GET", "/api/v1/pull-usage")
    assert (answer.status, answer.code) == (404, "USER_UNKNOWN")
