"""Programs that log in by a page (RFC 8628): they show a code, a person types it where they are signed in, and decides.

What the program gets is a personal token, made when it fetches it, so that no secret waits in the database.
"""

from __future__ import annotations

import secrets
from typing import Final, Literal

import msgspec

from entrepot.core import credentials
from entrepot.core.credentials import Holder, Made, NewSecret
from entrepot.core.registry import SECOND, Registry
from entrepot.core.sessions import by_session, fingerprint_of
from entrepot.domain.access import Caller, Identity, Origin
from entrepot.domain.device import (
    LETTERS,
    is_token,
    new_token,
    new_user_code,
    parse_agent,
    parse_machine,
    parse_scopes,
    parse_user_code,
)
from entrepot.domain.errors import CredentialUnknown, TooMany
from entrepot.domain.events import Event, EventKind
from entrepot.domain.networks import IPV6_SITE, network_of
from entrepot.metadata import device_codes, events, sessions
from entrepot.metadata.device_codes import DeviceRow, NewDeviceRow
from entrepot.metadata.sessions import SessionRow
from entrepot.ports.database import Tx

CODE_SECONDS: Final = 600
PAUSE_SECONDS: Final = 5
# Half a second early is the network's doing, not the program's.
GRACE: Final = SECOND // 2
MOST_OPEN: Final = 10_000
MOST_OF_A_NETWORK: Final = 20
MOST_OF_A_SITE: Final = 500
MOST_MISSES: Final = 10
TOKEN_DAYS: Final = 30
BY_DEVICE: Final = "device-code"
DIFFERENT: Final = 4
Problem = Literal["authorization_pending", "slow_down", "access_denied", "expired_token"]


class Asking(msgspec.Struct, frozen=True):
    """A program that wants to log in: its machine's name, what it is, from where, and the scopes it wants, spaced."""

    name: str
    agent: str
    address: str
    scope: str = ""


class Begun(msgspec.Struct, frozen=True):
    """What it keeps, what a person types, and for how long and how often it may ask (seconds)."""

    device_code: str
    user_code: str
    seconds: int = CODE_SECONDS
    pause: int = PAUSE_SECONDS


class Waiting(msgspec.Struct, frozen=True):
    """Why it has nothing yet, or never will (RFC 8628, section 3.5)."""

    problem: Problem


async def begin(registry: Registry, asking: Asking) -> Begun:
    """Let a program wait for ten minutes. Raises RequestInvalid, and TooMany where its network has too many waiting."""
    now, begun = registry.clock.now(), Begun(new_token(), new_user_code())
    network, site = network_of(asking.address), network_of(asking.address, ipv6=IPV6_SITE)
    new = NewDeviceRow(
        fingerprint_of(begun.device_code),
        fingerprint_of(begun.user_code),
        parse_machine(asking.name),
        parse_agent(asking.agent),
        asking.address,
        network,
        site,
        parse_scopes(asking.scope),
        PAUSE_SECONDS * SECOND,
        now + CODE_SECONDS * SECOND,
    )

    async def record(tx: Tx) -> None:
        await device_codes.sweep_devices(tx, now)
        is_full = await device_codes.count_devices_of(tx, network, now) >= MOST_OF_A_NETWORK
        is_full = is_full or await device_codes.count_devices_of_site(tx, site, now) >= MOST_OF_A_SITE
        if is_full or await device_codes.count_devices(tx, now, MOST_OPEN) >= MOST_OPEN:
            raise TooMany("too many logins wait for somebody to confirm them; try again in ten minutes")
        if not await device_codes.add_device(tx, new, now):
            raise TooMany("try again")

    await registry.database.transact(record, durable=False)
    return begun


