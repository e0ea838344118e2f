"""Invitations: made and taken back by owners, accepted and declined by those who are invited."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.company import ACME, found, users
from tests.api.door import Door

DAY_SECONDS = 86_400


@pytest.fixture
def company(door: Door) -> Door:
    """A registry of its own with `acme`."""
    found(door)
    return door


def invited(door: Door, user: str = "bob") -> list[tuple[str, str]]:
    """What somebody is invited to, and as what."""
    entries = door.send(user, "GET", "/invitations")["invitations"]
    return [(entry["organisation"], entry["role"]) for entry in entries]


def opened(door: Door) -> list[bool]:
    """Which invitations can be accepted, as an owner sees them."""
    return [entry["open"] for entry in door.send("alice", "GET", f"{ACME}/invitations")["invitations"]]


def test_an_invitation_is_accepted(company: Door) -> None:
    """The invited sees it, is in the organisation once they accept, and it is used up."""
    made = company.send("alice", "PUT", f"{ACME}/invitations/bob", {"role": "owner"})
    assert (made["user"], made["role"], made["invited_by"]) == ("bob", "owner", "alice")
    assert company.send("alice", "GET", f"{ACME}/invitations")["invitations"] == [made]
    assert invited(company) == [("acme", "owner")]
    assert company.ask("bob", "GET", ACME).status == 404
    assert company.send("bob", "POST", "/invitations/acme/accept")["role"] == "owner"
    assert company.send("bob", "GET", ACME)["role"] == "owner"
    assert invited(company) == []
    assert company.ask("bob", "POST", "/invitations/acme/accept").code == "INVITATION_UNKNOWN"
    assert company.events("invitation.made") == [("alice", "acme", {"user": "bob", "role": "owner"})]
    assert company.events("invitation.accepted") == [("bob", "acme", {"role": "owner"})]
    assert company.events("organisation.joined")[-1] == ("bob", "acme", {"user": "bob", "role": "owner"})


def test_an_invitation_is_declined(company: Door) -> None:
    """Who declines stays outside, and may be invited again; the second invitation replaces the first."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    assert company.ask("bob", "DELETE", "/invitations/acme").status == 204
    assert company.send("alice", "GET", f"{ACME}/invitations")["invitations"] == []
    assert company.ask("bob", "DELETE", "/invitations/acme").code == "INVITATION_UNKNOWN"
    for role in ("member", "owner"):
        company.send("alice", "PUT", f"{ACME}/invitations/bob", {"role": role})
    assert invited(company) == [("acme", "owner")]
    assert company.events("invitation.declined") == [("bob", "acme", {})]


def test_an_invitation_is_withdrawn(company: Door) -> None:
    """What an owner takes back cannot be accepted."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    assert company.ask("alice", "DELETE", f"{ACME}/invitations/bob").status == 204
    assert company.ask("bob", "POST", "/invitations/acme/accept").code == "INVITATION_UNKNOWN"
    assert company.events("invitation.withdrawn") == [("alice", "acme", {"user": "bob"})]


def test_an_invitation_ends_with_the_right_to_invite(company: Door) -> None:
    """Of somebody who is no owner any more, is disabled, or is gone, nobody accepts one; an owner's other one holds."""
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})
    for end in (
        ("alice", "PUT", f"{ACME}/members/carol", {"role": "member"}),
        ("alice", "DELETE", f"{ACME}/members/carol", None),
        ("admin", "DELETE", "/users/carol", None),
    ):
        company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})
        company.send("carol", "PUT", f"{ACME}/invitations/bob", {"role": "owner"})
        assert (invited(company), opened(company)) == ([("acme", "owner")], [True])
        company.send(*end)
        assert (invited(company), opened(company)) == ([], [False])
        refused = company.ask("bob", "POST", "/invitations/acme/accept")
        assert (refused.status, refused.code) == (404, "INVITATION_UNKNOWN")
        assert "ask an owner for another invitation" in refused.json["errors"][0]["message"]
    company.world.clock.advance(seconds=1)
    company.send("admin", "POST", "/users", {"name": "carol", "password": "carol-password"})
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})
    assert company.ask("bob", "POST", "/invitations/acme/accept").code == "INVITATION_UNKNOWN"
    assert company.send("carol", "PUT", f"{ACME}/invitations/bob", {})["invited_by"] == "carol"
    assert company.send("bob", "POST", "/invitations/acme/accept")["role"] == "member"


