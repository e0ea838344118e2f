"""Making the grants of some resources what a document says: a plan first, then exactly the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from entrepot.core import grants as verbs
from entrepot.core.grants import (
    NewGrant,
    actions_of,
    judge_grant,
    require_authority,
    require_sense,
    store_grant,
    subject_text,
)
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import Denied, EntrepotError, Invalid, PreconditionFailed, RequestInvalid, Unmet
from entrepot.domain.grants import ROLES, Conditions, Subject
from entrepot.domain.policy_document import Stated, parse_policy, render_policy
from entrepot.metadata import grants
from entrepot.metadata.grants import GrantRow
from entrepot.ports.database import Tx

MOST_GRANTS = 5000
# Where a policy document says what a grant has in a field of its own.
PARTS: Final = {
    "subject": "Principal",
    "role": "Action",
    "actions": "Action",
    "resource": "Resource",
    "tags": "Condition",
    "conditions": "Condition",
}


class Wanted(msgspec.Struct, frozen=True):
    """What the grants on exactly these resources are to be, all of them.

    With `statements`, a policy document said so: where each grant is in it. It has no roles of its own, so that a grant
    is there already if one with the same actions is.
    """

    resources: tuple[str, ...]
    grants: tuple[NewGrant, ...]
    statements: tuple[str, ...] = ()

    def locate(self, error: EntrepotError, position: int) -> None:
        """Make the field of an error about one of the grants its path in what was sent."""
        field = str(error.detail.get("field", ""))
        place = self.statements[position] if self.statements else f"grants[{position}]"
        part = _part(field) if self.statements else field
        error.detail["field"] = f"{place}.{part}" if part else place


class Plan(msgspec.Struct, frozen=True):
    """What would change; `hash` is over it, so that whoever agreed to one plan applies no other."""

    add: tuple[NewGrant, ...]
    remove: tuple[GrantRow, ...]
    kept: int
    hash: str


async def plan(registry: Registry, caller: Caller, wanted: Wanted) -> Plan:
    """What applying would change. Raises RequestInvalid, Unmet, Denied, InsufficientScope."""
    act = registry.act(caller)
    _require_sense(act, wanted)

    async def look(tx: Tx) -> Plan:
        found = await _plan(tx, wanted)
        await _judge(tx, act, wanted, found)
        return found

    return await registry.database.read(look)


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
        subjects = await _judge(tx, act, wanted, found)
        for row in found.remove:
            await grants.remove_grant(tx, row.id)
            await verbs.note(tx, act, "grant.taken", row)
        for new, subject in zip(found.add, subjects, strict=True):
            await store_grant(tx, act, new, subject)
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
            words = await _words(tx, row.role, row.actions)
            found.append(Stated(subject_text(row), words, resource, row.effect, row.tags, row.conditions, ""))
        return found

    return render_policy(await registry.database.read(collect))


def from_policy(document: Any, resource: str | None, principals: Mapping[str, str]) -> Wanted:
    """What a policy document wants on what its statements are about; `principals` says who its foreign ones are here.

    Raises RequestInvalid with the path of what has no meaning here.
    """
    wanted: list[NewGrant] = []
    statements = parse_policy(document, resource)
    for stated in statements:
        subject = principals.get(stated.principal, "everyone" if stated.principal == "*" else stated.principal)
        if subject.startswith("arn:") or subject.isdigit():
            raise RequestInvalid(
                "say who this is here by `principals`, such as service:acme+ci; on the command line "
                f"--principal {subject}=service:acme+ci",
                field=f"{stated.path}.Principal",
                principal=subject,
            )
        role = next((name for name, actions in ROLES.items() if {*stated.actions} == {*actions}), "")
        actions = () if role else stated.actions
        wanted.append(NewGrant(subject, stated.resource, role, actions, stated.effect, stated.tags, stated.conditions))
    resources = tuple(dict.fromkeys(new.resource for new in wanted))
    return Wanted(resources, tuple(wanted), tuple(stated.path for stated in statements))


def _require_sense(act: Act, wanted: Wanted) -> None:
    if len(wanted.grants) > MOST_GRANTS:
        raise RequestInvalid(f"at most {MOST_GRANTS} grants at once", field="grants")
    for resource in wanted.resources:
        require_authority(act, resource)
    for position, new in enumerate(wanted.grants):
        try:
            require_sense(new)
        except Invalid as error:
            wanted.locate(error, position)
            raise
        if new.resource not in wanted.resources:
            message = "this is not one of the resources whose grants are listed"
            raise RequestInvalid(message, field=f"grants[{position}].resource", got=new.resource)


async def _plan(tx: Tx, wanted: Wanted) -> Plan:
    present = [row for resource in wanted.resources for row in await _on(tx, resource)]
    keys = [_key(row, await _given(tx, wanted, row.role, row.actions)) for row in present]
    listed = {_key_of(new, await _given(tx, wanted, new.role, new.actions)): new for new in wanted.grants}
    held = {*keys}
    add = tuple(new for key, new in listed.items() if key not in held)
    remove = tuple(row for row, key in zip(present, keys, strict=True) if key not in listed)
    text = msgspec.json.encode([sorted(map(repr, add)), sorted(row.id for row in remove)])
    return Plan(add, remove, len(present) - len(remove), hashlib.sha256(text).hexdigest()[:16])


async def _judge(tx: Tx, act: Act, wanted: Wanted, found: Plan) -> list[Subject]:
    """Whom the grants that are to be added are for. Raises Unmet, Denied."""
    subjects = []
    for new in found.add:
        try:
            subjects.append(await judge_grant(tx, act, new))
        except (Unmet, Denied) as error:
            wanted.locate(error, wanted.grants.index(new))
            raise
    return subjects


async def _given(tx: Tx, wanted: Wanted, role: str, actions: tuple[str, ...]) -> tuple[str, ...]:
    """What a grant gives, as it is told from others: by a policy document, its actions whatever they are called."""
    return await _words(tx, role, actions) if wanted.statements else (role, *sorted(actions))


async def _words(tx: Tx, role: str, actions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(action.value for action in await actions_of(tx, NewGrant("", "", role, actions))))


async def _on(tx: Tx, resource: str) -> list[GrantRow]:
    rows, after = list[GrantRow](), 0
    while batch := await grants.list_grants(tx, (resource, f"{resource}\x00"), after, 1000):
        rows += batch
        after = batch[-1].id
    return rows


def _part(field: str) -> str:
    name, dot, rest = field.partition(".")
    if rest.startswith("hours"):
        return f"Condition.Entrepot{dot}{rest}"
    return PARTS.get(name.partition("[")[0], "")


def _key(row: GrantRow, given: tuple[str, ...]) -> tuple[object, ...]:
    return subject_text(row), row.resource, given, row.effect, row.tags, row.conditions or Conditions()


def _key_of(new: NewGrant, given: tuple[str, ...]) -> tuple[object, ...]:
    return str(require_sense(new)), new.resource, given, new.effect, new.tags, new.conditions or Conditions()
