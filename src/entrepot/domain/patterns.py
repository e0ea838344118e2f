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
_TOKEN: Final = re.compile(r"\*\*|.", re.DOTALL)


def is_pattern(text: str) -> bool:
    """Whether a text stands for more than itself."""
    return "*" in text or "?" in text


@lru_cache(maxsize=16384)
def matches(pattern: str, name: str) -> bool:
    """Whether a name, all of it, is one that the pattern stands for."""
    return _compiled(pattern).fits(name)


def literal_prefix(pattern: str) -> str:
    """What every name that fits begins with."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def require_pattern(text: str, grammar: re.Pattern[str], field: str) -> str:
    """A text that may be a pattern. Raises RequestInvalid with the field and what is allowed."""
    # Four are what ECR's policies have as well; three in a row would be read as two and one.
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


class _Matcher:
    """A pattern as a set of places in it, one bit each, that every character of a name moves on.

    A regular expression would go back and try again: with four stars, seconds for a name that nearly fits.
    """

    __slots__ = ("_any", "_literals", "_one", "_places", "_within")

    def __init__(self, pattern: str) -> None:
        self._literals: dict[str, int] = {}
        self._any = self._within = self._one = 0
        tokens = _TOKEN.findall(pattern)
        self._places = len(tokens)
        for place, token in enumerate(tokens):
            bit = 1 << place
            match token:
                case "**":
                    self._any |= bit
                case "*":
                    self._within |= bit
                case "?":
                    self._one |= bit
                case _:
                    self._literals[token] = self._literals.get(token, 0) | bit

    def fits(self, name: str) -> bool:
        stars = self._any | self._within
        places = 1 | (1 & stars) << 1
        for character in name:
            stay, move = places & self._any, places & self._literals.get(character, 0)
            if character != "/":
                stay, move = places & stars, move | (places & self._one)
            places = stay | move << 1
            # A star may stand for nothing.
            places |= (places & stars) << 1
            if not places:
                return False
        return bool(places >> self._places & 1)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> _Matcher:
    return _Matcher(pattern)
