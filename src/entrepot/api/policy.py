"""The grants of some resources as a whole: planned, applied, and as a JSON policy document: `/policy`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar.params import JSONBody, QueryParameter

from entrepot.api.grants import Grant, NewGrant, ResourceText, grant_of
from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer, Document
from entrepot.core import apply
from entrepot.domain.patterns import LONGEST_PATTERN

MOST_RESOURCES = 2000
Of = Annotated[
    str, QueryParameter(name="resource", max_length=LONGEST_PATTERN, description='`acme`, `acme/app`, or "" for all.')
]


class Proposal(Document, frozen=True):
    """What the grants on these resources are to be, all of them: a list, or a policy document.

    `resource` is what statements without a Resource are about, as those of an ECR repository are, and a star for one.
    `principals` says who the principals of the document are here: `{"arn:aws:iam::1234:role/ci": "service:acme+ci"}`.
    `hash` is that of a plan: if the plan would be another one by now, nothing is changed.
    """

    resources: Annotated[tuple[ResourceText, ...], msgspec.Meta(max_length=MOST_RESOURCES)] = ()
    grants: Annotated[tuple[NewGrant, ...], msgspec.Meta(max_length=apply.MOST_GRANTS)] = ()
    policy: dict[str, Any] | None = None
    resource: ResourceText | None = None
    principals: dict[str, str] | None = None
    hash: str | None = None

    def wanted(self) -> apply.Wanted:
        """The same as the verb takes it. Raises RequestInvalid."""
        if self.policy is not None:
            return apply.from_policy(self.policy, self.resource, self.principals or {})
        return apply.Wanted(self.resources, tuple(grant.order() for grant in self.grants))


class Change(Answer, frozen=True):
    """Grants that are added and taken away, how many stay, and the hash of that."""

    add: list[dict[str, Any]]
    remove: list[Grant]
    kept: int
    hash: str


class Policy(Answer, frozen=True):
    """The grants on one resource as a policy document of Effect, Principal, Action, Resource and Condition."""

    policy: dict[str, Any]


def _change(found: apply.Plan) -> Change:
    add = [msgspec.to_builtins(new) for new in found.add]
    return Change(add, [grant_of(row) for row in found.remove], found.kept, found.hash)


async def get(registry: TheRegistry, caller: TheCaller, resource: Of = "") -> Policy:
    """The grants on exactly this resource as a policy document."""
    return Policy(await apply.export(registry, caller, resource))


async def plan(registry: TheRegistry, caller: TheCaller, data: JSONBody[Proposal]) -> Change:
    """What applying would change; nothing is changed."""
    return _change(await apply.plan(registry, caller, data.wanted()))


async def put(registry: TheRegistry, caller: TheCaller, data: JSONBody[Proposal]) -> Change:
    """Make the grants on these resources what is proposed, in one step; what was changed."""
    return _change(await apply.apply(registry, caller, data.wanted(), data.hash))
