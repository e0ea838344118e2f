"""Organisations and who is in them: `/organisations`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Response
from litestar.params import JSONBody, QueryParameter

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Description, Document, FreeName, Name, time_of
from entrepot.core import organisations
from entrepot.domain.names import LONGEST_NAMESPACE
from entrepot.domain.policy import Membership
from entrepot.metadata.organisations import MemberRow, OrganisationRow

GiveTo = Annotated[
    str,
    QueryParameter(
        name="give_to",
        max_length=LONGEST_NAMESPACE,
        description="A user, or another organisation of yours, who gets the namespaces that it owns.",
    ),
]


class Organisation(Answer, frozen=True):
    """People who own namespaces together; `role` is what you are in it, null for an administrator from outside."""

    name: str
    description: str
    role: Membership | None
    created_at: datetime


class Organisations(Answer, frozen=True):
    """A page of organisations, by name."""

    organisations: list[Organisation]


class NewOrganisation(Document, frozen=True):
    """An organisation to be made, with a private namespace of its name.

    `owner` is the user who owns it first: you, or as an administrator anybody.
    """

    name: FreeName
    description: Description = ""
    owner: Name | None = None


class OrganisationChange(Document, frozen=True):
    """What is to be said of an organisation."""

    description: Description


class OrganisationMember(Answer, frozen=True):
    """Somebody in an organisation. An owner administers it and owns its namespaces.

    `source` is `local`, or names the directory that the row is kept by.
    """

    user: str
    role: Membership
    source: str
    added_at: datetime


class OrganisationMembers(Answer, frozen=True):
    """A page of members, by name."""

    members: list[OrganisationMember]


class NewMembership(Document, frozen=True):
    """What somebody is to be: a member, who can be in teams, or an owner, who administers the organisation."""

    role: Membership = "member"


class Given(Answer, frozen=True):
    """The namespaces of an organisation that was removed, which belong to somebody else now."""

    namespaces: list[str]


def _organisation(row: OrganisationRow) -> Organisation:
    return Organisation(row.name, row.description, row.role, time_of(row.created_at))


def member_of(row: MemberRow) -> OrganisationMember:
    """A member as answers show one."""
    return OrganisationMember(row.user, row.role, row.source, time_of(row.added_at))


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[Organisations]:
    """The organisations that you are in, by name; for administrators all."""
    rows, following = await organisations.list_organisations(registry, caller, names.page)
    return names.answer(Organisations([_organisation(row) for row in rows]), following)


async def get(registry: TheRegistry, caller: TheCaller, organisation: InPath) -> Organisation:
    """One organisation."""
    return _organisation(await organisations.get_organisation(registry, caller, organisation))


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewOrganisation]) -> Response[Organisation]:
    """Make an organisation: administrators, and others where `auth.create_organisations` says so."""
    new = organisations.NewOrganisation(data.name, data.description, data.owner)
    made = await organisations.create_organisation(registry, caller, new)
    return created(f"/organisations/{made.name}", _organisation(made))


async def change(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, data: JSONBody[OrganisationChange]
) -> Organisation:
    """Describe an organisation."""
    return _organisation(await organisations.describe_organisation(registry, caller, organisation, data.description))


async def remove(registry: TheRegistry, caller: TheCaller, organisation: InPath, give_to: GiveTo = "") -> Given:
    """Remove an organisation with its teams and what was granted to them; its namespaces go to `give_to`."""
    return Given(await organisations.remove_organisation(registry, caller, organisation, give_to))


async def list_members(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, names: Names
) -> Response[OrganisationMembers]:
    """Who is in an organisation, by name."""
    rows, following = await organisations.list_members(registry, caller, organisation, names.page)
    return names.answer(OrganisationMembers([member_of(row) for row in rows]), following)


async def put_member(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, user: InPath, data: JSONBody[NewMembership]
) -> OrganisationMember:
    """Let a user in, or make them an owner or a plain member."""
    return member_of(await organisations.put_member(registry, caller, organisation, user, data.role))


async def remove_member(registry: TheRegistry, caller: TheCaller, organisation: InPath, user: InPath) -> None:
    """Let a member go, out of its teams too: for owners, and for whoever leaves."""
    await organisations.remove_member(registry, caller, organisation, user)
