"""Names of groups as directories and people write them."""

from __future__ import annotations

import pytest

from entrepot.domain.directory import LONGEST_GROUP, Group, group_key, parse_group
from entrepot.domain.errors import RequestInvalid


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Devs,OU=Groups,DC=example", "cn=devs, ou = groups , dc=example"),
        (r"cn=Ops\, Night,dc=x", r"CN=ops\2C Night, DC=X"),
        (r"cn=\C3\A9quipe,dc=x", "cn=Équipe,dc=x"),
        (r"cn=a\+b", r"cn=a\2bb"),
        (" Devs ", "devs"),
    ],
)
def test_spellings_of_one_group(one: str, other: str) -> None:
    """Case, spaces between parts and ways of escaping make no difference."""
    assert group_key(one) == group_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=devs,dc=x", "cn=devs,dc=y"),
        (r"cn=a\,dc=x", "cn=a,dc=x"),
        (r"cn=a\2cdc\3dx", "cn=a,dc=x"),
        (r"cn=a\ff", r"cn=a\2c"),
        ("devs", "cn=devs"),
    ],
)
def test_different_groups(one: str, other: str) -> None:
    """A comma inside a name is none between two parts, and a plain name is no distinguished one."""
    assert group_key(one) != group_key(other)


def test_a_group_is_named_by_either_name() -> None:
    """Teams may name the distinguished name or the plain one; an unknown plain one names nothing."""
    assert Group("CN=Devs,DC=x", "Devs").keys == {"cn=devs,dc=x", "devs"}
    assert Group("ou=Devs").keys == {"ou=devs"}


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x7f", "x" * (LONGEST_GROUP + 1)])
def test_groups_that_are_refused(text: str) -> None:
    """Nothing, control characters and endless names are refused with the field."""
    with pytest.raises(RequestInvalid) as caught:
        parse_group(text)
    assert caught.value.detail["field"] == "group"


def test_a_group_is_kept_as_it_was_named() -> None:
    """But for spaces around it."""
    assert parse_group(" CN=Devs, DC=x ") == "CN=Devs, DC=x"