def test_whoever_has_the_files_may_invite(company: Door) -> None:
    """An invitation that was made beside the server, by somebody without an account, is accepted."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    company.world.run(
        company.world.database.transact(lambda tx: tx.execute("update invitation set invited_by = $1", "local:root"))
    )
    assert (invited(company), opened(company)) == ([("acme", "member")], [True])
    assert company.send("bob", "POST", "/invitations/acme/accept")["role"] == "member"


def test_an_invitation_expires(company: Door) -> None:
    """It holds for 14 days, and not a moment more; the next one that is made clears it away."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    company.world.clock.advance(seconds=14 * DAY_SECONDS - 1)
    assert invited(company) == [("acme", "member")]
    company.world.clock.advance(seconds=1)
    assert invited(company) == []
    assert company.send("alice", "GET", f"{ACME}/invitations")["invitations"] == []
    assert company.ask("bob", "POST", "/invitations/acme/accept").code == "INVITATION_UNKNOWN"
    company.send("admin", "POST", "/users", {"name": "erin", "password": "erin-password"})
    company.send("alice", "PUT", f"{ACME}/invitations/erin", {})
    assert company.world.rows("select count(*) from invitation") == [(1,)]


def test_whoever_is_let_in_needs_no_invitation(company: Door) -> None:
    """An invitation is used up when its user is added meanwhile, and goes with its organisation and with its user."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {"role": "owner"})
    company.send("alice", "PUT", f"{ACME}/members/bob", {"role": "member"})
    assert company.ask("bob", "POST", "/invitations/acme/accept").code == "INVITATION_UNKNOWN"
    company.send("alice", "DELETE", f"{ACME}/members/bob")
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    company.send("admin", "DELETE", "/users/bob")
    assert company.send("alice", "GET", f"{ACME}/invitations")["invitations"] == []
    company.send("alice", "DELETE", f"{ACME}/members/carol")
    company.send("alice", "PUT", f"{ACME}/invitations/carol", {})
    company.send("alice", "DELETE", f"{ACME}?give_to=alice")
    assert invited(company, "carol") == []


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "code"),
    [
        ("PUT", f"{ACME}/invitations/nobody", {}, 404, "USER_UNKNOWN"),
        ("PUT", f"{ACME}/invitations/carol", {}, 409, "CONFLICT"),
        ("PUT", f"{ACME}/invitations/bob", {"role": "emperor"}, 400, "REQUEST_INVALID"),
        ("DELETE", f"{ACME}/invitations/bob", None, 404, "INVITATION_UNKNOWN"),
        ("DELETE", f"{ACME}/invitations/nobody", None, 404, "USER_UNKNOWN"),
    ],
)
def test_invitations_that_cannot_be(
    company: Door, method: str, path: str, document: Any, status: int, code: str
) -> None:
    """Nobody, members and those who were never invited are told apart to owners."""
    answer = company.ask("alice", method, path, document)
    assert (answer.status, answer.code) == (status, code)


def test_invitations_tell_outsiders_nothing(company: Door) -> None:
    """Who was not invited gets the same answer whether the organisation is there or not."""
    for method, tail in (("POST", "/accept"), ("DELETE", "")):
        there, absent = (company.ask("bob", method, f"/invitations/{name}{tail}") for name in ("acme", "none"))
        assert (there.status, there.code) == (404, "INVITATION_UNKNOWN")
        assert there.body.replace(b"acme", b"none") == absent.body


def test_a_token_answers_no_invitation(company: Door) -> None:
    """Joining takes more than a token that a build may hold."""
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    token = company.world.token("bob", "repository:pub/app:pull")
    for method, path in (
        ("GET", "/invitations"),
        ("POST", "/invitations/acme/accept"),
        ("DELETE", "/invitations/acme"),
    ):
        assert company.client(token=token).request(method, f"/api/v1{path}").status == 401
    assert users(company, f"{ACME}/members") == ["alice", "carol", "dora"]


def test_invitations_come_by_pages(company: Door) -> None:
    """Both listings link to their next page, also from one of which nothing is left."""
    company.send("admin", "POST", "/organisations", {"name": "beta"})
    company.send("admin", "POST", "/users", {"name": "erin", "password": "erin-password"})
    company.send("alice", "PUT", f"{ACME}/invitations/erin", {})
    company.send("alice", "PUT", f"{ACME}/invitations/bob", {})
    company.send("admin", "PUT", "/organisations/beta/invitations/bob", {})
    answer = company.ask("bob", "GET", "/invitations?n=1")
    assert answer["link"] == '</api/v1/invitations?n=1&last=acme>; rel="next"'
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})
    company.send("carol", "PUT", f"{ACME}/invitations/bob", {})
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "member"})
    answer = company.ask("bob", "GET", "/invitations?n=1")
    assert (answer.json["invitations"], answer["link"]) == ([], '</api/v1/invitations?n=1&last=acme>; rel="next"')
    assert [
        each["organisation"] for each in company.send("bob", "GET", "/invitations?n=1&last=acme")["invitations"]
    ] == ["beta"]
    answer = company.ask("alice", "GET", f"{ACME}/invitations?n=1")
    assert answer["link"] == '</api/v1/organisations/acme/invitations?n=1&last=bob>; rel="next"'
