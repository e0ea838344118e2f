"""Issuers and rules by `/api/v1`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from entrepot.authn.outside import HttpOutside
from entrepot.core.registry import Rules
from tests.api.door import Door
from tests.support.issuer import EC, RSA, LocalIssuer, public_keys
from tests.support.world import World

GITHUB = {"name": "github", "url": "https://token.actions.githubusercontent.com", "audiences": ["registry.test"]}
AWS = {"name": "aws", "kind": "aws", "regions": ["eu-central-1"], "audiences": ["registry.test"]}
MAIN = {
    "conditions": {"repository": ["acme/app"], "ref": ["refs/heads/main"]},
    "account": "bob",
    "scopes": ["repository:acme/*:pull,push"],
}


@pytest.fixture
def local() -> Iterator[LocalIssuer]:
    """An issuer on this machine."""
    with LocalIssuer() as local:
        yield local


@pytest.fixture
def near(local: LocalIssuer) -> Iterator[Door]:
    """A registry that may ask issuers on this machine, and believes `local`."""
    outside = HttpOutside(is_private_allowed=True)
    with World(rules=Rules(private_addresses=True), outside=outside) as world:
        door = Door(world)
        door.send("admin", "POST", "/issuers", {"name": "local", "url": local.url, "audiences": ["registry.test"]})
        yield door
        world.run(outside.close())


def refused(door: Door, method: str, path: str, document: Any) -> tuple[int, str, Any]:
    """Status, code and field of a refusal."""
    answer = door.ask("admin", method, path, document)
    return answer.status, answer.code, answer.json["errors"][0].get("detail", {}).get("field")


def test_an_issuer_is_added_changed_and_removed(door: Door) -> None:
    """Each change is answered as it is kept, and is an event and a new policy."""
    before = door.version()
    answer = door.ask("admin", "POST", "/issuers", GITHUB)
    assert (answer.status, answer["location"]) == (201, "/api/v1/issuers/github")
    assert {key: value for key, value in answer.json.items() if key != "created_at"} == {
        **GITHUB,
        "kind": "oidc",
        "regions": [],
        "pinned": False,
        "reusable": False,
        "enabled": True,
    }
    changed = door.send(
        "admin", "PATCH", "/issuers/github", {"audiences": ["a", "b"], "reusable": True, "enabled": False}
    )
    assert (changed["audiences"], changed["reusable"], changed["enabled"]) == (["a", "b"], True, False)
    assert door.send("admin", "PATCH", "/issuers/github", {}) == changed == door.send("admin", "GET", "/issuers/github")
    door.send("admin", "PUT", "/issuers/github/rules/main", MAIN)
    assert door.ask("admin", "DELETE", "/issuers/github").status == 204
    assert door.ask("admin", "GET", "/issuers/github").status == 404
    assert door.version() == before + 5
    detail = {"kind": "oidc", "url": GITHUB["url"], "audiences": ["registry.test"]}
    assert door.events("issuer.created") == [("admin", "github", detail)]
    assert door.events("issuer.changed")[0] == ("admin", "github", {"enabled": False, "reusable": True})
    assert door.events("issuer.removed") == [("admin", "github", {})]


def test_issuers_come_by_pages(door: Door) -> None:
    """By name; AWS is asked where it always is."""
    door.send("admin", "POST", "/issuers", GITHUB)
    made = door.send("admin", "POST", "/issuers", AWS)
    assert (made["url"], made["regions"]) == ("https://sts.{region}.amazonaws.com", ["eu-central-1"])
    answer = door.ask("admin", "GET", "/issuers?n=1")
    assert [each["name"] for each in answer.json["issuers"]] == ["aws"]
    assert "last=aws" in answer["link"]
    answer = door.ask("admin", "GET", "/issuers?n=1&last=aws")
    assert ([each["name"] for each in answer.json["issuers"]], "link" in answer) == (["github"], False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "Bad"}, (400, "REQUEST_INVALID", "name")),
        ({"url": ""}, (400, "REQUEST_INVALID", "url")),
        ({"audiences": []}, (400, "REQUEST_INVALID", "audiences")),
        ({"regions": ["eu-central-1"]}, (400, "REQUEST_INVALID", "regions")),
        ({**AWS, "regions": []}, (400, "REQUEST_INVALID", "regions")),
        ({**AWS, "jwks": json.dumps(public_keys(EC))}, (400, "REQUEST_INVALID", "jwks")),
        ({"jwks": "x"}, (409, "UNMET", "jwks")),
        ({"kind": "saml"}, (400, "REQUEST_INVALID", "kind")),
    ],
)
def test_issuers_that_cannot_be(near: Door, change: dict[str, Any], expected: tuple[int, str, str]) -> None:
    """Each is refused with the path of the field."""
    assert refused(near, "POST", "/issuers", {**GITHUB, **change}) == expected


def test_plain_http_needs_the_setting(door: Door) -> None:
    """An issuer is asked over https."""
    assert refused(door, "POST", "/issuers", {**GITHUB, "url": "http://ci.example"}) == (400, "REQUEST_INVALID", "url")


def test_names_and_addresses_are_taken_once(door: Door) -> None:
    """The second issuer of a name or of a URL is refused with which one has it."""
    door.send("admin", "POST", "/issuers", GITHUB)
    assert refused(door, "POST", "/issuers", {**GITHUB, "url": "https://other.example"})[:2] == (409, "ALREADY_EXISTS")
    answer = door.ask("admin", "POST", "/issuers", {**GITHUB, "name": "other"})
    assert (answer.status, answer.json["errors"][0]["detail"]["issuer"]) == (409, "github")


def test_keys_are_pinned_and_let_go(near: Door, local: LocalIssuer) -> None:
    """Pinned keys are checked when they are given; the answer says that there are some, and not which."""
    pinned = near.send("admin", "PATCH", "/issuers/local", {"jwks": json.dumps(public_keys(EC))})
    assert (pinned["pinned"], "jwks" in pinned) == (True, False)
    private = json.dumps({"keys": [EC.as_dict(private=True)]})
    answer = near.ask("admin", "PATCH", "/issuers/local", {"jwks": private})
    assert (answer.status, EC.as_dict(private=True)["d"].encode() in answer.body) == (409, False)
    assert near.send("admin", "PATCH", "/issuers/local", {"jwks": ""})["pinned"] is False


def test_rules_are_kept_replaced_and_removed(door: Door) -> None:
    """A rule is answered as it is kept; the same name again replaces it; each change is an event."""
    door.send("admin", "POST", "/issuers", GITHUB)
    kept = door.send("admin", "PUT", "/issuers/github/rules/main", MAIN)
    assert {key: value for key, value in kept.items() if key != "created_at"} == {
        **MAIN,
        "name": "main",
        "enabled": True,
    }
    off = door.send("admin", "PUT", "/issuers/github/rules/main", {**MAIN, "enabled": False})
    assert off == {**kept, "enabled": False} == door.send("admin", "GET", "/issuers/github/rules/main")
    door.send("admin", "PUT", "/issuers/github/rules/all", MAIN)
    answer = door.ask("admin", "GET", "/issuers/github/rules?n=1")
    assert ([each["name"] for each in answer.json["rules"]], "last=all" in answer["link"]) == (["all"], True)
    answer = door.ask("admin", "GET", "/issuers/github/rules?n=1&last=all")
    assert ([each["name"] for each in answer.json["rules"]], "link" in answer) == (["main"], False)
    assert door.ask("admin", "DELETE", "/issuers/github/rules/main").status == 204
    assert door.ask("admin", "GET", "/issuers/github/rules/main").status == 404
    detail = door.events("issuer.rule.set")[0][2]
    assert detail["conditions"] == "repository == acme/app && ref == refs/heads/main"
    assert door.events("issuer.rule.removed") == [("admin", "github", {"rule": "main"})]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("Bad", {}, (400, "REQUEST_INVALID", "name")),
        ("main", {"conditions": {}}, (409, "UNMET", "conditions")),
        ("main", {"conditions": {"ref": ["refs/heads/main"]}}, (409, "UNMET", "conditions")),
        ("main", {"conditions": {"repository": ["acme/app", "*"]}}, (409, "UNMET", "conditions")),
        ("main", {"conditions": {"repository": []}}, (400, "REQUEST_INVALID", "conditions.repository")),
        ("main", {"scopes": []}, (400, "REQUEST_INVALID", "scopes")),
        ("main", {"scopes": ["registry:catalog:*"]}, (400, "REQUEST_INVALID", "scopes")),
        ("main", {"account": "a\0"}, (404, "USER_UNKNOWN", None)),
        ("main", {"account": "nobody"}, (404, "USER_UNKNOWN", None)),
        ("main", {"account": "admin"}, (409, "CONFLICT", "account")),
        ("main", {"fly": True}, (400, "REQUEST_INVALID", "fly")),
    ],
)
def test_rules_that_cannot_be(door: Door, name: str, change: dict[str, Any], expected: tuple[int, str, Any]) -> None:
    """What strangers could fulfil, what gives nothing, and what nobody acts as."""
    door.send("admin", "POST", "/issuers", GITHUB)
    assert refused(door, "PUT", f"/issuers/github/rules/{name}", {**MAIN, **change}) == expected


@pytest.mark.parametrize("path", ["/issuers/none", "/issuers/Bad", "/issuers/none/rules", "/issuers/none/rules/main"])
def test_what_is_not_there(shared: Door, path: str) -> None:
    """Unknown issuers and rules are 404, whatever is done to them."""
    assert shared.ask("admin", "GET", path).status == 404
    if not path.endswith("/rules"):
        assert shared.ask("admin", "DELETE", path).status == 404


def test_a_token_is_tried(near: Door, local: LocalIssuer) -> None:
    """Which rule lets it in, why the others do not; nothing is used up, counted or written by it."""
    near.send("admin", "PUT", "/issuers/local/rules/main", MAIN)
    near.send("admin", "PUT", "/issuers/local/rules/tags", {**MAIN, "conditions": {"ref": ["refs/tags/*"]}})
    token = local.token()
    for _ in range(2):
        trial = near.send("admin", "POST", "/issuer-trials", {"token": token})
    assert (trial["issuer"], trial["problem"], trial["rule"]) == ("local", "", "main")
    assert trial["claims"]["repository"] == "acme/app"
    first, second = trial["rules"]
    assert (first["name"], first["fits"], first["account"], first["reasons"]) == ("main", True, "bob", [])
    assert second["reasons"] == ["ref must be =~ refs/tags/*, and is refs/heads/main"]
    assert near.events("token.exchanged") == []


def test_tokens_that_would_be_refused(near: Door, local: LocalIssuer) -> None:
    """One that is expired or forged is told so, and its rules are tried all the same; others are just told."""
    near.send("admin", "PUT", "/issuers/local/rules/main", MAIN)
    expired = near.send("admin", "POST", "/issuer-trials", {"token": local.token(exp=1)})
    assert ("has expired" in expired["problem"], expired["rule"]) == (True, "main")
    other = near.send("admin", "POST", "/issuer-trials", {"token": local.token(RSA, ref="x")})
    assert (other["problem"], other["rule"]) == ("", "")
    unknown = near.send("admin", "POST", "/issuer-trials", {"token": local.token(iss="https://other.example")})
    assert (unknown["issuer"], unknown["rules"]) == ("", [])
    assert "no issuer of this registry" in unknown["problem"]
    none = near.send("admin", "POST", "/issuer-trials", {"token": "nonsense"})
    assert ("no signed JWT" in none["problem"], none["claims"]) == (True, {})
