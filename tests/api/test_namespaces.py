"""Namespaces, their repositories, and who is a member."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.core.collect import run_collection
from tests.api.door import NEW, PRIVATE, PUBLIC, Door, at
from tests.support.images import image


def names(door: Door, user: str, path: str, key: str) -> list[str]:
    """The names in a listing."""
    return [entry["name"] for entry in door.send(user, "GET", path)[key]]


def test_an_administrator_makes_a_namespace(door: Door) -> None:
    """A namespace is made with its owner and visibility, and its owner may do everything in it at once."""
    answer = door.ask("admin", "POST", "/namespaces", {"name": "acme", "visibility": "public", "owner": "bob"})
    assert (answer.status, answer["location"]) == (201, "/api/v1/namespaces/acme")
    assert (answer.json["owner"], answer.json["visibility"], answer.json["kind"]) == ("bob", "public", "hosted")
    door.send("bob", "PATCH", "/namespaces/acme", {"visibility": "private"})
    assert door.events("namespace.created")[-1] == ("admin", "acme", {"visibility": "public", "owner": "bob"})


def test_who_owns_a_new_namespace(door: Door) -> None:
    """Without an owner, a namespace belongs to the user of its name, else to whoever makes it."""
    assert door.send("admin", "POST", "/namespaces", {"name": "bob"})["owner"] == "bob"
    assert door.send("admin", "POST", "/namespaces", {"name": "acme"})["owner"] == "admin"
    assert door.send("carol", "POST", "/namespaces", {"name": "carol"})["owner"] == "carol"


@pytest.mark.parametrize(
    ("user", "document", "status", "code"),
    [
        ("admin", {"name": "priv"}, 409, "ALREADY_EXISTS"),
        ("admin", {"name": "bob", "owner": "alice"}, 409, "ALREADY_EXISTS"),
        ("admin", {"name": "api"}, 400, "NAME_INVALID"),
        ("admin", {"name": "npm"}, 400, "NAME_INVALID"),
        ("admin", {"name": "a/b"}, 400, "NAME_INVALID"),
        ("admin", {"name": "acme", "owner": "nobody"}, 409, "UNMET"),
        ("admin", {"name": "acme", "visibility": "secret"}, 400, "REQUEST_INVALID"),
        ("bob", {"name": "acme"}, 403, "DENIED"),
        ("bob", {"name": "priv"}, 403, "DENIED"),
        ("bob", {"name": "bob", "owner": "alice"}, 409, "ALREADY_EXISTS"),
        ("", {"name": "acme"}, 401, "UNAUTHORIZED"),
    ],
)
def test_namespaces_that_cannot_be(shared: Door, user: str, document: dict[str, str], status: int, code: str) -> None:
    """Taken and reserved names, unknown owners and those who may not are refused."""
    answer = shared.ask(user, "POST", "/namespaces", document)
    assert (answer.status, answer.code) == (status, code)


def test_a_refusal_says_how_to_get_on(shared: Door) -> None:
    """Who may not make a namespace is told what an administrator would call."""
    reasons = shared.ask("bob", "POST", "/namespaces", {"name": "acme"}).json["errors"][0]["detail"]["reasons"]
    assert any("entrepot namespace create acme" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("user", "visible"),
    [
        ("admin", ["library", "priv", "pub"]),
        ("alice", ["priv", "pub"]),
        ("bob", ["pub"]),
        ("carol", ["priv", "pub"]),
        ("dora", ["priv", "pub"]),
    ],
)
def test_listings_show_what_may_be_read(shared: Door, user: str, visible: list[str]) -> None:
    """A namespace is listed where something in it may be read, by a role on one repository too."""
    assert names(shared, user, "/namespaces", "namespaces") == visible


def test_namespaces_come_by_pages(shared: Door) -> None:
    """A page of namespaces links to the next one, hidden ones not counted."""
    answer = shared.ask("carol", "GET", "/namespaces?n=1")
    assert [entry["name"] for entry in answer.json["namespaces"]] == ["priv"]
    assert answer["link"] == '</api/v1/namespaces?n=1&last=priv>; rel="next"'
    answer = shared.ask("carol", "GET", "/namespaces?n=1&last=priv")
    assert [entry["name"] for entry in answer.json["namespaces"]] == ["pub"]
    assert "link" not in answer


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"visibility": "public"}, ("alice", "public")),
        ({"owner": "bob"}, ("bob", "private")),
        ({"owner": None}, (None, "private")),
        ({"owner": "bob", "visibility": "public"}, ("bob", "public")),
    ],
)
def test_a_namespace_changes(door: Door, change: dict[str, Any], expected: tuple[str | None, str]) -> None:
    """Owner and visibility change alone or together, once in the policy and once in the events."""
    version = door.version()
    changed = door.send("alice", "PATCH", "/namespaces/priv", change)
    assert (changed["owner"], changed["visibility"]) == expected
    assert door.version() == version + 1
    detail = {"visibility": ["private", expected[1]], "owner": ["alice", expected[0]]}
    assert door.events("namespace.changed") == [("alice", "priv", detail)]


def test_pulls_without_the_database_are_switched_off(door: Door) -> None:
    """Once in the policy and once in the events, and again is nothing."""
    version = door.version()
    for _ in range(2):
        assert door.send("alice", "PATCH", "/namespaces/priv", {"away_pulls": False})["away_pulls"] is False
    assert door.version() == version + 1
    assert door.events("namespace.changed") == [("alice", "priv", {"away_pulls": [True, False]})]


def test_untagged_days_are_set(door: Door) -> None:
    """Shown, once in the events, not in the policy; and what is pushed by digest from then on is kept for so long."""
    version = door.version()
    assert door.send("carol", "GET", "/namespaces/priv")["untagged_days"] == 14
    for _ in range(2):
        assert door.send("alice", "PATCH", "/namespaces/priv", {"untagged_days": 3})["untagged_days"] == 3
    assert door.version() == version
    assert door.events("namespace.changed") == [("alice", "priv", {"untagged_days": [14, 3]})]
    shown = door.send("carol", "GET", "/namespaces")["namespaces"]
    assert [(each["name"], each["untagged_days"]) for each in shown] == [("priv", 3), ("pub", 14)]
    loose = image((b"by digest",))
    door.push(PRIVATE, loose)
    for days, status in ((2.9, 200), (0.2, 404)):
        door.world.clock.advance(days=days)
        door.world.run(run_collection(door.world.registry))
        assert door.world.client("carol").request("GET", f"/v2/{PRIVATE}/manifests/{loose.digest}").status == status


@pytest.mark.parametrize("days", [-1, 36_501, 1.5, "14", None, True])
def test_untagged_days_are_whole_and_bounded(shared: Door, days: object) -> None:
    """What is no number of days from 0 to 36,500 is refused, and the field is named."""
    answer = shared.ask("alice", "PATCH", "/namespaces/priv", {"untagged_days": days})
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
    assert "untagged_days" in answer.body.decode()


def test_only_who_administers_sets_untagged_days(shared: Door) -> None:
    """A reader sees them and does not change them."""
    assert shared.ask("carol", "PATCH", "/namespaces/priv", {"untagged_days": 3}).status == 403


def test_no_change_is_no_event(door: Door) -> None:
    """A change to what is already there leaves policy and events alone."""
    version = door.version()
    door.send("alice", "PATCH", "/namespaces/priv", {"owner": "alice", "visibility": "private"})
    door.send("alice", "PATCH", "/namespaces/priv", {"untagged_days": 14})
    door.send("alice", "PATCH", "/namespaces/priv", {})
    door.send("alice", "PUT", f"{at(PRIVATE)}/members/dora", {"role": "writer"})
    door.send("alice", "PATCH", at(PRIVATE), {"visibility": None})
    assert door.version() == version
    assert door.events("namespace.changed") == door.events("repository.changed") == []


def test_making_a_namespace_public_opens_it(door: Door) -> None:
    """Once a namespace is public, anybody sees it and its repositories, without logging in."""
    assert door.ask("", "GET", "/namespaces/priv").status == 401
    door.send("alice", "PATCH", "/namespaces/priv", {"visibility": "public"})
    assert door.ask("", "GET", "/namespaces/priv").status == 200
    assert door.send("", "GET", at(PRIVATE))["visibility"] == "public"


@pytest.mark.parametrize("path", ["/namespaces/priv", at(PRIVATE)])
def test_a_role_is_given_and_taken(door: Door, path: str) -> None:
    """A member may read from the moment the role is given until it is taken, on a namespace or one repository."""
    resource = "priv" if path == "/namespaces/priv" else PRIVATE
    assert door.ask("bob", "GET", at(PRIVATE)).status == 404
    assert door.send("alice", "PUT", f"{path}/members/bob", {"role": "reader"}) == {"user": "bob", "role": "reader"}
    assert door.ask("bob", "GET", at(PRIVATE)).status == 200
    assert {"user": "bob", "role": "reader"} in door.send("alice", "GET", f"{path}/members")["members"]
    assert door.ask("alice", "DELETE", f"{path}/members/bob").status == 204
    assert door.ask("bob", "GET", at(PRIVATE)).status == 404
    assert door.events("grant.given")[-1] == ("alice", resource, {"user": "bob", "role": "reader"})
    assert door.events("grant.taken") == [("alice", resource, {"user": "bob"})]


def test_a_role_replaces_the_one_before(door: Door) -> None:
    """A user has one role on a resource: a second one takes the first one's place."""
    door.send("alice", "PUT", "/namespaces/priv/members/carol", {"role": "owner"})
    assert door.send("alice", "GET", "/namespaces/priv/members")["members"] == [{"user": "carol", "role": "owner"}]
    door.send("carol", "PATCH", "/namespaces/priv", {"visibility": "public"})


