"""Rows of blobs and where their bytes lie."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.names import RepositoryName
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece

DEFAULT_STORE = "default"


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob as a repository sees it. `pinned_until` is 0 where no promise keeps it."""

    digest: str
    size: int
    is_good: bool
    pieces: tuple[Piece, ...]
    pinned_until: int


_FIND = (
    "select b.size, b.state, l.key, l.size, {until} from repository r "
    "join member m on m.repository = r.id and m.digest = $1 and m.kind = 'blob' and m.deleted_at is null "
    "join blob b on b.digest = m.digest join location l on l.blob = b.digest "
    "where r.name = $2 order by l.ordinal"
)
_FIND_TO_PULL = _FIND.format(until="0")
_FIND_TO_PROMISE = _FIND.format(
    until="coalesce((select max(p.until) from pin p where p.repository = r.id and p.digest = m.digest "
    "and p.reason in ('upload', 'review')), 0)",
)


async def find_blob(tx: Tx, repository: RepositoryName, digest: Digest, *, with_pin: bool = False) -> StoredBlob | None:
    """A blob of a repository with its locations, in one indexed read; `pinned_until` only `with_pin`."""
    rows = await tx.all(_FIND_TO_PROMISE if with_pin else _FIND_TO_PULL, digest, repository)
    if not rows:
        return None
    first = rows[0]
    return StoredBlob(digest, first[0], first[1] == "good", tuple(Piece(row[2], row[3]) for row in rows), first[4])


async def find_state(tx: Tx, digest: Digest) -> str | None:
    """`good`, `damaged`, or None if the bytes are new."""
    row = await tx.one("select state from blob where digest = $1", digest)
    return None if row is None else str(row[0])


async def add_blob(tx: Tx, digest: Digest, pieces: Sequence[Piece], now: int) -> None:
    """New bytes and where they lie; they were hashed as they came, which is their first verification."""
    await tx.execute(
        "insert into blob (digest, size, created_at, verified_at) values ($1, $2, $3, $3) "
        "on conflict (digest) do nothing",
        digest,
        sum(piece.size for piece in pieces),
        now,
    )
    await _add_locations(tx, digest, pieces)


async def replace_locations(tx: Tx, digest: Digest, pieces: Sequence[Piece]) -> list[str]:
    """Let a blob lie somewhere else, sound again; the keys that nobody needs any more."""
    old = [piece.key for piece in await list_locations(tx, digest)]
    await tx.execute("delete from location where blob = $1", digest)
    await _add_locations(tx, digest, pieces)
    await tx.execute("update blob set state = 'good' where digest = $1", digest)
    return old


async def list_locations(tx: Tx, digest: Digest) -> list[Piece]:
    """Where a blob lies, in order."""
    rows = await tx.all("select key, size from location where blob = $1 order by ordinal", digest)
    return [Piece(row[0], row[1]) for row in rows]


async def set_damaged(tx: Tx, digest: Digest) -> None:
    """Serve a blob no more until somebody pushes its bytes again."""
    await tx.execute("update blob set state = 'damaged' where digest = $1", digest)


async def _add_locations(tx: Tx, digest: Digest, pieces: Sequence[Piece]) -> None:
    for ordinal, piece in enumerate(pieces):
        await tx.execute(
            "insert into location (blob, ordinal, store, key, size) values ($1, $2, $3, $4, $5)",
            digest,
            ordinal,
            DEFAULT_STORE,
            piece.key,
            piece.size,
        )
