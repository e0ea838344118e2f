"""The one decision: may this identity do this to that? Pure and synchronous, with reasons."""

from __future__ import annotations

from entrepot.domain.access import (
    ALLOWED,
    NEEDS,
    Action,
    Caller,
    Decision,
    Identity,
    PolicySnapshot,
    Role,
    refuse,
)
from entrepot.domain.errors import Denied
from entrepot.domain.names import RepositoryName


def decide(snapshot: PolicySnapshot, identity: Identity | None, action: Action, resource: str) -> Decision:
    """Judge one action on a repository (`acme/app`), a namespace (`acme`) or, empty, the registry."""
    namespace, _, path = resource.partition("/")
    role = _role(snapshot, identity, namespace, resource)
    needed = NEEDS.get(action, Role.NONE)
    if action is Action.PULL and role < needed and path and _is_public(snapshot, namespace, resource):
        return ALLOWED
    if action is Action.NAMESPACE_CREATE or (
        action in {Action.PUSH, Action.REPOSITORY_CREATE} and namespace not in snapshot.namespaces
    ):
        return _decide_new_namespace(snapshot, identity, namespace)
    if action is Action.ADMIN:
        return ALLOWED if _is_admin(snapshot, identity) else refuse("only instance administrators may do this")
    if role >= needed:
        return ALLOWED
    who = identity.name if identity else "anonymous"
    return refuse(
        f"{action.value} on {resource} needs the role {needed.name.lower()}",
        f"{who} has {role.name.lower() if role else 'no role'} there",
    )


def may(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> bool:
    """Whether both the caller's token and the policy of this moment allow it."""
    return caller.is_admitted(action, resource) and decide(snapshot, caller.identity, action, resource).allowed


def require(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> None:
    """Raise Denied with the reasons unless the policy allows it; tokens are judged at the door."""
    decision = decide(snapshot, caller.identity, action, resource)
    if not decision.allowed:
        raise Denied(f"{action.value} on {resource} is refused", reasons=list(decision.reasons))


def visible_ranges(snapshot: PolicySnapshot, caller: Caller) -> list[str] | None:
    """Prefixes of names (`acme/`, `acme/app`) that may hold something to read; None stands for everything.

    In the order of the names they begin, so that a listing can walk them one after the other.
    """
    identity = caller.identity
    if _is_admin(snapshot, identity):
        return None
    prefixes = {f"{name}/" for name in snapshot.namespaces if _reads_namespace(snapshot, identity, name)}
    granted = snapshot.grants.get(identity.account, {}) if identity and snapshot.find_account(identity.account) else {}
    single = {name for name in granted if "/" in name}
    single.update(name for name, visibility in snapshot.repositories.items() if visibility == "public")
    prefixes.update(name for name in single if f"{RepositoryName(name).namespace}/" not in prefixes)
    return sorted(prefixes)


def is_open(snapshot: PolicySnapshot, namespace: str) -> bool:
    """Whether everybody may read what a namespace does not hide."""
    policy = snapshot.namespaces.get(namespace)
    return policy is not None and policy.visibility == "public"


def _reads_namespace(snapshot: PolicySnapshot, identity: Identity | None, name: str) -> bool:
    return snapshot.namespaces[name].visibility == "public" or _role(snapshot, identity, name, name) >= Role.READER


def _is_admin(snapshot: PolicySnapshot, identity: Identity | None) -> bool:
    account = snapshot.find_account(identity.account) if identity else None
    return account is not None and account.is_admin


def _is_public(snapshot: PolicySnapshot, namespace: str, resource: str) -> bool:
    policy = snapshot.namespaces.get(namespace)
    if policy is None:
        return False
    return snapshot.repositories.get(resource, policy.visibility) == "public"


def _role(snapshot: PolicySnapshot, identity: Identity | None, namespace: str, resource: str) -> Role:
    account = snapshot.find_account(identity.account) if identity else None
    if identity is None or account is None:
        return Role.NONE
    if account.is_admin:
        return Role.OWNER
    policy = snapshot.namespaces.get(namespace)
    if policy is None:
        return Role.OWNER if namespace == account.name else Role.NONE
    if policy.owner == identity.account:
        return Role.OWNER
    granted = snapshot.grants.get(identity.account)
    if not granted:
        return Role.NONE
    return max(granted.get(namespace, Role.NONE), granted.get(resource, Role.NONE))


def _decide_new_namespace(snapshot: PolicySnapshot, identity: Identity | None, namespace: str) -> Decision:
    account = snapshot.find_account(identity.account) if identity else None
    if account is not None and (account.is_admin or account.name == namespace):
        return ALLOWED
    return refuse(
        f"you have no role in the namespace {namespace}",
        f"an administrator can make it with: entrepot namespace create {namespace}",
    )
