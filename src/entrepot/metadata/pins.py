"""Rows of pins: the roots beside the tags."""

from __future__ import annotations

from typing import Literal

from entrepot.domain.digests import Digest
from entrepot.ports.database import Tx

# `review` keeps nothing: it has ended when it is made, and asks the collector to look.
Reason = Literal["untagged", "upload", "history", "trash", "review"]


async def put_pin(tx: Tx, repository: int, digest: Digest, pin: tuple[Reason, str], until: int) -> None:
    """Keep a digest until a time, for (reason, holder); a later end replaces an earlier one."""
    reason, holder = pin
    await tx.execute(
        "insert into pin (repository, digest, reason, holder, until) values ($1, $2, $3, $4, $5) "
        "on conflict (repository, digest, reason, holder) do update set until = $5 where pin.until < $5",
        repository,
        digest,
        reason,
        holder,
        until,
    )


async def has_pin(tx: Tx, repository: int, digest: Digest, reason: Reason, now: int) -> bool:
    """Whether a digest is kept for a reason at this time."""
    row = await tx.one(
        "select 1 from pin where repository = $1 and digest = $2 and reason = $3 and until > $4 limit 1",
        repository,
        digest,
        reason,
        now,
    )
    return row is not None


async def remove_pins(tx: Tx, repository: int, digest: Digest, reason: Reason) -> None:
    """Let go of a digest as far as one reason goes."""
    await tx.execute(
        "delete from pin where repository = $1 and digest = $2 and reason = $3", repository, digest, reason
    )


async def end_pins(tx: Tx, repository: int, digest: Digest, reason: Reason, now: int) -> None:
    """Let every pin of a digest for one reason end now."""
    await tx.execute(
        "update pin set until = $1 where repository = $2 and digest = $3 and reason = $4 and until > $1",
        now,
        repository,
        digest,
        reason,
    )


async def trim_history(tx: Tx, repository: int, holder: str, keep: int, now: int) -> None:
    """Keep only the newest `keep` digests of a tag's history; the pins of the others end now."""
    await tx.execute(
        "update pin set until = $1 where repository = $2 and reason = 'history' and holder = $3 and until > $1 "
        "and digest in (select digest from pin where repository = $2 and reason = 'history' and holder = $3 "
        "order by until desc limit 1000000 offset $4)",
        now,
        repository,
        holder,
        keep,
    )
