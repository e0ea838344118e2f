"""Organisations: made, described, given up; who is in them, and what they own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from entrepot.api.face import ApiFace
from entrepot.core.organisations import NewOrganisation, create_organisation
from entrepot.core.registry import Rules
from entrepot.domain.access import ANONYMOUS, Caller, Identity
from entrepot.domain.errors import InsufficientScope, Unmet
from entrepot.metadata.accounts import Faceless, add_faceless
from entrepot.ports.database import Tx
from tests.api.company import ACME, DEVS, READS, RUNS, found, users
from tests.api.door import Door
from tests.support.world import World


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


def test_an_administrator_makes_an_organisation(door: Door) -> None:
    """It is made with its first owner and a private namespace of its name, which that owner owns at once."""
    version = door.version()
    new = {"name": "acme", "owner": "alice", "description": "Acme Ltd"}
    answer = door.ask("admin", "POST", "/organisations", new)
    assert (answer.status, answer["location"]) == (201, "/api/v1/organisations/acme")
    shown = {"name": "acme", "description": "Acme Ltd", "role": None, "created_at": "2026-01-01T00:00:00Z"}
    assert answer.json == {**shown, "created_at": answer.json["created_at"]}
    assert door.send("alice", "GET", ACME)["role"] == "owner"
    namespace = door.send("alice", "GET", "/namespaces/acme")
    assert (namespace["owner"], namespace["visibility"]) == ("acme", "private")
    door.send("alice", "PATCH", "/namespaces/acme", {"visibility": "public"})
    assert door.version() > version
    assert door.events("organisation.created") == [("admin", "acme", {"owner": "alice"})]


def test_whoever_makes_it_owns_it(door: Door) -> None:
    """Without an owner it belongs to the administrator who makes it."""
    assert door.send("admin", "POST", "/organisations", {"name": "acme"})["role"] == "owner"
    assert users(door, f"{ACME}/members", "admin") == ["admin"]


@pytest.mark.parametrize(
    ("user", "new", "status", "code", "field"),
    [
        ("admin", {"name": "alice"}, 409, "ALREADY_EXISTS", None),
        ("admin", {"name": "acme"}, 409, "ALREADY_EXISTS", None),
        ("admin", {"name": "priv"}, 409, "ALREADY_EXISTS", None),
        ("admin", {"name": "v2"}, 400, "NAME_INVALID", None),
        ("admin", {"name": "Acme"}, 400, "NAME_INVALID", None),
        ("admin", {"name": "new", "owner": "nobody"}, 409, "UNMET", "owner"),
        ("admin", {"name": "new", "owner": "acme"}, 409, "UNMET", "owner"),
        ("admin", {"name": "new", "description": "two\nlines"}, 400, "REQUEST_INVALID", "description"),
        ("admin", {"name": "new", "description": "x" * 501}, 400, "REQUEST_INVALID", "description"),
        ("bob", {"name": "new"}, 403, "DENIED", None),
        ("", {"name": "new"}, 401, "UNAUTHORIZED", None),
    ],
)
def test_organisations_that_cannot_be(
    standing: Door, user: str, new: dict[str, str], status: int, code: str, field: str | None
) -> None:
    """Taken, reserved and illegal names, unknown owners and those who may not are refused."""
    answer = standing.ask(user, "POST", "/organisations", new)
    assert (answer.status, answer.code) == (status, code)
    assert field is None or answer.json["errors"][0]["detail"]["field"] == field


def test_names_come_from_one_pool(company: Door) -> None:
    """No user has the name of an organisation, which is no user itself: it is neither shown, removed nor let in."""
    new = {"name": "acme", "password": "acme-password"}
    answer = company.ask("admin", "POST", "/users", new)
    assert (answer.status, answer.code) == (409, "ALREADY_EXISTS")
    assert "an organisation of this name" in answer.json["errors"][0]["message"]
    assert company.ask("admin", "GET", "/users/acme").code == "USER_UNKNOWN"
    assert company.ask("admin", "DELETE", "/users/acme").code == "USER_UNKNOWN"
    assert company.ask("admin", "PUT", f"{ACME}/members/acme", {}).code == "USER_UNKNOWN"
    assert "acme" not in [user["name"] for user in company.send("admin", "GET", "/users")["users"]]


def test_robots_are_in_no_organisation(company: Door) -> None:
    """A service account is no member, owns no organisation and gets no namespace: it is no user."""
    company.world.transact(lambda tx: add_faceless(tx, Faceless("robot", "service"), 1))
    assert company.ask("alice", "PUT", f"{ACME}/members/robot", {}).code == "USER_UNKNOWN"
    assert company.ask("alice", "PUT", f"{ACME}/invitations/robot", {}).code == "USER_UNKNOWN"
    assert company.ask("admin", "POST", "/organisations", {"name": "new", "owner": "robot"}).code == "UNMET"
    assert company.ask("alice", "PATCH", "/namespaces/acme", {"owner": "robot"}).code == "UNMET"


def test_everybody_may_where_the_settings_say_so() -> None:
    """With `auth.create_organisations`, whoever is signed in makes one, for themselves alone and never by a token."""
    with World(rules=Rules(create_organisations=True)) as world:
        door = Door(world)
        assert door.send("bob", "POST", "/organisations", {"name": "acme"})["role"] == "owner"
        assert door.send("bob", "POST", "/organisations", {"name": "bobs", "owner": "bob"})["role"] == "owner"
        answer = door.ask("bob", "POST", "/organisations", {"name": "trap", "owner": "carol"})
        assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (403, "owner")
        assert door.ask("", "POST", "/organisations", {"name": "new"}).status == 401
        token = world.token("bob", "repository:bob/app:pull,push")
        answer = door.client(token=token).request(
            "POST", "/api/v1/organisations", b'{"name": "new"}', content_type="application/json"
        )
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_what_a_namespace_holds_is_not_for_its_next_namesake() -> None:
    """A namespace that lost its owner is taken over by an organisation of its name only through an administrator."""
    with World(rules=Rules(create_organisations=True)) as world:
        door = Door(world)
        door.send("alice", "PATCH", "/namespaces/priv", {"owner": None})
        assert door.ask("bob", "POST", "/organisations", {"name": "priv"}).code == "ALREADY_EXISTS"
        door.send("admin", "POST", "/organisations", {"name": "priv", "owner": "bob"})
        assert door.send("bob", "GET", "/namespaces/priv")["owner"] == "priv"
        detail = {"visibility": ["private", "private"], "owner": [None, "priv"]}
        assert door.events("namespace.changed")[-1] == ("admin", "priv", detail)


def test_who_is_nobody_owns_nothing(door: Door) -> None:
    """Somebody without a row, as on the files of a machine, names the first owner."""
    operator = Caller(Identity(door.world.ids["admin"], "local:root"), None)
    with pytest.raises(Unmet, match="name one as its owner"):
        door.world.run(create_organisation(door.world.registry, operator, NewOrganisation("acme")))
    open_to_all = replace(door.world.registry, rules=Rules(create_organisations=True))
    with pytest.raises(Unmet):
        door.world.run(create_organisation(open_to_all, ANONYMOUS, NewOrganisation("acme")))


def test_organisations_are_listed(company: Door) -> None:
    """Everybody sees those they are in, administrators all, by pages."""
    company.send("admin", "POST", "/organisations", {"name": "beta", "owner": "carol"})
    seen = {
        user: [(each["name"], each["role"]) for each in company.send(user, "GET", "/organisations")["organisations"]]
        for user in ("admin", "alice", "bob", "carol")
    }
    assert seen == {
        "admin": [("acme", None), ("beta", None)],
        "alice": [("acme", "owner")],
        "bob": [],
        "carol": [("acme", "member"), ("beta", "owner")],
    }
    for user in ("admin", "carol"):
        answer = company.ask(user, "GET", "/organisations?n=1")
        assert answer["link"] == '</api/v1/organisations?n=1&last=acme>; rel="next"'
        following = company.ask(user, "GET", "/organisations?n=1&last=acme")
        assert [each["name"] for each in following.json["organisations"]] == ["beta"]
        assert "link" not in following


def test_an_organisation_is_described(company: Door) -> None:
    """Owners say what it is; saying the same again is no change."""
    for _ in range(2):
        assert company.send("alice", "PATCH", ACME, {"description": "Acme plc"})["description"] == "Acme plc"
    assert company.events("organisation.changed") == [("alice", "acme", {"description": ["Acme Ltd", "Acme plc"]})]
    assert company.ask("alice", "PATCH", ACME, {"description": "\x07"}).code == "REQUEST_INVALID"


@pytest.mark.parametrize(("method", "path", "document"), [*READS, *RUNS])
def test_outsiders_cannot_tell_what_is_there(standing: Door, method: str, path: str, document: Any) -> None:
    """Who is not in an organisation gets 404 with the same body for it and for none, whatever they ask."""
    there = standing.ask("bob", method, f"{ACME}{path}", document)
    absent = standing.ask("bob", method, f"/organisations/none{path}", document)
    assert (there.status, there.code) == (absent.status, absent.code) == (404, "ORGANISATION_UNKNOWN")
    assert there.body.replace(b"acme", b"none") == absent.body
    assert standing.ask("", method, f"{ACME}{path}", document).status == 401
    assert standing.ask("", method, f"/organisations/none{path}", document).status == 401


@pytest.mark.parametrize(("method", "path", "document"), RUNS)
def test_members_are_told_why_not(standing: Door, method: str, path: str, document: Any) -> None:
    """A member may look, and is refused what is for owners with the reasons."""
    answer = standing.ask("carol", method, f"{ACME}{path}", document)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert "carol is a member of it" in answer.json["errors"][0]["detail"]["reasons"]


@pytest.mark.parametrize(("method", "path", "document"), READS)
def test_members_see_their_organisation(standing: Door, method: str, path: str, document: Any) -> None:
    """Members, owners and administrators may look at all of it."""
    answers = [standing.ask(user, method, f"{ACME}{path}", document) for user in ("admin", "alice", "carol")]
    assert [answer.status for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(("method", "path", "document"), [*READS, *RUNS])
def test_administrators_are_told_what_is_not_there(standing: Door, method: str, path: str, document: Any) -> None:
    """For administrators too an organisation that is not there is 404."""
    answer = standing.ask("admin", method, f"/organisations/none{path}", document)
    assert (answer.status, answer.code) == (404, "ORGANISATION_UNKNOWN")


def test_a_token_says_nothing_of_organisations(standing: Door) -> None:
    """A token of a build shows and changes no organisation, not even its owner's."""
    token = standing.world.token("alice", "repository:acme/app:pull,push")
    for path in ("/organisations", ACME, "/invitations"):
        assert standing.client(token=token).request("GET", f"/api/v1{path}").status == 401
    narrow = Caller(Identity(standing.world.ids["admin"], "admin"), {})
    with pytest.raises(InsufficientScope):
        standing.world.run(create_organisation(standing.world.registry, narrow, NewOrganisation("new")))


