"""Roles: named sets of actions; four are built in, the others are an instance's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from entrepot.core.accounts import require_admin
from entrepot.core.changes import note, require_description
from entrepot.core.listing import Page, cut
from entrepot.core.registry import Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import AlreadyExists, Conflict, RequestInvalid, RoleUnknown
from entrepot.domain.events import Event
from entrepot.domain.grants import GRANTABLE, ROLES
from entrepot.domain.names import parse_label
from entrepot.metadata import roles
from entrepot.metadata.roles import RoleRow
from entrepot.ports.database import Tx

KNOWN: Final = {action.value: action for action in sorted(GRANTABLE)}
BUILT_IN: Final[dict[str, RoleRow]] = {
    name: RoleRow(name, ROLES[name], text, 0)
    for name, text in (
        ("reader", "Pulls."),
        ("writer", "Pulls and pushes, and creates and moves tags."),
        ("maintainer", "Does what a writer does, deletes, and writes policies."),
        ("owner", "Does what a maintainer does, changes visibility and owner, and gives roles."),
    )
}


class NewRole(msgspec.Struct, frozen=True):
    """A role to be made, with its actions as words."""

    name: str
    actions: Sequence[str]
    description: str = ""


class RoleChange(msgspec.Struct, frozen=True):
    """What is to be different of a role."""

    actions: Sequence[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET


def is_built_in(role: RoleRow) -> bool:
    """Whether a role is there from the start, and stays as it is."""
    return role.name in BUILT_IN


async def list_roles(registry: Registry, page: Page) -> tuple[list[RoleRow], str | None]:
    """Every role by name, the built-in ones among them."""
    own = await registry.database.read(lambda tx: roles.list_roles(tx, page.after, page.limit + 1))
    found = [*own, *(role for name, role in BUILT_IN.items() if name > page.after)]
    return cut(sorted(found, key=lambda role: role.name), page, lambda role: role.name)


async def get_role(registry: Registry, name: str) -> RoleRow:
    """One role. Raises RoleUnknown."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    return await registry.database.read(lambda tx: _get(tx, name))


async def create_role(registry: Registry, caller: Caller, new: NewRole) -> RoleRow:
    """Make a role. Raises Denied, InsufficientScope, NameInvalid, RequestInvalid, AlreadyExists."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    name = parse_label(new.name, "role")
    row = RoleRow(name, _parse_actions(new.actions), require_description(new.description), act.now)
    if name in BUILT_IN:
        raise AlreadyExists("there is a built-in role of this name", role=name)

    async def record(tx: Tx) -> None:
        if not await roles.add_role(tx, row):
            raise AlreadyExists("there is a role of this name", role=name)
        await note(tx, act, Event("role.created", act.actor, name, {"actions": sorted(row.actions)}))

    await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def change_role(registry: Registry, caller: Caller, name: str, change: RoleChange) -> RoleRow:
    """Change a role, for all grants that give it at once.

    Raises RoleUnknown, Denied, InsufficientScope, RequestInvalid, and Conflict for a built-in one.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    _require_own(name)
    actions = UNSET if change.actions is UNSET else _parse_actions(change.actions)
    description = UNSET if change.description is UNSET else require_description(change.description)

    async def record(tx: Tx) -> RoleRow:
        old = await _get(tx, name)
        new = RoleRow(
            name,
            old.actions if actions is UNSET else actions,
            old.description if description is UNSET else description,
            old.created_at,
        )
        if new != old:
            await roles.set_role(tx, new)
            detail: dict[str, object] = {"actions": [sorted(old.actions), sorted(new.actions)]}
            await note(tx, act, Event("role.changed", act.actor, name, detail))
        return new

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def remove_role(registry: Registry, caller: Caller, name: str) -> None:
    """Forget a role.

    Raises RoleUnknown, Denied, InsufficientScope, and Conflict for a built-in one, or one that grants give.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    _require_own(name)

    async def record(tx: Tx) -> None:
        await _get(tx, name)
        if count := await roles.count_grants(tx, name):
            noun = "grant gives" if count == 1 else "grants give"
            raise Conflict(f"{count} {noun} this role: take them away first", role=name, grants=count)
        await roles.remove_role(tx, name)
        await note(tx, act, Event("role.removed", act.actor, name))

    await registry.database.transact(record)
    await registry.policy.refresh()


def _parse_actions(words: Sequence[str]) -> frozenset[Action]:
    allowed = list(KNOWN)
    if not words:
        raise RequestInvalid(
            f"a role has at least one action of: {', '.join(allowed)}", field="actions", allowed=allowed
        )
    for number, word in enumerate(words):
        if word not in KNOWN:
            raise RequestInvalid(
                f"actions[{number}]: no such action; there are: {', '.join(allowed)}",
                field=f"actions[{number}]",
                allowed=allowed,
            )
    return frozenset(KNOWN[word] for word in words)


def _require_own(name: str) -> None:
    if name in BUILT_IN:
        raise Conflict("a built-in role stays as it is; make one of another name", role=name)


async def _get(tx: Tx, name: str) -> RoleRow:
    row = await roles.find_role(tx, name)
    if row is None:
        raise RoleUnknown("there is no such role", role=name)
    return row
