"""Sessions of browsers: opened by a password or by signing on elsewhere, looked up by their cookie, listed and ended.

They are for pages alone: neither protocols nor the management API look at cookies.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.prove import require_as_proved
from entrepot.core.registry import SECOND, Registry
from entrepot.core.services import require_unscoped
from entrepot.domain.access import Caller, Identity
from entrepot.domain.audit import By
from entrepot.domain.device import is_token, new_token, parse_agent
from entrepot.domain.errors import AccountUnknown, CredentialUnknown, Denied
from entrepot.domain.events import Event
from entrepot.metadata import accounts, events, sessions
from entrepot.metadata.sessions import NewSessionRow, SessionRow
from entrepot.ports.database import Tx

MOST_SESSIONS: Final = 50
HOUR: Final = 3600 * SECOND
TOUCH: Final = 60 * SECOND
FORGET_BATCH: Final = 1000
PASSWORD: Final = "password"  # noqa: S105 - how somebody signed in
SESSION: Final = "session"


class Browser(msgspec.Struct, frozen=True):
    """Where somebody signs in: an address, and what the browser says that it is."""

    address: str
    agent: str


class Way(msgspec.Struct, frozen=True):
    """How somebody signed in: by a provider (its id and name), or by a password here; the rest is as in Caller."""

    provider: int | None = None
    name: str = PASSWORD
    since: int = 0
    method: str = PASSWORD


class Opened(msgspec.Struct, frozen=True):
    """A new session: what its cookie holds, and until when (microseconds)."""

    token: str
    until: int


BY_PASSWORD: Final = Way()


def fingerprint_of(token: str) -> str:
    """What is stored of a token: SHA-256 in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


async def open_session(registry: Registry, identity: Identity, browser: Browser, way: Way = BY_PASSWORD) -> Opened:
    """A session of whoever has proved who they are. The oldest of more than fifty ends.

    Raises Denied, and Unauthenticated where the password that was proved is not good any more.
    """
    now, token = registry.clock.now(), new_token()
    until = now + registry.rules.sign_on_hours * HOUR
    new = NewSessionRow(
        identity.account, fingerprint_of(token), way.provider, browser.address, parse_agent(browser.agent), until
    )

    async def record(tx: Tx) -> None:
        # Between the proof and now somebody may have removed or disabled the account.
        account = await accounts.find_account(tx, identity.name)
        if account is None or account.id != identity.account or account.is_disabled:
            raise Denied("this account is disabled", user=identity.name)
        require_as_proved(account.credentials_since, way.since)
        await sessions.add_session(tx, new, now)
        await sessions.remove_oldest(tx, identity.account, MOST_SESSIONS)
        detail: dict[str, object] = {"by": way.name, "address": browser.address}
        by = By(identity.account, browser.address, way.method)
        await events.add_event(tx, Event("session.opened", identity.name, identity.name, detail), now, by)

    await registry.database.transact(record)
    registry.trust.count_sign_in(way.name, "signed-in")
    return Opened(token, until)


async def find_session(registry: Registry, token: str) -> SessionRow | None:
    """The session of a cookie if it still holds; that it was seen is noted once a minute."""
    if not is_token(token):
        return None
    now, wanted = registry.clock.now(), fingerprint_of(token)
    row = await registry.database.read(lambda tx: sessions.find_session(tx, wanted))
    if row is None or not row.is_live(now):
        return None
    if now - row.seen_at > TOUCH:
        await registry.database.transact(lambda tx: sessions.touch_session(tx, row.id, now), durable=False)
    return row


async def close_session(registry: Registry, session: SessionRow, address: str = "") -> None:
    """Sign out, from an address."""
    who = session.name, by_session(session, address)
    await registry.database.transact(lambda tx: _remove(tx, session, who, registry.clock.now()))


def by_session(session: SessionRow, address: str) -> By:
    """What the audit log remembers of what a signed-in browser does from an address."""
    return By(session.account, address, SESSION)


async def list_sessions(
    registry: Registry, caller: Caller, user: str, page: tuple[int, int]
) -> tuple[list[SessionRow], int | None]:
    """Sessions that hold, or will once their user is enabled, one's own without a user; `page` is (after, limit).

    Raises AccountUnknown, Denied, InsufficientScope.
    """
    name = _require_keeper(registry, caller, user)
    (after, limit), now = page, registry.clock.now()

    async def collect(tx: Tx) -> list[SessionRow]:
        account = await accounts.find_account(tx, name)
        if account is None or account.kind != "user":
            raise AccountUnknown("there is no such user", user=name)
        return await sessions.list_sessions(tx, account.id, after, limit + 1)

    rows = await registry.database.read(collect)
    following = rows[limit - 1].id if len(rows) > limit else None
    return [row for row in rows[:limit] if row.is_kept(now)], following


async def end_session(registry: Registry, caller: Caller, number: int) -> None:
    """End a session at once: one's own, or as an administrator anybody's.

    Raises CredentialUnknown, InsufficientScope.
    """
    require_unscoped(caller)
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        row = await sessions.get_session(tx, number)
        if row is None or not _may_end(registry, caller, row):
            raise CredentialUnknown("there is no such session, or it is not yours to end", id=number)
        await _remove(tx, row, (act.actor, act.by), act.now)

    await registry.database.transact(record)


async def forget_sessions(registry: Registry) -> None:
    """Delete the rows of sessions that have run out."""
    now = registry.clock.now()
    while await registry.database.transact(lambda tx: sessions.forget_sessions(tx, now, FORGET_BATCH)):
        pass


async def _remove(tx: Tx, session: SessionRow, who: tuple[str, By], now: int) -> None:
    actor, by = who
    if await sessions.remove_session(tx, session.id):
        await events.add_event(tx, Event("session.closed", actor, session.name, {"id": session.id}), now, by)


def _require_keeper(registry: Registry, caller: Caller, user: str) -> str:
    own = caller.identity.name if caller.identity else ""
    if user in {"", own}:
        require_unscoped(caller)
        return own
    require_admin(caller, registry.policy.snapshot)
    return user


def _may_end(registry: Registry, caller: Caller, row: SessionRow) -> bool:
    if caller.identity is not None and caller.identity.account == row.account:
        return True
    try:
        require_admin(caller, registry.policy.snapshot)
    except Denied:
        return False
    return True
