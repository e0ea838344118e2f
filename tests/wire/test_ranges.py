"""Byte ranges of downloads, chunk ranges of uploads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.wire.ranges import (
    Unsatisfiable,
    parse_chunk_range,
    parse_range,
    render_received,
)


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=0-99", 10, (0, 10)),
        ("bytes=5-", 10, (5, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        (" bytes = 2 - 3 ", 10, (2, 4)),
        # Tried in all ways to share the blanks, it would take minutes.
        pytest.param("bytes=" + " " * 130_000 + "x", 10, None, id="blanks"),
        pytest.param("bytes=1" + " " * 130_000 + "x", 10, None, id="blanks before a dash"),
        ("bytes=\u0662-\u0663", 10, None),
        ("", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,4-5", 10, None),
        ("lines=0-1", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=0-" + "9" * 19, 10, None),
    ],
)
def test_ranges_of_downloads(header: str, size: int, expected: tuple[int, int] | None) -> None:
    """First and last are inclusive on the wire; several ranges and other units mean everything."""
    assert parse_range(header, size) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=10-11", 10), ("bytes=3-2", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)],
)
def test_ranges_that_cannot_be_satisfied(header: str, size: int) -> None:
    """Beyond the end, backwards, or of nothing."""
    with pytest.raises(Unsatisfiable):
        parse_range(header, size)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_a_satisfied_range_is_what_python_slices(first: int, last: int, size: int) -> None:
    """Whatever is answered, it is the slice that the header asks for."""
    content = bytes(range(size))
    if first >= size or last < first:
        with pytest.raises(Unsatisfiable):
            parse_range(f"bytes={first}-{last}", size)
        return
    start, stop = parse_range(f"bytes={first}-{last}", size) or (0, 0)
    assert content[start:stop] == content[first : last + 1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [("0-0", (0, 1)), ("5-9", (5, 10)), ("bytes 5-9/10", (5, 10)), ("bytes 5-9/*", (5, 10)), (" 0-4 ", (0, 5))],
)
def test_ranges_of_chunks(header: str, expected: tuple[int, int]) -> None:
    """The form of the specification, and that of RFC 9110."""
    assert parse_chunk_range(header) == expected


@pytest.mark.parametrize(
    "header", ["", "-", "0-", "-5", "5-4", "a-b", "bytes=0-4", "0-4/x", "0-" + "9" * 19, "0-4,5-6"]
)
def test_ranges_that_are_none(header: str) -> None:
    """A chunk whose place cannot be read is RequestInvalid."""
    with pytest.raises(RequestInvalid):
        parse_chunk_range(header)


@given(st.integers(1, 10**17), st.integers(0, 10**6))
def test_chunk_ranges_round_trip(start: int, length: int) -> None:
    """What a client writes for a chunk is where the chunk lies."""
    assert parse_chunk_range(f"{start}-{start + length}") == (start, start + length + 1)


@pytest.mark.parametrize(("end", "expected"), [(0, "0-0"), (1, "0-0"), (10, "0-9")])
def test_what_was_received(end: int, expected: str) -> None:
    """The last byte is inclusive, and nothing yet is written as clients expect it."""
    assert render_received(end) == expected
