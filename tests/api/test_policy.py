"""Grants as a whole: planned, applied and exported: `/policy`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.door import NEW, Door
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
    assert exported["Statement"][0]["Condition"]["IpAddress"] == {"aws:SourceIp": ["54.240.143.0/24", "192.0.2.1"]}
    plan = door.send("alice", "POST", "/policy/plan", {"policy": exported, "resource": "priv/app"})
    assert (plan["add"], plan["remove"], plan["kept"]) == ([], [], 3)


def test_a_role_comes_back_as_a_role(door: Door) -> None:
    """A document that names all the actions of a role is that role."""
    exported = door.send("alice", "GET", "/policy?resource=priv")["policy"]
    plan = door.send("alice", "POST", "/policy/plan", {"policy": exported, "resource": "priv"})
    assert (plan["add"], plan["remove"], plan["kept"]) == ([], [], 1)


EXPORTED: dict[str, list[dict[str, Any]]] = {
    "priv": [{"role": "reader"}, {"role": "porter"}, {"actions": ["scan.read", "pull"]}],
    "priv/app": [{"role": "writer", "tags": "v?"}, {"role": "owner", "effect": "deny", "tags": "v*"}],
    "priv/*": [{"role": "reader", "conditions": {}}],
    "priv/**": [{"role": "reader", "conditions": {"networks": ["192.0.2.1", "10.0.0.0/8"], "clients": ["a/*"]}}],
    "pr?v": [{"role": "reader", "conditions": {"not_networks": ["::/0"], "not_before": "2026-01-01T00:00:00+02:00"}}],
    "*": [{"role": "reader", "conditions": {"days": ["mon"], "hours": {"start": "08:00", "end": "09:00"}}}],
    "**": [{"actions": ["namespace.create"]}],
    "": [{"role": "maintainer", "conditions": {"not_after": "2026-01-01T00:00:00Z"}}],
}


@pytest.mark.parametrize("resource", EXPORTED)
def test_what_is_exported_changes_nothing(door: Door, resource: str) -> None:
    """Roles of all kinds, patterns, tags, conditions and the registry itself: nothing to add, nothing to take away."""
    door.send("admin", "POST", "/roles", {"name": "porter", "actions": ["pull", "push"]})
    for given in EXPORTED[resource]:
        for subject in ("user:bob", "everyone", "signed-in"):
            door.send("admin", "POST", "/grants", {"subject": subject, "resource": resource, **given})
    exported = door.send("admin", "GET", f"/policy?resource={quote(resource)}")["policy"]
    plan = door.send("admin", "PUT", "/policy", {"policy": exported, "resource": resource})
    assert (plan["add"], plan["remove"], plan["kept"]) == ([], [], len(exported["Statement"]))
    assert door.send("admin", "GET", f"/policy?resource={quote(resource)}")["policy"] == exported


def test_a_document_is_about_what_it_says_alone(door: Door) -> None:
    """Without `resource`, a statement that names nothing is refused; what no statement is about stays as it is."""
    door.send("admin", "POST", "/grants", {**BOB, "resource": ""})
    statement = {"Effect": "Allow", "Principal": {"Entrepot": "user:bob"}, "Action": "ecr:BatchGetImage"}
    for more in ({}, {"Resource": "*"}):
        answer = door.ask("admin", "PUT", "/policy", {"policy": {"Statement": {**statement, **more}}})
        assert answer.status == 400
        assert "--resource acme/web" in answer.json["errors"][0]["message"]
        assert answer.json["errors"][0]["detail"]["field"].startswith("Statement[0].Resource")
    named = {"policy": {"Statement": {**statement, "Resource": "priv/web"}}}
    for proposal in (named, {**named, "resource": ""}):
        plan = door.send("admin", "POST", "/policy/plan", proposal)
        assert ([each["resource"] for each in plan["add"]], plan["remove"]) == (["priv/web"], [])
    assert len(door.send("admin", "POST", "/policy/plan", {"resources": [""]})["remove"]) == 1


def test_a_denial_of_iam_covers_what_it_covers_there(door: Door) -> None:
    """A star of an ARN spans slashes: nothing below is left open."""
    door.push("pub/a/b", NEW, "v1")
    path = "/v2/pub/a/b/manifests/v1"
    assert door.world.client("bob").request("GET", path).status == 200
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "ecr:BatchGetImage",
        "Resource": "arn:aws:ecr:eu-west-1:111122223333:repository/pub/*",
    }
    door.send("alice", "PUT", "/policy", {"policy": {"Statement": statement}})
    assert door.world.client("bob").request("GET", path).status == 404


def test_conditions_that_are_there_twice_widen_nothing(shared: Door) -> None:
    """The last one does not win where IAM wants both: the second one is refused with its path."""
    condition = {
        "IpAddress": {"aws:SourceIp": "10.0.0.0/8", "entrepot:SourceIp": "0.0.0.0/0"},
        "StringLike": {"entrepot:Tag": "dev-*"},
    }
    statement = {"Effect": "Allow", "Principal": "*", "Action": "entrepot:pull", "Condition": condition}
    proposal = {"policy": {"Statement": statement}, "resource": "priv/app"}
    answer = shared.ask("alice", "POST", "/policy/plan", proposal)
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (
        400,
        "Statement[0].Condition.IpAddress.entrepot:SourceIp",
    )


def of_policy(**change: Any) -> dict[str, Any]:
    """A document of one statement about bob, with these parts."""
    statement = {"Effect": "Allow", "Principal": {"Entrepot": "user:bob"}, "Action": "entrepot:pull", **change}
    return {"policy": {"Statement": [statement]}, "resource": "priv/app"}


@pytest.mark.parametrize(
    ("proposal", "field", "told"),
    [
        ({"subject": "team:acme/nope"}, "grants[1].subject", "`entrepot team create`"),
        ({"subject": "user:ghost"}, "grants[1].subject", "`entrepot user add`"),
        ({"subject": "service:priv+ghost"}, "grants[1].subject", "`entrepot service-account create`"),
        ({"role": "rider"}, "grants[1].role", "no such role"),
        ({"role": "rider", "effect": "deny"}, "grants[1].role", "no such role"),
        ({"conditions": {"listeners": ["nowhere"]}}, "grants[1].conditions.listeners[0]", "there are: "),
        ({"resource": "priv/App"}, "grants[1].resource", "lower-case"),
        ({"conditions": {"networks": ["10.0.0.0/8", "10.0.0.1/8"]}}, "grants[1].conditions.networks[1]", "no network"),
        ({"conditions": {"days": ["foo"]}}, "grants[1].conditions.days[0]", "there are: fri, mon, sat"),
        ({"conditions": {"mfa": True}}, "grants[1].conditions.mfa", "there are: networks, not_networks, not_before"),
        ({"effect": "maybe"}, "grants[1].effect", "there are: allow, deny"),
        (of_policy(Principal={"Entrepot": ["user:ghost"]}), "Statement[0].Principal", "no such user"),
        (of_policy(Principal={"Entrepot": ["bob"]}), "Statement[0].Principal", "user:NAME"),
        (of_policy(Resource="priv/App"), "Statement[0].Resource", "lower-case"),
        (of_policy(Condition={"StringLike": {"entrepot:Tag": "a***"}}), "Statement[0].Condition", "a pattern is"),
        (
            of_policy(Condition={"Entrepot": {"hours": {"start": "08:00", "end": "18:00", "zone": "Mars/Base"}}}),
            "Statement[0].Condition.Entrepot.hours.zone",
            "no such time zone",
        ),
        (
            of_policy(Condition={"StringEquals": {"entrepot:Listener": "nowhere"}}),
            "Statement[0].Condition",
            "no such listener",
        ),
    ],
)
def test_a_plan_names_the_place_of_what_is_wrong(shared: Door, proposal: Any, field: str, told: str) -> None:
    """Of each grant in a list and of each part of a statement, and says what there is or what to do."""
    if "policy" not in proposal:
        proposal = {"resources": ["priv/app", "priv/App"], "grants": [BOB, {**BOB, **proposal}]}
    for method, path in (("POST", "/policy/plan"), ("PUT", "/policy")):
        answer = shared.ask("admin", method, path, proposal)
        (problem,) = answer.json["errors"]
        assert (answer.status in {400, 409}, problem["detail"]["field"]) == (True, field)
        assert told in problem["message"]


def test_an_unknown_role_is_told_which_there_are(door: Door) -> None:
    """The built-in ones and those of this registry."""
    door.send("admin", "POST", "/roles", {"name": "porter", "actions": ["pull", "push"]})
    answer = door.ask("alice", "POST", "/grants", {**BOB, "role": "rider"})
    detail = answer.json["errors"][0]["detail"]
    assert detail["known"] == ["reader", "writer", "maintainer", "owner", "porter"]


def test_what_the_caller_does_not_have_is_refused_by_the_plan(door: Door) -> None:
    """With the place of the grant, before anything is applied."""
    door.send("alice", "POST", "/grants", {**BOB, "role": "", "actions": ["pull", "repository.admin"]})
    wanted = {"resources": ["priv/app"], "grants": [{**BOB, "subject": "user:carol", "role": "writer"}]}
    answer = door.ask("bob", "POST", "/policy/plan", wanted)
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (403, "grants[0]")


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