def test_members_come_and_go(company: Door) -> None:
    """Owners let users in, make them owners and members again, and let them go, each change told once."""
    for _ in range(2):
        member = company.send("alice", "PUT", f"{ACME}/members/bob", {})
        assert (member["user"], member["role"], member["source"]) == ("bob", "member", "local")
    assert company.send("alice", "PUT", f"{ACME}/members/bob", {"role": "owner"})["added_at"] == member["added_at"]
    company.send("bob", "PATCH", ACME, {"description": "Bob was here"})
    assert company.send("alice", "PUT", f"{ACME}/members/bob", {"role": "member"})["role"] == "member"
    assert users(company, f"{ACME}/members") == ["alice", "bob", "carol", "dora"]
    assert company.ask("alice", "DELETE", f"{ACME}/members/bob").status == 204
    assert company.ask("bob", "GET", ACME).status == 404
    assert company.events("organisation.joined")[-1] == ("alice", "acme", {"user": "bob", "role": "member"})
    roles = [detail["role"] for _, _, detail in company.events("organisation.role")]
    assert roles == ["owner", "member"]
    assert company.events("organisation.left") == [("alice", "acme", {"user": "bob"})]


def test_members_come_by_pages(standing: Door) -> None:
    """A page of members links to the next one."""
    answer = standing.ask("carol", "GET", f"{ACME}/members?n=2")
    assert [member["user"] for member in answer.json["members"]] == ["alice", "carol"]
    assert answer["link"] == '</api/v1/organisations/acme/members?n=2&last=carol>; rel="next"'


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "code"),
    [
        ("PUT", "/members/nobody", {}, 404, "USER_UNKNOWN"),
        ("DELETE", "/members/nobody", None, 404, "USER_UNKNOWN"),
        ("DELETE", "/members/bob", None, 404, "USER_UNKNOWN"),
        ("PUT", "/members/alice", {"role": "member"}, 409, "CONFLICT"),
        ("DELETE", "/members/alice", None, 409, "CONFLICT"),
        ("PUT", "/members/bob", {"role": "emperor"}, 400, "REQUEST_INVALID"),
    ],
)
def test_members_that_cannot_be(standing: Door, method: str, path: str, document: Any, status: int, code: str) -> None:
    """Nobody, strangers and the last owner stay what they are."""
    answer = standing.ask("alice", method, f"{ACME}{path}", document)
    assert (answer.status, answer.code) == (status, code)


