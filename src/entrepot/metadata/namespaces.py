"""Rows of namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from entrepot.domain.access import Visibility
from entrepot.ports.database import Row, Tx

QUESTION_SIZE: Final = 200


class NamespaceRow(msgspec.Struct, frozen=True):
    """A namespace as stored; `owner` is the name of a user or organisation, or None."""

    id: int
    name: str
    kind: str
    owner: str | None
    visibility: Visibility
    untagged_days: int
    created_at: int
    listeners: tuple[str, ...] = ()
    away_pulls: bool = True


SELECT = (
    "select n.id, n.name, n.kind, a.name, n.visibility, n.untagged_days, n.created_at, n.listeners, n.away_pulls "
    "from namespace n left join account a on a.id = n.owner"
)


def read_listeners(text: str) -> tuple[str, ...]:
    """Listeners out of a stored list."""
    return tuple(msgspec.json.decode(text, type=list[str]))


def _namespace(row: Row) -> NamespaceRow:
    number, name, kind, owner, visibility, untagged_days, created_at, listeners, away_pulls = row
    return NamespaceRow(
        number,
        name,
        kind,
        owner,
        visibility,
        untagged_days,
        created_at,
        read_listeners(listeners),
        away_pulls=bool(away_pulls),
    )


async def find_namespace(tx: Tx, name: str) -> NamespaceRow | None:
    """A namespace by name."""
    row = await tx.one(f"{SELECT} where n.name = $1", name)
    return None if row is None else _namespace(row)


async def list_namespaces(tx: Tx, after: str, limit: int) -> list[NamespaceRow]:
    """Namespaces by name, a page after `after`."""
    rows = await tx.all(f"{SELECT} where n.name > $1 order by n.name limit $2", after, limit)
    return [_namespace(row) for row in rows]


async def add_namespace(tx: Tx, name: str, owner: int | None, visibility: Visibility, now: int) -> bool:
    """A new namespace, if there is none of that name; whether it is new."""
    return 1 == await tx.execute(
        "insert into namespace (name, owner, visibility, created_at) values ($1, $2, $3, $4) "
        "on conflict (name) do nothing",
        name,
        owner,
        visibility,
        now,
    )


async def set_namespace(tx: Tx, name: str, owner: int | None, visibility: Visibility) -> None:
    """Change what can change of a namespace."""
    await tx.execute("update namespace set owner = $1, visibility = $2 where name = $3", owner, visibility, name)


async def set_listeners(tx: Tx, name: str, listeners: Sequence[str]) -> None:
    """Change on which listeners a namespace answers; none are all."""
    text = msgspec.json.encode(listeners).decode()
    await tx.execute("update namespace set listeners = $1 where name = $2", text, name)


async def set_away_pulls(tx: Tx, name: str, *, are_served: bool) -> None:
    """Change whether pulls go on from memory while the database is away."""
    await tx.execute("update namespace set away_pulls = $1 where name = $2", int(are_served), name)


async def set_untagged_days(tx: Tx, name: str, days: int) -> None:
    """Change for how long a namespace keeps what no tag points at."""
    await tx.execute("update namespace set untagged_days = $1 where name = $2", days, name)


async def list_owned(tx: Tx, owner: int) -> list[str]:
    """Names of the namespaces that an account owns."""
    rows = await tx.all("select name from namespace where owner = $1 order by name", owner)
    return [row[0] for row in rows]


async def get_untagged_days(tx: Tx, repository: int) -> int:
    """For how long a repository's namespace keeps what was pushed by digest alone."""
    row = await tx.one(
        "select n.untagged_days from repository r join namespace n on n.id = r.namespace where r.id = $1", repository
    )
    return int(row[0]) if row else 0


async def list_named_namespaces(tx: Tx, names: Sequence[str]) -> list[NamespaceRow]:
    """Those of `names` that are there, in order; the caller bounds their number."""
    rows: list[NamespaceRow] = []
    for start in range(0, len(names), QUESTION_SIZE):
        part = names[start : start + QUESTION_SIZE]
        slots = ", ".join(f"${number}" for number in range(1, len(part) + 1))
        found = await tx.all(f"{SELECT} where n.name in ({slots}) order by n.name", *part)
        rows += [_namespace(row) for row in found]
    return rows
