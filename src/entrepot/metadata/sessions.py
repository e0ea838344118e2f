"""Rows of browsers that somebody signed in with."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from entrepot.ports.database import Row, Tx

SWEPT = 20


class NewSessionRow(msgspec.Struct, frozen=True):
    """A session about to be stored; `provider` is the id of where they signed on, None for a password here."""

    account: int
    fingerprint: str
    provider: int | None
    address: str
    agent: str
    until: int


class SessionRow(msgspec.Struct, frozen=True):
    """A session with whose it is; times are microseconds since 1970. `provider` is a name, "" for a password here."""

    id: int
    account: int
    name: str
    provider: str
    address: str
    agent: str
    misses: int
    created_at: int
    seen_at: int
    until: int
    is_disabled: bool
    credentials_since: int

    def is_live(self, now: int) -> bool:
        """Whether it opens anything now: nothing does while the account is disabled."""
        return self.is_kept(now) and not self.is_disabled

    def is_kept(self, now: int) -> bool:
        """Whether it opens anything as soon as the account may act: a new password ends it for good."""
        return self.until > now and self.created_at >= self.credentials_since


_SELECT = (
    "select s.id, s.account, a.name, p.name, s.address, s.agent, s.misses, s.created_at, s.seen_at, s.until, "
    "a.is_disabled, a.credentials_since from web_session s join account a on a.id = s.account "
    "left join sign_on_provider p on p.id = s.provider"
)


async def add_session(tx: Tx, new: NewSessionRow, now: int) -> int:
    """A new session; its id. Sweeps a few that have run out."""
    await tx.execute(
        "delete from web_session where id in (select id from web_session where until < $1 order by until limit $2)",
        now,
        SWEPT,
    )
    row = await tx.one(
        "insert into web_session (account, fingerprint, provider, address, agent, created_at, seen_at, until) "
        "values ($1, $2, $3, $4, $5, $6, $6, $7) returning id",
        new.account,
        new.fingerprint,
        new.provider,
        new.address,
        new.agent,
        now,
        new.until,
    )
    return int(row[0]) if row else 0


async def find_session(tx: Tx, fingerprint: str) -> SessionRow | None:
    """The session of a cookie, whether it still holds or not."""
    row = await tx.one(f"{_SELECT} where s.fingerprint = $1", fingerprint)
    return None if row is None else _session(row)


async def get_session(tx: Tx, number: int) -> SessionRow | None:
    """A session by its id."""
    row = await tx.one(f"{_SELECT} where s.id = $1", number)
    return None if row is None else _session(row)


async def list_sessions(tx: Tx, account: int, after: int, limit: int) -> list[SessionRow]:
    """Sessions of an account in the order in which they were opened, a page after an id."""
    rows = await tx.all(f"{_SELECT} where s.account = $1 and s.id > $2 order by s.id limit $3", account, after, limit)
    return [_session(row) for row in rows]


async def touch_session(tx: Tx, number: int, now: int) -> None:
    """Remember that a session was seen."""
    await tx.execute("update web_session set seen_at = $1 where id = $2", now, number)


async def add_miss(tx: Tx, number: int) -> None:
    """One more code that was not there."""
    await tx.execute("update web_session set misses = misses + 1 where id = $1", number)


async def remove_session(tx: Tx, number: int) -> bool:
    """End a session; whether there was one."""
    return 0 < await tx.execute("delete from web_session where id = $1", number)


async def remove_oldest(tx: Tx, account: int, keep: int) -> None:
    """End all but the newest sessions of an account."""
    await tx.execute(
        "delete from web_session where account = $1 and id not in "
        "(select id from web_session where account = $1 order by id desc limit $2)",
        account,
        keep,
    )


async def remove_sessions_by(tx: Tx, account: int, provider: int) -> int:
    """End the sessions that an account opened by a provider; how many there were."""
    return await tx.execute("delete from web_session where account = $1 and provider = $2", account, provider)


async def extend_sessions_by(tx: Tx, account: int, provider: int, until: int) -> None:
    """Let the sessions that an account opened by a provider hold until a time."""
    await tx.execute("update web_session set until = $1 where account = $2 and provider = $3", until, account, provider)


async def forget_sessions(tx: Tx, now: int, limit: int) -> int:
    """Delete a batch of sessions that have run out; how many there were."""
    return await tx.execute(
        "delete from web_session where id in (select id from web_session where until < $1 order by until limit $2)",
        now,
        limit,
    )


def _session(row: Row) -> SessionRow:
    return replace(SessionRow(*row), provider=row[3] or "", is_disabled=bool(row[10]))
