"""Accept with quality values, and entity tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.media_types import DOCKER_MANIFEST, IMAGE_MANIFEST
from entrepot.wire import conditional
from entrepot.wire.conditional import accepts, matches


@pytest.mark.parametrize(
    ("header", "is_admitted"),
    [
        ("", True),
        ("  ", True),
        ("*/*", True),
        ("application/*", True),
        (IMAGE_MANIFEST, True),
        (IMAGE_MANIFEST.upper(), True),
        (DOCKER_MANIFEST, False),
        (f"{DOCKER_MANIFEST}, {IMAGE_MANIFEST}", True),
        (f"{DOCKER_MANIFEST},*/*;q=0.1", True),
        (f"{IMAGE_MANIFEST};q=0", False),
        (f"{IMAGE_MANIFEST};q=0, */*", False),
        (f"*/*;q=0, {IMAGE_MANIFEST}", True),
        ("application/*;q=0, */*", False),
        (f"{IMAGE_MANIFEST}; charset=utf-8; q=0.5", True),
        (f"{IMAGE_MANIFEST};q=much", False),
        (f"{IMAGE_MANIFEST};q=nan", False),
        ("text/*", False),
        ("text/html, application/xhtml+xml", False),
        (",,;q=1", False),
        ("x" * 60_000 + ", */*", True),
        ("x" * 60_000, False),
        ("x/y," * 127 + "*/*", True),
        ("," * 120_000 + "*/*", False),
        ("*/*" + ";x" * 60_000, True),
    ],
)
def test_accept(header: str, is_admitted: bool) -> None:
    """The most specific range decides, whatever the order, and a quality of zero refuses."""
    assert accepts(header, IMAGE_MANIFEST) is is_admitted


def test_long_headers_are_not_remembered() -> None:
    """Whoever sends ever new ones fills no memory."""
    before = conditional._known.cache_info().currsize
    for number in range(20):
        assert accepts(f"{number}{'x' * 60_000}, */*", IMAGE_MANIFEST)
    assert conditional._known.cache_info().currsize == before
    assert accepts(f"{before}/x, */*", IMAGE_MANIFEST)
    assert conditional._known.cache_info().currsize == before + 1


@given(st.text(st.sampled_from("a/*;q=0.1,- "), max_size=30))
def test_any_accept_header_has_an_answer(header: str) -> None:
    """No header fails, and adding a range that admits everything by name admits."""
    assert accepts(header, "a/b") in {True, False}
    assert accepts(f"a/b,{header}", "a/b") is True


@pytest.mark.parametrize(
    ("header", "is_match"),
    [
        ("", False),
        ("*", True),
        (" * ", True),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b"', False),
        ("a", False),
        ('"A"', False),
    ],
)
def test_entity_tags(header: str, is_match: bool) -> None:
    """Compared weakly, one of a list or any."""
    assert matches(header, '"a"') is is_match