def test_a_member_leaves(company: Door) -> None:
    """Whoever leaves is out of the teams too and loses at once what those have; the last owner stays."""
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})
    assert company.ask("dora", "DELETE", f"{ACME}/members/dora").status == 204
    assert company.ask("dora", "GET", ACME).status == 404
    assert users(company, f"{DEVS}/members") == []
    assert company.ask("alice", "DELETE", f"{ACME}/members/alice").status == 204
    assert company.ask("carol", "DELETE", f"{ACME}/members/carol").code == "CONFLICT"


def test_who_is_locked_out_does_not_count_as_owner(company: Door) -> None:
    """An owner who is disabled cannot administer, so that the other one stays."""
    company.send("alice", "PUT", f"{ACME}/members/carol", {"role": "owner"})

    async def disable(tx: Tx) -> None:
        await tx.execute("update account set is_disabled = 1 where name = 'carol'")

    company.world.transact(disable)
    assert company.ask("alice", "PUT", f"{ACME}/members/alice", {"role": "member"}).code == "CONFLICT"


def test_what_an_organisation_owns_its_owners_own(company: Door) -> None:
    """Owners make namespaces for it under its name, give it others, and share them with whoever becomes an owner."""
    made = company.send("alice", "POST", "/namespaces", {"name": "acme-prod", "owner": "acme"})
    assert made["owner"] == "acme"
    assert company.send("alice", "POST", "/namespaces", {"name": "acme-dev"})["owner"] == "acme"
    assert company.send("alice", "PATCH", "/namespaces/priv", {"owner": "acme"})["owner"] == "acme"
    assert company.send("admin", "POST", "/namespaces", {"name": "shop", "owner": "acme"})["owner"] == "acme"
    assert company.ask("dora", "GET", "/namespaces/acme-prod").status == 404
    company.send("alice", "PUT", f"{ACME}/members/dora", {"role": "owner"})
    for name in ("acme", "acme-dev", "acme-prod", "priv", "shop"):
        company.send("dora", "PATCH", f"/namespaces/{name}", {"visibility": "public"})
    assert company.send("dora", "PATCH", "/namespaces/priv", {"owner": "dora"})["owner"] == "dora"


