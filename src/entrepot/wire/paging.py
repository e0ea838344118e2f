"""Paging by `n` and `last`, and the Link header (RFC 8288)."""

from __future__ import annotations

from urllib.parse import quote

from entrepot.domain.errors import RequestInvalid
from entrepot.wire.bodies import MOST_DIGITS
from entrepot.wire.messages import Request

DEFAULT_ENTRIES = 1000
MOST_ENTRIES = 10_000


def parse_limit(request: Request, *, default: int = DEFAULT_ENTRIES) -> int:
    """How many entries `n` asks for; more than the most are answered with the most and a Link.

    Raises RequestInvalid.
    """
    value = request.query_value("n")
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > MOST_DIGITS:
        raise RequestInvalid("n is the number of entries wanted, zero or more", n=value[:40])
    return min(int(value), MOST_ENTRIES)


def render_link(path: str, pairs: list[tuple[str, str]]) -> str:
    """The Link header of a page that has a next one."""
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return f'<{quote(path)}?{query}>; rel="next"'
