"""Invitations into organisations: `/organisations/…/invitations` of those who invite, `/invitations` of the invited."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.organisations import NewMembership, OrganisationMember, member_of
from entrepot.api.request import InPath, Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, time_of
from entrepot.core import invitations
from entrepot.domain.policy import Membership
from entrepot.metadata.invitations import InvitationRow


class Invitation(Answer, frozen=True):
    """A user who is asked to join an organisation, and may answer until it expires.

    It is `open` while whoever made it might still make it; who is invited sees no others.
    """

    organisation: str
    user: str
    role: Membership
    invited_by: str
    invited_at: datetime
    expires_at: datetime
    open: bool


class Invitations(Answer, frozen=True):
    """A page of invitations that were not answered yet."""

    invitations: list[Invitation]


def _invitation(row: InvitationRow, *, is_open: bool = True) -> Invitation:
    times = time_of(row.invited_at), time_of(row.expires_at)
    return Invitation(row.organisation, row.user, row.role, row.invited_by, *times, is_open)


async def list_page(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, names: Names
) -> Response[Invitations]:
    """Who is invited into an organisation and has not answered, by name."""
    found, following = await invitations.list_invitations(registry, caller, organisation, names.page)
    return names.answer(Invitations([_invitation(each.row, is_open=each.is_open) for each in found]), following)


async def put(
    registry: TheRegistry, caller: TheCaller, organisation: InPath, user: InPath, data: JSONBody[NewMembership]
) -> Invitation:
    """Invite a user; it holds for 14 days and replaces an earlier one."""
    return _invitation(await invitations.invite(registry, caller, organisation, user, data.role))


async def withdraw(registry: TheRegistry, caller: TheCaller, organisation: InPath, user: InPath) -> None:
    """Take an invitation back."""
    await invitations.withdraw(registry, caller, organisation, user)


async def list_own(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[Invitations]:
    """The organisations that you are invited to, by name."""
    found, following = await invitations.list_own(registry, caller, names.page)
    return names.answer(Invitations([_invitation(each.row, is_open=each.is_open) for each in found]), following)


async def accept(registry: TheRegistry, caller: TheCaller, organisation: InPath) -> OrganisationMember:
    """Join the organisation, as what you were invited as."""
    return member_of(await invitations.accept(registry, caller, organisation))


async def decline(registry: TheRegistry, caller: TheCaller, organisation: InPath) -> None:
    """Refuse an invitation."""
    await invitations.decline(registry, caller, organisation)