@pytest.mark.parametrize(
    ("user", "new", "status", "code"),
    [
        ("alice", {"name": "acme-x", "owner": "alice"}, 403, "DENIED"),
        ("alice", {"name": "acmex", "owner": "acme"}, 403, "DENIED"),
        ("alice", {"name": "shop", "owner": "acme"}, 403, "DENIED"),
        ("alice", {"name": "acme", "owner": "acme"}, 409, "ALREADY_EXISTS"),
        ("carol", {"name": "acme-x", "owner": "acme"}, 403, "DENIED"),
        ("bob", {"name": "acme-x", "owner": "acme"}, 403, "DENIED"),
        ("bob", {"name": "bob", "owner": "acme"}, 409, "UNMET"),
    ],
)
def test_namespaces_that_owners_do_not_make(
    standing: Door, user: str, new: dict[str, str], status: int, code: str
) -> None:
    """Owners of an organisation make what begins with its name, for it; members and others do not."""
    answer = standing.ask(user, "POST", "/namespaces", new)
    assert (answer.status, answer.code) == (status, code)


def test_an_owner_is_told_which_names_to_use(standing: Door) -> None:
    """The reasons name the beginning, to owners alone."""
    reasons = standing.ask("alice", "POST", "/namespaces", {"name": "shop"}).json["errors"][0]["detail"]["reasons"]
    assert "you can make namespaces whose names begin with acme-" in reasons
    strangers = standing.ask("bob", "POST", "/namespaces", {"name": "acme-x"}).json["errors"][0]["detail"]["reasons"]
    assert not any("--owner" in reason or "begin with" in reason for reason in strangers)


