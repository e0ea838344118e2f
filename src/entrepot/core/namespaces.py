"""Namespaces, and whether they and their repositories are public: made, found and changed."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from entrepot.core.decide import decide, is_elsewhere, require, visible_namespaces, visible_ranges
from entrepot.core.grants import require_listeners, require_own
from entrepot.core.listing import Page
from entrepot.core.registry import Act, Registry
from entrepot.core.repositories import unknown_name
from entrepot.domain.access import Action, Caller, Visibility
from entrepot.domain.errors import AlreadyExists, Denied, InsufficientScope, NameUnknown, Unmet
from entrepot.domain.events import Event
from entrepot.domain.grants import ROLES
from entrepot.domain.names import RepositoryName, require_free_name
from entrepot.domain.policy import PolicySnapshot
from entrepot.metadata import accounts, events, namespaces, policy, repositories
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.namespaces import NamespaceRow
from entrepot.metadata.repositories import RepositoryRow
from entrepot.ports.database import Tx

MOST_UNTAGGED_DAYS: Final = 36_500


class NewNamespace(msgspec.Struct, frozen=True):
    """A namespace to be made. `owner` is a user or an organisation.

    Without one it belongs to the user of its name, else to the organisation of whoever makes it whose name begins it
    (`acme-prod`), else to whoever makes it.
    """

    name: str
    visibility: Visibility = "private"
    owner: str | UnsetType = UNSET


class NamespaceState(msgspec.Struct, frozen=True):
    """What a namespace is to be."""

    owner: AccountRow | None
    visibility: Visibility


class NamespaceChange(msgspec.Struct, frozen=True):
    """What is to be different of a namespace; an `owner` of None stands for nobody, no `listeners` for all."""

    visibility: Visibility | UnsetType = UNSET
    owner: str | UnsetType | None = UNSET
    listeners: tuple[str, ...] | UnsetType = UNSET
    away_pulls: bool | UnsetType = UNSET
    untagged_days: int | UnsetType = UNSET


def is_visible(snapshot: PolicySnapshot, caller: Caller, name: str) -> bool:
    """Whether the caller may know of a namespace: something in it may be read by them."""
    if name not in snapshot.namespaces or is_elsewhere(snapshot, name, caller.origin):
        return False
    return _sees(visible_ranges(snapshot, caller), f"{name}/")


def _sees(ranges: list[str] | None, beginning: str) -> bool:
    if ranges is None or "" in ranges:
        return True
    return any(
        prefix.startswith(beginning) or (prefix.endswith("*") and beginning.startswith(prefix[:-1]))
        for prefix in ranges
    )


def unknown_namespace(name: str) -> NameUnknown:
    """The same words whether a namespace is not there or not for this caller."""
    return NameUnknown("namespace name not known to registry", name=name)


async def list_namespaces(registry: Registry, caller: Caller, page: Page) -> tuple[list[NamespaceRow], str | None]:
    """Namespaces that the caller may know of, by name, and after which name the next page begins."""
    snapshot = registry.policy.snapshot
    ranges = registry.policy.visible_ranges(caller)
    known = visible_namespaces(snapshot, ranges)
    names = sorted(name for name in known if name > page.after and not is_elsewhere(snapshot, name, caller.origin))
    wanted = names[: page.limit]
    rows = await registry.database.read(lambda tx: namespaces.list_named_namespaces(tx, wanted))
    return rows, wanted[-1] if len(names) > page.limit else None


async def get_namespace(registry: Registry, name: str) -> NamespaceRow:
    """A namespace. Raises NameUnknown."""
    return await registry.database.read(lambda tx: _get(tx, name))


async def create_namespace(registry: Registry, caller: Caller, new: NewNamespace) -> NamespaceRow:
    """Make a namespace. Raises Denied, InsufficientScope, NameInvalid, Unmet, AlreadyExists."""
    act = registry.act(caller)
    require_free_name(new.name)
    require(caller, act.snapshot, Action.NAMESPACE_CREATE, new.name)
    if not caller.is_admitted(Action.NAMESPACE_CREATE, new.name):
        raise InsufficientScope("a token does not do this; send the user name and password")

    async def record(tx: Tx) -> NamespaceRow:
        owner = await _owner_of_new(tx, act, new)
        if not await namespaces.add_namespace(tx, new.name, owner, new.visibility, act.now):
            raise AlreadyExists("there is a namespace of this name", namespace=new.name)
        await policy.bump_policy_version(tx)
        row = await _get(tx, new.name)
        detail: dict[str, object] = {"visibility": row.visibility, "owner": row.owner}
        await events.add_event(tx, Event("namespace.created", act.actor, new.name, detail), act.now, act.by)
        return row

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def change_namespace(registry: Registry, caller: Caller, name: str, change: NamespaceChange) -> NamespaceRow:
    """Change the owner, visibility or listeners of a namespace, its pulls without the database, or its untagged days.

    Raises NameUnknown, Denied, Unmet.
    """
    act = registry.act(caller)
    require(caller, act.snapshot, Action.NAMESPACE_ADMIN, name)
    if change.listeners is not UNSET:
        require_listeners(act, change.listeners, "listeners")

    async def record(tx: Tx) -> NamespaceRow:
        if change.listeners is not UNSET:
            await put_listeners(tx, act, name, change.listeners)
        if change.away_pulls is not UNSET:
            await _put_away_pulls(tx, act, name, are_served=change.away_pulls)
        if change.untagged_days is not UNSET:
            await _put_untagged_days(tx, act, name, change.untagged_days)
        old = await _get(tx, name)
        owner = old.owner if change.owner is UNSET else change.owner
        visibility = old.visibility if change.visibility is UNSET else change.visibility
        if (owner, visibility) == (old.owner, old.visibility):
            return old
        account = None
        if owner != old.owner:
            # Whoever may only administer would otherwise give themselves the rest.
            require_own(act, name, ROLES["owner"])
        if owner is not None:
            is_kept = owner == old.owner
            account = await (accounts.find_account(tx, owner) if is_kept else get_owner(tx, act, owner, "owner"))
        await put_owner(tx, act, old, NamespaceState(account, visibility))
        return await _get(tx, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def _put_away_pulls(tx: Tx, act: Act, name: str, *, are_served: bool) -> None:
    old = (await _get(tx, name)).away_pulls
    if are_served == old:
        return
    await namespaces.set_away_pulls(tx, name, are_served=are_served)
    await policy.bump_policy_version(tx)
    detail: dict[str, object] = {"away_pulls": [old, are_served]}
    await events.add_event(tx, Event("namespace.changed", act.actor, name, detail), act.now, act.by)


async def _put_untagged_days(tx: Tx, act: Act, name: str, days: int) -> None:
    old = (await _get(tx, name)).untagged_days
    if days == old:
        return
    await namespaces.set_untagged_days(tx, name, days)
    detail: dict[str, object] = {"untagged_days": [old, days]}
    await events.add_event(tx, Event("namespace.changed", act.actor, name, detail), act.now, act.by)


async def put_listeners(tx: Tx, act: Act, name: str, listeners: tuple[str, ...]) -> None:
    """Change on which listeners a namespace answers, and tell. Raises NameUnknown."""
    old, new = (await _get(tx, name)).listeners, tuple(sorted(set(listeners)))
    if new == old:
        return
    await namespaces.set_listeners(tx, name, new)
    await policy.bump_policy_version(tx)
    detail: dict[str, object] = {"listeners": [list(old), list(new)]}
    await events.add_event(tx, Event("namespace.changed", act.actor, name, detail), act.now, act.by)


async def put_owner(tx: Tx, act: Act, old: NamespaceRow, new: NamespaceState) -> None:
    """Change the row of a namespace, and tell."""
    owner = new.owner
    await namespaces.set_namespace(tx, old.name, owner.id if owner else None, new.visibility)
    await policy.bump_policy_version(tx)
    detail: dict[str, object] = {
        "visibility": [old.visibility, new.visibility],
        "owner": [old.owner, owner.name if owner else None],
    }
    await events.add_event(tx, Event("namespace.changed", act.actor, old.name, detail), act.now, act.by)


async def get_owner(tx: Tx, act: Act, name: str, field: str) -> AccountRow:
    """Who is to own namespaces: a user, or an organisation of which the caller is an owner. Raises Unmet."""
    account = await accounts.find_account(tx, name)
    if account is None or account.kind == "service" or not _may_give_to(act, account):
        # The same words for an organisation that is not there and one that is not the caller's.
        raise Unmet("there is no such user, nor an organisation that you own", field=field, user=name)
    return account


async def find_repository(registry: Registry, name: RepositoryName) -> RepositoryRow:
    """A repository. Raises NameUnknown."""
    return await registry.database.read(lambda tx: _get_repository_row(tx, name))


async def set_visibility(
    registry: Registry, caller: Caller, name: RepositoryName, visibility: Visibility | None
) -> RepositoryRow:
    """Override the namespace's visibility for a repository, or with None follow it. Raises NameUnknown, Denied."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.REPOSITORY_ADMIN, name)

    async def record(tx: Tx) -> RepositoryRow:
        old = await _get_repository_row(tx, name)
        if visibility == old.visibility:
            return old
        await repositories.set_visibility(tx, old.id, visibility)
        await policy.bump_policy_version(tx)
        detail: dict[str, object] = {"visibility": [old.visibility, visibility]}
        await events.add_event(tx, Event("repository.changed", act.actor, name, detail), act.now, act.by)
        return await _get_repository_row(tx, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def _get(tx: Tx, name: str) -> NamespaceRow:
    row = await namespaces.find_namespace(tx, name)
    if row is None:
        raise unknown_namespace(name)
    return row


async def _get_repository_row(tx: Tx, name: RepositoryName) -> RepositoryRow:
    row = await repositories.find_repository(tx, name)
    if row is None:
        raise unknown_name(name)
    return row


async def _owner_of_new(tx: Tx, act: Act, new: NewNamespace) -> int | None:
    # Users and namespaces share one pool of names: a user's own name is theirs.
    namesake = await accounts.find_account(tx, new.name)
    identity = act.caller.identity
    patrons = act.snapshot.patrons(identity.account, new.name) if identity else []
    if new.owner is UNSET:
        maker = (patrons[0] if patrons else identity.name) if identity else ""
        account = namesake or await accounts.find_account(tx, maker)
        return account.id if account else None
    owner = await get_owner(tx, act, new.owner, "owner")
    if namesake is None:
        _require_patron(act, patrons, new.name, owner)
    elif namesake.id != owner.id:
        raise AlreadyExists("this is the name of a user, who alone can own the namespace", user=new.name)
    return owner.id


def _require_patron(act: Act, patrons: list[str], name: str, owner: AccountRow) -> None:
    # An owner of acme makes acme-prod for acme, and not for themselves or a friend.
    if patrons and owner.name not in patrons and not _is_admin(act):
        raise Denied(
            f"a namespace whose name begins with {patrons[0]}- is made for {patrons[0]}",
            field="owner",
            reasons=[f"make it with: entrepot namespace create {name} --owner {patrons[0]}"],
        )


def _may_give_to(act: Act, account: AccountRow) -> bool:
    if account.kind == "user" or _is_admin(act):
        return True
    identity = act.caller.identity
    return identity is not None and act.snapshot.membership(identity.account, account.name) == "owner"


def _is_admin(act: Act) -> bool:
    return decide(act.snapshot, act.caller.identity, Action.ADMIN, "").allowed
