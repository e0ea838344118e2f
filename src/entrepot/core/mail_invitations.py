"""Invitations by mail: of people without an account, by administrators and by owners of organisations."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.changes import note
from entrepot.core.decide import require
from entrepot.core.invitations import INVITATION_DAYS, is_still_open, may_still_invite
from entrepot.core.mailing import Order, count_known, order_mail, require_mail
from entrepot.core.organisations import get_organisation_row
from entrepot.core.registry import DAY, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import Conflict, Denied, InvitationUnknown
from entrepot.domain.events import Event
from entrepot.domain.mail import fold_address, make_mail_code, parse_address
from entrepot.domain.policy import Membership
from entrepot.metadata import mail_codes
from entrepot.metadata.mail_codes import CodeRow
from entrepot.ports.database import Tx

MOST_INVITED: Final = 100


class NewMailInvitation(msgspec.Struct, frozen=True):
    """Whom to invite, and into which organisation as what; into none without a name."""

    email: str
    organisation: str = ""
    role: Membership = "member"


class MailInvitation(msgspec.Struct, frozen=True):
    """An invitation by mail, and whether it can be accepted: whoever sent it might send it still."""

    row: CodeRow
    is_open: bool


async def list_invited(registry: Registry, caller: Caller, organisation: str) -> list[MailInvitation]:
    """Who was invited by mail and has not come, by address. Raises Denied, OrganisationUnknown."""
    _require_keeper(registry, caller, organisation)
    now, snapshot = registry.clock.now(), registry.policy.snapshot

    async def collect(tx: Tx) -> list[MailInvitation]:
        rows = await mail_codes.list_invited(tx, await _find_id(tx, caller, organisation), now, MOST_INVITED)
        return [
            MailInvitation(row, await is_still_open(tx, snapshot, (row.created_by, row.created_at), organisation))
            for row in rows
        ]

    return await registry.database.read(collect)


async def invite_by_mail(registry: Registry, caller: Caller, new: NewMailInvitation) -> CodeRow:
    """Send an invitation, in the place of an earlier one to the same address. It holds for 14 days.

    Whether the address has an account is not told. Raises Denied, RequestInvalid, OrganisationUnknown, Conflict,
    TooMany.
    """
    address, act, key = parse_address(new.email), registry.act(caller), registry.policy.token_key
    _require_keeper(registry, caller, new.organisation)
    if registry.rules.registration == "off":
        raise Denied("nobody makes an account here by themselves; set auth.registration to invited first")
    require_mail(registry)
    code, until = make_mail_code(), act.now + INVITATION_DAYS * DAY

    async def record(tx: Tx) -> CodeRow:
        organisation = await _find_id(tx, caller, new.organisation)
        if len(await mail_codes.list_invited(tx, organisation, act.now, MOST_INVITED)) >= MOST_INVITED:
            raise Conflict(f"there are {MOST_INVITED} invitations that nobody answered; withdraw some first")
        await count_known(tx, key, act, address)
        subject = f"{new.organisation} {fold_address(address)}"
        made = (act.actor, act.now, until)
        row = CodeRow(code.selector, "invite", subject, None, address, "", *made, organisation, new.role)
        await mail_codes.put_code(tx, row)
        await order_mail(tx, key, Order("invite", address, until, act.actor, code.selector), act.now)
        detail: dict[str, object] = {"email": address, "role": new.role}
        await note(tx, act, Event("invitation.mailed", act.actor, new.organisation, detail))
        return row

    return await registry.database.transact(record)


async def withdraw_mail(registry: Registry, caller: Caller, number: str) -> None:
    """Take an invitation back, by its id. Raises InvitationUnknown for one that is not there or not the caller's."""
    act = registry.act(caller)
    selector = number if number.isalnum() else ""
    row = await registry.database.read(lambda tx: mail_codes.find_code(tx, selector, act.now))
    organisation = row.subject.partition(" ")[0] if row else ""
    if row is None or row.purpose != "invite":
        _require_keeper(registry, caller, "")
        raise InvitationUnknown("there is no such invitation; it holds for 14 days")
    _require_keeper(registry, caller, organisation)

    async def record(tx: Tx) -> None:
        await mail_codes.remove_code(tx, row.selector)
        detail: dict[str, object] = {"email": row.address}
        await note(tx, act, Event("invitation.unmailed", act.actor, organisation, detail))

    await registry.database.transact(record)


async def is_entitled(registry: Registry, row: CodeRow) -> bool:
    """Whether whoever sent an invitation might still send it: it ends with the right to invite."""
    return await may_still_invite(registry, row.created_by, row.created_at, row.subject.partition(" ")[0])


def _require_keeper(registry: Registry, caller: Caller, organisation: str) -> None:
    snapshot = registry.policy.snapshot
    if organisation:
        require(caller, snapshot, Action.ORGANISATION_ADMIN, organisation)
    else:
        require_admin(caller, snapshot)


async def _find_id(tx: Tx, caller: Caller, organisation: str) -> int | None:
    return (await get_organisation_row(tx, caller, organisation)).id if organisation else None
