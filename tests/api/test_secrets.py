"""Secrets by the API: made and shown once, bounded by what made them, and revoked."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.domain.secrets import is_secret
from tests.api.door import PRIVATE, Door, at
from tests.support.asgi import Answer
from tests.support.world import basic

CI = "/service-accounts/robot$priv+ci"
TOKENS = "/users/alice/tokens"
HOUR = 3600


@pytest.fixture
def door(door: Door) -> Door:
    """With a service account in `priv` that may write there."""
    door.send("alice", "POST", "/service-accounts", {"name": "ci", "namespace": "priv"})
    door.send("alice", "PUT", "/namespaces/priv/members/robot$priv+ci", {"role": "writer"})
    return door


def make(door: Door, path: str, user: str = "alice", **fields: Any) -> Any:
    """A new secret as the API shows it."""
    return door.send(user, "POST", path, {"name": "one", **fields})


def ask(door: Door, name: str, secret: str, method: str, path: str, document: Any = None) -> Answer:
    """One exchange with a secret, by Basic with a name, else by Bearer."""
    return door.ask("", method, path, document, authorization=basic(name, secret) if name else f"Bearer {secret}")


def test_a_secret_is_shown_once(door: Door) -> None:
    """With where it is; later only a hint of it; it stands in no event and in no row."""
    answer = door.ask("alice", "POST", f"{CI}/secrets", {"name": "one", "scopes": ["pull"], "days": 90})
    secret, details = answer.json["secret"], answer.json["details"]
    assert answer["location"] == f"/api/v1{CI}/secrets/{details['id']}"
    assert (is_secret(secret), details["hint"]) == (True, f"ent_svc_...{secret[-4:]}")
    assert (details["kind"], details["scopes"], details["created_by"]) == ("svc", ["pull"], "alice")
    assert (details["created_at"], details["expires_at"]) == ("2026-09-21T14:13:20Z", "2026-12-20T14:13:20Z")
    assert door.send("alice", "GET", f"{CI}/secrets/{details['id']}") == details
    assert door.send("alice", "GET", f"{CI}/secrets")["secrets"] == [details]
    [(actor, subject, event)] = door.events("credential.created")
    assert (actor, subject, event["name"], event["scopes"]) == ("alice", "robot$priv+ci", "one", ["pull"])
    everything = str(door.world.rows("select * from credential")) + str(door.world.rows("select * from event"))
    assert secret not in everything


@pytest.mark.parametrize(
    ("document", "status", "field"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "x", "scopes": ["fly"]}, 400, "scopes[0]"),
        ({"name": "x", "scopes": ["pull", "repository:a/b:fly"]}, 400, "scopes[1]"),
        ({"name": "x", "days": 0}, 400, "days"),
        ({"name": "x", "days": 3651}, 400, "days"),
        ({"name": "x", "kind": "svc"}, 400, "kind"),
        ({"name": "one"}, 409, None),
    ],
)
def test_secrets_that_are_not_made(door: Door, document: Any, status: int, field: str | None) -> None:
    """A name that is taken, a scope that is none, a time without sense: told with the field."""
    make(door, TOKENS)
    answer = door.ask("alice", "POST", TOKENS, document)
    assert (answer.status, answer.json["errors"][0]["detail"].get("field")) == (status, field)


def test_a_secret_is_no_password(door: Door) -> None:
    """Whoever pastes a token where a password is set is told, and does not lock themselves out."""
    token = make(door, TOKENS)["secret"]
    answer = door.ask("alice", "PUT", "/users/alice/password", {"password": token, "current": "alice-password"})
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (400, "password")
    assert token not in answer.body.decode()


def test_secrets_come_by_pages(door: Door) -> None:
    """In the order in which they were made."""
    for name in ("a", "b", "c"):
        make(door, f"{CI}/secrets", name=name)
    first = door.ask("alice", "GET", f"{CI}/secrets?n=2")
    assert [each["name"] for each in first.json["secrets"]] == ["a", "b"]
    following = first["link"].partition(">")[0].removeprefix("</api/v1")
    assert [each["name"] for each in door.send("alice", "GET", following)["secrets"]] == ["c"]


def test_a_revoked_secret_is_over(door: Door) -> None:
    """At once; it is listed as such; to revoke it again changes nothing; its name is free."""
    made = make(door, f"{CI}/secrets")
    place = f"{CI}/secrets/{made['details']['id']}"
    assert ask(door, "robot$priv+ci", made["secret"], "GET", "/whoami").json["name"] == "robot$priv+ci"
    assert door.ask("alice", "DELETE", place).status == 204
    assert ask(door, "robot$priv+ci", made["secret"], "GET", "/whoami").status == 401
    version = door.version()
    assert door.ask("alice", "DELETE", place).status == 204
    assert door.version() == version
    assert door.send("alice", "GET", place)["revoked_at"] == "2026-09-21T14:13:20Z"
    detail = {"id": made["details"]["id"], "kind": "svc", "name": "one"}
    assert door.events("credential.revoked") == [("alice", "robot$priv+ci", detail)]
    assert make(door, f"{CI}/secrets")["details"]["name"] == "one"


@pytest.mark.parametrize("number", ["999", "0", "x", "-1", "99999999999999999999", "²"])
def test_there_is_no_such_secret(door: Door, number: str) -> None:
    """A number that is nobody's, that is somebody else's, or that is none."""
    make(door, f"{CI}/secrets")
    for method in ("GET", "DELETE"):
        answer = door.ask("alice", method, f"{TOKENS}/{number}")
        assert (answer.status, answer.code) == (404, "CREDENTIAL_UNKNOWN")
        assert door.ask("alice", method, f"{TOKENS}/1").code == "CREDENTIAL_UNKNOWN"


def test_a_token_does_what_its_owner_may_but_administers_nothing(door: Door) -> None:
    """Without scopes it makes no accounts and no secrets, which could outlast it; by Basic and by Bearer."""
    token = make(door, "/users/admin/tokens", "admin")["secret"]
    for name in ("admin", ""):
        found = ask(door, name, token, "GET", "/whoami").json
        assert (found["name"], found["administrator"], found["token"]) == ("admin", True, True)
        assert ask(door, name, token, "GET", at(PRIVATE)).status == 200
        assert ask(door, name, token, "PATCH", at(PRIVATE), {"visibility": None}).status == 200
        for method, path, document in (
            ("GET", "/users", None),
            ("POST", "/users", {"name": "eve", "password": "eve-password"}),
            ("POST", "/users/admin/tokens", {"name": "two"}),
            ("GET", "/users/admin/tokens", None),
            ("POST", f"{CI}/secrets", {"name": "two"}),
            ("POST", "/service-accounts", {"name": "eve"}),
            ("PUT", "/users/alice/password", {"password": "taken-over"}),
            ("DELETE", "/users/admin/tokens/1", None),
        ):
            answer = ask(door, name, token, method, path, document)
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), path


def test_a_token_with_the_scope_admin_administers(door: Door) -> None:
    """What its owner administers, and nothing else."""
    admin = make(door, "/users/admin/tokens", "admin", scopes=["admin"])["secret"]
    alice = make(door, TOKENS, scopes=["admin"])["secret"]
    assert ask(door, "", admin, "GET", "/users").status == 200
    assert ask(door, "", alice, "GET", "/users").status == 403
    assert ask(door, "", alice, "POST", f"{CI}/secrets", {"name": "two"}).status == 201
    assert ask(door, "", alice, "POST", TOKENS, {"name": "two"}).status == 201


def test_scopes_hold_for_the_api_too(door: Door) -> None:
    """A token for pulling one repository reads that one alone, and changes nothing."""
    token = make(door, TOKENS, scopes=["repository:priv/app:pull"])["secret"]
    assert ask(door, "", token, "GET", f"{at(PRIVATE)}/tags").status == 200
    assert ask(door, "", token, "DELETE", f"{at(PRIVATE)}/tags/latest").status == 401
    assert ask(door, "", token, "GET", f"{at('pub/app')}/tags").status == 401
    assert ask(door, "", token, "GET", "/repositories").status == 401
    assert ask(door, "", token, "PUT", "/namespaces/priv/members/bob", {"role": "owner"}).status == 401


def test_administrators_keep_the_tokens_of_users(door: Door) -> None:
    """They see and revoke them, and the event names them."""
    made = make(door, TOKENS)
    assert door.send("admin", "GET", TOKENS)["secrets"] == [made["details"]]
    assert door.ask("admin", "DELETE", f"{TOKENS}/{made['details']['id']}").status == 204
    assert [(actor, subject) for actor, subject, _ in door.events("credential.revoked")] == [("admin", "alice")]
    assert door.ask("admin", "GET", "/users/nobody/tokens").code == "USER_UNKNOWN"


def password(door: Door, authorization: str, **document: Any) -> Answer:
    """Ask for a login password."""
    return door.ask("", "POST", "/login-password", document, authorization=authorization)


def test_a_login_password_holds_for_hours(door: Door) -> None:
    """It is a password like another for clients, and listed among the tokens."""
    answer = password(door, basic("alice", "alice-password"))
    found = answer.json
    assert (answer.status, found["username"], found["expires_at"]) == (201, "alice", "2026-09-22T02:13:20Z")
    [row] = door.send("alice", "GET", TOKENS)["secrets"]
    assert (row["kind"], answer["location"]) == ("tmp", f"/api/v1{TOKENS}/{row['id']}")
    login = basic("alice", found["password"])
    client = door.world.client().with_headers(authorization=login)
    assert client.request("GET", "/v2/priv/app/manifests/latest").status == 200
    door.world.clock.advance(seconds=12 * HOUR)
    assert client.request("GET", "/v2/priv/app/manifests/latest").status == 401


@pytest.mark.parametrize("seconds", [0, 59, 12 * HOUR + 1, "60", None])
def test_a_login_password_is_short_lived(door: Door, seconds: object) -> None:
    """From a minute to 12 hours."""
    assert password(door, basic("alice", "alice-password"), seconds=seconds).status == 400


def test_a_login_password_is_bounded_by_what_it_was_asked_with(door: Door) -> None:
    """By the scopes of a secret, by its end and by its revocation."""
    made = make(door, f"{CI}/secrets", scopes=["repository:priv/*:pull"], days=1)
    door.world.clock.advance(seconds=24 * HOUR - 600)
    answer = password(door, basic("robot$priv+ci", made["secret"]))
    assert answer.json["expires_at"] == made["details"]["expires_at"]
    client = door.world.client().with_headers(authorization=basic("robot$priv+ci", answer.json["password"]))
    assert client.request("GET", "/v2/priv/app/manifests/latest").status == 200
    assert client.request("POST", "/v2/priv/app/blobs/uploads/").status == 401
    door.send("alice", "DELETE", f"{CI}/secrets/{made['details']['id']}")
    assert client.request("GET", "/v2/priv/app/manifests/latest").status == 401


def test_a_login_password_administers_nothing(door: Door) -> None:
    """Whatever it was asked with: it lies where clients keep passwords."""
    token = make(door, "/users/admin/tokens", "admin", scopes=["admin"])["secret"]
    for authorization in (basic("admin", "admin-password"), f"Bearer {token}"):
        found = password(door, authorization).json
        assert ask(door, "admin", found["password"], "GET", "/users").status == 401
        assert ask(door, "admin", found["password"], "GET", at(PRIVATE)).status == 200


def test_a_login_password_makes_no_other(door: Door) -> None:
    """Neither does an access token, with or without a secret behind it: twelve hours are twelve hours."""
    made = make(door, f"{CI}/secrets", scopes=["repository:priv/*:pull,push"])
    first = password(door, basic("robot$priv+ci", made["secret"])).json["password"]
    client = door.world.client().with_headers(authorization=basic("robot$priv+ci", made["secret"]))
    access = client.request("GET", "/token?scope=repository:priv/app:pull").json["token"]
    for authorization in (
        basic("robot$priv+ci", first),
        f"Bearer {first}",
        f"Bearer {access}",
        f"Bearer {door.world.token('alice', 'repository:priv/app:pull')}",
    ):
        answer = password(door, authorization)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert door.ask("", "POST", "/login-password", {}).status == 401
