"""Who does what: actions, identities, callers and what their tokens admit, scopes, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

import msgspec

from entrepot.domain.patterns import is_pattern, matches

Visibility = Literal["public", "private"]


class Action(StrEnum):
    """What an endpoint does to a repository, namespace or the registry; decisions are about these words."""

    PING = "ping"
    TOKEN = "token"  # noqa: S105 - the name of an action, not a secret
    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    TAG_CREATE = "tag.create"
    TAG_MOVE = "tag.move"
    TAG_DELETE = "tag.delete"
    SCAN_READ = "scan.read"
    POLICY_WRITE = "policy.write"
    REPOSITORY_CREATE = "repository.create"
    REPOSITORY_ADMIN = "repository.admin"
    NAMESPACE_CREATE = "namespace.create"
    NAMESPACE_ADMIN = "namespace.admin"
    ORGANISATION_READ = "organisation.read"
    ORGANISATION_ADMIN = "organisation.admin"
    CATALOG = "catalog"
    ADMIN = "admin"


_READS: Final = frozenset({Action.PULL, Action.SCAN_READ})
_WRITES: Final = frozenset({Action.PUSH, Action.TAG_CREATE, Action.TAG_MOVE, Action.REPOSITORY_CREATE})
_DELETES: Final = frozenset({Action.DELETE, Action.TAG_DELETE})
_RULES: Final = frozenset({Action.POLICY_WRITE, Action.REPOSITORY_ADMIN, Action.NAMESPACE_ADMIN})

# What a scope word of the Docker token protocol admits; the finer action is judged at the request.
ADMITS: Final[dict[str, frozenset[Action]]] = {
    "pull": _READS,
    "push": _WRITES,
    "delete": _DELETES,
    "*": frozenset({Action.CATALOG}) | _READS | _WRITES | _DELETES | _RULES,
}
SCOPE_WORD: Final = {action: word for word, actions in ADMITS.items() if word != "*" for action in actions}
NOTHING: Final[frozenset[Action]] = frozenset()


class Identity(msgspec.Struct, frozen=True):
    """Somebody with an account, as authentication found them."""

    account: int
    name: str


class Origin(msgspec.Struct, frozen=True):
    """What a request says of itself that grants may depend on: where it came from, when (microseconds), by which door.

    `client` is the name in a client certificate, `listener` the name of the address it came in by; "" where unknown.
    """

    address: str = ""
    now: int = 0
    client: str = ""
    listener: str = ""


UNKNOWN: Final = Origin()
# The listener that is always there, and what stands for one where the command line works on the files by itself.
MAIN: Final = "main"
LOCAL: Final = "local"


class Caller(msgspec.Struct, frozen=True):
    """Whoever sent a request. `identity` is None for anonymous; `ceiling` is None without a token.

    A ceiling maps a resource (`acme/app`, `catalog`, or a pattern) to what the token admits there. `credential` is the
    id of the token or secret that was shown, 0 for a password; `until` is when what was shown ends (microseconds), 0
    for never. `method` is how they proved who they are, empty for anonymous; `is_fresh` says that it was proved by this
    request and not remembered from one before. `since` is the `credentials_since` of the account when its password was
    proved, 0 without a password: where it has moved meanwhile, nothing that lasts is made of that proof.
    """

    identity: Identity | None
    ceiling: Mapping[str, frozenset[Action]] | None
    origin: Origin = UNKNOWN
    credential: int = 0
    until: int = 0
    method: str = ""
    is_fresh: bool = False
    since: int = 0

    def is_admitted(self, action: Action, resource: str) -> bool:
        """Whether the token, if there is one, covers the action."""
        ceiling = self.ceiling
        if ceiling is None or action in ceiling.get(resource, NOTHING):
            return True
        return any(
            action in admitted and is_pattern(pattern) and matches(pattern, resource)
            for pattern, admitted in ceiling.items()
        )


ANONYMOUS: Final = Caller(None, None)


class Decision(msgspec.Struct, frozen=True):
    """The answer to "may they?" with the reasons a person needs when it is no."""

    allowed: bool
    reasons: tuple[str, ...] = ()


ALLOWED: Final = Decision(allowed=True)


def refuse(*reasons: str) -> Decision:
    """A no with its reasons."""
    return Decision(allowed=False, reasons=reasons)


class Scope(msgspec.Struct, frozen=True):
    """One `type:name:actions` of the token protocol, as the client wrote the name."""

    type: str
    name: str
    actions: tuple[str, ...]


def parse_scopes(parameters: list[str]) -> list[Scope]:
    """Scopes from repeated and space-separated `scope` parameters; what is not one is left out.

    A name may itself contain colons (a host with a port), so actions are split from the right and the
    type from the left. Source: Docker "Token Scope Documentation".
    """
    merged: dict[tuple[str, str], dict[str, None]] = {}
    for word in (word for parameter in parameters for word in parameter.split()):
        kind, _, rest = word.partition(":")
        name, colon, actions = rest.rpartition(":")
        if not colon or not name:
            continue
        kind = kind.partition("(")[0]
        wanted = merged.setdefault((kind, name), {})
        wanted.update(dict.fromkeys(action for action in actions.split(",") if action))
    return [Scope(kind, name, tuple(actions)) for (kind, name), actions in merged.items()]
