"""Who may do what: identities, actions, roles, scopes, and the policy that decisions are made over."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, Literal

import msgspec

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
    REPOSITORY_CREATE = "repository.create"
    REPOSITORY_ADMIN = "repository.admin"
    NAMESPACE_CREATE = "namespace.create"
    NAMESPACE_ADMIN = "namespace.admin"
    CATALOG = "catalog"
    ADMIN = "admin"


class Role(IntEnum):
    """What a grant gives on a namespace or repository; each role has what the one before it has."""

    NONE = 0
    READER = 1
    WRITER = 2
    OWNER = 3


ROLE_OF_NAME: Final = {"reader": Role.READER, "writer": Role.WRITER, "owner": Role.OWNER}

NEEDS: Final[dict[Action, Role]] = {
    Action.PULL: Role.READER,
    Action.PUSH: Role.WRITER,
    Action.TAG_CREATE: Role.WRITER,
    Action.TAG_MOVE: Role.WRITER,
    Action.REPOSITORY_CREATE: Role.WRITER,
    Action.DELETE: Role.OWNER,
    Action.TAG_DELETE: Role.OWNER,
    Action.REPOSITORY_ADMIN: Role.OWNER,
    Action.NAMESPACE_ADMIN: Role.OWNER,
}

# What a scope word of the Docker token protocol admits; the finer action is judged at the request.
ADMITS: Final[dict[str, frozenset[Action]]] = {
    "pull": frozenset({Action.PULL}),
    "push": frozenset({Action.PUSH, Action.TAG_CREATE, Action.TAG_MOVE, Action.REPOSITORY_CREATE}),
    "delete": frozenset({Action.DELETE, Action.TAG_DELETE}),
    "*": frozenset({Action.CATALOG, *NEEDS}),
}
SCOPE_WORD: Final = {action: word for word, actions in ADMITS.items() if word != "*" for action in actions}


class Identity(msgspec.Struct, frozen=True):
    """Somebody with an account, as authentication found them."""

    account: int
    name: str


class Caller(msgspec.Struct, frozen=True):
    """Whoever sent a request. `identity` is None for anonymous; `ceiling` is None without a token.

    A ceiling maps a resource (`acme/app`, or `catalog`) to what the token admits there.
    """

    identity: Identity | None
    ceiling: dict[str, frozenset[Action]] | None

    def is_admitted(self, action: Action, resource: str) -> bool:
        """Whether the token, if there is one, covers the action."""
        return self.ceiling is None or action in self.ceiling.get(resource, frozenset())


ANONYMOUS: Final = Caller(None, None)


class AccountPolicy(msgspec.Struct, frozen=True):
    """What decisions need of an account. Credentials made before `credentials_since` (microseconds) are void."""

    name: str
    is_admin: bool
    is_disabled: bool
    credentials_since: int


class NamespacePolicy(msgspec.Struct, frozen=True):
    """What decisions need of a namespace; `owner` is an account or None."""

    owner: int | None
    visibility: Visibility


class PolicySnapshot(msgspec.Struct, frozen=True):
    """Everything that decisions depend on, as of one version; replaced whole, never changed.

    `repositories` holds only those whose visibility differs from their namespace's default;
    `grants` maps an account to resources (`acme` or `acme/app`) and roles.
    """

    version: int
    accounts: dict[int, AccountPolicy]
    namespaces: dict[str, NamespacePolicy]
    repositories: dict[str, Visibility]
    grants: dict[int, dict[str, Role]]

    def find_account(self, account: int) -> AccountPolicy | None:
        """The account if it may act at all."""
        policy = self.accounts.get(account)
        return None if policy is None or policy.is_disabled else policy


EMPTY_POLICY: Final = PolicySnapshot(-1, {}, {}, {}, {})


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
