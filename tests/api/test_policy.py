"""Grants as a whole: planned, applied and exported: `/policy`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.door import Door
from tests.domain.test_policy_document import ECR_POLICY

BOB = {"subject": "user:bob", "resource": "priv/app", "role": "reader"}
PRINCIPALS = {"arn:aws:iam::111122223333:role/ci": "user:carol", "arn:aws:iam::111122223333:user/bob": "user:bob"}


def held(door: Door, resource: str) -> set[tuple[str, str, str]]:
    """(subject, role, effect) of what is granted on a resource and below."""
    found = door.send("alice", "GET", f"/grants?resource={resource}")["grants"]
    return {(each["subject"], each["role"] or ",".join(each["actions"]), each["effect"]) for each in found}


def test_a_plan_changes_nothing_and_applying_is_the_plan(door: Door) -> None:
    """What is missing is added, what is not listed goes, the rest stays; a second time there is nothing to do."""
    wanted = {
        "resources": ["priv/app"],
        "grants": [BOB, {**BOB, "subject": "everyone", "effect": "deny", "role": "owner"}],
    }
    before = held(door, "priv")
    plan = door.send("alice", "POST", "/policy/plan", wanted)
    assert [each["subject"] for each in plan["add"]] == ["user:bob", "everyone"]
    assert ([each["subject"] for each in plan["remove"]], plan["kept"]) == (["user:dora"], 0)
    assert held(door, "priv") == before
    done = door.send("alice", "PUT", "/policy", {**wanted, "hash": plan["hash"]})
    assert done == plan
    assert held(door, "priv/app") == {("user:bob", "reader", "allow"), ("everyone", "owner", "deny")}
    assert ("user:carol", "reader", "allow") in held(door, "priv")
    again = door.send("alice", "PUT", "/policy", wanted)
    assert (again["add"], again["remove"], again["kept"]) == ([], [], 2)
    assert len(door.events("grant.given")) == 3
    assert len(door.events("grant.taken")) == 1


def test_a_plan_that_has_moved_is_not_applied(door: Door) -> None:
    """Whoever agreed to one difference applies no other."""
    wanted = {"resources": ["priv/app"], "grants": [BOB]}
    plan = door.send("alice", "POST", "/policy/plan", wanted)
    door.send("alice", "POST", "/grants", {**BOB, "subject": "user:carol"})
    answer = door.ask("alice", "PUT", "/policy", {**wanted, "hash": plan["hash"]})
    assert (answer.status, answer.code) == (412, "PRECONDITION_FAILED")
    assert ("user:dora", "writer", "allow") in held(door, "priv/app")


def test_all_or_nothing(door: Door) -> None:
    """One grant that cannot be given leaves everything as it was."""
    before = held(door, "priv")
    wanted = {"resources": ["priv/app"], "grants": [BOB, {**BOB, "subject": "user:ghost"}]}
    assert door.ask("alice", "PUT", "/policy", wanted).status == 409
    assert held(door, "priv") == before


def test_a_policy_of_ecr_is_pasted_and_comes_back(door: Door) -> None:
    """Its principals become ours by a table; without it, the foreign name is refused with its path."""
    paste = {"policy": ECR_POLICY, "resource": "priv/app"}
    unknown = door.ask("alice", "POST", "/policy/plan", paste)
    assert (unknown.status, unknown.json["errors"][0]["detail"]["field"]) == (400, "Statement[0].Principal")
    door.send("alice", "PUT", "/policy", {**paste, "principals": PRINCIPALS})
    assert held(door, "priv/app") == {
        ("user:bob", "pull,push,tag.create,tag.move", "allow"),
        ("user:carol", "pull,push,tag.create,tag.move", "allow"),
        ("everyone", "delete,tag.delete", "deny"),
    }
    exported = door.send("alice", "GET", "/policy?resource=priv/app")["policy"]
    assert exported["Statement"][-1]["Principal"] == "*"
    assert exported["Statement"][0]["Condition"]["IpAddress"] == {"aws:SourceIp": ["54.240.143.0/24", "192.0.2.1/32"]}
    plan = door.send("alice", "POST", "/policy/plan", {"policy": exported, "resource": "priv/app"})
    assert (plan["add"], plan["remove"], plan["kept"]) == ([], [], 3)


def test_a_role_comes_back_as_a_role(door: Door) -> None:
    """A document that names all the actions of a role is that role."""
    exported = door.send("alice", "GET", "/policy?resource=priv")["policy"]
    plan = door.send("alice", "POST", "/policy/plan", {"policy": exported, "resource": "priv"})
    assert (plan["add"], plan["remove"], plan["kept"]) == ([], [], 1)


@pytest.mark.parametrize(
    ("who", "proposal", "status", "field"),
    [
        ("carol", {"resources": ["priv"]}, 403, None),
        ("alice", {"resources": [""]}, 403, None),
        ("alice", {"resources": ["priv/app"], "grants": [{**BOB, "resource": "priv"}]}, 400, "grants[0].resource"),
        ("alice", {"resources": ["priv/app"], "grants": [BOB, {**BOB, "subject": "x"}]}, 400, "grants[1].subject"),
        ("alice", {"policy": {"Statement": []}, "resource": "priv/app"}, 400, "Statement"),
    ],
)
def test_proposals_that_are_refused(shared: Door, who: str, proposal: Any, status: int, field: str | None) -> None:
    """Resources that are not the caller's, grants elsewhere, and parts that make no sense, with their paths."""
    answer = shared.ask(who, "POST", "/policy/plan", proposal)
    assert (answer.status, answer.json["errors"][0]["detail"].get("field")) == (status, field)


def test_more_than_can_be_applied_at_once(shared: Door) -> None:
    """The number of grants is bounded, listed or stated by a document."""
    listed = shared.ask("alice", "POST", "/policy/plan", {"resources": ["priv/app"], "grants": [BOB] * 5001})
    everyone = {"Entrepot": [f"user:u{number}" for number in range(5001)]}
    statement = {"Effect": "Allow", "Principal": everyone, "Action": "entrepot:pull"}
    stated = shared.ask("alice", "POST", "/policy/plan", {"policy": {"Statement": statement}, "resource": "priv/app"})
    for answer in (listed, stated):
        assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (400, "grants")


def test_a_whole_company_fits_into_one_file(door: Door) -> None:
    """Thousands of grants are one step; who may not give them is told so before the body is read; more is 413."""
    wanted = {
        "resources": ["priv/app"],
        "grants": [{**BOB, "tags": f"release-{number}.*"} for number in range(3000)],
    }
    assert len(door.send("alice", "PUT", "/policy", wanted)["add"]) == 3000
    assert len(held(door, "priv/app")) == 1
    assert sum(actor == "alice" for actor, _, _ in door.events("grant.given")) == 3000
    large = {"resources": ["x" * 200] * 25_000}
    assert door.ask("alice", "PUT", "/policy", large).status == 413
    assert door.ask("bob", "PUT", "/policy", large).status == 413
    assert door.client().request("PUT", "/api/v1/policy", b"x" * (5 << 20)).status == 401
    assert door.ask("alice", "POST", "/grants", {**BOB, "tags": "x" * 70_000}).status == 413
