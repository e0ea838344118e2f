"""Sessions and providers by the management API: whose they are decides."""

from __future__ import annotations

import json

import pytest

from entrepot.core.sessions import forget_sessions
from tests.api.door import Door
from tests.support.asgi import Client
from tests.support.browser import browser_at
from tests.support.world import basic, password_of

IDP = {"name": "idp", "issuer": "https://idp.example", "client_id": "entrepot", "client_secret": "very-secret"}


def test_sessions_are_their_owners(door: Door) -> None:
    """Everybody lists and ends their own; administrators those of others, and nobody else hears that they are there."""
    for user in ("alice", "alice", "bob"):
        browser_at(door.world).sign_in(user)
    first, second = door.send("alice", "GET", "/sessions")["sessions"]
    assert (first["user"], first["by"], first["agent"]) == ("alice", "password", "Firefox")
    page = door.ask("alice", "GET", "/sessions?n=1")
    assert (len(page.json["sessions"]), f"last={first['id']}" in page["link"]) == (1, True)
    theirs = door.ask("bob", "DELETE", f"/sessions/{first['id']}")
    none = door.ask("bob", "DELETE", "/sessions/999")
    assert (theirs.status, none.status) == (404, 404)
    assert theirs.body.replace(str(first["id"]).encode(), b"999") == none.body
    for none in ("x", "9" * 20, "9" * 4000):
        assert door.ask("bob", "DELETE", f"/sessions/{none}").status == 404
    door.send("alice", "DELETE", f"/sessions/{first['id']}")
    door.send("admin", "DELETE", f"/sessions/{second['id']}")
    assert door.send("admin", "GET", "/sessions?user=alice")["sessions"] == []
    assert [each["user"] for each in door.send("admin", "GET", "/sessions?user=bob")["sessions"]] == ["bob"]
    assert door.ask("admin", "GET", "/sessions?user=nobody").status == 404
    assert door.ask("admin", "GET", "/sessions?user=acme%2Fx").status == 404
    assert [actor for actor, _, _ in door.events("session.closed")] == ["alice", "admin"]


def test_a_token_ends_no_session(door: Door) -> None:
    """A secret without the scope admin neither lists nor ends sessions."""
    secret = door.send("alice", "POST", "/users/alice/tokens", {"name": "x"})["secret"]
    client = Client(door.face, door.world.runner, {"authorization": basic("alice", secret)})
    for method, path in (("GET", "/api/v1/sessions"), ("DELETE", "/api/v1/sessions/1")):
        assert client.request(method, path).status == 401


def test_the_api_ignores_cookies(door: Door) -> None:
    """A session of a browser opens nothing of the API, so that no page of another site can use it."""
    browser = browser_at(door.world)
    browser.sign_in("admin")
    client = Client(door.face, door.world.runner, {"cookie": f"entrepot={browser.cookies['entrepot']}"})
    assert client.request("GET", "/api/v1/whoami").status == 401


def test_sessions_that_ran_out_are_forgotten(door: Door) -> None:
    """They are not listed, and their rows are deleted by the job."""
    browser_at(door.world).sign_in("alice")
    door.world.clock.advance(seconds=13 * 3600)
    assert door.send("alice", "GET", "/sessions")["sessions"] == []
    door.world.run(forget_sessions(door.world.registry))
    assert door.world.rows("select count(*) from web_session") == [(0,)]


def test_providers(door: Door) -> None:
    """Made with what is usual, changed, listed in pages, removed; the secret is in no answer and in no event."""
    made = door.ask("admin", "POST", "/sign-on-providers", IDP)
    assert (made.status, made["location"]) == (201, "/api/v1/sign-on-providers/idp")
    assert made.json["scopes"] == ["openid", "profile", "email"]
    assert (made.json["confidential"], made.json["creates_accounts"], made.json["enabled"]) == (True, True, True)
    assert door.ask("admin", "POST", "/sign-on-providers", IDP).status == 409
    door.send("admin", "POST", "/sign-on-providers", {**IDP, "name": "other"})
    page = door.ask("admin", "GET", "/sign-on-providers?n=1")
    assert ([each["name"] for each in page.json["providers"]], "last=idp" in page["link"]) == (["idp"], True)
    change = {"client_secret": "", "groups_claim": "", "domains": ["Example.com"], "enabled": False}
    changed = door.send("admin", "PATCH", "/sign-on-providers/idp", change)
    assert (changed["confidential"], changed["groups_claim"], changed["domains"]) == (False, "", ["example.com"])
    assert door.send("admin", "GET", "/sign-on-providers/idp") == changed
    door.send("admin", "DELETE", "/sign-on-providers/idp")
    assert door.ask("admin", "GET", "/sign-on-providers/idp").status == 404
    assert door.ask("admin", "DELETE", "/sign-on-providers/a%00b").status == 404
    events = [door.events(f"sign-on.provider.{kind}") for kind in ("created", "changed", "removed")]
    assert [len(each) for each in events] == [2, 1, 1]
    assert "very-secret" not in json.dumps(events)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"issuer": "http://idp.example"}, "url"),
        ({"issuer": "idp"}, "url"),
        ({"client_id": ""}, "client_id"),
        ({"name": "A"}, "name"),
        ({"name_claim": ""}, "name_claim"),
        ({"scopes": []}, "scopes"),
    ],
)
def test_providers_that_cannot_be(door: Door, wrong: dict[str, object], field: str) -> None:
    """What is wrong is said with its field."""
    answer = door.ask("admin", "POST", "/sign-on-providers", {**IDP, **wrong})
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (400, field)


def test_links(door: Door) -> None:
    """A user and a subject are linked once each; only users, who are there, are linked."""
    door.send("admin", "POST", "/sign-on-providers", IDP)
    links = "/sign-on-providers/idp/links"
    made = door.send("admin", "PUT", f"{links}/alice", {"subject": "u-1"})
    assert (made["user"], made["subject"], made["signed_in_at"]) == ("alice", "u-1", None)
    assert door.ask("admin", "PUT", f"{links}/bob", {"subject": "u-1"}).status == 409
    assert door.ask("admin", "PUT", f"{links}/alice", {"subject": "u-2"}).status == 409
    assert door.ask("admin", "PUT", f"{links}/nobody", {"subject": "u-2"}).status == 404
    assert door.ask("admin", "PUT", f"{links}/bob", {"subject": ""}).status == 400
    door.send("admin", "POST", "/service-accounts", {"name": "ci"})
    assert door.ask("admin", "PUT", f"{links}/robot$ci", {"subject": "u-2"}).status == 409
    door.send("admin", "PUT", f"{links}/bob", {"subject": "u-2"})
    page = door.ask("admin", "GET", f"{links}?n=1")
    assert ([each["subject"] for each in page.json["links"]], "last=u-1" in page["link"]) == (["u-1"], True)
    door.send("admin", "DELETE", f"{links}/bob")
    assert door.ask("admin", "DELETE", f"{links}/bob").status == 404
    assert [subject for _, subject, _ in door.events("sign-on.unlinked")] == ["bob"]


def test_the_password_of_somebody_of_a_provider_is_there(door: Door) -> None:
    """Nobody gives a password to an account that a provider knows."""
    door.world.transact(lambda tx: tx.execute("update account set source = 'oidc' where name = 'bob'"))
    answer = door.ask("admin", "PUT", "/users/bob/password", {"password": "another-password"})
    assert (answer.status, "provider" in answer.json["errors"][0]["message"]) == (409, True)
    assert password_of("bob") not in answer.body.decode()
