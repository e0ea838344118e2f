"""Making all plans, and who has which, what a document says: the changes first, then exactly these."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from entrepot.core import plans as verbs
from entrepot.core.accounts import require_admin
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import AccountUnknown, Invalid, PreconditionFailed, RequestInvalid, TooLarge, Unmet
from entrepot.metadata import plans
from entrepot.metadata.plans import PlanRow
from entrepot.ports.database import Tx

MOST_PLANS: Final = 500
MOST_OWNERS: Final = 5000


class Book(msgspec.Struct, frozen=True):
    """All plans, and all who were assigned one with its name; None is about neither."""

    plans: tuple[PlanRow, ...] | None = None
    owners: Mapping[str, str] | None = None


class PlanChange(msgspec.Struct, frozen=True):
    """A plan as it is and as it is to be; None is not there."""

    name: str
    before: PlanRow | None
    after: PlanRow | None


class OwnerChange(msgspec.Struct, frozen=True):
    """The plan that somebody was assigned and the one that they are to have; None is that of everybody."""

    owner: str
    before: str | None
    after: str | None


class Changes(msgspec.Struct, frozen=True):
    """What would change, how much would not, and a hash over it: whoever agreed to it applies nothing else."""

    plans: tuple[PlanChange, ...]
    owners: tuple[OwnerChange, ...]
    kept: int
    hash: str


async def find_changes(registry: Registry, caller: Caller, wanted: Book) -> Changes:
    """What applying would change.

    Raises Denied, InsufficientScope, NameInvalid, RequestInvalid, Unmet, TooLarge, Conflict.
    """
    require_admin(caller, registry.policy.snapshot)
    _require_sense(wanted)
    return await registry.database.read(lambda tx: _compare(tx, wanted))


async def apply_book(registry: Registry, caller: Caller, wanted: Book, agreed: str | None) -> Changes:
    """Make it so, in one transaction; with `agreed`, only if the changes are still those.

    Raises Denied, InsufficientScope, NameInvalid, RequestInvalid, Unmet, TooLarge, PreconditionFailed, and Conflict for
    a plan that goes while somebody has it.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    _require_sense(wanted)

    async def record(tx: Tx) -> Changes:
        found = await _compare(tx, wanted)
        if agreed is not None and agreed != found.hash:
            message = "the plans have changed since you looked; look at the changes again"
            raise PreconditionFailed(message, found=found.hash)
        await _record(tx, act, found)
        return found

    made = await registry.database.transact(record)
    await registry.policy.refresh()
    return made


async def export_book(registry: Registry, caller: Caller) -> Book:
    """All plans, and who has which. Raises Denied, InsufficientScope, TooLarge."""
    require_admin(caller, registry.policy.snapshot)

    async def collect(tx: Tx) -> Book:
        return Book(await _list_plans(tx), await _list_owners(tx))

    return await registry.database.read(collect)


def _require_sense(wanted: Book) -> None:
    if len(wanted.plans or ()) > MOST_PLANS or len(wanted.owners or {}) > MOST_OWNERS:
        message = f"at most {MOST_PLANS} plans and {MOST_OWNERS} owners at once"
        raise RequestInvalid(message, field="plans" if len(wanted.plans or ()) > MOST_PLANS else "plan_owners")
    seen: set[str] = set()
    for position, row in enumerate(wanted.plans or ()):
        try:
            verbs.require_sense(row.plan)
        except Invalid as error:
            error.detail["field"] = f"plans[{position}].{error.detail.get('field', 'name')}"
            raise
        marks = {row.plan.name, *(["(anonymous)"] * row.is_for_anonymous), *(["(signed in)"] * row.is_for_signed_in)}
        if twice := marks & seen:
            message = "a plan stands once, and one plan at most is for whoever is not logged in, and one for whoever is"
            raise RequestInvalid(message, field=f"plans[{position}]", got=min(twice))
        seen |= marks


async def _compare(tx: Tx, wanted: Book) -> Changes:
    present = {row.plan.name: row for row in await _list_plans(tx)}
    listed = present if wanted.plans is None else {row.plan.name: row for row in wanted.plans}
    assigned = {} if wanted.owners is None else await _list_owners(tx)
    owners = wanted.owners or {}
    await _require_there(tx, owners, listed)
    if wanted.owners is None:
        for name in present.keys() - listed.keys():
            await verbs.require_unheld(tx, name)
    names, everybody = _differing(present, listed), _differing(assigned, owners)
    changed_plans = tuple(PlanChange(name, present.get(name), listed.get(name)) for name in names)
    changed_owners = tuple(OwnerChange(owner, assigned.get(owner), owners.get(owner)) for owner in everybody)
    kept = len(present.keys() | listed.keys()) - len(names) + len(assigned.keys() | owners.keys()) - len(everybody)
    text = msgspec.json.encode([changed_plans, changed_owners])
    return Changes(changed_plans, changed_owners, kept, hashlib.sha256(text).hexdigest()[:16])


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


async def _require_there(tx: Tx, owners: Mapping[str, str], listed: Mapping[str, PlanRow]) -> None:
    for owner, plan in owners.items():
        if plan not in listed:
            message = "there is no such plan; entrepot plan list shows those there are"
            raise Unmet(message, field=f"plan_owners.{owner}", plan=plan)
        try:
            await verbs.get_owner(tx, owner)
        except AccountUnknown:
            raise Unmet("there is no such user or organisation", field=f"plan_owners.{owner}") from None


async def _record(tx: Tx, act: Act, changes: Changes) -> None:
    """Whoever has a plan that goes has another one before it does."""
    for each in changes.plans:
        if each.after is not None:
            await verbs.record_plan(tx, act, each.after)
    for owned in changes.owners:
        account = await verbs.get_owner(tx, owned.owner)
        await verbs.record_assignment(tx, act, account, (owned.before, owned.after))
    for each in changes.plans:
        if each.after is None:
            await verbs.record_removal(tx, act, each.name)


async def _list_plans(tx: Tx) -> tuple[PlanRow, ...]:
    rows = await plans.list_plans(tx, "", MOST_PLANS + 1)
    if len(rows) > MOST_PLANS:
        raise TooLarge(f"there are over {MOST_PLANS} plans: change them one by one")
    return tuple(rows)


async def _list_owners(tx: Tx) -> dict[str, str]:
    rows = await plans.list_assigned(tx, MOST_OWNERS + 1)
    if len(rows) > MOST_OWNERS:
        raise TooLarge(f"over {MOST_OWNERS} have a plan of their own: assign them one by one")
    return dict(rows)
