"""Places: the names of namespaces and repositories that the resource of a grant, or of a question, is about."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from entrepot.domain.errors import NameInvalid, RequestInvalid, TagInvalid
from entrepot.domain.names import parse_namespace_name, parse_repository_name, parse_tag
from entrepot.domain.patterns import RESOURCE_PATTERN, contains, is_pattern, matches, overlap, require_pattern

# Patterns of which each name of the place fits one, and none is about namespaces as well as about repositories.
Place = tuple[str, ...]
ALL: Final = "**"
ONE: Final = 'a namespace (acme), a repository (acme/app), a tag (acme/app:v1), or "" for the registry'


def parse_spot(text: str) -> str:
    """One place that an action may be about, as it was written. Raises RequestInvalid."""
    name, colon, tag = text.partition(":")
    if is_pattern(text):
        raise RequestInvalid(
            "a pattern is about many places: ask who can (/access/able, entrepot who-can), or name one of them: " + ONE,
            field="resource",
            got=text,
        )
    try:
        _require_name(name, colon)
        if colon:
            parse_tag(tag)
    except (NameInvalid, TagInvalid) as error:
        raise _no_place(text, f"{error}; this takes {ONE}") from None
    return text


def parse_range(text: str) -> str:
    """One place, or a pattern of them, perhaps with a tag. Raises RequestInvalid."""
    name, colon, tag = text.partition(":")
    if not is_pattern(name):
        if is_pattern(tag):
            raise _no_place(text, "a tag here is one tag, not a pattern: leave it away to hear of grants for any tags")
        return parse_spot(text)
    require_pattern(name, RESOURCE_PATTERN, "resource")
    if colon:
        try:
            parse_tag(tag)
        except TagInvalid as error:
            raise _no_place(text, str(error)) from None
    return text


@lru_cache(maxsize=16384)
def place_of(resource: str) -> Place:
    """Everything that a grant on a resource is about: what it names, and what is below the namespaces that it names."""
    names = _apart(resource or ALL)
    return (*names, *(f"{name}/**" for name in names if "/" not in name))


def meet(one: Place, other: Place) -> bool:
    """Whether two places have a name in common."""
    return any(overlap(mine, theirs) for mine in one for theirs in other)


def is_within(inner: Place, outer: Place) -> bool:
    """Whether a place is part of another; a no where that is not plain to see."""
    return all(any(contains(theirs, mine) for theirs in outer) for mine in inner)


def touches(place: Place, namespace: str) -> bool:
    """Whether a namespace, or something in it, is part of a place."""
    return any(matches(pattern.partition("/")[0], namespace) for pattern in place)


def _require_name(name: str, colon: str) -> None:
    if "/" in name or colon:
        # A name of one part is a repository of `library` for container clients; here it is a namespace.
        if "/" not in name:
            raise NameInvalid("a tag is one of a repository")
        parse_repository_name(name)
    elif name:
        parse_namespace_name(name)


def _apart(pattern: str) -> Place:
    head, stars, tail = pattern.partition(ALL)
    if not stars or "/" in head:
        return (pattern,)
    return (*_apart(f"{head}*{tail}"), f"{head}*/**{tail}")


def _no_place(text: str, message: str) -> RequestInvalid:
    return RequestInvalid(message, field="resource", got=text[:255])
