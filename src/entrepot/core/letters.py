"""What letters say, and the job that writes and sends them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from entrepot.core.accounts import LOCAL
from entrepot.core.mail_invitations import is_entitled
from entrepot.core.mailing import Order
from entrepot.core.registry import DAY, Registry
from entrepot.domain.directory import LDAP
from entrepot.domain.mail import Letter, MailCode, fold_address, make_mail_code
from entrepot.metadata import accounts, emails, mail_codes
from entrepot.metadata.emails import EmailRow
from entrepot.metadata.mail_codes import CodeRow
from entrepot.ports.database import Tx

CODE_HOLDS: Final = DAY
PLACE: Final = "an Entrepot registry"
# The first line of each is its subject.
FOOT: Final = "\nIf this was not you, there is nothing that you have to do.\n"
REGISTER: Final = (
    "Choose your name and password\n\n"
    "Somebody asked for an account for this address on {place}.\n\n"
    "With this code you choose its name and password, within a day:\n\n  {code}\n\n"
    "  entrepot register --confirm --server {url}\n"
)
KNOWN: Final = (
    "You have an account\n\n"
    "Somebody asked for an account for this address on {place}, and you have one: {name}.\n\n"
    "If you do not know its password any more:\n\n  entrepot user reset-password {name} --server {url}\n"
)
INVITED: Final = (
    "{by} invites you\n\n"
    "{by} invites you to {place}{into}.\n\n"
    "With this code you choose the name and password of your account there, until {until}:\n\n  {code}\n\n"
    "  entrepot register --confirm --server {url}\n\n"
    "If you have an account there already, accept with the same code, logged in:\n\n"
    "  entrepot organisation accept-mail\n"
)
VERIFY: Final = (
    "Is this your address?\n\n"
    "This address was given for the account {name} on {place}.\n\n"
    "If it is yours, confirm it with this code, logged in, within a day:\n\n  {code}\n\n"
    "  entrepot user email confirm {name} --server {url}\n"
)
RESET: Final = (
    "Choose another password\n\n"
    "Somebody asked for another password for your account {name} on {place}.\n\n"
    "With this code you choose one, within a day:\n\n  {code}\n\n"
    "  entrepot user reset-password {name} --confirm --server {url}\n\n"
    "Everything that is logged in with the present one is logged out by that. "
    "One-time codes, if you use them, stay.\n"
)
ELSEWHERE: Final = (
    "Your password is in the directory\n\n"
    "Somebody asked for another password for your account {name} on {place}.\n\n"
    "It is the one of your company's directory: change it there, or ask whoever looks after it.\n"
)
PROVIDED: Final = (
    "You have no password here\n\n"
    "Somebody asked for another password for your account {name} on {place}.\n\n"
    "It has none: you sign on with a provider. Change the password there, or ask whoever looks after it.\n"
)
NOBODY: Final = (
    "There is no account for this address\n\n"
    "Somebody asked for another password on {place}, for an account with this address. There is none.\n"
)


async def send_letter(registry: Registry, payload: str) -> None:
    """Write the letter that a job is about, and hand it over. Raises Unavailable, after which it is tried again."""
    order, now = msgspec.json.decode(payload, type=Order), registry.clock.now()
    if registry.mail is None or order.until <= now:
        return
    if order.kind == "invite" and not await _is_wanted(registry, order, now):
        return
    code = make_mail_code(order.selector)
    letter = await registry.database.transact(lambda tx: _write(tx, order, code, now))
    if letter is None and order.kind == "reset":
        letter = await _write_elsewhere(registry, order)
    if letter is not None:
        await registry.mail.send(_filled(registry, letter, order, code))


async def _is_wanted(registry: Registry, order: Order, now: int) -> bool:
    row = await registry.database.read(lambda tx: mail_codes.find_code(tx, order.selector, now))
    return row is None or await is_entitled(registry, row)


class _Draft(msgspec.Struct, frozen=True):
    """A letter before the place and the code are filled in."""

    to: str
    template: str
    words: dict[str, str] = {}


async def _write(tx: Tx, order: Order, code: MailCode, now: int) -> _Draft | None:
    if order.kind == "register":
        return await _write_register(tx, order, code, now)
    if order.kind == "invite":
        return await _write_invitation(tx, code, now)
    if order.kind == "verify":
        return await _write_verify(tx, order, code, now)
    return await _write_reset(tx, order, code, now)


async def _write_register(tx: Tx, order: Order, code: MailCode, now: int) -> _Draft:
    folded = fold_address(order.to)
    owner = await emails.find_owner(tx, folded)
    if owner is not None:
        return _Draft(owner.address, KNOWN, {"name": owner.name})
    row = CodeRow(code.selector, "register", folded, None, order.to, code.hash, order.by, now, now + CODE_HOLDS)
    await mail_codes.put_code(tx, row)
    return _Draft(order.to, REGISTER)


async def _write_invitation(tx: Tx, code: MailCode, now: int) -> _Draft | None:
    row = await mail_codes.find_code(tx, code.selector, now)
    if row is None:
        # Withdrawn meanwhile.
        return None
    await mail_codes.set_hash(tx, code.selector, code.hash)
    organisation = row.subject.partition(" ")[0]
    into = f", into the organisation {organisation}" if row.organisation else ""
    days = f"{(row.expires_at - now) // DAY} days from now"
    return _Draft(row.address, INVITED, {"by": row.created_by, "into": into, "until": days})


async def _write_verify(tx: Tx, order: Order, code: MailCode, now: int) -> _Draft | None:
    account = await accounts.find_account(tx, order.by)
    if account is None or account.id != order.account:
        return None
    subject = str(account.id)
    row = CodeRow(code.selector, "verify", subject, account.id, order.to, code.hash, order.by, now, now + CODE_HOLDS)
    await mail_codes.put_code(tx, row)
    return _Draft(order.to, VERIFY, {"name": account.name})


async def _write_reset(tx: Tx, order: Order, code: MailCode, now: int) -> _Draft | None:
    owner = await _find_owner(tx, order.to)
    if owner is None:
        return _Draft(order.to, NOBODY) if "@" in order.to else None
    if owner.source != LOCAL:
        return _Draft(owner.address, ELSEWHERE if owner.source == LDAP else PROVIDED, {"name": owner.name})
    if owner.is_disabled:
        return None
    await put_reset_code(tx, owner.account, (owner.address, ""), code, now)
    return _Draft(owner.address, RESET, {"name": owner.name})


async def put_reset_code(tx: Tx, account: int, made: tuple[str, str], code: MailCode, now: int) -> int:
    """Keep a code for another password; until when it holds. `made` is (to which address, by whom)."""
    address, by = made
    until = now + CODE_HOLDS
    await mail_codes.put_code(
        tx, CodeRow(code.selector, "reset", str(account), account, address, code.hash, by, now, until)
    )
    return until


async def _find_owner(tx: Tx, who: str) -> EmailRow | None:
    if "@" in who:
        return await emails.find_owner(tx, fold_address(who))
    return await emails.find_email_of(tx, who)


async def _write_elsewhere(registry: Registry, order: Order) -> _Draft | None:
    # Whoever the directory knows has their address there.
    account = await registry.database.read(lambda tx: accounts.find_account(tx, order.to))
    if account is None or account.source != LDAP or registry.directory is None:
        return None
    person = (await registry.directory.find([order.to])).get(order.to)
    return _Draft(person.email, ELSEWHERE, {"name": order.to}) if person and person.email else None


def _filled(registry: Registry, draft: _Draft, order: Order, code: MailCode) -> Letter:
    url = registry.rules.public_url
    words = {"url": url or "ADDRESS", "place": url or PLACE, "code": code.text, "by": order.by, **draft.words}
    subject, _, text = draft.template.format(**words).partition("\n\n")
    return Letter(draft.to, f"{subject} ({urlsplit(url).netloc or 'Entrepot'})", text + FOOT)