def test_members_come_by_pages(door: Door) -> None:
    """A page of members links to the next one."""
    door.send("alice", "PUT", "/namespaces/priv/members/bob", {"role": "reader"})
    answer = door.ask("alice", "GET", "/namespaces/priv/members?n=1")
    assert [member["user"] for member in answer.json["members"]] == ["bob"]
    assert answer["link"] == '</api/v1/namespaces/priv/members?n=1&last=bob>; rel="next"'
    following = door.send("alice", "GET", "/namespaces/priv/members?n=1&last=bob")
    assert following["members"] == [{"user": "carol", "role": "reader"}]


@pytest.mark.parametrize(
    ("method", "path", "document", "code"),
    [
        ("PUT", "/namespaces/priv/members/nobody", {"role": "reader"}, "USER_UNKNOWN"),
        ("DELETE", "/namespaces/priv/members/nobody", None, "USER_UNKNOWN"),
        ("DELETE", "/namespaces/priv/members/bob", None, "USER_UNKNOWN"),
        ("PUT", "/namespaces/none/members/bob", {"role": "reader"}, "NAME_UNKNOWN"),
        ("GET", "/namespaces/none/members", None, "NAME_UNKNOWN"),
        ("PUT", f"{at('priv/none')}/members/bob", {"role": "reader"}, "NAME_UNKNOWN"),
        ("PATCH", at("priv/none"), {"visibility": "public"}, "NAME_UNKNOWN"),
        ("PATCH", "/namespaces/none", {"visibility": "public"}, "NAME_UNKNOWN"),
    ],
)
def test_nobody_and_nothing(shared: Door, method: str, path: str, document: Any, code: str) -> None:
    """Unknown users and resources are 404 for whoever may see that they are not there."""
    answer = shared.ask("admin", method, path, document)
    assert (answer.status, answer.code) == (404, code)


