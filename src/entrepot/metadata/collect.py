"""Rows that nothing keeps: what the collector asks, and how it forgets."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.domain.digests import Digest
from entrepot.ports.database import Tx


class EndedPin(msgspec.Struct, frozen=True):
    """A pin whose time is over: what it kept is to be looked at."""

    repository: int
    digest: Digest
    reason: str
    holder: str


async def list_ended_pins(tx: Tx, now: int, limit: int) -> list[EndedPin]:
    """Pins that have ended, those that ended first before the others."""
    rows = await tx.all(
        "select repository, digest, reason, holder from pin where until <= $1 order by until limit $2", now, limit
    )
    return [EndedPin(row[0], Digest(row[1]), row[2], row[3]) for row in rows]


async def count_ended_pins(tx: Tx, now: int, most: int) -> int:
    """How many pins have ended, counted up to `most`."""
    row = await tx.one(
        "select count(*) from (select 1 from pin where until <= $1 order by until limit $2) ended", now, most
    )
    return int(row[0]) if row else 0


async def remove_ended_pin(tx: Tx, pin: EndedPin, now: int) -> None:
    """Forget a pin, unless it was renewed meanwhile."""
    await tx.execute(
        "delete from pin where repository = $1 and digest = $2 and reason = $3 and holder = $4 and until <= $5",
        pin.repository,
        pin.digest,
        pin.reason,
        pin.holder,
        now,
    )


async def is_rooted(tx: Tx, repository: int, digest: str, now: int) -> bool:
    """Whether a tag or a pin that still holds keeps a digest itself."""
    row = await tx.one(
        "select 1 where exists (select 1 from tag where repository = $1 and digest = $2) "
        "or exists (select 1 from pin where repository = $1 and digest = $2 and until > $3)",
        repository,
        digest,
        now,
    )
    return row is not None


async def has_rooted_parent(tx: Tx, repository: int, digest: str, now: int) -> bool:
    """Whether a manifest that a tag or a pin keeps names a digest: the usual case, in one statement."""
    row = await tx.one(
        "select 1 from edge e where e.child = $1 and e.kind <> 'subject' and ("
        "exists (select 1 from tag t where t.repository = $2 and t.digest = e.parent) or "
        "exists (select 1 from pin p where p.repository = $2 and p.digest = e.parent and p.until > $3)) limit 1",
        digest,
        repository,
        now,
    )
    return row is not None


_NAMING: Final = (
    "select e.parent from edge e join member m on m.repository = $1 and m.digest = e.parent and m.kind = 'manifest' "
    "where e.child = $2 and e.kind {kind} and e.parent > $3 order by e.parent limit $4"
)
_PARENTS: Final = _NAMING.format(kind="<> 'subject'")
_REFERRERS: Final = _NAMING.format(kind="= 'subject'")


async def list_parents(tx: Tx, repository: int, digest: str, page: tuple[str, int]) -> list[str]:
    """Manifests of a repository, hidden ones too, that contain a digest: a page (after, limit)."""
    return list(dict.fromkeys(row[0] for row in await tx.all(_PARENTS, repository, digest, *page)))


async def list_all_referrers(tx: Tx, repository: int, digest: str, page: tuple[str, int]) -> list[str]:
    """Manifests of a repository, hidden ones too, whose subject a digest is: a page (after, limit)."""
    return [row[0] for row in await tx.all(_REFERRERS, repository, digest, *page)]


async def list_named(tx: Tx, parent: str, *, is_subject: bool) -> list[str]:
    """What a manifest contains, or else its subject."""
    operator = "=" if is_subject else "<>"
    rows = await tx.all(f"select distinct child from edge where parent = $1 and kind {operator} 'subject'", parent)
    return [row[0] for row in rows]


async def list_kinds(tx: Tx, repository: int, digest: str) -> list[str]:
    """As what a repository knows a digest, hidden or not: `blob`, `manifest`."""
    rows = await tx.all("select kind from member where repository = $1 and digest = $2", repository, digest)
    return [row[0] for row in rows]


async def remove_member(tx: Tx, repository: int, digest: str) -> None:
    """Let a repository forget a digest for good."""
    await tx.execute("delete from member where repository = $1 and digest = $2", repository, digest)


async def list_homes(tx: Tx, digest: str, kind: str, limit: int) -> list[int]:
    """Repositories that know a digest, hidden or not."""
    rows = await tx.all("select repository from member where digest = $1 and kind = $2 limit $3", digest, kind, limit)
    return [row[0] for row in rows]


async def remove_manifest(tx: Tx, digest: str) -> None:
    """Forget a manifest with its edges."""
    await tx.execute("delete from edge where parent = $1", digest)
    await tx.execute("delete from manifest where digest = $1", digest)


async def find_blob_size(tx: Tx, digest: str) -> int:
    """Bytes of a blob; 0 where there is none."""
    row = await tx.one("select size from blob where digest = $1", digest)
    return int(row[0]) if row else 0


async def remove_blob(tx: Tx, digest: str) -> None:
    """Forget a blob and where it lies."""
    await tx.execute("delete from location where blob = $1", digest)
    await tx.execute("delete from blob where digest = $1", digest)


async def list_members_after(tx: Tx, after: tuple[int, str], limit: int) -> list[tuple[int, str]]:
    """(repository, digest) of all that repositories know, a page after one of them."""
    rows = await tx.all(
        "select distinct repository, digest from member where (repository, digest) > ($1, $2) "
        "order by repository, digest limit $3",
        *after,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def find_repository_name(tx: Tx, repository: int) -> str:
    """The name of a repository; empty where there is none."""
    row = await tx.one("select name from repository where id = $1", repository)
    return str(row[0]) if row else ""