def test_giving_tells_nobody_what_is_there(standing: Door) -> None:
    """Giving a namespace to an organisation of others looks like giving it to nobody."""
    own = standing.send("bob", "POST", "/namespaces", {"name": "bob"})
    assert own["owner"] == "bob"
    there, absent = (
        standing.ask("bob", "PATCH", "/namespaces/bob", {"owner": name, "visibility": "public"})
        for name in ("acme", "none")
    )
    assert (there.status, there.code) == (409, "UNMET")
    assert there.body.replace(b"acme", b"none") == absent.body


def test_an_owner_of_one_namespace_alone_leaves_the_organisation_owner(company: Door) -> None:
    """Whoever has the role owner in an organisation's namespace changes it without being in the organisation."""
    company.send("alice", "PUT", "/namespaces/acme/members/bob", {"role": "owner"})
    changed = company.send("bob", "PATCH", "/namespaces/acme", {"visibility": "public"})
    assert (changed["owner"], changed["visibility"]) == ("acme", "public")


def test_an_organisation_is_removed(company: Door) -> None:
    """What it owns goes to whom it is given, its teams and their grants are gone, and the name is free again."""
    company.send("alice", "POST", "/namespaces", {"name": "acme-prod"})
    answer = company.ask("alice", "DELETE", ACME)
    assert (answer.status, answer.json["errors"][0]["detail"]["namespaces"]) == (409, ["acme", "acme-prod"])
    assert company.ask("alice", "DELETE", f"{ACME}?give_to=acme").code == "REQUEST_INVALID"
    assert company.ask("alice", "DELETE", f"{ACME}?give_to=nobody").code == "UNMET"
    given = company.send("alice", "DELETE", f"{ACME}?give_to=bob")
    assert given == {"namespaces": ["acme", "acme-prod"]}
    assert company.send("bob", "GET", "/namespaces/acme-prod")["owner"] == "bob"
    assert company.ask("alice", "GET", ACME).status == 404
    assert company.world.rows("select 1 from team") == []
    detail = {"namespaces": ["acme", "acme-prod"], "given_to": "bob"}
    assert company.events("organisation.removed") == [("alice", "acme", detail)]
    company.send("bob", "PATCH", "/namespaces/acme", {"owner": None})
    assert company.send("admin", "POST", "/users", {"name": "acme", "password": "acme-password"})["name"] == "acme"


def test_an_organisation_that_owns_nothing_is_removed(company: Door) -> None:
    """Where everything was given away before, nobody has to be named."""
    company.send("alice", "PATCH", "/namespaces/acme", {"owner": "alice"})
    assert company.send("alice", "DELETE", ACME) == {"namespaces": []}
    assert company.events("organisation.removed") == [("alice", "acme", {"namespaces": [], "given_to": None})]


def test_the_last_owner_is_not_removed(company: Door) -> None:
    """A user who alone owns organisations is removed once somebody else owns them."""
    company.send("admin", "POST", "/organisations", {"name": "beta", "owner": "alice"})
    answer = company.ask("admin", "DELETE", "/users/alice")
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert answer.json["errors"][0]["detail"]["organisations"] == ["acme", "beta"]
    assert "nobody else owns acme, beta" in answer.json["errors"][0]["message"]
    for name in ("acme", "beta"):
        company.send("alice", "PUT", f"/organisations/{name}/members/carol", {"role": "owner"})
    assert company.ask("admin", "DELETE", "/users/alice").status == 204
    assert users(company, f"{ACME}/members", "carol") == ["carol", "dora"]


def test_whoami_tells_what_one_belongs_to(standing: Door) -> None:
    """Organisations with the role there, and teams; a token does not say."""
    me = standing.send("dora", "GET", "/whoami")
    assert (me["organisations"], me["teams"]) == ([{"name": "acme", "role": "member"}], ["acme/devs"])
    assert standing.send("bob", "GET", "/whoami")["organisations"] == []
    token = standing.world.token("dora", "repository:priv/app:pull")
    me = standing.client(token=token).request("GET", "/api/v1/whoami").json
    assert (me["organisations"], me["teams"]) == (None, None)


def test_another_worker_sees_it_at_once(company: Door) -> None:
    """What one process was told of an organisation holds for the next request to any."""
    other = Door.__new__(Door)
    other.world, other.face = company.world, ApiFace(company.world.context)
    company.send("alice", "PUT", f"{ACME}/members/bob", {})
    assert other.ask("bob", "GET", ACME).status == 200
