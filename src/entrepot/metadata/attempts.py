"""Rows of wrong passwords and of places that people log in from, by keyed hashes of names and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from entrepot.domain.attempts import Tally
from entrepot.ports.database import Tx


class Place(msgspec.Struct, frozen=True):
    """What is counted: a name from a network, a name (no network), or a network (no name); `key` is its hash."""

    key: str
    name: str
    network: str


async def list_tallies(tx: Tx, keys: Sequence[str]) -> dict[str, Tally]:
    """What was counted, by key."""
    slots = ", ".join(f"${number}" for number in range(1, len(keys) + 1))
    rows = await tx.all(f"select key, failures, last_at, locked_until from attempt where key in ({slots})", *keys)
    return {row[0]: Tally(row[1], row[2], row[3]) for row in rows}


async def put_tallies(tx: Tx, tallies: Mapping[Place, Tally]) -> None:
    """Store counts anew; nothing that is zero is kept."""
    for place, tally in tallies.items():
        if not tally.failures:
            await tx.execute("delete from attempt where key = $1", place.key)
            continue
        await tx.execute(
            "insert into attempt (key, name, network, failures, last_at, locked_until) values ($1, $2, $3, $4, $5, $6) "
            "on conflict (key) do update set failures = $4, last_at = $5, locked_until = $6",
            place.key,
            place.name,
            place.network,
            tally.failures,
            tally.last_at,
            tally.locked_until,
        )


async def list_locks(tx: Tx, names: Sequence[str], now: int) -> dict[str, int]:
    """Until when names are locked, from some network or from everywhere (microseconds); only those that are."""
    slots = ", ".join(f"${number}" for number in range(2, len(names) + 2))
    rows = await tx.all(
        f"select name, max(locked_until) from attempt where locked_until > $1 and name in ({slots}) group by name",
        now,
        *names,
    )
    return {row[0]: row[1] for row in rows}


async def remove_name(tx: Tx, name: str) -> int:
    """Forget every failure of a name; how many rows there were."""
    return await tx.execute("delete from attempt where name = $1", name)


async def find_familiar(tx: Tx, key: str) -> int:
    """When somebody last logged in from a place (microseconds), 0 for never."""
    row = await tx.one("select seen_at from familiar where key = $1", key)
    return int(row[0]) if row else 0


async def put_familiar(tx: Tx, place: Place, now: int) -> None:
    """Remember that somebody has logged in from a place."""
    await tx.execute(
        "insert into familiar (key, name, seen_at) values ($1, $2, $3) on conflict (key) do update set seen_at = $3",
        place.key,
        place.name,
        now,
    )


async def find_oldest_attempt_of(tx: Tx, newest: int) -> int:
    """When the oldest of so many newest counts was last added to; 0 if there are no more than these."""
    row = await tx.one("select last_at from attempt order by last_at desc limit 1 offset $1", newest - 1)
    return int(row[0]) if row else 0


async def remove_attempts(tx: Tx, before: int, limit: int) -> int:
    """Forget failures that came last before a time, so many at most; how many there were."""
    return await tx.execute(
        "delete from attempt where key in (select key from attempt where last_at < $1 order by last_at limit $2)",
        before,
        limit,
    )


async def remove_familiar(tx: Tx, before: int, limit: int) -> int:
    """Forget places that nobody has logged in from since a time, so many at most; how many there were."""
    return await tx.execute(
        "delete from familiar where key in (select key from familiar where seen_at < $1 order by seen_at limit $2)",
        before,
        limit,
    )
