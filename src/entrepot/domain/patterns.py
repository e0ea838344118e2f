"""Patterns of names in grants and scopes: `*` within a segment, `**` across segments, `?` one character."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from entrepot.domain.errors import RequestInvalid

LONGEST_PATTERN: Final = 255
MOST_WILDCARDS: Final = 4
RESOURCE_PATTERN: Final = re.compile(r"[a-z0-9._*?/-]+")
TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9._*?-]+")
_TOKEN: Final = re.compile(r"\*\*|\*|\?|[^*?]+")
_MEANINGS: Final = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_pattern(text: str) -> bool:
    """Whether a text stands for more than itself."""
    return "*" in text or "?" in text


def matches(pattern: str, name: str) -> bool:
    """Whether a name, all of it, is one that the pattern stands for."""
    return _compiled(pattern).fullmatch(name) is not None


def literal_prefix(pattern: str) -> str:
    """What every name that fits begins with."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def require_pattern(text: str, grammar: re.Pattern[str], field: str) -> str:
    """A text that may be a pattern. Raises RequestInvalid with the field and what is allowed."""
    # Every wildcard multiplies what a name that nearly fits costs: four are what ECR's policies have as well.
    if len(text) > LONGEST_PATTERN or not grammar.fullmatch(text) or "***" in text:
        raise RequestInvalid(
            f"a pattern is at most {LONGEST_PATTERN} characters of a name; * stands for what is within a part, "
            "** for anything, ? for one character",
            field=field,
            got=text[:LONGEST_PATTERN],
        )
    if len(re.findall(r"\*+", text)) > MOST_WILDCARDS:
        raise RequestInvalid(f"a pattern has at most {MOST_WILDCARDS} stars", field=field, got=text)
    return text


@lru_cache(maxsize=16384)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_MEANINGS.get(part) or re.escape(part) for part in _TOKEN.findall(pattern)), re.DOTALL)
