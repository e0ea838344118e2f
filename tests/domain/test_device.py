"""Codes, machines and networks of programs that log in by a page."""

from __future__ import annotations

import pytest

from entrepot.domain import device
from entrepot.domain.errors import RequestInvalid


def test_codes_read_well() -> None:
    """A code has two groups of four letters, none of which makes words or looks like another; no two are alike."""
    codes = {device.new_user_code() for _ in range(200)}
    assert len(codes) == 200
    assert set("".join(codes)) <= {*device.LETTERS, "-"}
    assert not set(device.LETTERS) & set("AEIOU01O")


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("WDJB-MJHT", "WDJB-MJHT"),
        (" wdjb mjht ", "WDJB-MJHT"),
        ("wdjbmjht", "WDJB-MJHT"),
        ("WDJB-MJH", ""),
        ("WDJB-MJHA", ""),
        ("WDJB-MJHT-W", ""),
        ("", ""),
        ("W" * 9999, ""),
    ],
)
def test_codes_as_people_type_them(typed: str, code: str) -> None:
    """Case, spaces and dashes do not matter; what is no code is nothing."""
    assert device.parse_user_code(typed) == code


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("laptop.example", "laptop.example"),
        ("", "a machine"),
        ("<i>\u202e", "i"),
        ("--", "a machine"),
        ("a" * 99, "a" * 40),
    ],
)
def test_machines(text: str, name: str) -> None:
    """What a machine calls itself is short and plain."""
    assert device.parse_machine(text) == name


def test_agents() -> None:
    """What a client calls itself is one line."""
    assert device.parse_agent("a\r\nb" + "c" * 999) == "a b" + "c" * 197


@pytest.mark.parametrize("text", ["everything", "pull\0push"])
def test_scopes_that_are_none(text: str) -> None:
    """Scopes are those of personal tokens."""
    with pytest.raises(RequestInvalid):
        device.parse_scopes(text)
    assert device.parse_scopes("pull admin") == ("pull", "admin")
