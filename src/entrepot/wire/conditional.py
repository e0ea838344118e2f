"""Content negotiation and conditional requests (RFC 9110, sections 12.5.1 and 13.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# Clients send the same few, of some hundred characters; others are not worth remembering, and would fill the memory.
LONGEST_KNOWN: Final = 2048
# Of a list of a hundred thousand, which no client sends, reading all would keep a worker for a tenth of a second.
MOST_LISTED: Final = 128
MOST_PARAMETERS: Final = 16


def accepts(header: str, media_type: str) -> bool:
    """Whether an Accept header admits a media type; no header admits everything.

    The most specific range decides, and `q=0` refuses.
    """
    return (_known if len(header) <= LONGEST_KNOWN else _accepts)(header, media_type)


def _accepts(header: str, media_type: str) -> bool:
    if not header.strip():
        return True
    family = media_type.partition("/")[0]
    ranks = {media_type: 3, f"{family}/*": 2, "*/*": 1}
    best, quality = 0, 0.0
    for part in header.lower().split(",", MOST_LISTED):
        range_, *parameters = (piece.strip() for piece in part.split(";", MOST_PARAMETERS))
        rank = ranks.get(range_, 0)
        if rank > best:
            best, quality = rank, _quality(parameters)
    return best > 0 and quality > 0


_known = lru_cache(maxsize=4096)(_accepts)


def matches(header: str, entity_tag: str) -> bool:
    """Whether If-None-Match or If-Match names an entity tag (weak comparison), or is `*`."""
    if header.strip() == "*":
        return True
    candidates = header.split(",", MOST_LISTED)
    return any(candidate.strip().removeprefix("W/") == entity_tag for candidate in candidates)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
