"""Accounts that people make themselves: asked for by mail or invited, and made by a code."""

from __future__ import annotations

import msgspec

from entrepot.core.accounts import require_free, require_good_password
from entrepot.core.changes import account_of, note, require_admitted
from entrepot.core.directory import require_not_theirs
from entrepot.core.emails import put_free
from entrepot.core.mail_invitations import is_entitled
from entrepot.core.mailing import SEND_WITHIN, Order, check_code, count_stranger, order_mail, require_mail, use_code
from entrepot.core.organisations import admit, get_user
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller, Identity
from entrepot.domain.audit import CODE
from entrepot.domain.errors import Conflict, Denied
from entrepot.domain.events import Event
from entrepot.domain.mail import Purpose, domain_of, parse_address, wrong_code
from entrepot.domain.names import require_free_name
from entrepot.metadata import accounts, organisations
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.mail_codes import CodeRow
from entrepot.metadata.organisations import MemberRow
from entrepot.ports.database import Tx


class Registration(msgspec.Struct, frozen=True):
    """What somebody chooses who has a code: the name and password of their account."""

    name: str
    password: str


async def request_registration(registry: Registry, caller: Caller, email: str) -> None:
    """Send a code for a new account to an address; nobody learns whether it has one.

    Raises Denied where that is off, or off for the domain, RequestInvalid, TooMany, Conflict where no mail is sent.
    """
    address = parse_address(email)
    _require_open(registry, address)
    require_mail(registry)
    now, key = registry.clock.now(), registry.policy.token_key

    async def record(tx: Tx) -> None:
        if await count_stranger(tx, key, caller.origin.address, address, now):
            await order_mail(tx, key, Order("register", address, now + SEND_WITHIN), now)

    await registry.database.transact(record)


async def confirm_registration(registry: Registry, caller: Caller, code: str, new: Registration) -> AccountRow:
    """Make the account that a code is for, in the organisation that it invites into.

    Raises NameInvalid, RequestInvalid, CodeInvalid, TooMany, and, only with a good code, AlreadyExists, Denied, and
    Unavailable while the directory, whose names are nobody's to take, cannot be asked.
    """
    require_free_name(new.name)
    require_good_password(new.password, "password")
    row = await _check(registry, ("register", "invite"), code)
    if row.purpose == "register" or registry.rules.registration == "off":
        _require_open(registry, row.address)
    await registry.database.read(lambda tx: require_free(tx, new.name))
    await require_not_theirs(registry, new.name)
    encoded, act = await registry.hasher.hash(new.password), registry.act(caller)

    async def record(tx: Tx) -> AccountRow:
        await use_code(tx, row)
        await require_free(tx, new.name)
        number = await accounts.add_account(tx, new.name, encoded, is_admin=False, now=act.now)
        made = await get_user(tx, new.name)
        await put_free(tx, made, row.address, act.now)
        made_by = Caller(Identity(number, new.name), None, caller.origin, method=CODE)
        as_made = msgspec.structs.replace(act, caller=made_by)
        detail: dict[str, object] = {"administrator": False, "email": row.address, "invited_by": row.created_by}
        await note(tx, as_made, Event("user.created", new.name, new.name, detail))
        await _join(tx, as_made, made, row)
        return made

    made = await registry.database.transact(record)
    await registry.policy.refresh()
    return made


async def accept_invitation(registry: Registry, caller: Caller, code: str) -> MemberRow | None:
    """Join what a mail invites into with the account that one has; who is in it stays what they are.

    Raises CodeInvalid, InsufficientScope, Conflict.
    """
    require_admitted(caller, Action.ORGANISATION_READ, "")
    row, act = await _check(registry, ("invite",), code), registry.act(caller)

    async def record(tx: Tx) -> MemberRow | None:
        account = await accounts.find_account_by_id(tx, account_of(caller))
        if account is None or account.kind != "user":
            raise Conflict("only users are in organisations")
        await use_code(tx, row)
        return await _join(tx, act, account, row)

    member = await registry.database.transact(record)
    await registry.policy.refresh()
    return member


async def _check(registry: Registry, purposes: tuple[Purpose, ...], code: str) -> CodeRow:
    row = await check_code(registry, purposes, code)
    if row.purpose == "invite" and not await is_entitled(registry, row):
        raise wrong_code()
    return row


async def _join(tx: Tx, act: Act, account: AccountRow, row: CodeRow) -> MemberRow | None:
    if row.organisation is None:
        return None
    organisation = await organisations.find_organisation(tx, row.subject.partition(" ")[0], account.id)
    if organisation is None or organisation.id != row.organisation:
        raise wrong_code()
    if (member := await organisations.find_member(tx, organisation.id, account.id)) is not None:
        return member
    return await admit(tx, act, organisation, (account, row.role or "member"))


def _require_open(registry: Registry, address: str) -> None:
    rules = registry.rules
    if rules.registration == "open":
        return
    if rules.registration == "domain":
        if domain_of(address) in rules.registration_domains:
            return
        raise Denied(f"only addresses of {', '.join(rules.registration_domains)} make accounts here", field="email")
    raise Denied("nobody makes an account here by themselves; ask an administrator, or an owner of your organisation")
