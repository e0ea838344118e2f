"""What a secret may be used for: scopes as people write them, and the ceiling that they make.

| scope | admits |
|---|---|
| `repository:acme/app:pull,push` | these of `pull`, `push`, `delete`, on a repository or on those of a pattern |
| `pull`, `push`, `delete` | the same on every repository |
| `admin` | everything that the account may do |

Without scopes, a secret admits all that its account may do, except to administer accounts and their secrets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from entrepot.domain.access import ADMITS, Action
from entrepot.domain.errors import NameInvalid, RequestInvalid
from entrepot.domain.names import parse_repository_name
from entrepot.domain.patterns import RESOURCE_PATTERN, is_pattern, require_pattern

Ceiling = dict[str, frozenset[Action]]
EVERYTHING: Final = "**"
ADMIN_SCOPE: Final = "admin"
MOST_SCOPES: Final = 50
WORDS: Final = ("pull", "push", "delete")
SCOPE: Final = re.compile(r"repository:([^:]+):([a-z]+(?:,[a-z]+)*)")
UNSCOPED: Final = frozenset(Action) - {Action.ADMIN}


def ceiling_of_scopes(scopes: Sequence[str]) -> Ceiling:
    """What scopes admit, by resource or pattern. Raises RequestInvalid with the field and what is allowed."""
    if len(scopes) > MOST_SCOPES:
        raise RequestInvalid(f"a secret has at most {MOST_SCOPES} scopes", field="scopes")
    if not scopes:
        return {EVERYTHING: UNSCOPED}
    ceiling: Ceiling = {}
    for number, scope in enumerate(scopes):
        resource, admitted = _read(scope, f"scopes[{number}]")
        ceiling[resource] = ceiling.get(resource, frozenset()) | admitted
    return ceiling


def _read(scope: str, field: str) -> tuple[str, frozenset[Action]]:
    if scope == ADMIN_SCOPE:
        return EVERYTHING, frozenset(Action)
    if scope in WORDS:
        # Whoever pulls everywhere may as well ask what there is.
        return EVERYTHING, ADMITS[scope] | ({Action.CATALOG} if scope == "pull" else frozenset())
    match = SCOPE.fullmatch(scope)
    words = match[2].split(",") if match else []
    if match is None or not set(words) <= set(WORDS):
        raise RequestInvalid(
            "a scope is pull, push, delete, admin, or repository:NAME:ACTIONS such as repository:acme/app:pull,push",
            field=field,
            got=scope[:300],
        )
    return _resource(match[1], field), frozenset[Action]().union(*(ADMITS[word] for word in words))


def _resource(name: str, field: str) -> str:
    if is_pattern(name):
        if "/" not in name and "**" not in name:
            raise RequestInvalid(
                "a pattern of repositories begins with their namespace, such as acme/*; ** is every repository",
                field=field,
                got=name[:300],
            )
        return require_pattern(name, RESOURCE_PATTERN, field)
    try:
        return parse_repository_name(name)
    except NameInvalid as error:
        raise RequestInvalid(error.message, field=field, got=name[:300]) from None
