"""Plans: made, given and taken; and where somebody stands with theirs."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from entrepot.core.accounts import is_self, require_admin
from entrepot.core.changes import account_of, note
from entrepot.core.decide import decide
from entrepot.core.listing import Page, cut
from entrepot.core.pull_meter import payer_for
from entrepot.core.pulls import find_standing
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import AccountUnknown, Conflict, PlanUnknown, RequestInvalid
from entrepot.domain.events import Event
from entrepot.domain.names import parse_label
from entrepot.domain.plans import Plan
from entrepot.domain.rates import Standing
from entrepot.metadata import accounts, plans
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.plans import PlanRow
from entrepot.ports.database import Tx

MOST_PULLS: Final = 1_000_000_000
SHORTEST_WINDOW: Final = 60
LONGEST_WINDOW: Final = 31 * 86_400


class Bearing(msgspec.Struct, frozen=True):
    """Who bears pulls: the owner, the plan that was assigned to them, the one that holds, and where they stand.

    `plan` and `standing` are None where nothing limits them; `assigned` where nothing was assigned.
    """

    owner: str
    assigned: str | None
    plan: Plan | None
    standing: Standing | None


async def list_plans(registry: Registry, page: Page) -> tuple[list[PlanRow], str | None]:
    """Plans by name."""
    rows = await registry.database.read(lambda tx: plans.list_plans(tx, page.after, page.limit + 1))
    return cut(rows, page, lambda row: row.plan.name)


async def get_plan(registry: Registry, name: str) -> PlanRow:
    """One plan. Raises PlanUnknown."""
    return await registry.database.read(lambda tx: _get(tx, name))


async def put_plan(registry: Registry, caller: Caller, row: PlanRow) -> PlanRow:
    """Make a plan, or another one of it, for all who have it at once; it is taken from others what it is for.

    Raises Denied, InsufficientScope, NameInvalid, RequestInvalid.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    require_sense(row.plan)
    await registry.database.transact(partial(record_plan, act=act, row=row))
    await registry.policy.refresh()
    return row


async def record_plan(tx: Tx, act: Act, row: PlanRow) -> None:
    """The same within a transaction, of a plan that makes sense."""
    if await plans.find_plan(tx, row.plan.name) == row:
        return
    await plans.put_plan(tx, row)
    detail: dict[str, object] = {"pulls": row.plan.pulls, "window_seconds": row.plan.window_seconds}
    detail |= {"anonymous": row.is_for_anonymous, "signed_in": row.is_for_signed_in}
    await note(tx, act, Event("plan.set", act.actor, row.plan.name, detail))


async def remove_plan(registry: Registry, caller: Caller, name: str) -> None:
    """Forget a plan. Raises PlanUnknown, Denied, InsufficientScope, and Conflict for one that somebody has."""
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        await _get(tx, name)
        await record_removal(tx, act, name)

    await registry.database.transact(record)
    await registry.policy.refresh()


async def record_removal(tx: Tx, act: Act, name: str) -> None:
    """The same within a transaction, of a plan that is there. Raises Conflict."""
    await require_unheld(tx, name)
    await plans.remove_plan(tx, name)
    await note(tx, act, Event("plan.removed", act.actor, name))


async def require_unheld(tx: Tx, name: str) -> None:
    """Raises Conflict for a plan that somebody has."""
    if count := await plans.count_holders(tx, name):
        noun = "account has" if count == 1 else "accounts have"
        raise Conflict(f"{count} {noun} the plan {name}: assign them another one first", plan=name, accounts=count)


async def assign(registry: Registry, caller: Caller, owner: str, name: str | None) -> Bearing:
    """Give a user or an organisation a plan, or with None the one that everybody has.

    Raises AccountUnknown, PlanUnknown, Denied, InsufficientScope.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)

    async def record(tx: Tx) -> None:
        account = await get_owner(tx, owner)
        if name is not None:
            await _get(tx, name)
        old = await plans.find_assigned(tx, account.id)
        if old != name:
            await record_assignment(tx, act, account, (old, name))

    await registry.database.transact(record)
    await registry.policy.refresh()
    return await get_bearing(registry, caller, owner)


async def record_assignment(tx: Tx, act: Act, account: AccountRow, change: tuple[str | None, str | None]) -> None:
    """The same within a transaction: from one plan that is there, or none, to another, or none."""
    await plans.set_assigned(tx, account.id, change[1])
    await note(tx, act, Event("plan.assigned", act.actor, account.name, {"plan": list(change)}))


async def get_bearing(registry: Registry, caller: Caller, owner: str) -> Bearing:
    """The plan of a user or organisation: for themselves, for members of it, and for administrators.

    Raises AccountUnknown.
    """
    account = await registry.database.read(lambda tx: get_owner(tx, owner))
    snapshot = registry.policy.snapshot
    is_admin = decide(snapshot, caller.identity, Action.ADMIN, "").allowed
    if not is_admin and not is_self(caller, owner) and snapshot.membership(account_of(caller), owner) is None:
        raise _unknown_owner(owner)
    return await _bearing(registry, account)


async def get_own(registry: Registry, caller: Caller) -> Bearing:
    """Who bears what the caller pulls, and where they stand. Raises AccountUnknown."""
    number = registry.policy.snapshot.payer_of(caller.identity) if caller.identity else 0
    account = await registry.database.read(lambda tx: accounts.find_account_by_id(tx, number))
    if account is None:
        raise AccountUnknown("no account is behind this login; say whose plan is meant")
    return await _bearing(registry, account)


async def _bearing(registry: Registry, account: AccountRow) -> Bearing:
    assigned = await registry.database.read(lambda tx: plans.find_assigned(tx, account.id))
    plan = registry.policy.snapshot.plan_of(account.id)
    payer = payer_for(account.id, account.name, plan)
    return Bearing(account.name, assigned, plan, await find_standing(registry, payer) if payer else None)


def require_sense(plan: Plan) -> None:
    """Raises NameInvalid, RequestInvalid."""
    parse_label(plan.name, "plan")
    if plan.pulls is not None and not 0 <= plan.pulls <= MOST_PULLS:
        raise RequestInvalid(f"pulls is 0 to {MOST_PULLS}, or null for any number", field="pulls")
    if not SHORTEST_WINDOW <= plan.window_seconds <= LONGEST_WINDOW:
        raise RequestInvalid(
            f"window_seconds is {SHORTEST_WINDOW} (a minute) to {LONGEST_WINDOW} (31 days)", field="window_seconds"
        )


async def _get(tx: Tx, name: str) -> PlanRow:
    row = await plans.find_plan(tx, name)
    if row is None:
        raise PlanUnknown("there is no such plan; entrepot plan list shows those there are", plan=name)
    return row


async def get_owner(tx: Tx, name: str) -> AccountRow:
    """The user or organisation of a name. Raises AccountUnknown."""
    account = await accounts.find_account(tx, name)
    if account is None or account.kind == "service":
        raise _unknown_owner(name)
    return account


def _unknown_owner(name: str) -> AccountUnknown:
    return AccountUnknown("there is no such user or organisation whose plan you may see", owner=name)
