"""Paging: the limit asked for, and the link to the next page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.wire.messages import Message, Request
from entrepot.wire.paging import DEFAULT_ENTRIES, MOST_ENTRIES, parse_limit, render_link


async def nothing() -> Message:
    """A body that nobody reads."""
    return {"type": "http.disconnect"}


def request(query: str) -> Request:
    """A request with a query string."""
    return Request({"method": "GET", "path": "/", "query_string": query.encode(), "headers": []}, nothing)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", DEFAULT_ENTRIES),
        ("n=0", 0),
        ("n=7", 7),
        ("n=007", 7),
        ("n=7&n=8", 7),
        ("n=999999999999999999", MOST_ENTRIES),
        ("last=x", DEFAULT_ENTRIES),
    ],
)
def test_limits(query: str, expected: int) -> None:
    """The number asked for, bounded, else the default."""
    assert parse_limit(request(query)) == expected


@pytest.mark.parametrize(
    "query", ["n=", "n=-1", "n=x", "n=1.5", "n=%C2%B2", "n=" + "9" * 19, "n=%00", "n=%FF", "n=\xff"]
)
def test_limits_that_are_none(query: str) -> None:
    """What is no number is RequestInvalid, and so is a query that cannot be read."""
    with pytest.raises(RequestInvalid):
        parse_limit(request(query))


def test_a_query_of_too_many_parameters_is_refused() -> None:
    """A thousand are read, more are not."""
    with pytest.raises(RequestInvalid):
        parse_limit(request("&".join(["a=b"] * 1001)))


@given(st.text(max_size=20))
def test_links_carry_any_name(last: str) -> None:
    """What a link carries is read again as it was, and no character leaves its place."""
    if "\0" in last or any("\ud800" <= character <= "\udfff" for character in last):
        return
    link = render_link("/v2/a/tags/list", [("n", "2"), ("last", last)])
    assert link.startswith("</v2/a/tags/list?n=2&last=")
    assert link.endswith('>; rel="next"')
    query = link.partition("?")[2].partition(">")[0]
    assert request(query).query_value("last") == last
