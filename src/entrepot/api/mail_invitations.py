"""Invitations by mail: `/mail-invitations`, and `/mail-acceptances` of whoever has an account already."""

from __future__ import annotations

from datetime import datetime

from litestar.params import JSONBody

from entrepot.api.request import InOrganisation, InPath, TheCaller, TheRegistry
from entrepot.api.types import Address, Answer, Document, MailCode, Name, time_of
from entrepot.core import mail_invitations, registrations
from entrepot.domain.policy import Membership
from entrepot.metadata.mail_codes import CodeRow


class MailInvitation(Answer, frozen=True):
    """Somebody who was invited by mail and has not come, into an organisation or into none.

    It is `open` as long as whoever sent it might send it: nobody can accept it otherwise.
    """

    id: str
    email: str
    organisation: str | None
    role: Membership | None
    invited_by: str
    invited_at: datetime
    expires_at: datetime
    open: bool


class MailInvitations(Answer, frozen=True):
    """All of them, by address."""

    invitations: list[MailInvitation]


class NewMailInvitation(Document, frozen=True):
    """Whom to invite; with an organisation, into that one as `role`."""

    email: Address
    organisation: Name | None = None
    role: Membership = "member"


class AcceptMailInvitation(Document, frozen=True):
    """The code of the mail."""

    code: MailCode


def _invitation(row: CodeRow, *, is_open: bool = True) -> MailInvitation:
    organisation = row.subject.partition(" ")[0] or None
    times = time_of(row.created_at), time_of(row.expires_at)
    role = row.role if organisation else None
    return MailInvitation(row.selector, row.address, organisation, role, row.created_by, *times, is_open)


async def list_all(registry: TheRegistry, caller: TheCaller, organisation: InOrganisation = "") -> MailInvitations:
    """Who was invited by mail and has not come: into an organisation, or, for administrators, into none."""
    found = await mail_invitations.list_invited(registry, caller, organisation)
    return MailInvitations([_invitation(each.row, is_open=each.is_open) for each in found])


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewMailInvitation]) -> MailInvitation:
    """Invite an address by mail; it holds for 14 days. Owners invite into their organisation."""
    new = mail_invitations.NewMailInvitation(data.email, data.organisation or "", data.role)
    return _invitation(await mail_invitations.invite_by_mail(registry, caller, new))


async def accept(registry: TheRegistry, caller: TheCaller, data: JSONBody[AcceptMailInvitation]) -> None:
    """Join, with the account that you have, what the code of a mail invites into."""
    await registrations.accept_invitation(registry, caller, data.code)


async def remove(registry: TheRegistry, caller: TheCaller, invitation: InPath) -> None:
    """Take an invitation by mail back."""
    await mail_invitations.withdraw_mail(registry, caller, invitation)
