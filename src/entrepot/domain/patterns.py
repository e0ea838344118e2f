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


@lru_cache(maxsize=16384)
def overlap(one: str, other: str) -> bool:
    """Whether some name fits both patterns."""
    if not is_pattern(one):
        return matches(other, one) if is_pattern(other) else one == other
    return _compiled(one).meets(other)


@lru_cache(maxsize=16384)
def contains(outer: str, inner: str) -> bool:
    """Whether all that fits the inner pattern fits the outer one; a no for odd ones that do (`?*` in `*?`)."""
    if not is_pattern(inner):
        return matches(outer, inner)
    return _compiled(outer).holds(inner)


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

    def meets(self, pattern: str) -> bool:
        """Whether a name that fits the other pattern fits this one: its parts move on as anything they may be."""
        within = self._one | self._every_literal(but="/")
        places = self._begin()
        for token in _TOKEN.findall(pattern):
            match token:
                case "**":
                    places = self._spread(places, self._one | self._every_literal())
                case "*":
                    places = self._spread(places, within)
                case "?":
                    places = self._moved(places, self._any | self._within, within)
                case _:
                    places = self._read(places, token)
        return bool(places >> self._places & 1)

    def holds(self, pattern: str) -> bool:
        """Whether all names that fit the other pattern fit this one: its parts move on as whatever they may be."""
        places = self._begin()
        for token in _TOKEN.findall(pattern):
            match token:
                case "**":
                    places = self._moved(places, self._any, 0)
                case "*":
                    places = self._moved(places, self._any | self._within, 0)
                case "?":
                    places = self._moved(places, self._any | self._within, self._one)
                case _:
                    places = self._read(places, token)
        return bool(places >> self._places & 1)

    def _begin(self) -> int:
        return 1 | (1 & (self._any | self._within)) << 1

    def _read(self, places: int, character: str) -> int:
        move = self._literals.get(character, 0)
        if character == "/":
            return self._moved(places, self._any, move)
        return self._moved(places, self._any | self._within, move | self._one)

    def _moved(self, places: int, stay: int, move: int) -> int:
        places = places & stay | (places & move) << 1
        return places | (places & (self._any | self._within)) << 1

    def _spread(self, places: int, move: int) -> int:
        while (wider := places | self._moved(places, self._any | self._within, move)) != places:
            places = wider
        return places

    def _every_literal(self, but: str = "") -> int:
        found = 0
        for character, places in self._literals.items():
            found |= places if character != but else 0
        return found


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> _Matcher:
    return _Matcher(pattern)
