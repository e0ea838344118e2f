"""Mail to people: asked for within bounds, queued, written when it is sent, and the codes in it proved.

What is asked for is a job that says to whom and why. The worker finds out what the letter is to say and makes the code
only then: no secret ever lies in the queue, and whoever asks gets the same answer after the same work, whatever is
behind an address. A job that is tried again makes another code in the place of the one before.
"""

from __future__ import annotations

import hmac
from typing import Final, Literal

import msgspec

from entrepot.core.registry import DAY, SECOND, Act, Registry
from entrepot.domain.errors import Conflict, TooMany
from entrepot.domain.mail import MailCode, Purpose, fold_address, parse_mail_code, wrong_code
from entrepot.domain.networks import IPV6_SITE, network_of
from entrepot.metadata import jobs, mail_codes
from entrepot.metadata.mail_codes import CodeRow
from entrepot.ports.database import Tx

SEND: Final = "mail.send"
HOUR: Final = 3600 * SECOND
MOST_PER_RECIPIENT: Final = 3
MOST_PER_SOURCE: Final = 20
MOST_PER_SITE: Final = 100
MOST_PER_ACCOUNT: Final = 50
MOST_IN_ALL: Final = 1000
MOST_TRIES: Final = 10
# A letter that waited longer says nothing any more.
SEND_WITHIN: Final = DAY
# Neighbours count as one: whoever has an address has many.
IPV4_SOURCE: Final = 24


class Order(msgspec.Struct, frozen=True):
    """A letter to be written: why, to whom (an address, or the name of a user), and until when it is worth sending.

    `selector` is of an invitation that is there already, `account` of the user whose address is to be proved.
    """

    kind: Purpose
    to: str
    until: int
    by: str = ""
    selector: str = ""
    account: int = 0


async def order_mail(tx: Tx, key: bytes, order: Order, now: int) -> None:
    """Queue a letter; an equal one that still waits stands for both."""
    name = _bucket(key, "order", f"{order.kind} {fold_address(order.to)} {order.selector} {order.account}")
    await jobs.add_job(tx, SEND, name, order, now)


async def count_stranger(tx: Tx, key: bytes, address: str, to: str, now: int) -> bool:
    """Count a mail that somebody without an account asks for; False if the recipient has had enough, and is not told.

    Raises TooMany where the network that it comes from, the site that this is of, or everybody together, has asked for
    too many.
    """
    await _count(tx, _bucket(key, "all", ""), MOST_IN_ALL, now)
    await _count(tx, _bucket(key, "site", network_of(address, IPV4_SOURCE, IPV6_SITE)), MOST_PER_SITE, now)
    await _count(tx, _bucket(key, "source", network_of(address, IPV4_SOURCE)), MOST_PER_SOURCE, now)
    recipient = _bucket(key, "recipient", fold_address(to))
    return await mail_codes.count_mail(tx, recipient, now, now - HOUR) <= MOST_PER_RECIPIENT


async def count_known(tx: Tx, key: bytes, act: Act, to: str) -> None:
    """Count a mail that somebody with an account asks for; what strangers ask for keeps none of them back.

    Raises TooMany.
    """
    who = act.caller.identity.account if act.caller.identity else 0
    await _count(tx, _bucket(key, "account", str(who)), MOST_PER_ACCOUNT, act.now)
    await _count(tx, _bucket(key, "known", fold_address(to)), MOST_PER_RECIPIENT, act.now)


def require_mail(registry: Registry) -> None:
    """Raise Conflict where no mail can be sent."""
    if registry.mail is None:
        raise Conflict("this registry sends no mail (mail.url is not set); ask an administrator")


async def check_code(registry: Registry, purposes: tuple[Purpose, ...], text: str) -> CodeRow:
    """The row of a code that is good for one of these purposes; it is not used up by that.

    A wrong one is counted, and after ten the code is void. Raises CodeInvalid.
    """
    code, now = parse_mail_code(text), registry.clock.now()
    row = await registry.database.transact(lambda tx: _try(tx, code, now))
    if row is None or row.purpose not in purposes:
        raise wrong_code()
    return row


async def use_code(tx: Tx, row: CodeRow) -> None:
    """Use a code up, in the transaction of what it lets somebody do. Raises CodeInvalid."""
    if not await mail_codes.use_code(tx, row):
        raise wrong_code()


async def forget_mail(registry: Registry) -> None:
    """Forget codes that have expired, and counts that do not count any more."""
    now = registry.clock.now()
    await registry.database.transact(lambda tx: mail_codes.forget_expired(tx, now, now - HOUR))


async def _try(tx: Tx, code: MailCode, now: int) -> CodeRow | None:
    row = await mail_codes.try_code(tx, code.selector, now, MOST_TRIES)
    if row is None or not hmac.compare_digest(row.hash, code.hash):
        return None
    await mail_codes.give_back_try(tx, code.selector)
    return row


async def _count(tx: Tx, bucket: str, most: int, now: int) -> None:
    if await mail_codes.count_mail(tx, bucket, now, now - HOUR) > most:
        raise TooMany("too many mails were asked for; try again in an hour")


def _bucket(
    key: bytes, kind: Literal["order", "all", "site", "source", "recipient", "account", "known"], text: str
) -> str:
    # Keyed: what strangers typed is not for whoever reads the table.
    return hmac.digest(key, f"mail {kind} {text}".encode(), "sha256").hex()
