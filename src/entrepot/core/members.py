"""Members: who has which role on a namespace or on one repository."""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from entrepot.core.accounts import get_row
from entrepot.core.decide import require
from entrepot.core.grants import require_own
from entrepot.core.listing import Page
from entrepot.core.namespaces import unknown_namespace
from entrepot.core.registry import Act, Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import AccountUnknown
from entrepot.domain.events import Event
from entrepot.domain.grants import ROLES
from entrepot.domain.names import RepositoryName
from entrepot.metadata import events, grants, namespaces, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx

RoleName = Literal["reader", "writer", "maintainer", "owner"]


class Member(msgspec.Struct, frozen=True):
    """A user and the role that a grant on exactly one resource gives them."""

    user: str
    role: RoleName


async def list_members(
    registry: Registry, caller: Caller, resource: str, page: Page
) -> tuple[list[Member], str | None]:
    """Users with a role on a namespace (`acme`) or repository (`acme/app`). Raises NameUnknown, Denied."""
    _require_admin(registry.act(caller), resource)

    async def collect(tx: Tx) -> list[tuple[str, str]]:
        await _require_there(tx, resource)
        return await grants.list_roles(tx, resource)

    found = [
        Member(user, cast("RoleName", role))
        for user, role in await registry.database.read(collect)
        if user > page.after
    ]
    return found[: page.limit], found[page.limit - 1].user if len(found) > page.limit else None


async def put_member(registry: Registry, caller: Caller, resource: str, member: Member) -> Member:
    """Give a role; it replaces the one the user had there. Raises NameUnknown, AccountUnknown, Denied."""
    act = registry.act(caller)
    _require_admin(act, resource)

    require_own(act, resource, ROLES[member.role])

    async def record(tx: Tx) -> None:
        await _require_there(tx, resource)
        account = await get_row(tx, member.user)
        row = NewGrantRow(("account", account.id), resource, member.role)
        if not await grants.put_role(tx, row, act.actor, act.now):
            return
        await policy.bump_policy_version(tx)
        detail: dict[str, object] = {"user": member.user, "role": member.role}
        await events.add_event(tx, Event("grant.given", act.actor, resource, detail), act.now, act.by)

    await registry.database.transact(record)
    await registry.policy.refresh()
    return member


async def remove_member(registry: Registry, caller: Caller, resource: str, user: str) -> None:
    """Take a role away. Raises NameUnknown, Denied, and AccountUnknown for somebody without one."""
    act = registry.act(caller)
    _require_admin(act, resource)

    async def record(tx: Tx) -> None:
        await _require_there(tx, resource)
        account = await get_row(tx, user)
        if not await grants.remove_roles(tx, ("account", account.id), resource):
            raise AccountUnknown("this user has no role here", user=user)
        await policy.bump_policy_version(tx)
        await events.add_event(tx, Event("grant.taken", act.actor, resource, {"user": user}), act.now, act.by)

    await registry.database.transact(record)
    await registry.policy.refresh()


def _require_admin(act: Act, resource: str) -> None:
    action = Action.REPOSITORY_ADMIN if "/" in resource else Action.NAMESPACE_ADMIN
    require(act.caller, act.snapshot, action, resource)


async def _require_there(tx: Tx, resource: str) -> None:
    if "/" in resource:
        await get_repository(tx, RepositoryName(resource))
    elif await namespaces.find_namespace(tx, resource) is None:
        raise unknown_namespace(resource)
