"""Service accounts by the API: who may keep them, and what changes with them."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.core.services import LONGEST_DESCRIPTION
from tests.api.door import Door

CI = "/service-accounts/robot$priv+ci"
NEW = {"name": "ci", "namespace": "priv", "description": "builds"}


@pytest.fixture
def door(door: Door) -> Door:
    """With a service account in `priv` and one of the registry."""
    door.send("alice", "POST", "/service-accounts", NEW)
    door.send("admin", "POST", "/service-accounts", {"name": "mirror"})
    return door


def names(door: Door, user: str, query: str = "") -> list[str]:
    """The names in a listing."""
    return [each["name"] for each in door.send(user, "GET", f"/service-accounts{query}")["service_accounts"]]


def test_a_service_account_is_made_by_whoever_administers_its_home(door: Door) -> None:
    """Its name tells its home, it is found where `Location` says, and the event names who made it."""
    answer = door.ask("alice", "POST", "/service-accounts", {**NEW, "name": "cd"})
    assert (answer.status, answer["location"]) == (201, "/api/v1/service-accounts/robot$priv+cd")
    assert {key: answer.json[key] for key in ("name", "namespace", "description", "disabled")} == {
        "name": "robot$priv+cd",
        "namespace": "priv",
        "description": "builds",
        "disabled": False,
    }
    found = door.send("admin", "GET", "/service-accounts/robot%24priv%2Bcd")
    assert found == answer.json
    assert door.events("service.created")[-1] == ("alice", "robot$priv+cd", {})


def test_service_accounts_are_listed(door: Door) -> None:
    """Of a namespace to whoever administers it; all of them, page by page, to administrators."""
    door.send("alice", "POST", "/service-accounts", {**NEW, "name": "cd"})
    assert names(door, "alice", "?namespace=priv") == ["robot$priv+cd", "robot$priv+ci"]
    assert names(door, "alice", "?namespace=pub") == []
    assert names(door, "admin") == ["robot$mirror", "robot$priv+cd", "robot$priv+ci"]
    first = door.ask("admin", "GET", "/service-accounts?n=2")
    assert 'rel="next"' in first["link"]
    assert names(door, "admin", "?n=2&last=robot$priv%2Bcd") == ["robot$priv+ci"]


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("GET", "/service-accounts?namespace=HOME", None),
        ("POST", "/service-accounts", {"name": "new", "namespace": "HOME"}),
        ("GET", "/service-accounts/robot$HOME+ci", None),
        ("PATCH", "/service-accounts/robot$HOME+ci", {"disabled": True}),
        ("DELETE", "/service-accounts/robot$HOME+ci", None),
        ("GET", "/service-accounts/robot$HOME+ci/secrets", None),
        ("POST", "/service-accounts/robot$HOME+ci/secrets", {"name": "x"}),
        ("GET", "/service-accounts/robot$HOME+ci/secrets/1", None),
        ("DELETE", "/service-accounts/robot$HOME+ci/secrets/1", None),
    ],
)
def test_others_learn_nothing(door: Door, method: str, path: str, document: Any) -> None:
    """Whoever does not administer the namespace is refused alike, whatever is there."""

    def ask(user: str, home: str) -> tuple[int, bytes]:
        sent = document and {key: str(value).replace("HOME", home) for key, value in document.items()}
        sent = {"disabled": True} if method == "PATCH" else sent
        answer = door.ask(user, method, path.replace("HOME", home), sent)
        return answer.status, answer.body.replace(home.encode(), b"HOME")

    assert ask("bob", "priv") == ask("bob", "none")
    assert ask("bob", "priv")[0] == ask("carol", "priv")[0] == 403
    assert door.ask("", method, path.replace("HOME", "priv"), {} if document else None).status == 401
    assert door.events("service.removed") == door.events("service.changed") == []


@pytest.mark.parametrize(
    ("user", "document", "status", "code"),
    [
        ("alice", NEW, 409, "ALREADY_EXISTS"),
        ("admin", {**NEW, "namespace": "nowhere"}, 404, "NAME_UNKNOWN"),
        ("alice", {**NEW, "name": "CI"}, 400, "NAME_INVALID"),
        ("alice", {**NEW, "name": "a+b"}, 400, "NAME_INVALID"),
        ("alice", {**NEW, "namespace": ""}, 400, "NAME_INVALID"),
        ("alice", {**NEW, "name": "x", "description": "a\nb"}, 400, "REQUEST_INVALID"),
        ("alice", {**NEW, "name": "x", "description": "x" * (LONGEST_DESCRIPTION + 1)}, 400, "REQUEST_INVALID"),
        ("alice", {"name": "ci"}, 403, "DENIED"),
    ],
)
def test_service_accounts_that_are_not_made(door: Door, user: str, document: Any, status: int, code: str) -> None:
    """A name that is taken or none, a namespace that is not there, and a registry-wide one by others."""
    answer = door.ask(user, "POST", "/service-accounts", document)
    assert (answer.status, answer.code) == (status, code)


def test_a_service_account_is_changed(door: Door) -> None:
    """Disabled, described anew and enabled, each an event; a change that changes nothing is none."""
    assert door.send("alice", "PATCH", CI, {"disabled": True})["disabled"] is True
    assert door.send("alice", "PATCH", CI, {"description": "deploys"})["description"] == "deploys"
    version = door.version()
    assert door.send("alice", "PATCH", CI, {}) == door.send("alice", "GET", CI)
    assert door.version() == version
    details = [detail for _, _, detail in door.events("service.changed")]
    assert details == [
        {"disabled": [False, True], "description": ["builds", "builds"]},
        {"disabled": [True, True], "description": ["builds", "deploys"]},
    ]
    assert door.ask("alice", "PATCH", CI, {"description": "\0"}).status == 400


def test_a_service_account_has_roles_as_users_have(door: Door) -> None:
    """In its own namespace, in another one and in one repository; they go with it."""
    for path in ("/namespaces/priv", "/namespaces/pub", "/repositories/priv%2Fapp"):
        member = {"user": "robot$priv+ci", "role": "writer"}
        assert door.send("alice", "PUT", f"{path}/members/robot%24priv%2Bci", {"role": "writer"}) == member
        assert member in door.send("alice", "GET", f"{path}/members")["members"]
    door.send("alice", "DELETE", "/namespaces/pub/members/robot%24priv%2Bci")
    assert door.ask("alice", "DELETE", CI).status == 204
    assert door.ask("alice", "GET", CI).code == "USER_UNKNOWN"
    assert door.send("alice", "GET", "/namespaces/priv/members")["members"] == [{"user": "carol", "role": "reader"}]
    assert door.events("service.removed") == [("alice", "robot$priv+ci", {})]


@pytest.mark.parametrize("path", ["/service-accounts/alice", "/service-accounts/robot$none", "/users/robot$mirror"])
def test_kinds_of_accounts_are_told_apart(door: Door, path: str) -> None:
    """A user is no service account, and a service account no user, to be removed or given a password."""
    assert door.ask("admin", "GET", path).code == "USER_UNKNOWN"
    assert door.ask("admin", "DELETE", path).code == "USER_UNKNOWN"
    if path.startswith("/users"):
        assert door.ask("admin", "PUT", f"{path}/password", {"password": "taken-over"}).code == "USER_UNKNOWN"
        assert door.ask("admin", "GET", f"{path}/tokens").code == "USER_UNKNOWN"
