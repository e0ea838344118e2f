"""All plans, and who has which, as a whole: exported, compared, applied: `/plan-book`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import JSONBody

from entrepot.api.plans import Plan, Pulls, WindowSeconds, plan_of
from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, Label, Name
from entrepot.core import plan_book
from entrepot.core.plan_book import MOST_OWNERS, MOST_PLANS, Book, Changes
from entrepot.domain.plans import Plan as DomainPlan
from entrepot.metadata.plans import PlanRow


class NamedTerms(Document, frozen=True):
    """A plan as a document states it. At most one is for whoever is not logged in, and one for whoever is."""

    name: Label
    pulls: Pulls
    window_seconds: WindowSeconds
    anonymous: bool = False
    signed_in: bool = False

    def row(self) -> PlanRow:
        """The same as the verb takes it."""
        return PlanRow(DomainPlan(self.name, self.pulls, self.window_seconds), self.anonymous, self.signed_in)


class PlanBookDocument(Document, frozen=True):
    """What all plans are to be, and who is to have which: whatever is not listed goes. Null is about neither.

    `hash` is that of changes: if they would be others by now, nothing is changed.
    """

    plans: Annotated[list[NamedTerms], msgspec.Meta(extra_json_schema={"maxItems": MOST_PLANS})] | None = None
    plan_owners: Annotated[dict[Name, Label], msgspec.Meta(extra_json_schema={"maxProperties": MOST_OWNERS})] | None = (
        None
    )
    hash: str | None = None

    def wanted(self) -> Book:
        """The same as the verb takes it."""
        return Book(None if self.plans is None else tuple(each.row() for each in self.plans), self.plan_owners)


class PlanBook(Answer, frozen=True):
    """All plans, and who was assigned which, as they can be applied."""

    plans: list[Plan]
    plan_owners: dict[str, str]


class ChangedPlan(Answer, frozen=True):
    """A plan as it is and as it is to be; null is not there."""

    name: str
    before: Plan | None
    after: Plan | None


class ChangedOwner(Answer, frozen=True):
    """The plan that somebody was assigned, and the one that they are to have; null is that of everybody."""

    owner: str
    before: str | None
    after: str | None


class PlanBookChanges(Answer, frozen=True):
    """What changes, how many plans and owners stay as they are, and the hash of that."""

    plans: list[ChangedPlan]
    plan_owners: list[ChangedOwner]
    kept: int
    hash: str


def _plan(row: PlanRow | None) -> Plan | None:
    return None if row is None else plan_of(row)


def _changes(found: Changes) -> PlanBookChanges:
    return PlanBookChanges(
        [ChangedPlan(each.name, _plan(each.before), _plan(each.after)) for each in found.plans],
        [ChangedOwner(each.owner, each.before, each.after) for each in found.owners],
        found.kept,
        found.hash,
    )


async def get(registry: TheRegistry, caller: TheCaller) -> PlanBook:
    """All plans, and who was assigned which."""
    book = await plan_book.export_book(registry, caller)
    return PlanBook([plan_of(row) for row in book.plans or ()], dict(book.owners or {}))


async def compare(registry: TheRegistry, caller: TheCaller, data: JSONBody[PlanBookDocument]) -> PlanBookChanges:
    """What applying would change; nothing is changed."""
    return _changes(await plan_book.find_changes(registry, caller, data.wanted()))


async def put(registry: TheRegistry, caller: TheCaller, data: JSONBody[PlanBookDocument]) -> PlanBookChanges:
    """Make all plans, and who has which, what is proposed, in one step; what was changed."""
    return _changes(await plan_book.apply_book(registry, caller, data.wanted(), data.hash))
