"""Rows of jobs: queued work with leases, retries and dead letters."""

from __future__ import annotations

import msgspec

from entrepot.domain.json import render_json
from entrepot.ports.database import Tx


class JobRow(msgspec.Struct, frozen=True):
    """A claimed job; `payload` is JSON, `attempts` counts this one."""

    id: int
    kind: str
    key: str
    payload: str
    attempts: int


async def add_job(tx: Tx, kind: str, key: str, payload: object, run_at: int) -> None:
    """Queue work; an equal one (kind, key) that is still pending stands for both."""
    await tx.execute(
        "insert into job (kind, key, payload, run_at, created_at) values ($1, $2, $3, $4, $4) "
        "on conflict (kind, key) where state = 'pending' do nothing",
        kind,
        key,
        render_json(payload).decode(),
        run_at,
    )


async def hasten_job(tx: Tx, kind: str, run_at: int) -> None:
    """Let a job that waits for its time run by then; queue it where it neither waits nor runs."""
    await tx.execute(
        "update job set run_at = $1 where kind = $2 and key = '' and state = 'pending' and run_at > $1", run_at, kind
    )
    await tx.execute(
        "insert into job (kind, key, payload, run_at, created_at) "
        "select $1, '', '{}', cast($2 as bigint), cast($2 as bigint) "
        "where not exists (select 1 from job where kind = $1 and key = '' and state in ('pending', 'running'))",
        kind,
        run_at,
    )


async def claim_jobs(tx: Tx, worker: str, now: int, lease_until: int, limit: int) -> list[JobRow]:
    """Take due jobs, the oldest first, until the lease ends."""
    rows = await tx.all(
        "update job set state = 'running', worker = $1, lease_until = $2, attempts = attempts + 1 where id in ("
        "select id from job where state = 'pending' and run_at <= $3 order by run_at, id limit $4 /*skip locked*/) "
        "returning id, kind, key, payload, attempts",
        worker,
        lease_until,
        now,
        limit,
    )
    return [JobRow(*row) for row in rows]


async def extend_lease(tx: Tx, job: int, worker: str, lease_until: int) -> bool:
    """Go on holding a job; False if somebody else has taken it."""
    return 0 < await tx.execute(
        "update job set lease_until = $1 where id = $2 and worker = $3 and state = 'running'", lease_until, job, worker
    )


async def finish_job(tx: Tx, job: int) -> None:
    """A job that is done leaves the table: what it did is in the events."""
    await tx.execute("delete from job where id = $1", job)


async def retry_job(tx: Tx, job: int, error: str, run_at: int) -> None:
    """Try again later, unless an equal job has been queued meanwhile."""
    changed = await tx.execute(
        "update job set state = 'pending', worker = null, lease_until = null, error = $1, run_at = $2 "
        "where id = $3 and not exists (select 1 from job other join job mine on mine.id = $3 "
        "where other.state = 'pending' and other.kind = mine.kind and other.key = mine.key)",
        error,
        run_at,
        job,
    )
    if not changed:
        await finish_job(tx, job)


async def bury_job(tx: Tx, job: int, error: str, now: int) -> None:
    """Give up on a job; it stays as a dead letter for people to look at."""
    await tx.execute("update job set state = 'dead', error = $1, ended_at = $2 where id = $3", error, now, job)


async def list_expired(tx: Tx, now: int, limit: int) -> list[JobRow]:
    """Jobs whose worker has died."""
    rows = await tx.all(
        "select id, kind, key, payload, attempts from job "
        "where state = 'running' and lease_until < $1 order by lease_until limit $2",
        now,
        limit,
    )
    return [JobRow(*row) for row in rows]


async def count_jobs(tx: Tx) -> dict[str, int]:
    """How many jobs there are in each state."""
    return {row[0]: row[1] for row in await tx.all("select state, count(*) from job group by state")}


class DeadJobRow(msgspec.Struct, frozen=True):
    """A job that was given up; times are microseconds since 1970."""

    id: int
    kind: str
    key: str
    attempts: int
    error: str
    created_at: int
    ended_at: int


async def list_dead_jobs(tx: Tx, after: int, limit: int) -> list[DeadJobRow]:
    """Jobs that were given up, the oldest first, a page after the id `after`."""
    rows = await tx.all(
        "select id, kind, key, attempts, error, created_at, coalesce(ended_at, created_at) from job "
        "where state = 'dead' and id > $1 order by id limit $2",
        after,
        limit,
    )
    return [DeadJobRow(*row) for row in rows]