def test_repositories_are_listed(shared: Door) -> None:
    """The repositories of all namespaces or of one, those that the caller may pull from."""
    assert names(shared, "admin", "/repositories", "repositories") == [PRIVATE, PUBLIC]
    assert names(shared, "bob", "/repositories", "repositories") == [PUBLIC]
    assert names(shared, "alice", "/repositories?namespace=priv", "repositories") == [PRIVATE]
    assert names(shared, "bob", "/repositories?namespace=priv", "repositories") == []
    assert names(shared, "bob", "/repositories?namespace=none", "repositories") == []
    assert shared.ask("", "GET", "/repositories").status == 401
    link = shared.ask("admin", "GET", "/repositories?n=1&namespace=priv")
    assert "link" not in link
    link = shared.ask("admin", "GET", "/repositories?n=1")
    assert link["link"] == '</api/v1/repositories?n=1&last=priv%2Fapp>; rel="next"'


def test_a_repository_overrides_its_namespace(door: Door) -> None:
    """A repository is public in a private namespace until it follows the namespace again."""
    shown = door.send("alice", "PATCH", at(PRIVATE), {"visibility": "public"})
    assert (shown["visibility"], shown["override"], shown["namespace"]) == ("public", "public", "priv")
    assert door.send("", "GET", at(PRIVATE)) == shown
    assert door.ask("bob", "GET", "/namespaces/priv").status == 200
    shown = door.send("alice", "PATCH", at(PRIVATE), {"visibility": None})
    assert (shown["visibility"], shown["override"]) == ("private", None)
    assert door.ask("bob", "GET", at(PRIVATE)).status == 404
    details = [detail for _, _, detail in door.events("repository.changed")]
    assert details == [{"visibility": [None, "public"]}, {"visibility": ["public", None]}]


def test_one_segment_lives_in_library(door: Door) -> None:
    """A name of one segment is one of the namespace `library`, as it is for container clients."""
    door.push("library/alpine", NEW, "1")
    assert door.send("admin", "GET", "/repositories/alpine")["name"] == "library/alpine"
    assert [tag["name"] for tag in door.send("admin", "GET", "/repositories/alpine/tags")["tags"]] == ["1"]


def test_a_token_makes_no_namespace(door: Door) -> None:
    """Whoever may make their own namespace needs more than a token for it."""
    client = door.client(token=door.world.token("carol", "repository:carol/app:pull,push"))
    answer = client.request("POST", "/api/v1/namespaces", b'{"name": "carol"}', content_type="application/json")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_nobody_can_own_what_nobody_is(shared: Door) -> None:
    """An owner who is no user is refused, and named as the field that is wrong."""
    answer = shared.ask("alice", "PATCH", "/namespaces/priv", {"owner": "nobody"})
    assert (answer.status, answer.code) == (409, "UNMET")
    assert answer.json["errors"][0]["detail"] == {"field": "owner", "user": "nobody"}
