"""Grants: who may or may not do what where: `/grants`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.params import FromPath, JSONBody, QueryParameter

from entrepot.api.request import Ids, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import grants
from entrepot.domain.grants import Conditions, Effect
from entrepot.domain.patterns import LONGEST_PATTERN
from entrepot.metadata.grants import GrantRow

MOST_ACTIONS = 32
SubjectText = Annotated[
    str,
    msgspec.Meta(description="`user:NAME`, `service:NAME`, `team:ORGANISATION/NAME`, `signed-in` or `everyone`."),
]
ResourceText = Annotated[
    str,
    msgspec.Meta(
        description='`acme`, `acme/app`, a pattern such as `acme/web-*` or `acme/**`, or "" for the whole registry.',
        max_length=LONGEST_PATTERN,
    ),
]
On = Annotated[
    str,
    QueryParameter(
        name="resource", max_length=LONGEST_PATTERN, description='Only grants on this and below; "" is the registry.'
    ),
]

Holder = Annotated[
    str,
    QueryParameter(
        name="subject",
        max_length=LONGEST_PATTERN,
        description="Only for `user:NAME`, `service:NAME`, `team:ORGANISATION/NAME`, `signed-in` or `everyone`.",
    ),
]


class Grant(Answer, frozen=True):
    """A grant as it is stored: a role or actions, and the limits that it has."""

    id: int
    subject: str
    effect: Effect
    role: str
    actions: list[str]
    resource: str
    tags: str
    conditions: dict[str, Any] | None
    granted_by: str
    granted_at: datetime


class Grants(Answer, frozen=True):
    """A page of grants, the oldest first."""

    grants: list[Grant]


class NewGrant(Document, frozen=True):
    """A grant to be given: either `role` or `actions`. A denying grant beats every allowing one."""

    subject: SubjectText
    resource: ResourceText
    role: str = ""
    actions: Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_ACTIONS)] = ()
    effect: Effect = "allow"
    tags: Annotated[str, msgspec.Meta(description="Only for tags like this pattern.")] = ""
    conditions: Conditions | None = None

    def order(self) -> grants.NewGrant:
        """The same as verbs take it."""
        return grants.NewGrant(
            self.subject, self.resource, self.role, self.actions, self.effect, self.tags, self.conditions
        )


def grant_of(row: GrantRow) -> Grant:
    """A stored grant as the API shows it."""
    conditions = None if row.conditions is None else msgspec.to_builtins(row.conditions)
    given = time_of(row.granted_at)
    subject = grants.subject_text(row)
    return Grant(
        row.id,
        subject,
        row.effect,
        row.role,
        list(row.actions),
        row.resource,
        row.tags,
        conditions,
        row.granted_by,
        given,
    )


async def list_page(
    registry: TheRegistry, caller: TheCaller, ids: Ids, resource: On = "", subject: Holder = ""
) -> Response[Grants]:
    """Grants on a namespace, repository or the whole registry, and on what is below it; with `subject` only its own."""
    rows, following = await grants.list_grants(registry, caller, resource, (ids.after, ids.limit), subject)
    return ids.answer(Grants([grant_of(row) for row in rows]), following)


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewGrant]) -> Response[Grant]:
    """Give a grant; nobody can give what they do not have themselves."""
    made = await grants.add_grant(registry, caller, data.order())
    return created(f"/grants/{made.id}", grant_of(made))


async def get(registry: TheRegistry, caller: TheCaller, grant: FromPath[str]) -> Grant:
    """One grant."""
    return grant_of(await grants.get_grant(registry, caller, grants.parse_id(grant)))


async def remove(registry: TheRegistry, caller: TheCaller, grant: FromPath[str]) -> None:
    """Take a grant away."""
    await grants.remove_grant(registry, caller, grants.parse_id(grant))