async def find(registry: Registry, session: SessionRow, code: str) -> DeviceRow:
    """The program that shows a code to whoever is signed in.

    Raises CredentialUnknown, and TooMany for whoever has typed many that were not there.
    """
    if session.misses >= MOST_MISSES:
        raise TooMany("you have typed too many codes that were not there; sign out, and in again")
    now = registry.clock.now()

    async def look(tx: Tx) -> DeviceRow | None:
        row = await device_codes.find_device_by_code(tx, fingerprint_of(parse_user_code(code)))
        if row is None or row.until < now or row.decided_at is not None:
            await sessions.add_miss(tx, session.id)
            return None
        return row

    row = await registry.database.transact(look, durable=False)
    if row is None:
        raise CredentialUnknown("no program waits with this code: it was mistyped, used, or is older than ten minutes")
    return row


async def decide(
    registry: Registry, session: SessionRow, code: str, *, is_approved: bool, address: str = ""
) -> DeviceRow:
    """Let the program that shows a code log in as whoever is signed in, at an address, or do not; once.

    Raises CredentialUnknown, TooMany.
    """
    row = await find(registry, session, code)
    now = registry.clock.now()
    # What was opened by signing on elsewhere makes nothing that lasts longer than itself.
    whose = session.account, session.until if session.provider else 0

    async def record(tx: Tx) -> bool:
        present = await sessions.get_session(tx, session.id)
        if present is None or not present.is_live(now):
            # Ended since the page was asked for: by another password, perhaps.
            raise CredentialUnknown("you are not signed in any more; sign in, and type the code again")
        if is_approved:
            is_first = await device_codes.approve_device(tx, row.fingerprint, whose, now)
        else:
            is_first = await device_codes.deny_device(tx, row.fingerprint, now)
        if is_first:
            detail: dict[str, object] = {"machine": row.name, "address": row.address, "scopes": list(row.scopes)}
            kind: EventKind = "device.approved" if is_approved else "device.denied"
            by = by_session(session, address)
            await events.add_event(tx, Event(kind, session.name, session.name, detail), now, by)
        return is_first

    if not await registry.database.transact(record):
        raise CredentialUnknown("somebody has decided about this code a moment ago")
    return row


async def redeem(registry: Registry, device_code: str, origin: Origin) -> Made | Waiting:
    """The token of a program that asks whether it may log in, once; or why not (yet).

    Raises Conflict where the account has as many tokens as it may have.
    """
    now = registry.clock.now()
    # What is no code, was never one, or has been fetched is told what one that ran out is.
    row = await _take(registry, device_code, now) if is_token(device_code) else None
    if row is None:
        return Waiting("expired_token")
    if isinstance(row, Waiting):
        return row
    await registry.policy.refresh()
    account = registry.policy.snapshot.find_account(row.account or 0)
    if account is None or account.credentials_since > (row.decided_at or 0):
        return Waiting("access_denied")
    identity = Identity(row.account or 0, account.name)
    caller = Caller(identity, None, origin, until=row.account_until, method=BY_DEVICE)
    holder = Holder(account.name, "user")
    new = NewSecret(f"{row.name} {_different()}", row.scopes, TOKEN_DAYS)
    return await credentials.add_credential(registry, caller, holder, new)


async def _take(registry: Registry, device_code: str, now: int) -> DeviceRow | Waiting | None:
    fingerprint = fingerprint_of(device_code)

    async def look(tx: Tx) -> DeviceRow | Waiting | None:
        row = await device_codes.find_device(tx, fingerprint)
        if row is None or row.until < now:
            return None
        if row.decided_at is None:
            is_early = now < row.polled_at + row.pause - GRACE
            pause = row.pause + PAUSE_SECONDS * SECOND if is_early else row.pause
            await device_codes.set_polled(tx, fingerprint, pause, now)
            return Waiting("slow_down" if is_early else "authorization_pending")
        is_first = await device_codes.remove_device(tx, fingerprint)
        if row.is_denied:
            return Waiting("access_denied")
        return row if is_first else None

    return await registry.database.transact(look)


def _different() -> str:
    # Two logins of one machine are two tokens, each of which can be revoked.
    return "".join(secrets.choice(LETTERS) for _ in range(DIFFERENT))
