"""Listeners and client certificates through the API: where a namespace answers, and whose a certificate is."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.core.registry import Rules
from tests.api.door import Door
from tests.support.asgi import Answer
from tests.support.world import World

CERTIFICATE = {"subjectAltName": (("URI", "spiffe://acme/ci"),), "notAfter": "Jan  1 00:00:00 2050 GMT"}


class Place:
    """A door of a registry with the listeners `main` and `private`; `priv` answers on `private` only."""

    def __init__(self, world: World) -> None:
        self.door = Door(world)
        self.door.send("alice", "PATCH", "/namespaces/priv", {"listeners": ["private", "private"]})

    def ask(self, user: str, method: str, path: str, document: Any = None, listener: str = "private") -> Answer:
        """One exchange by a listener."""
        return Through(self.door, listener).ask(user, method, path, document)


class Through(Door):
    """The same door, by another listener, or with a certificate."""

    def __init__(self, door: Door, listener: str, certificate: Any = None) -> None:
        self.world, self.face = door.world, door.face
        self._scope = {"entrepot.listener": listener} | ({"entrepot.certificate": certificate} if certificate else {})

    def client(self, user: str = "", token: str = "") -> Any:
        """A client that comes that way."""
        return super().client(user, token).with_scope(**self._scope)


@pytest.fixture
def place() -> Any:
    """One of these."""
    with World(rules=Rules(listeners=frozenset({"main", "private"}))) as world:
        yield Place(world)


def test_a_namespace_answers_on_its_listeners(place: Place) -> None:
    """It shows them, changes them there, an event each time, and an unknown one is refused with those there are."""
    assert place.ask("alice", "GET", "/namespaces/priv").json["listeners"] == ["private"]
    assert place.door.events("namespace.changed") == [("alice", "priv", {"listeners": [[], ["private"]]})]
    refused = place.ask("alice", "PATCH", "/namespaces/priv", {"listeners": ["main", "other"]})
    assert (refused.status, refused.code) == (409, "UNMET")
    assert "main, private" in refused.json["errors"][0]["message"]
    assert place.ask("alice", "PATCH", "/namespaces/priv", {"listeners": ["private"]}).status == 200
    assert len(place.door.events("namespace.changed")) == 1
    assert place.ask("alice", "PATCH", "/namespaces/priv", {"listeners": []}).json["listeners"] == []
    assert place.door.ask("alice", "GET", "/namespaces/priv").status == 200


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("GET", "/namespaces/NAME", None),
        ("PATCH", "/namespaces/NAME", {"listeners": []}),
        ("GET", "/namespaces/NAME/members", None),
        ("PUT", "/namespaces/NAME/members/bob", {"role": "reader"}),
        ("GET", "/repositories/NAME%2Fapp", None),
        ("GET", "/repositories/NAME%2Fapp/tags", None),
        ("DELETE", "/repositories/NAME%2Fapp/tags/latest", None),
        ("GET", "/grants?resource=NAME", None),
        ("POST", "/grants", {"subject": "user:bob", "role": "reader", "resource": "NAME/app"}),
        ("GET", "/service-accounts?namespace=NAME", None),
        ("POST", "/service-accounts", {"name": "ci", "namespace": "NAME"}),
        ("GET", "/policy?resource=NAME", None),
        ("POST", "/access/check", {"action": "pull", "resource": "NAME/app"}),
        ("GET", "/access/able?action=pull&resource=NAME", None),
    ],
)
@pytest.mark.parametrize("user", ["alice", "carol", "admin"])
def test_elsewhere_it_is_not_there(place: Place, user: str, method: str, path: str, document: Any) -> None:
    """Its owner, a reader and an administrator are told what a stranger is told about a name that is not there."""
    told = []
    for who, name in ((user, "priv"), ("bob", "nowhere")):
        asked = {key: str(value).replace("NAME", name) for key, value in document.items()} if document else document
        asked = {**asked, "listeners": []} if asked and "listeners" in asked else asked
        answer = place.door.ask(who, method, path.replace("NAME", name), asked)
        told.append((answer.status, answer.body.decode().replace(name, "NAME").replace(f"{who} has", "WHO has")))
    assert told[0] == told[1]


def test_elsewhere_it_is_not_listed(place: Place) -> None:
    """Neither the namespace nor its repositories, whatever somebody may read; by its listener both are."""
    for user in ("alice", "admin"):
        listed = place.door.send(user, "GET", "/namespaces")["namespaces"]
        assert "priv" not in [each["name"] for each in listed]
        found = place.door.send(user, "GET", "/repositories")["repositories"]
        assert [each["name"] for each in found] == ["pub/app"]
        listed = place.ask(user, "GET", "/namespaces").json["namespaces"]
        assert "priv" in [each["name"] for each in listed]


def test_questions_are_about_the_door_they_come_by(place: Place) -> None:
    """About another one only whoever administers it here may ask; a refusal names the listener that would do."""
    question = {"action": "pull", "resource": "priv/app", "listener": "private"}
    assert place.door.ask("carol", "POST", "/access/check", question).status == 403
    assert place.ask("carol", "POST", "/access/check", question).json["allowed"] is True
    there = {"action": "push", "resource": "priv/app", "listener": "main"}
    (reason,) = place.ask("alice", "POST", "/access/check", there).json["reasons"]
    assert reason == "priv answers only on the listeners private, and this came by the listener main"
    unnamed = place.ask("alice", "POST", "/access/check", {**there, "listener": ""}).json["reasons"]
    assert unnamed == ["priv answers only on the listeners private, and this came by an unknown listener"]


def test_nobody_makes_a_namespace_that_answers_elsewhere(place: Place) -> None:
    """Who tries is told what is told about any name that is not theirs to make."""
    told = []
    for user, name in (("admin", "priv"), ("alice", "priv"), ("bob", "nowhere")):
        answer = place.door.ask(user, "POST", "/namespaces", {"name": name})
        told.append((answer.status, answer.body.decode().replace(name, "NAME")))
    assert told[0] == told[1] == told[2]


def test_an_organisation_is_given_up_where_all_that_it_owns_answers(place: Place) -> None:
    """Elsewhere neither its owner nor an administrator gives away what does not answer there, or learns its name."""
    door = place.door
    door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice"})
    door.send("alice", "POST", "/namespaces", {"name": "acme-inner"})
    door.send("alice", "PATCH", "/namespaces/acme-inner", {"listeners": ["private"]})
    for user in ("alice", "admin"):
        for question in ("", "?give_to=bob"):
            refused = door.ask(user, "DELETE", f"/organisations/acme{question}")
            assert (refused.status, refused.code) == (409, "CONFLICT"), refused
            assert b"acme-inner" not in refused.body
            assert "come by another listener" in refused.json["errors"][0]["message"]
    assert place.ask("alice", "GET", "/namespaces/acme-inner").json["owner"] == "acme"
    given = place.ask("alice", "DELETE", "/organisations/acme?give_to=bob")
    assert given.json["namespaces"] == ["acme", "acme-inner"]


def test_an_organisation_takes_no_namespace_that_answers_elsewhere(place: Place) -> None:
    """Its name is taken, and whose it is is not told; by its listener an administrator makes one over it."""
    refused = place.door.ask("admin", "POST", "/organisations", {"name": "priv"})
    assert (refused.status, refused.code) == (409, "ALREADY_EXISTS")
    assert b"alice" not in refused.body
    place.ask("admin", "PATCH", "/namespaces/priv", {"owner": None})
    refused = place.door.ask("admin", "POST", "/organisations", {"name": "priv"})
    assert (refused.status, refused.code) == (409, "ALREADY_EXISTS")
    assert place.ask("admin", "GET", "/namespaces/priv").json["owner"] is None
    assert place.ask("admin", "POST", "/organisations", {"name": "priv"}).status == 201
    assert place.ask("admin", "GET", "/namespaces/priv").json["owner"] == "priv"


def test_a_certificate_is_one_account_s(place: Place) -> None:
    """Administrators say whose; a second account, an owner of a namespace and what is no name are refused."""
    door = Through(place.door, "private")
    for name in ("ci", "cd"):
        door.send("admin", "POST", "/service-accounts", {"name": name, "namespace": "priv"})
    path, wanted = "/service-accounts/robot$priv+ci", {"certificate": "spiffe://acme/ci"}
    assert door.ask("alice", "PATCH", path, wanted).status == 403
    assert door.send("admin", "PATCH", path, wanted)["certificate"] == "spiffe://acme/ci"
    assert door.send("admin", "PATCH", path, wanted) == door.send("alice", "GET", path)
    changed = {"disabled": [False, False], "description": ["", ""], "certificate": ["", "spiffe://acme/ci"]}
    assert door.events("service.changed") == [("admin", "robot$priv+ci", changed)]
    assert door.ask("admin", "PATCH", "/service-accounts/robot$priv+cd", wanted).code == "ALREADY_EXISTS"
    assert door.ask("admin", "PATCH", path, {"certificate": "a/b"}).code == "REQUEST_INVALID"
    shown = Through(place.door, "private", CERTIFICATE)
    assert shown.send("", "GET", "/whoami")["name"] == "robot$priv+ci"
    assert shown.send("bob", "GET", "/whoami")["name"] == "bob"
    assert shown.ask("", "POST", "/service-accounts/robot$priv+ci/secrets", {"name": "x"}).status in {401, 403}
    door.send("admin", "PATCH", path, {"certificate": ""})
    assert shown.ask("", "GET", "/whoami").status == 401


def test_a_grant_names_listeners_that_there_are(place: Place) -> None:
    """One that the settings do not have is refused with those there are, by whichever way the grant is given."""
    new = {"subject": "user:bob", "role": "reader", "resource": "pub/app", "conditions": {"listeners": ["privat"]}}
    for method, path, document, within in (
        ("POST", "/grants", new, ""),
        ("PUT", "/policy", {"resources": ["pub/app"], "grants": [new], "hash": None}, "grants[0]."),
    ):
        refused = place.ask("alice", method, path, document)
        assert (refused.status, refused.code) == (409, "UNMET"), refused
        assert refused.json["errors"][0]["detail"]["field"] == f"{within}conditions.listeners[0]"
    assert place.ask("alice", "POST", "/grants", {**new, "conditions": {"listeners": ["private"]}}).status == 201


def test_grants_and_documents_name_listeners_and_certificates(place: Place) -> None:
    """A policy document's own conditions come out as they went in, and a condition nobody knows is refused."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Entrepot": ["user:bob"]},
        "Action": "entrepot:pull",
        "Condition": {
            "StringEquals": {"entrepot:Listener": ["private"]},
            "StringLike": {"entrepot:ClientCertificate": "spiffe://acme/*"},
        },
    }
    wanted = {"policy": {"Statement": statement}, "resource": "priv/app", "principals": {}}
    (added,) = place.ask("alice", "POST", "/policy/plan", wanted).json["add"]
    assert added["conditions"]["listeners"] == ["private"]
    assert added["conditions"]["clients"] == ["spiffe://acme/**"]
    statement["Condition"] = {"StringLike": {"entrepot:Listener": "p*"}}
    refused = place.ask("alice", "POST", "/policy/plan", wanted)
    assert (refused.status, refused.json["errors"][0]["detail"]["field"]) == (
        400,
        "Statement[0].Condition.StringLike.entrepot:Listener",
    )
