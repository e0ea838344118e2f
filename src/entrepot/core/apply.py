"""Making the grants of some resources what a document says: a plan first, then exactly the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from entrepot.core import grants as verbs
from entrepot.core.grants import (
    NewGrant,
    actions_of,
    require_authority,
    require_sense,
    subject_text,
)
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import PreconditionFailed, RequestInvalid
from entrepot.domain.grants import ROLES
from entrepot.domain.policy_document import Stated, parse_policy, render_policy
from entrepot.metadata import grants
from entrepot.metadata.grants import GrantRow
from entrepot.ports.database import Tx

MOST_GRANTS = 5000


class Wanted(msgspec.Struct, frozen=True):
    """What the grants on exactly these resources are to be, all of them."""

    resources: tuple[str, ...]
    grants: tuple[NewGrant, ...]


class Plan(msgspec.Struct, frozen=True):
    """What would change; `hash` is over it, so that whoever agreed to one plan applies no other."""

    add: tuple[NewGrant, ...]
    remove: tuple[GrantRow, ...]
    kept: int
    hash: str


async def plan(registry: Registry, caller: Caller, wanted: Wanted) -> Plan:
    """What applying would change. Raises RequestInvalid, Denied, InsufficientScope."""
    _require_sense(registry.act(caller), wanted)
    return await registry.database.read(lambda tx: _plan(tx, wanted))


async def apply(registry: Registry, caller: Caller, wanted: Wanted, agreed: str | None) -> Plan:
    """Make it so, in one transaction; with `agreed`, only if the plan is still that one.

    Raises RequestInvalid, Unmet, Denied, InsufficientScope, PreconditionFailed.
    """
    act = registry.act(caller)
    _require_sense(act, wanted)

    async def record(tx: Tx) -> Plan:
        found = await _plan(tx, wanted)
        if agreed is not None and agreed != found.hash:
            raise PreconditionFailed(
                "the grants have changed since the plan was made; look at it again", found=found.hash
            )
        for row in found.remove:
            await grants.remove_grant(tx, row.id)
            await verbs.note(tx, act, "grant.taken", row)
        for new in found.add:
            await verbs.record_grant(tx, act, new)
        return found

    made = await registry.database.transact(record)
    await registry.policy.refresh()
    return made


async def export(registry: Registry, caller: Caller, resource: str) -> dict[str, Any]:
    """The grants on exactly this resource as a policy document. Raises Denied, InsufficientScope."""
    require_authority(registry.act(caller), resource)

    async def collect(tx: Tx) -> list[Stated]:
        found = []
        for row in await _on(tx, resource):
            actions = await actions_of(tx, NewGrant("", resource, row.role, row.actions))
            words = tuple(sorted(action.value for action in actions))
            found.append(Stated(subject_text(row), words, resource, row.effect, row.tags, row.conditions, ""))
        return found

    return render_policy(await registry.database.read(collect))


def from_policy(document: Any, resource: str, principals: Mapping[str, str]) -> Wanted:
    """What a policy document wants; `principals` says who its foreign ones are here.

    Raises RequestInvalid with the path of what has no meaning here.
    """
    wanted: list[NewGrant] = []
    for stated in parse_policy(document, resource):
        subject = principals.get(stated.principal, "everyone" if stated.principal == "*" else stated.principal)
        if subject.startswith("arn:") or subject.isdigit():
            raise RequestInvalid(
                "say who this is here, such as service:acme+ci", field=f"{stated.path}.Principal", principal=subject
            )
        role = next((name for name, actions in ROLES.items() if {*stated.actions} == {*actions}), "")
        actions = () if role else stated.actions
        wanted.append(NewGrant(subject, stated.resource, role, actions, stated.effect, stated.tags, stated.conditions))
    return Wanted(tuple(dict.fromkeys((resource, *(new.resource for new in wanted)))), tuple(wanted))


def _require_sense(act: Act, wanted: Wanted) -> None:
    if len(wanted.grants) > MOST_GRANTS:
        raise RequestInvalid(f"at most {MOST_GRANTS} grants at once", field="grants")
    for resource in wanted.resources:
        require_authority(act, resource)
    for position, new in enumerate(wanted.grants):
        try:
            require_sense(new)
        except RequestInvalid as error:
            error.detail["field"] = f"grants[{position}].{error.detail.get('field', '')}"
            raise
        if new.resource not in wanted.resources:
            message = "this is not one of the resources whose grants are listed"
            raise RequestInvalid(message, field=f"grants[{position}].resource", got=new.resource)


async def _plan(tx: Tx, wanted: Wanted) -> Plan:
    present = {_key(row): row for resource in wanted.resources for row in await _on(tx, resource)}
    listed = {_key_of(new): new for new in wanted.grants}
    add = tuple(new for key, new in listed.items() if key not in present)
    remove = tuple(row for key, row in present.items() if key not in listed)
    text = msgspec.json.encode([sorted(map(repr, add)), sorted(row.id for row in remove)])
    return Plan(add, remove, len(present) - len(remove), hashlib.sha256(text).hexdigest()[:16])


async def _on(tx: Tx, resource: str) -> list[GrantRow]:
    rows, after = list[GrantRow](), 0
    while batch := await grants.list_grants(tx, (resource, f"{resource}\x00"), after, 1000):
        rows += batch
        after = batch[-1].id
    return rows


def _key(row: GrantRow) -> tuple[object, ...]:
    return subject_text(row), row.resource, row.role, row.actions, row.effect, row.tags, row.conditions


def _key_of(new: NewGrant) -> tuple[object, ...]:
    subject = str(require_sense(new))
    return subject, new.resource, new.role, tuple(sorted(new.actions)), new.effect, new.tags, new.conditions
