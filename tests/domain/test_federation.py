"""Issuers and rules: what can be one, and whose tokens a rule must tell apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from entrepot.domain.access import Scope
from entrepot.domain.conditions import parse_conditions
from entrepot.domain.errors import RequestInvalid, Unauthenticated, Unmet
from entrepot.domain.federation import (
    Issuer,
    IssuerKind,
    Rule,
    require_audiences,
    require_ceiling,
    require_current,
    require_label,
    require_pinned,
    require_regions,
    require_url,
)

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
OWN = "https://gitlab.example.com"


@pytest.mark.parametrize(
    ("kind", "url", "text", "is_pinned"),
    [
        ("oidc", GITHUB, "", False),
        ("oidc", GITHUB, "ref == refs/heads/main", False),
        ("oidc", GITHUB, "environment == prod && event_name == push", False),
        ("oidc", GITHUB, "repository == acme/app", True),
        ("oidc", GITHUB, "repository =~ acme/*", True),
        ("oidc", GITHUB, "repository =~ **", False),
        ("oidc", GITHUB, "repository =~ */app", False),
        ("oidc", GITHUB, "repository =~ acm?/app", False),
        ("oidc", GITHUB, "repository_owner == acme", True),
        ("oidc", GITHUB, "repository_owner =~ acme*", False),
        ("oidc", GITHUB, "sub == repo:acme/app:ref:refs/heads/main", True),
        ("oidc", GITHUB, "sub =~ repo:acme/*:ref:refs/heads/main", True),
        ("oidc", GITHUB, "sub =~ repo:*:ref:refs/heads/main", False),
        # Whoever owns a repository may leave its name out of `sub`.
        ("oidc", GITHUB, "sub == ref:refs/heads/main", False),
        ("oidc", GITLAB, "ref == main", False),
        ("oidc", GITLAB, "namespace_path == acme", True),
        ("oidc", GITLAB, "project_path =~ acme/**", True),
        ("oidc", GITLAB, "sub =~ project_path:acme/app:ref_type:*:ref:*", True),
        ("oidc", "https://accounts.google.com", "sub == 1234567890", True),
        ("oidc", "https://agent.buildkite.com", "organization_slug == acme", True),
        ("oidc", OWN, "ref == main", True),
        ("oidc", OWN, "", True),
        ("aws", "https://sts.{region}.amazonaws.com", "", False),
        ("aws", "https://sts.{region}.amazonaws.com", "role == ci", False),
        ("aws", "https://sts.{region}.amazonaws.com", "account == 123456789012", True),
        ("aws", "https://sts.{region}.amazonaws.com", "arn =~ arn:aws:iam::123456789012:role/*", True),
        ("aws", "https://sts.{region}.amazonaws.com", "arn =~ arn:aws:iam::*:role/ci", False),
    ],
)
def test_rules_tell_tenants_apart(kind: IssuerKind, url: str, text: str, is_pinned: bool) -> None:
    """Where everybody can get tokens, a rule without the owner is refused, and told what is missing."""
    conditions = parse_conditions(text)
    if is_pinned:
        require_pinned(kind, url, conditions)
        return
    with pytest.raises(Unmet, match="pin one of") as caught:
        require_pinned(kind, url, conditions)
    assert caught.value.detail["missing"]


def test_every_value_of_a_claim_must_pin() -> None:
    """One open value among good ones would let everybody in."""
    with pytest.raises(Unmet):
        require_pinned("oidc", GITHUB, {"repository": ("acme/app", "*")})


def refusal(judge: Callable[[], object]) -> Any:
    """The field that was refused."""
    with pytest.raises(RequestInvalid) as caught:
        judge()
    return caught.value.detail["field"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https://user@example.com",
        "https://:pw@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com:0",
        "https://example.com:99999",
        "https://[::1",
        "https://exa mple.com",
        "https://exämple.com",
        "https://example.com/\n",
        "https://example.com/" + "x" * 512,
        "http://example.com",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    """Https, a host, and nothing that hides in it."""
    assert refusal(lambda: require_url(url, is_plain_allowed=False)) == "url"


def test_addresses() -> None:
    """With a path, a port, a region; plain http where it is allowed."""
    for url in ("https://example.com", "https://example.com:8443/realms/x/", "https://sts.{region}.amazonaws.com"):
        assert require_url(url, is_plain_allowed=False).scheme == "https"
    assert require_url("http://127.0.0.1:1", is_plain_allowed=True).port == 1


@pytest.mark.parametrize("audiences", [[], [""], ["a\n"], ["x" * 256], ["x"] * 11])
def test_audiences_that_are_none(audiences: list[str]) -> None:
    """One to ten, of printable text."""
    assert refusal(lambda: require_audiences(audiences)) == "audiences"
    assert require_audiences(["b", "a", "b"]) == ("b", "a")


@pytest.mark.parametrize(
    ("kind", "regions"), [("aws", []), ("oidc", ["us-east-1"]), ("aws", ["evil.example.com/"]), ("aws", ["US-EAST-1"])]
)
def test_regions_that_are_none(kind: IssuerKind, regions: list[str]) -> None:
    """Only AWS has some, and only such as exist: they become part of a host name."""
    assert refusal(lambda: require_regions(kind, regions)) == "regions"
    assert require_regions("aws", ["us-gov-west-1", "us-gov-west-1"]) == ("us-gov-west-1",)
    assert require_regions("oidc", []) == ()


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        ["x"],
        ["registry:catalog:*"],
        ["repository:acme/app"],
        ["repository:acme/app:"],
        ["repository:acme/app:fly"],
        ["repository:ACME/app:pull"],
        ["repository:a/***:pull"],
        ["repository:a:pull repository:b:pull"],
        ["repository:a:pull"] * 51,
    ],
)
def test_ceilings_that_are_none(scopes: list[str]) -> None:
    """Scopes of repositories, with actions that are known."""
    assert refusal(lambda: require_ceiling(scopes)) == "scopes"
    assert require_ceiling(["repository:a/*:pull,push", "repository:a/*:pull,push"]) == ("repository:a/*:pull,push",)


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "-a", "x" * 64, "é"])
def test_names_that_are_none(name: str) -> None:
    """Issuers and rules are named like namespaces."""
    assert refusal(lambda: require_label(name, "name")) == "name"
    assert require_label("github.com-main", "name") == "github.com-main"


def test_claims_of_another_issuer_are_not_judged() -> None:
    """Whoever asks by mistake about the wrong issuer is refused."""
    issuer = Issuer(1, "github", "oidc", GITHUB, ("registry.test",))
    with pytest.raises(Unauthenticated, match="of another issuer"):
        require_current(issuer, {"iss": GITLAB, "aud": "registry.test", "exp": 1}, 0)
    assert require_current(issuer, {"iss": GITHUB, "aud": "registry.test", "exp": 1}, 0) == 1_000_000


def test_a_rule_judges_claims() -> None:
    """A disabled rule says so beside what else does not fit; its scopes become a ceiling."""
    rule = Rule(1, "github", "main", {"ref": ("x",)}, 7, "ci", ("repository:a/*:pull",), is_enabled=False)
    assert rule.unmet({"ref": "x"}) == ["the rule is disabled"]
    assert len(rule.unmet({})) == 2
    assert rule.ceiling == [Scope("repository", "a/*", ("pull",))]
