"""Secrets: their form, their checksum, and what is kept of them."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.secrets import (
    ALPHABET,
    SecretKind,
    fingerprint,
    hint_of,
    is_secret,
    make_secret,
    require_secret_name,
)

KNOWN = "ent_svc_4v6T0lpZ7eZBwcaoPNyim9eX3Uw6Dp2xMCfl"
kinds = st.sampled_from(["pat", "svc", "tmp"])


@given(kinds)
def test_a_secret_tells_what_it_is(kind: SecretKind) -> None:
    """Its beginning names its kind, a scanner finds it by one expression, and its checksum is right."""
    secret = make_secret(kind)
    assert re.fullmatch(rf"ent_{kind}_[0-9A-Za-z]{{36}}", secret)
    assert is_secret(secret)
    assert make_secret(kind) != secret


def test_the_form_stays() -> None:
    """A secret that was made by an earlier version is one for ever."""
    assert is_secret(KNOWN)


@given(kinds, st.integers(8, 43), st.sampled_from(ALPHABET))
def test_a_mistyped_secret_is_none(kind: SecretKind, position: int, character: str) -> None:
    """One wrong character anywhere is seen without asking anybody."""
    secret = make_secret(kind)
    changed = secret[:position] + character + secret[position + 1 :]
    assert is_secret(changed) is (changed == secret)


@given(st.text())
def test_no_other_text_is_a_secret(text: str) -> None:
    """What people choose as a password is not taken for one."""
    assert not is_secret(text)
    assert not is_secret(f"ent_pat_{text}")


@pytest.mark.parametrize(
    "text", ["", KNOWN[:-1], KNOWN + "0", KNOWN.upper(), KNOWN.replace("svc", "pat"), KNOWN + "\n", f" {KNOWN}"]
)
def test_nearly_a_secret_is_none(text: str) -> None:
    """Shorter, longer, of another kind or with something around it."""
    assert not is_secret(text)


@given(kinds)
def test_little_is_kept(kind: SecretKind) -> None:
    """A fingerprint that nobody can turn back, and a hint of the beginning and four characters of the checksum."""
    secret = make_secret(kind)
    assert fingerprint(secret) == hashlib.sha256(secret.encode()).hexdigest()
    assert hint_of(secret) == f"ent_{kind}_...{secret[-4:]}"


@pytest.mark.parametrize("name", ["a", "2026-11", "CI of acme/app", "x" * 63, "a.b_c@d:e+f"])
def test_names_of_secrets(name: str) -> None:
    """Letters, digits and what people put between them."""
    assert require_secret_name(name) == name


@pytest.mark.parametrize("name", ["", " a", "a ", "-", "a\nb", "é", "x" * 64, "a\0"])
def test_names_that_are_refused(name: str) -> None:
    """Empty, too long, or with something that lists would not show."""
    with pytest.raises(RequestInvalid) as refused:
        require_secret_name(name)
    assert refused.value.detail["field"] == "name"
