"""Plans, who has which, and where somebody stands: `/plans`, `/owners/{owner}/plan`, `/pull-usage`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, Label, time_of
from entrepot.core import plans
from entrepot.core.registry import SECOND
from entrepot.domain.plans import Plan as DomainPlan
from entrepot.metadata.plans import PlanRow

Pulls = Annotated[
    int | None,
    msgspec.Meta(
        description="How many images may be pulled within a window; null for any number.",
        extra_json_schema={"minimum": 0, "maximum": plans.MOST_PULLS},
    ),
]
WindowSeconds = Annotated[
    int,
    msgspec.Meta(
        description="How long a window is, which begins with the first pull.",
        extra_json_schema={"minimum": plans.SHORTEST_WINDOW, "maximum": plans.LONGEST_WINDOW},
    ),
]


class Plan(Answer, frozen=True):
    """So many pulls in so many seconds; and whether it is for whoever is not logged in, or for whoever is."""

    name: str
    pulls: int | None
    window_seconds: int
    anonymous: bool
    signed_in: bool


class Plans(Answer, frozen=True):
    """A page of plans, by name."""

    plans: list[Plan]


class PlanTerms(Document, frozen=True):
    """What a plan is from now on. At most one is for whoever is not logged in, and one for whoever is."""

    pulls: Pulls
    window_seconds: WindowSeconds
    anonymous: bool = False
    signed_in: bool = False


class PlanName(Document, frozen=True):
    """The plan that somebody is to have."""

    plan: Label


class PullUsage(Answer, frozen=True):
    """Who bears pulls, by which plan, and where they stand.

    `assigned` is the plan that was given to them alone. `plan`, the one that holds, may also be that of an organisation
    of theirs or the one for everybody; it is null where nothing limits them. `remaining` is null for any number, and
    `ends_at` where no window has begun.
    """

    owner: str
    assigned: str | None
    plan: str | None
    pulls: int | None
    window_seconds: int | None
    used: int | None
    remaining: int | None
    ends_at: datetime | None


def plan_of(row: PlanRow) -> Plan:
    """A plan as JSON shows it."""
    plan = row.plan
    return Plan(plan.name, plan.pulls, plan.window_seconds, row.is_for_anonymous, row.is_for_signed_in)


def _usage(now: int, bearing: plans.Bearing) -> PullUsage:
    plan, standing = bearing.plan, bearing.standing
    ends = standing.reset_seconds if standing else 0
    return PullUsage(
        owner=bearing.owner,
        assigned=bearing.assigned,
        plan=plan.name if plan else None,
        pulls=plan.pulls if plan else None,
        window_seconds=plan.window_seconds if plan else None,
        used=standing.limit - standing.remaining if standing else None,
        remaining=standing.remaining if standing else None,
        ends_at=time_of(now + ends * SECOND) if ends else None,
    )


async def list_page(registry: TheRegistry, names: Names) -> Response[Plans]:
    """Every plan, by name."""
    rows, following = await plans.list_plans(registry, names.page)
    return names.answer(Plans([plan_of(row) for row in rows]), following)


async def get(registry: TheRegistry, plan: InPath) -> Plan:
    """One plan."""
    return plan_of(await plans.get_plan(registry, plan))


async def put(registry: TheRegistry, caller: TheCaller, plan: InPath, data: JSONBody[PlanTerms]) -> Plan:
    """Make a plan, or change it for all who have it at once."""
    row = PlanRow(DomainPlan(plan, data.pulls, data.window_seconds), data.anonymous, data.signed_in)
    return plan_of(await plans.put_plan(registry, caller, row))


async def remove(registry: TheRegistry, caller: TheCaller, plan: InPath) -> None:
    """Remove a plan that was assigned to nobody."""
    await plans.remove_plan(registry, caller, plan)


async def get_of_owner(registry: TheRegistry, caller: TheCaller, owner: InPath) -> PullUsage:
    """The plan of a user or organisation, and where they stand."""
    return _usage(registry.clock.now(), await plans.get_bearing(registry, caller, owner))


async def assign(registry: TheRegistry, caller: TheCaller, owner: InPath, data: JSONBody[PlanName]) -> PullUsage:
    """Give a user or organisation a plan of their own."""
    return _usage(registry.clock.now(), await plans.assign(registry, caller, owner, data.plan))


async def unassign(registry: TheRegistry, caller: TheCaller, owner: InPath) -> None:
    """Take the plan of a user or organisation away: they have what everybody has."""
    await plans.assign(registry, caller, owner, None)


async def get_own(registry: TheRegistry, caller: TheCaller) -> PullUsage:
    """Who bears what you pull, by which plan, and where they stand."""
    return _usage(registry.clock.now(), await plans.get_own(registry, caller))
