"""Groups of the directory that make members of a team."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from entrepot.metadata import policy
from entrepot.ports.database import Tx
from tests.api.door import Door
from tests.support.directory import add_teams

DEVS = "/organisations/acme/teams/devs/groups"
DN = "CN=Devs, ou=groups, dc=example, dc=org"


@pytest.fixture
def acme(door: Door) -> Door:
    """A registry with the organisation `acme`, whose owner is alice."""
    made = add_teams(door.world)

    async def own(tx: Tx) -> None:
        await tx.execute(
            "insert into organisation_member (organisation, account, role, added_at) values ($1, $2, 'owner', 1)",
            made["acme"],
            door.world.ids["alice"],
        )
        await policy.bump_policy_version(tx)

    door.world.transact(own)
    return door


def test_groups_are_added_listed_and_removed(acme: Door) -> None:
    """As they were named; in another spelling they are the same."""
    answer = acme.ask("alice", "POST", DEVS, {"group": " developers "})
    assert (answer.status, answer["location"]) == (201, f"/api/v1{DEVS}")
    assert answer.json == {"group": "developers", "added_by": "alice", "added_at": answer.json["added_at"]}
    listed = acme.send("alice", "GET", DEVS)["groups"]
    assert [group["group"] for group in listed] == [DN, "developers"]
    spelled = "cn=devs,ou=groups,dc=example,dc=org"
    again = acme.ask("admin", "POST", DEVS, {"group": spelled})
    assert (again.status, again.code) == (409, "ALREADY_EXISTS")
    acme.send("admin", "DELETE", f"{DEVS}?group={quote(spelled)}")
    assert [group["group"] for group in acme.send("admin", "GET", DEVS)["groups"]] == ["developers"]
    assert acme.events("team-group.added") == [("alice", "acme/devs", {"group": "developers"})]
    assert acme.events("team-group.removed") == [("admin", "acme/devs", {"group": spelled})]


def test_groups_come_by_pages(acme: Door) -> None:
    """With a link to the next one."""
    for name in ("a", "b"):
        acme.send("alice", "POST", DEVS, {"group": name})
    first = acme.ask("alice", "GET", f"{DEVS}?n=2")
    assert [group["group"] for group in first.json["groups"]] == ["a", "b"]
    assert first["link"] == f'</api/v1{DEVS}?n=2&last=b>; rel="next"'
    rest = acme.ask("alice", "GET", f"{DEVS}?n=2&last=b")
    assert [group["group"] for group in rest.json["groups"]] == [DN]
    assert "link" not in rest


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_others_cannot_tell_what_there_is(acme: Door, method: str) -> None:
    """Who owns nothing gets the same answer for organisations and teams that are there and for those that are not."""
    bodies = set()
    for path in (DEVS, "/organisations/acme/teams/none/groups", "/organisations/none/teams/devs/groups"):
        document = {"group": "x"} if method == "POST" else None
        answer = acme.ask("bob", method, f"{path}?group=x" if method == "DELETE" else path, document)
        assert (answer.status, answer.code) == (403, "DENIED")
        bodies.add(answer.body.replace(b"none", b"acme"))
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/organisations/acme/teams/none/groups", 404, "NAME_UNKNOWN"),
        ("/organisations/none/teams/devs/groups", 404, "NAME_UNKNOWN"),
        ("/organisations/alice/teams/devs/groups", 404, "NAME_UNKNOWN"),
        ("/organisations/A/teams/devs/groups", 400, "NAME_INVALID"),
        ("/organisations/acme/teams/A/groups", 404, "NAME_UNKNOWN"),
    ],
)
def test_teams_that_are_not_there(acme: Door, path: str, status: int, code: str) -> None:
    """Are told to administrators."""
    answer = acme.ask("admin", "GET", path)
    assert (answer.status, answer.code) == (status, code)


def test_requests_that_are_refused(acme: Door) -> None:
    """A group without a name, one that the team does not have, tokens, and nobody."""
    empty = acme.ask("alice", "POST", DEVS, {"group": " "})
    assert (empty.status, empty.code) == (400, "REQUEST_INVALID")
    assert empty.json["errors"][0]["detail"]["field"] == "group"
    missing = acme.ask("alice", "DELETE", f"{DEVS}?group=none")
    assert (missing.status, missing.code) == (404, "NAME_UNKNOWN")
    token = acme.world.token("alice", "repository:priv/app:pull")
    scoped = acme.client(token=token).request("GET", f"/api/v1{DEVS}")
    assert (scoped.status, scoped.code) == (401, "UNAUTHORIZED")
    assert acme.ask("", "GET", DEVS).status == 401
