"""Rows of repositories and of what they know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from entrepot.domain.access import Visibility
from entrepot.domain.digests import Digest
from entrepot.domain.names import RepositoryName
from entrepot.ports.database import Tx

MemberKind = Literal["manifest", "blob"]
QUESTION_SIZE: Final = 200


class RepositoryRow(msgspec.Struct, frozen=True):
    """A repository as stored; `visibility` is None where the namespace's default holds."""

    id: int
    name: str
    format: str
    visibility: Visibility | None
    created_at: int


COLUMNS = "id, name, format, visibility, created_at"


async def find_repository(tx: Tx, name: RepositoryName) -> RepositoryRow | None:
    """A repository by name."""
    row = await tx.one(f"select {COLUMNS} from repository where name = $1", name)
    return None if row is None else RepositoryRow(*row)


async def find_repository_id(tx: Tx, name: RepositoryName) -> int | None:
    """The id of a repository."""
    row = await tx.one("select id from repository where name = $1", name)
    return None if row is None else int(row[0])


async def add_repository(tx: Tx, name: RepositoryName, now: int) -> bool:
    """A new repository in its namespace, which must exist, if there is none of that name; whether it is new."""
    return 1 == await tx.execute(
        "insert into repository (namespace, name, created_at) select id, $1, $2 from namespace where name = $3 "
        "on conflict (name) do nothing",
        name,
        now,
        name.namespace,
    )


async def set_visibility(tx: Tx, repository: int, visibility: Visibility | None) -> None:
    """Override the namespace's visibility, or with None follow it."""
    await tx.execute("update repository set visibility = $1 where id = $2", visibility, repository)


async def list_repositories(tx: Tx, after: str, before: str, limit: int) -> list[RepositoryRow]:
    """Repositories with names above `after` and below `before`, in order."""
    rows = await tx.all(
        f"select {COLUMNS} from repository where name > $1 and name < $2 order by name limit $3", after, before, limit
    )
    return [RepositoryRow(*row) for row in rows]


async def put_member(tx: Tx, repository: int, digest: Digest, kind: MemberKind, now: int) -> None:
    """Make a digest known in a repository, again if it was deleted."""
    sql = "select deleted_at from member where repository = $1 and digest = $2 and kind = $3"
    row = await tx.one(sql, repository, digest, kind)
    # Looked at before it is written: PostgreSQL tells nobody of a conflict with an update that did nothing, and the
    # collector might be forgetting this very row.
    if row is not None and row[0] is None:
        return
    await tx.execute(
        "insert into member (repository, digest, kind, pushed_at) values ($1, $2, $3, $4) "
        "on conflict (repository, digest, kind) do update set deleted_at = null where member.deleted_at is not null",
        repository,
        digest,
        kind,
        now,
    )


async def delete_member(tx: Tx, repository: int, digest: Digest, kind: MemberKind, now: int) -> bool:
    """Hide a digest from a repository; whether it was there."""
    return 0 < await tx.execute(
        "update member set deleted_at = $1 where repository = $2 and digest = $3 and kind = $4 and deleted_at is null",
        now,
        repository,
        digest,
        kind,
    )


async def has_member(tx: Tx, repository: int, digest: Digest, kind: MemberKind) -> bool:
    """Whether a repository knows a digest."""
    sql = "select 1 from member where repository = $1 and digest = $2 and kind = $3 and deleted_at is null"
    return await tx.one(sql, repository, digest, kind) is not None


async def find_home(tx: Tx, digest: Digest, limit: int, kind: MemberKind = "blob") -> list[str]:
    """Names of repositories that know a blob or a manifest, `limit` at most."""
    rows = await tx.all(
        "select r.name from member m join repository r on r.id = m.repository "
        "where m.digest = $1 and m.kind = $2 and m.deleted_at is null limit $3",
        digest,
        kind,
        limit,
    )
    return [row[0] for row in rows]


async def list_known(tx: Tx, repository: int, digests: Iterable[Digest], kind: MemberKind) -> set[str]:
    """Those of `digests` that a repository knows and whose bytes are not known to be damaged."""
    wanted = list(dict.fromkeys(digests))
    known: set[str] = set()
    for start in range(0, len(wanted), QUESTION_SIZE):
        part = wanted[start : start + QUESTION_SIZE]
        known.update(await _list_known(tx, repository, part, kind))
    return known


async def _list_known(tx: Tx, repository: int, digests: Sequence[Digest], kind: MemberKind) -> list[str]:
    slots = ", ".join(f"${number}" for number in range(3, len(digests) + 3))
    sound = "" if kind == "manifest" else "join blob b on b.digest = m.digest and b.state = 'good' "
    rows = await tx.all(
        f"select m.digest from member m {sound}"
        f"where m.repository = $1 and m.kind = $2 and m.digest in ({slots}) and m.deleted_at is null",
        repository,
        kind,
        *digests,
    )
    return [row[0] for row in rows]
