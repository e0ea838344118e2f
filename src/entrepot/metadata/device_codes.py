"""Rows of programs that wait for somebody to let them log in."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Row, Tx

SWEPT = 50


class NewDeviceRow(msgspec.Struct, frozen=True):
    """A program about to wait; `fingerprint` and `user_code` are hashes, limits count by `network` and `site`."""

    fingerprint: str
    user_code: str
    name: str
    agent: str
    address: str
    network: str
    site: str
    scopes: tuple[str, ...]
    pause: int
    until: int


class DeviceRow(msgspec.Struct, frozen=True):
    """A program that waits. Times are microseconds; `account` and `account_until` are of whoever approved it."""

    fingerprint: str
    name: str
    agent: str
    address: str
    scopes: tuple[str, ...]
    account: int | None
    account_until: int
    decided_at: int | None
    is_denied: bool
    pause: int
    polled_at: int
    created_at: int
    until: int


_SELECT = (
    "select fingerprint, name, agent, address, scopes, account, account_until, decided_at, is_denied, pause, "
    "polled_at, created_at, until from device_code"
)


async def add_device(tx: Tx, new: NewDeviceRow, now: int) -> bool:
    """A program that waits from now on; whether its codes were free."""
    return 0 < await tx.execute(
        "insert into device_code (fingerprint, user_code, name, agent, address, network, site, scopes, pause, "
        "created_at, until) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing",
        new.fingerprint,
        new.user_code,
        new.name,
        new.agent,
        new.address,
        new.network,
        new.site,
        msgspec.json.encode(new.scopes).decode(),
        new.pause,
        now,
        new.until,
    )


async def sweep_devices(tx: Tx, now: int) -> None:
    """Forget a few that nobody waits for any more."""
    await tx.execute(
        "delete from device_code where fingerprint in "
        "(select fingerprint from device_code where until < $1 order by until limit $2)",
        now,
        SWEPT,
    )


async def count_devices(tx: Tx, now: int, most: int) -> int:
    """How many wait, looking at `most` at most."""
    row = await tx.one("select count(*) from (select 1 from device_code where until >= $1 limit $2) as open", now, most)
    return int(row[0]) if row else 0


async def count_devices_of(tx: Tx, network: str, now: int) -> int:
    """How many wait of a network."""
    row = await tx.one("select count(*) from device_code where network = $1 and until >= $2", network, now)
    return int(row[0]) if row else 0


async def count_devices_of_site(tx: Tx, site: str, now: int) -> int:
    """How many wait of all networks of a site."""
    row = await tx.one("select count(*) from device_code where site = $1 and until >= $2", site, now)
    return int(row[0]) if row else 0


async def find_device(tx: Tx, fingerprint: str) -> DeviceRow | None:
    """What waits by what it keeps."""
    row = await tx.one(f"{_SELECT} where fingerprint = $1", fingerprint)
    return None if row is None else _device(row)


async def find_device_by_code(tx: Tx, user_code: str) -> DeviceRow | None:
    """What waits by what a person types."""
    row = await tx.one(f"{_SELECT} where user_code = $1", user_code)
    return None if row is None else _device(row)


async def set_polled(tx: Tx, fingerprint: str, pause: int, now: int) -> None:
    """It asked just now, and is to pause so long (microseconds) before it asks again."""
    await tx.execute(
        "update device_code set polled_at = $1, pause = $2 where fingerprint = $3", now, pause, fingerprint
    )


async def approve_device(tx: Tx, fingerprint: str, whose: tuple[int, int], now: int) -> bool:
    """Let it log in as an account, until a time (0 for no end); whether nobody had decided before."""
    account, until = whose
    return 0 < await tx.execute(
        "update device_code set account = $1, account_until = $2, decided_at = $3 "
        "where fingerprint = $4 and decided_at is null",
        account,
        until,
        now,
        fingerprint,
    )


async def deny_device(tx: Tx, fingerprint: str, now: int) -> bool:
    """Do not let it log in; whether nobody had decided before."""
    return 0 < await tx.execute(
        "update device_code set is_denied = 1, decided_at = $1 where fingerprint = $2 and decided_at is null",
        now,
        fingerprint,
    )


async def remove_device(tx: Tx, fingerprint: str) -> bool:
    """Forget it; whether it was there."""
    return 0 < await tx.execute("delete from device_code where fingerprint = $1", fingerprint)


def _device(row: Row) -> DeviceRow:
    fingerprint, name, agent, address, scopes, account, until, decided_at, is_denied, *rest = row
    read = msgspec.json.decode(scopes, type=tuple[str, ...])
    return DeviceRow(fingerprint, name, agent, address, read, account, until, decided_at, bool(is_denied), *rest)
