"""Users are made administrators and are disabled by the API: who may, what it does at once, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from entrepot.api.face import ApiFace
from tests.api.door import PRIVATE, Door
from tests.support.asgi import Answer, Client
from tests.support.browser import FORM, browser_at
from tests.support.world import basic, password_of

ERIN = {"name": "erin", "password": password_of("erin")}
CAROL = "/users/carol"


def change(door: Door, user: str, **fields: bool) -> Any:
    """Change a user as the administrator, which must succeed."""
    return door.send("admin", "PATCH", f"/users/{user}", fields)


def names(door: Door, query: str, user: str = "admin") -> list[str]:
    """The names in a listing."""
    return [each["name"] for each in door.send(user, "GET", f"/users?{query}")["users"]]


def administrators(door: Door, user: str = "admin") -> list[str]:
    """Who can administer, as the listing has it."""
    return names(door, "administrator=true&disabled=false", user)


def test_a_promoted_user_administers(door: Door) -> None:
    """By password and by a token for it, at once here and elsewhere, and not after the demotion; each is an event."""
    other = door.world.sibling_context()
    there = Client(ApiFace(other), door.world.runner).with_headers(authorization=basic("carol", password_of("carol")))
    secret = door.send("carol", "POST", f"{CAROL}/tokens", {"name": "wide", "scopes": ["admin"]})["secret"]
    for is_admin, status in ((True, 200), (False, 403)):
        assert change(door, "carol", administrator=is_admin)["administrator"] is is_admin
        assert door.ask("carol", "GET", "/users").status == status
        assert door.client(token=secret).request("GET", "/api/v1/users").status == status
        door.world.run(other.registry.policy.refresh())
        assert there.request("GET", "/api/v1/users").status == status
    assert door.events("user.changed") == [
        ("admin", "carol", {"administrator": [False, True]}),
        ("admin", "carol", {"administrator": [True, False]}),
    ]


def ways_of(door: Door) -> dict[str, Callable[[], Answer]]:
    """Every way by which carol comes in, each as one request that asks whether it still leads there."""
    client, header = door.world.client(), basic("carol", password_of("carol"))
    secret = door.send("carol", "POST", f"{CAROL}/tokens", {"name": "laptop"})["secret"]
    login = door.send("carol", "POST", "/login-password", {})["password"]
    path = f"/token?scope=repository:{PRIVATE}:pull&offline_token=true"
    tokens = client.request("GET", path, authorization=header).json
    form = urlencode({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}).encode()
    browser = browser_at(door.world)
    assert browser.sign_in("carol").status == 303

    def pull(authorization: str) -> Callable[[], Answer]:
        return lambda: client.request("GET", f"/v2/{PRIVATE}/manifests/latest", authorization=authorization)

    return {
        "password": pull(header),
        "personal token": pull(f"Bearer {secret}"),
        "personal token as a password": pull(basic("carol", secret)),
        "login password": pull(basic("carol", login)),
        "access token": pull(f"Bearer {tokens['token']}"),
        "refresh token": lambda: client.request("POST", "/token", form, content_type=FORM),
        "the API": lambda: door.ask("carol", "GET", "/whoami"),
        "browser": lambda: browser.get("/login"),
    }


def test_a_disabled_user_is_refused_whatever_they_show(door: Door) -> None:
    """Passwords, tokens of every kind and browsers open nothing, and all of them open again what they did before."""
    ways = ways_of(door)
    page = "<strong>carol</strong>"
    for is_disabled, status, count in ((False, 200, 1), (True, 401, 0), (False, 200, 1)):
        if is_disabled or count:
            change(door, "carol", disabled=is_disabled)
        answers = {way: ask() for way, ask in ways.items()}
        assert answers.pop("browser").body.decode().count(page) == count
        assert {way: answer.status for way, answer in answers.items()} == dict.fromkeys(answers, status)
    assert door.events("user.disabled") == [("admin", "carol", {"disabled": [False, True]})]
    assert door.events("user.enabled") == [("admin", "carol", {"disabled": [True, False]})]


def test_what_was_revoked_does_not_come_back(door: Door) -> None:
    """Enabling brings back neither a token that was revoked meanwhile, nor what a new password made void."""
    ways = ways_of(door)
    ((number,),) = door.world.rows("select id from credential where kind = 'pat'")
    change(door, "carol", disabled=True)
    door.send("admin", "DELETE", f"{CAROL}/tokens/{number}")
    door.world.clock.advance(seconds=1)
    door.send("admin", "PUT", f"{CAROL}/password", {"password": "another-password"})
    change(door, "carol", disabled=False)
    browser = ways.pop("browser")()
    assert "<strong>" not in browser.body.decode()
    assert {way: ask().status for way, ask in ways.items()} == dict.fromkeys(ways, 401)
    assert door.ask("", "GET", "/whoami", authorization=basic("carol", "another-password")).status == 200


def test_browsers_of_a_disabled_user_can_be_signed_out(door: Door) -> None:
    """Administrators still see them, so that they can end what would be back with the user."""
    browser = browser_at(door.world)
    assert browser.sign_in("carol").status == 303
    change(door, "carol", disabled=True)
    (session,) = door.send("admin", "GET", "/sessions?user=carol")["sessions"]
    door.send("admin", "DELETE", f"/sessions/{session['id']}")
    change(door, "carol", disabled=False)
    assert "<strong>" not in browser.get("/login").body.decode()


@pytest.mark.parametrize(("user", "status"), [("", 401), ("alice", 403), ("carol", 403)])
def test_who_may_change_a_user(shared: Door, user: str, status: int) -> None:
    """Administrators alone, and nobody else can tell by it who is there."""
    there, absent = (
        shared.ask(user, "PATCH", f"/users/{name}", {"administrator": True}) for name in ("carol", "nobody")
    )
    assert (there.status, there.code, absent.status) == (status, absent.code, status)
    assert administrators(shared) == ["admin"]


def test_a_token_changes_nobody(shared: Door) -> None:
    """What a build of an administrator holds makes no other administrator."""
    client = shared.client(token=shared.world.token("admin", "repository:pub/app:pull"))
    answer = client.request("PATCH", f"/api/v1{CAROL}", b'{"administrator": true}', content_type="application/json")
    assert (answer.status, administrators(shared)) == (401, ["admin"])


@pytest.mark.parametrize("name", ["nobody", "robot$mirror", "acme"])
def test_only_users_are_changed(door: Door, name: str) -> None:
    """Neither machines, which have a door of their own, nor organisations are users."""
    door.send("admin", "POST", "/service-accounts", {"name": "mirror"})
    door.send("admin", "POST", "/organisations", {"name": "acme"})
    assert door.ask("admin", "PATCH", f"/users/{name}", {"disabled": True}).code == "USER_UNKNOWN"


@pytest.mark.parametrize("document", [{"administrator": "yes"}, {"disabled": None}, {"admin": True}, []])
def test_changes_that_cannot_be(shared: Door, document: Any) -> None:
    """What is no change of a user is refused as a whole."""
    answer = shared.ask("admin", "PATCH", CAROL, document)
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")


def test_nothing_new_is_no_event(door: Door) -> None:
    """What is so already, and an empty change, leave the policy as it is."""
    before = door.version()
    for fields in ({}, {"administrator": False}, {"disabled": False}, {"administrator": False, "disabled": False}):
        assert change(door, "carol", **fields)["disabled"] is False
    assert door.version() == before
    both = change(door, "carol", administrator=True, disabled=True)
    assert (both["administrator"], both["disabled"]) == (True, True)
    assert [len(door.events(kind)) for kind in ("user.changed", "user.disabled", "user.enabled")] == [1, 1, 0]


def test_nobody_disables_themselves(door: Door) -> None:
    """They are told so, the last administrator and another one alike; to be demoted by oneself is something else."""
    for _ in range(2):
        answer = door.ask("admin", "PATCH", "/users/admin", {"disabled": True})
        assert (answer.status, answer.json["errors"][0]["message"].partition(";")[0]) == (
            403,
            "nobody disables themselves",
        )
        change(door, "carol", administrator=True)
    assert door.ask("admin", "PATCH", "/users/admin", {"administrator": False, "disabled": False}).status == 200
    assert door.ask("admin", "GET", "/users").status == 403


def test_the_last_administrator_stays_one(door: Door) -> None:
    """Others who are disabled do not count: the last one who can act is neither demoted nor removed."""
    for _ in range(2):
        for method, document in (("PATCH", {"administrator": False}), ("DELETE", None)):
            answer = door.ask("admin", method, "/users/admin", document)
            assert (answer.status, answer.code) == (409, "CONFLICT")
            assert "last administrator" in answer.json["errors"][0]["message"]
        change(door, "carol", administrator=True, disabled=True)
    change(door, "carol", disabled=False)
    assert administrators(door) == ["admin", "carol"]
    assert door.ask("carol", "PATCH", "/users/admin", {"disabled": True}).status == 200
    assert door.ask("carol", "PATCH", CAROL, {"administrator": False}).status == 409
    assert administrators(door, "carol") == ["carol"]


def test_no_job_administers(door: Door) -> None:
    """Whoever jobs of a CI system act as is made no administrator, and no job acts as somebody who is one."""
    door.send("admin", "POST", "/issuers", {"name": "ci", "url": "https://ci.example", "audiences": ["registry.test"]})
    rule = {"conditions": {"sub": ["main"]}, "account": "carol", "scopes": ["repository:priv/app:pull"]}
    door.send("admin", "PUT", "/issuers/ci/rules/main", rule)
    answer = door.ask("admin", "PATCH", CAROL, {"administrator": True})
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert "entrepot issuer rule remove ci main" in answer.json["errors"][0]["message"]
    assert change(door, "carol", administrator=False, disabled=True)["disabled"] is True
    door.send("admin", "DELETE", "/issuers/ci/rules/main")
    change(door, "carol", administrator=True, disabled=False)
    assert door.ask("admin", "PUT", "/issuers/ci/rules/main", rule).code == "CONFLICT"


def test_who_is_disabled_may_lose_everything(door: Door) -> None:
    """Whoever cannot act any more is demoted and removed without further ado."""
    change(door, "carol", administrator=True, disabled=True)
    assert change(door, "carol", administrator=False)["disabled"] is True
    change(door, "carol", administrator=True)
    assert door.ask("admin", "DELETE", CAROL).status == 204


def test_users_are_looked_for(door: Door) -> None:
    """By what they may do, whether they are disabled, where they come from and how their names begin, and by all."""
    change(door, "carol", administrator=True)
    change(door, "bob", disabled=True)
    found = {
        "administrator=true": ["admin", "carol"],
        "administrator=false": ["alice", "bob", "dora"],
        "disabled=true": ["bob"],
        "disabled=false&administrator=false": ["alice", "dora"],
        "source=local&prefix=a": ["admin", "alice"],
        "source=ldap": [],
        "source=oidc": [],
        "prefix=al": ["alice"],
        "prefix=alice": ["alice"],
        "prefix=alicea": [],
        "prefix=a&administrator=true&disabled=false": ["admin"],
    }
    assert {query: names(door, query) for query in found} == found


def test_filters_go_on_over_pages(door: Door) -> None:
    """Every page is full, and the link to the next one carries what was asked for."""
    for number in range(5):
        door.send("admin", "POST", "/users", {**ERIN, "name": f"erin{number}", "administrator": number % 2 == 0})
    pages, path = [], "/users?n=2&administrator=true&prefix=erin"
    while path:
        answer = door.ask("admin", "GET", path)
        pages.append([user["name"] for user in answer.json["users"]])
        path = answer["link"].partition(">")[0].removeprefix("</api/v1") if "link" in answer else ""
    assert pages == [["erin0", "erin2"], ["erin4"]]


@pytest.mark.parametrize("query", ["source=elsewhere", "administrator=perhaps", "prefix=A", "prefix=%00"])
def test_filters_that_cannot_be(shared: Door, query: str) -> None:
    """What no user can be is not asked for."""
    assert shared.ask("admin", "GET", f"/users?{query}").code == "REQUEST_INVALID"
