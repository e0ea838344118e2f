"""Teams of an organisation, and who is in them."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.metadata import grants, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from tests.api.company import ACME, DEVS, found, users
from tests.api.door import PRIVATE, Door, at


@pytest.fixture
def company(door: Door) -> Door:
    """A registry of its own with `acme`."""
    found(door)
    return door


@pytest.fixture(scope="module")
def standing(shared: Door) -> Door:
    """The same for all tests that only read."""
    found(shared)
    return shared


def give(door: Door, resource: str) -> None:
    """Let the team `devs` read something."""

    async def record(tx: Tx) -> None:
        (row,) = await tx.all("select id from team where name = 'devs'")
        await grants.add_grant(tx, NewGrantRow(("team", row[0]), resource, "reader"), "admin", 1)
        await policy.bump_policy_version(tx)

    door.world.transact(record)


def test_a_team_is_made_and_described(company: Door) -> None:
    """A team is made by an owner, found, described once, and listed by its name."""
    answer = company.ask("alice", "POST", f"{ACME}/teams", {"name": "ops"})
    assert (answer.status, answer["location"]) == (201, f"/api/v1{ACME}/teams/ops")
    assert (answer.json["organisation"], answer.json["name"], answer.json["description"]) == ("acme", "ops", "")
    for _ in range(2):
        changed = company.send("alice", "PATCH", f"{ACME}/teams/ops", {"description": "On call"})
        assert changed["description"] == "On call"
    assert company.send("dora", "GET", f"{ACME}/teams/ops") == changed
    assert [team["name"] for team in company.send("dora", "GET", f"{ACME}/teams")["teams"]] == ["devs", "ops"]
    page = company.ask("dora", "GET", f"{ACME}/teams?n=1")
    assert page["link"] == '</api/v1/organisations/acme/teams?n=1&last=devs>; rel="next"'
    assert company.events("team.created")[-1] == ("alice", "acme/ops", {})
    assert company.events("team.changed") == [("alice", "acme/ops", {"description": ["", "On call"]})]


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "code"),
    [
        ("POST", f"{ACME}/teams", {"name": "devs"}, 409, "ALREADY_EXISTS"),
        ("POST", f"{ACME}/teams", {"name": "De vs"}, 400, "NAME_INVALID"),
        ("POST", f"{ACME}/teams", {"name": "x" * 64}, 400, "NAME_INVALID"),
        ("POST", f"{ACME}/teams", {"name": "ops", "description": "\t"}, 400, "REQUEST_INVALID"),
        ("PATCH", DEVS, {"description": "x" * 501}, 400, "REQUEST_INVALID"),
        ("GET", f"{ACME}/teams/none", None, 404, "TEAM_UNKNOWN"),
        ("PATCH", f"{ACME}/teams/none", {"description": ""}, 404, "TEAM_UNKNOWN"),
        ("DELETE", f"{ACME}/teams/none", None, 404, "TEAM_UNKNOWN"),
        ("GET", f"{ACME}/teams/none/members", None, 404, "TEAM_UNKNOWN"),
        ("PUT", f"{ACME}/teams/none/members/dora", {}, 404, "TEAM_UNKNOWN"),
        ("PUT", f"{DEVS}/members/nobody", {}, 404, "USER_UNKNOWN"),
        ("DELETE", f"{DEVS}/members/nobody", None, 404, "USER_UNKNOWN"),
        ("DELETE", f"{DEVS}/members/carol", None, 404, "USER_UNKNOWN"),
    ],
)
def test_teams_that_cannot_be(standing: Door, method: str, path: str, document: Any, status: int, code: str) -> None:
    """Taken and illegal names, and teams and people that are not there, are refused to owners as they are."""
    answer = standing.ask("alice", method, path, document)
    assert (answer.status, answer.code) == (status, code)


def test_a_team_is_of_members(company: Door) -> None:
    """Whoever is not in the organisation is refused by name, or joins both in one step."""
    answer = company.ask("alice", "PUT", f"{DEVS}/members/bob", {})
    assert (answer.status, answer.code) == (409, "UNMET")
    assert answer.json["errors"][0]["detail"] == {"field": "join", "user": "bob"}
    for _ in range(2):
        assert company.send("alice", "PUT", f"{DEVS}/members/bob", {"join": True})["user"] == "bob"
    company.send("alice", "PUT", f"{DEVS}/members/carol", {"join": True})
    assert users(company, f"{ACME}/members") == ["alice", "bob", "carol", "dora"]
    assert users(company, f"{DEVS}/members", "bob") == ["bob", "carol", "dora"]
    page = company.ask("bob", "GET", f"{DEVS}/members?n=1")
    assert page["link"] == '</api/v1/organisations/acme/teams/devs/members?n=1&last=bob>; rel="next"'
    joined = [(actor, detail["user"]) for actor, _, detail in company.events("team.joined")]
    assert joined == [("alice", "dora"), ("alice", "bob"), ("alice", "carol")]
    assert company.events("organisation.joined")[-1][2] == {"user": "bob", "role": "member"}


def test_who_is_in_a_team_has_what_it_has(company: Door) -> None:
    """What a team was granted holds from the moment somebody is in it until they are not, or there is no team."""
    company.send("alice", "PUT", f"{DEVS}/members/bob", {"join": True})
    assert company.ask("bob", "GET", at(PRIVATE)).status == 404
    give(company, "priv")
    assert company.ask("bob", "GET", at(PRIVATE)).status == 200
    assert company.ask("alice", "DELETE", f"{DEVS}/members/bob").status == 204
    assert company.ask("bob", "GET", at(PRIVATE)).status == 404
    company.send("alice", "PUT", f"{DEVS}/members/bob", {})
    assert company.ask("bob", "GET", at(PRIVATE)).status == 200
    assert company.ask("alice", "DELETE", DEVS).status == 204
    assert company.ask("bob", "GET", at(PRIVATE)).status == 404
    assert company.world.rows("select 1 from \"grant\" where subject_kind = 'team'") == []
    assert company.events("team.left") == [("alice", "acme/devs", {"user": "bob"})]
    assert company.events("team.removed") == [("alice", "acme/devs", {})]


def test_an_organisation_takes_what_its_teams_had_with_it(company: Door) -> None:
    """Once the organisation is removed, its teams' grants open nothing to anybody."""
    company.send("alice", "PUT", f"{DEVS}/members/bob", {"join": True})
    give(company, "priv")
    company.send("alice", "DELETE", f"{ACME}?give_to=alice")
    assert company.ask("bob", "GET", at(PRIVATE)).status == 404
    assert company.world.rows("select 1 from \"grant\" where subject_kind = 'team'") == []
