"""Providers that people sign on with: their settings, and what they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from entrepot.domain import sign_on
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.sign_on import Provider

IDP = Provider(1, "idp", "https://idp.example", "us", "", ("openid",), "preferred_username", "email", "groups")


@pytest.mark.parametrize(
    ("claim", "found"),
    [("a", 1), ("b.c", 2), ("https://x.example/groups", 3), ("b.d", None), ("a.b", None), ("none", None)],
)
def test_claims_are_found(claim: str, found: Any) -> None:
    """By their whole name, or by a path with dots."""
    assert sign_on.find_claim({"a": 1, "b": {"c": 2}, "https://x.example/groups": 3}, claim) == found


@pytest.mark.parametrize(
    ("groups", "read"),
    [
        (["a", "b"], ("a", "b")),
        ("a", ("a",)),
        (["a", 7, "", "b" * 513], ("a",)),
        ([], ()),
        (None, None),
        ({"a": 1}, None),
        (["a"] * 1001, ("a",) * 1000),
    ],
)
def test_groups_are_read(groups: Any, read: tuple[str, ...] | None) -> None:
    """A list or one name; what is none is left out, and unsaid differs from none."""
    assert sign_on.read_claims(IDP, {"sub": "s", "groups": groups}).groups == read


def test_groups_without_a_claim() -> None:
    """Where no claim is named, nothing is said of groups."""
    assert sign_on.read_claims(replace(IDP, groups_claim=""), {"sub": "s", "groups": ["a"]}).groups is None


@pytest.mark.parametrize(
    ("claimed", "name"),
    [("Erin", "erin"), ("erin.doe@example.com", "erin.doe"), (7, ""), ("a\nb", ""), ("a" * 256, "")],
)
def test_names(claimed: Any, name: str) -> None:
    """A name is in small letters, of an address what is before the @; what is no text is none."""
    assert sign_on.account_name(sign_on.read_claims(IDP, {"sub": "s", "preferred_username": claimed})) == name


def test_addresses_to_go_to() -> None:
    """An endpoint may have a query; Google is asked for a refresh token in its own way."""
    assert sign_on.authorization_url("https://a/x", IDP, {"state": "s&t"}).endswith(
        "x?response_type=code&client_id=us&scope=openid&state=s%26t"
    )
    assert "/x?a=b&response_type=code" in sign_on.authorization_url("https://a/x?a=b", IDP, {})
    google = replace(IDP, issuer="https://accounts.google.com")
    assert "access_type=offline" in sign_on.authorization_url("https://a", google, {})


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (sign_on.require_client, ""),
        (sign_on.require_client, "a b"),
        (sign_on.require_secret, "a\nb"),
        (sign_on.require_secret, "a" * 2049),
        (sign_on.require_scopes, ()),
        (sign_on.require_scopes, ("a b",)),
        (sign_on.require_domains, ("a..b",)),
        (sign_on.require_domains, ("a" * 201,)),
        (sign_on.require_domains, ("a",) * 51),
        (sign_on.require_groups, ("",)),
        (sign_on.require_groups, ("a",) * 51),
        (sign_on.require_subject, ""),
        (sign_on.require_subject, "a\nb"),
    ],
)
def test_settings_that_cannot_be(check: Callable[[Any], Any], bad: Any) -> None:
    """Each is refused with its field, and a secret is not part of the message."""
    with pytest.raises(RequestInvalid) as caught:
        check(bad)
    assert caught.value.detail["field"]
    assert "aaaa" not in caught.value.message


def test_settings_that_can() -> None:
    """What is good comes back, once each, openid always asked for."""
    assert sign_on.require_scopes(("email", "email")) == ("openid", "email")
    assert sign_on.require_domains(("Example.com", "example.com")) == ("example.com",)
    assert sign_on.require_claim("realm_access.roles", "groups_claim") == "realm_access.roles"
    with pytest.raises(RequestInvalid):
        sign_on.require_claim("a b", "groups_claim")
