"""Rows of unfinished uploads and of their segments."""

from __future__ import annotations

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.names import RepositoryName
from entrepot.ports.database import Tx
from entrepot.ports.store import Piece, Written


class UploadRow(msgspec.Struct, frozen=True):
    """An unfinished upload; `algorithm` is what its segments are hashed with."""

    id: str
    repository: str
    account: int
    algorithm: str


class SegmentRow(msgspec.Struct, frozen=True):
    """A run of received bytes under one key."""

    ordinal: int
    start: int
    key: str
    size: int
    digest: str

    def as_written(self) -> Written:
        """The segment as the store once answered it."""
        return Written((Piece(self.key, self.size),), Digest(self.digest))


async def add_upload(tx: Tx, upload: UploadRow, now: int) -> None:
    """A new upload."""
    await tx.execute(
        "insert into upload (id, repository, account, algorithm, started_at, touched_at) "
        "values ($1, $2, $3, $4, $5, $5)",
        upload.id,
        upload.repository,
        upload.account,
        upload.algorithm,
        now,
    )


async def count_uploads(tx: Tx, account: int, limit: int) -> int:
    """How many uploads an account has open, counted up to `limit`."""
    row = await tx.one(
        "select count(*) from (select 1 from upload where account = $1 limit $2) as open", account, limit
    )
    return int(row[0]) if row else 0


async def count_open_uploads(tx: Tx, limit: int) -> int:
    """How many uploads are open in all, counted up to `limit`."""
    row = await tx.one("select count(*) from (select 1 from upload limit $1) as open", limit)
    return int(row[0]) if row else 0


async def find_upload(tx: Tx, upload: str, repository: RepositoryName) -> tuple[UploadRow, list[SegmentRow]] | None:
    """An upload of a repository, and what it has received, in order."""
    # One statement for both: each push asks four times.
    rows = await tx.all(
        "select upload.id, repository, account, algorithm, ordinal, start, key, size, digest "
        "from upload left join segment on upload = upload.id "
        "where upload.id = $1 and repository = $2 order by ordinal",
        upload,
        repository,
    )
    if not rows:
        return None
    return UploadRow(*rows[0][:4]), [SegmentRow(*row[4:]) for row in rows if row[4] is not None]


async def add_segment(tx: Tx, upload: str, segment: SegmentRow) -> None:
    """Received bytes at the end of an upload."""
    await tx.execute(
        "insert into segment (upload, ordinal, start, key, size, digest) values ($1, $2, $3, $4, $5, $6)",
        upload,
        segment.ordinal,
        segment.start,
        segment.key,
        segment.size,
        segment.digest,
    )


async def touch_upload(tx: Tx, upload: str, now: int) -> None:
    """Start the time until expiry again."""
    await tx.execute("update upload set touched_at = $1 where id = $2", now, upload)


async def remove_upload(tx: Tx, upload: str) -> list[str]:
    """Forget an upload; the keys of its segments."""
    keys = [row[0] for row in await tx.all("delete from segment where upload = $1 returning key", upload)]
    await tx.execute("delete from upload where id = $1", upload)
    return keys


async def list_stale_uploads(tx: Tx, before: int, limit: int) -> list[str]:
    """Uploads that nobody has touched since a time."""
    rows = await tx.all("select id from upload where touched_at < $1 order by touched_at limit $2", before, limit)
    return [row[0] for row in rows]
