"""Secrets that are read back: only by this registry, and only for what they were sealed for."""

from __future__ import annotations

import pytest

from entrepot.core.sealed import seal, unseal

KEY, OTHER = b"k" * 32, b"o" * 32


def test_what_was_sealed_is_read_back() -> None:
    """The text comes back, two sealings differ, and nothing stays nothing."""
    first, second = seal(KEY, "a", "text\u00e9"), seal(KEY, "a", "text\u00e9")
    assert first != second
    assert [unseal(KEY, "a", sealed) for sealed in (first, second, "")] == ["text\u00e9", "text\u00e9", ""]
    assert seal(KEY, "a", "") == ""


@pytest.mark.parametrize(
    "spoil", [lambda s: s[:-4] + "AAAA", lambda s: s[:8], lambda _: "*", lambda _: "\u00e9", lambda _: "AA"]
)
def test_what_was_not_sealed_here(spoil: object) -> None:
    """Changed, cut and foreign texts, those for another purpose and by another key are nobody's."""
    sealed = seal(KEY, "a", "text")
    assert callable(spoil)
    assert unseal(KEY, "a", spoil(sealed)) is None
    assert unseal(KEY, "b", sealed) is None
    assert unseal(OTHER, "a", sealed) is None
