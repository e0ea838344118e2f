"""Invitations: an owner of an organisation asks somebody to join it, who accepts or declines."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.changes import account_of, note, require_admitted
from entrepot.core.decide import decide, require
from entrepot.core.listing import Page, cut
from entrepot.core.organisations import admit, get_organisation_row, get_user
from entrepot.core.registry import DAY, Registry
from entrepot.domain.access import LOCAL, Action, Caller, Identity
from entrepot.domain.errors import Conflict, InvitationUnknown
from entrepot.domain.events import Event
from entrepot.domain.policy import Membership, PolicySnapshot
from entrepot.metadata import accounts, invitations, organisations
from entrepot.metadata.invitations import InvitationRow, NewInvitationRow
from entrepot.metadata.organisations import MemberRow
from entrepot.ports.database import Tx

INVITATION_DAYS: Final = 14


class Invitation(msgspec.Struct, frozen=True):
    """An invitation, and whether it can be accepted: whoever made it might make it still."""

    row: InvitationRow
    is_open: bool


async def list_invitations(
    registry: Registry, caller: Caller, organisation: str, page: Page
) -> tuple[list[Invitation], str | None]:
    """Who is invited into an organisation and has not answered, by name. Raises OrganisationUnknown, Denied."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, organisation)

    async def collect(tx: Tx) -> list[Invitation]:
        row = await get_organisation_row(tx, caller, organisation)
        rows = await invitations.list_invitations(tx, row.id, act.now, page.after, page.limit + 1)
        return await _judged(tx, act.snapshot, rows)

    return cut(await registry.database.read(collect), page, lambda invitation: invitation.row.user)


async def list_own(registry: Registry, caller: Caller, page: Page) -> tuple[list[Invitation], str | None]:
    """Into what the caller is invited and may come, by name of the organisation. Raises InsufficientScope.

    What cannot be accepted goes after the page is cut, which may then be short.
    """
    require_admitted(caller, Action.ORGANISATION_READ, "")
    act, account = registry.act(caller), account_of(caller)

    async def collect(tx: Tx) -> list[Invitation]:
        rows = await invitations.list_invitations_of(tx, account, act.now, page.after, page.limit + 1)
        return await _judged(tx, act.snapshot, rows)

    found, following = cut(await registry.database.read(collect), page, lambda invitation: invitation.row.organisation)
    return [each for each in found if each.is_open], following


async def invite(registry: Registry, caller: Caller, organisation: str, user: str, role: Membership) -> InvitationRow:
    """Ask a user to join; it replaces an earlier invitation.

    Raises OrganisationUnknown, Denied, AccountUnknown, and Conflict for a member.
    """
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, organisation)
    expires_at = act.now + INVITATION_DAYS * DAY

    async def record(tx: Tx) -> InvitationRow:
        row = await get_organisation_row(tx, caller, organisation)
        account = await get_user(tx, user)
        if await organisations.find_member(tx, row.id, account.id) is not None:
            raise Conflict("this user is in the organisation already", user=user, organisation=organisation)
        new = NewInvitationRow(row.id, account.id, role, act.actor, act.now, expires_at)
        await invitations.put_invitation(tx, new)
        await note(tx, act, Event("invitation.made", act.actor, organisation, {"user": user, "role": role}))
        return InvitationRow(organisation, user, role, act.actor, act.now, expires_at)

    invitation = await registry.database.transact(record)
    await registry.policy.refresh()
    return invitation


async def withdraw(registry: Registry, caller: Caller, organisation: str, user: str) -> None:
    """Take an invitation back. Raises OrganisationUnknown, Denied, AccountUnknown, InvitationUnknown."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, organisation)

    async def record(tx: Tx) -> None:
        row = await get_organisation_row(tx, caller, organisation)
        account = await get_user(tx, user)
        await _get(tx, organisation, account.id, act.now)
        await invitations.remove_invitation(tx, row.id, account.id)
        await note(tx, act, Event("invitation.withdrawn", act.actor, organisation, {"user": user}))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def accept(registry: Registry, caller: Caller, organisation: str) -> MemberRow:
    """Join, as what one was invited as. Raises InvitationUnknown, InsufficientScope."""
    require_admitted(caller, Action.ORGANISATION_READ, organisation)
    found = await registry.database.read(lambda tx: _get(tx, organisation, account_of(caller), registry.clock.now()))
    if not await may_still_invite(registry, found.invited_by, found.invited_at, organisation):
        raise InvitationUnknown(
            "whoever invited you may not invite anybody any more; ask an owner for another invitation",
            organisation=organisation,
        )
    act = registry.act(caller)

    async def record(tx: Tx) -> MemberRow:
        invitation = await _get(tx, organisation, account_of(caller), act.now)
        row = await get_organisation_row(tx, caller, organisation)
        account = await get_user(tx, invitation.user)
        await note(tx, act, Event("invitation.accepted", act.actor, organisation, {"role": invitation.role}))
        return await admit(tx, act, row, (account, invitation.role))

    member = await registry.database.transact(record)
    await registry.policy.refresh()
    return member


async def decline(registry: Registry, caller: Caller, organisation: str) -> None:
    """Refuse an invitation. Raises InvitationUnknown, InsufficientScope."""
    require_admitted(caller, Action.ORGANISATION_READ, organisation)
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        account = account_of(caller)
        await _get(tx, organisation, account, act.now)
        row = await get_organisation_row(tx, caller, organisation)
        await invitations.remove_invitation(tx, row.id, account)
        await note(tx, act, Event("invitation.declined", act.actor, organisation))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def may_still_invite(registry: Registry, inviter: str, invited_at: int, organisation: str) -> bool:
    """Whether whoever invited somebody might still do it: an invitation ends with the right to invite.

    Without an organisation it is one to the registry.
    """
    await registry.policy.refresh()
    snapshot = registry.policy.snapshot
    return await registry.database.read(lambda tx: is_still_open(tx, snapshot, (inviter, invited_at), organisation))


async def _judged(tx: Tx, snapshot: PolicySnapshot, rows: list[InvitationRow]) -> list[Invitation]:
    return [
        Invitation(row, await is_still_open(tx, snapshot, (row.invited_by, row.invited_at), row.organisation))
        for row in rows
    ]


async def is_still_open(tx: Tx, snapshot: PolicySnapshot, made: tuple[str, int], organisation: str) -> bool:
    """Whether (who invited, when) might still do it, into an organisation or, without one, to the registry."""
    inviter, invited_at = made
    if inviter.startswith(f"{LOCAL}:"):
        # Whoever has the files of the machine, which is no account.
        return True
    account = await accounts.find_account(tx, inviter)
    if account is None or account.created_at > invited_at:
        # Gone, and the name perhaps somebody else's by now.
        return False
    action = Action.ORGANISATION_ADMIN if organisation else Action.ADMIN
    identity = Identity(account.id, account.name)
    return decide(snapshot, identity, action, organisation).allowed


async def _get(tx: Tx, organisation: str, account: int, now: int) -> InvitationRow:
    invitation = await invitations.find_invitation(tx, organisation, account, now)
    if invitation is None:
        raise InvitationUnknown("there is no such invitation; it holds for 14 days", organisation=organisation)
    return invitation
