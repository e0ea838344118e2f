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


async def list_reviews(tx: Tx, now: int, until: int, limit: int) -> list[tuple[int, str]]:
    """(repository, digest) of what is to be looked at after now and not after `until`, and what stays until then."""
    rows = await tx.all(
        "select repository, digest from pin where until > $1 and until <= $2 and reason = 'review' "
        "order by until limit $3",
        now,
        until,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def is_rooted(tx: Tx, repository: int, digest: str, now: int, but: str = "") -> bool:
    """Whether a tag or a pin that still holds keeps a digest itself; pins for the reason `but` do not count."""
    row = await tx.one(
        "select 1 where exists (select 1 from tag where repository = $1 and digest = $2) "
        "or exists (select 1 from pin where repository = $1 and digest = $2 and until > $3 "
        "and reason <> $4)",
        repository,
        digest,
        now,
        but,
    )
    return row is not None


async def has_rooted_parent(tx: Tx, repository: int, digest: str, now: int, but: str = "") -> bool:
    """Whether a manifest that a tag or a pin keeps names a digest: the usual case, in one statement; `but` as above."""
    row = await tx.one(
        "select 1 from edge e where e.child = $1 and e.kind <> 'subject' and ("
        "exists (select 1 from tag t where t.repository = $2 and t.digest = e.parent) or "
        "exists (select 1 from pin p where p.repository = $2 and p.digest = e.parent and p.until > $3 "
        "and p.reason <> $4)) limit 1",
        digest,
        repository,
        now,
        but,
    )
    return row is not None


# `cross join` keeps SQLite's planner to this order: the edges of one digest, then one look-up each.
_PARENTS: Final = (
    "select distinct e.parent from edge e cross join member m where e.child = $1 and e.kind <> 'subject' "
    "and e.parent > $2 and m.repository = $3 and m.digest = e.parent and m.kind = 'manifest' order by e.parent limit $4"
)


async def list_parents(tx: Tx, repository: int, digest: str, page: tuple[str, int]) -> list[str]:
    """Manifests of a repository, hidden ones too, that contain a digest: a page (after, limit)."""
    after, limit = page
    return [row[0] for row in await tx.all(_PARENTS, digest, after, repository, limit)]


# What a manifest contains and the repository knows; who refers to the manifest; and who refers to what it contains and
# is not there, for a child that is missing keeps its referrers as well.
_IS_THERE: Final = "exists (select 1 from member m where m.repository = {repository} and m.digest = "
_KEPT: Final = (
    "select e.child as digest from edge e where e.parent = {parent} and e.kind <> 'subject' "
    f"and {_IS_THERE}e.child) "
    "union select e.parent from edge e where e.child = {parent} and e.kind = 'subject' "
    f"and {_IS_THERE}e.parent) "
    "union select r.parent from edge e cross join edge r where e.parent = {parent} and e.kind <> 'subject' "
    f"and r.child = e.child and r.kind = 'subject' and not {_IS_THERE}e.child) and {_IS_THERE}r.parent)"
)
_LIST_KEPT: Final = _KEPT.format(parent="$1", repository="$2")
_QUEUE_KEPT: Final = (
    "insert into pin (repository, digest, reason, holder, until) "
    "select cast($1 as bigint), kept.digest, 'review', '', cast($2 as bigint) from ("
    + _KEPT.format(parent="$3", repository="$1")
    + ") kept where true on conflict (repository, digest, reason, holder) do update set until = $2 where pin.until < $2"
)


async def list_kept(tx: Tx, repository: int, manifest: str) -> list[str]:
    """What may have nothing else to keep it in a repository once a manifest has gone."""
    return [row[0] for row in await tx.all(_LIST_KEPT, manifest, repository)]


async def queue_kept(tx: Tx, repository: int, manifest: str, until: int) -> None:
    """Let the same be looked at from a time on; until then it stays."""
    await tx.execute(_QUEUE_KEPT, repository, until, manifest)


async def list_subjects(tx: Tx, repository: int, manifest: str) -> list[str]:
    """What a manifest of a repository, perhaps a hidden one, is about: one, or none; there or not."""
    rows = await tx.all(
        "select e.child from edge e cross join member m where e.parent = $1 and e.kind = 'subject' "
        "and m.repository = $2 and m.digest = e.parent and m.kind = 'manifest'",
        manifest,
        repository,
    )
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


# Whether a tag or a pin keeps it, or a manifest that a tag or a pin keeps names it: nearly everything, one look each.
_MARK: Final = (
    "select p.repository, p.digest, ("
    "exists (select 1 from tag t where t.repository = p.repository and t.digest = p.digest) or "
    "exists (select 1 from pin n where n.repository = p.repository and n.digest = p.digest and n.until > $1) or "
    "exists (select 1 from edge e join tag t on t.repository = p.repository and t.digest = e.parent "
    "where e.child = p.digest and e.kind <> 'subject') or "
    "exists (select 1 from edge e join pin n on n.repository = p.repository and n.digest = e.parent and n.until > $1 "
    "where e.child = p.digest and e.kind <> 'subject')) "
    "from (select distinct repository, digest from member where (repository, digest) > ($2, $3) "
    "order by repository, digest limit $4) p order by p.repository, p.digest"
)


async def mark_members_after(
    tx: Tx, after: tuple[int, str], now: int, limit: int
) -> list[tuple[tuple[int, str], bool]]:
    """(repository, digest) of all that repositories know, a page after one, and whether each is plainly kept."""
    return [((row[0], row[1]), bool(row[2])) for row in await tx.all(_MARK, now, *after, limit)]


async def count_members(tx: Tx) -> int:
    """How much repositories know, all in all."""
    row = await tx.one("select count(*) from member")
    return int(row[0]) if row else 0


async def find_repository_name(tx: Tx, repository: int) -> str:
    """The name of a repository; empty where there is none."""
    row = await tx.one("select name from repository where id = $1", repository)
    return str(row[0]) if row else ""
