"""Rows of jobs: queued work with leases, retries and dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from entrepot.domain.json import render_json
from entrepot.ports.database import Tx

JobState = Literal["pending", "running", "dead"]
STATES: Final[tuple[JobState, ...]] = ("pending", "running", "dead")


class JobRow(msgspec.Struct, frozen=True):
    """A claimed job; `payload` is JSON, `attempts` counts this one, `run_at` is when it was due."""

    id: int
    kind: str
    key: str
    payload: str
    attempts: int
    run_at: int


class Claim(msgspec.Struct, frozen=True):
    """Who takes how many jobs: those that were due from `since` until `now`; with `kind`, only those of it.

    `since` spares a claim what was done already: beside a long snapshot, PostgreSQL keeps the rows of all of it.
    """

    worker: str
    now: int
    lease_until: int
    limit: int
    since: int = 0
    kind: str = ""


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


async def ensure_job(tx: Tx, kind: str, run_at: int) -> None:
    """Queue a job without a key unless one of its kind waits or runs."""
    await tx.execute(
        "insert into job (kind, key, payload, run_at, created_at) "
        "select $1, '', '{}', cast($2 as bigint), cast($2 as bigint) "
        "where not exists (select 1 from job where kind = $1 and key = '' and state in ('pending', 'running')) "
        "on conflict (kind, key) where state = 'pending' do nothing",
        kind,
        run_at,
    )


async def hasten_job(tx: Tx, kind: str, run_at: int) -> None:
    """Let a job that waits for its time run by then; queue it where it neither waits nor runs."""
    await tx.execute(
        "update job set run_at = $1 where kind = $2 and key = '' and state = 'pending' and run_at > $1", run_at, kind
    )
    await ensure_job(tx, kind, run_at)


async def move_job(tx: Tx, kind: str, run_at: int) -> None:
    """Let a job without a key run at another time, as one that was never tried; queue it where none waits or runs."""
    await tx.execute(
        "update job set run_at = $1, attempts = 0 where kind = $2 and key = '' and state = 'pending'", run_at, kind
    )
    await ensure_job(tx, kind, run_at)


async def remove_waiting(tx: Tx, kind: str) -> None:
    """Take the job of a kind without a key out of the queue, if it waits."""
    await tx.execute("delete from job where kind = $1 and key = '' and state = 'pending'", kind)


async def find_time(tx: Tx, kind: str) -> int | None:
    """When the waiting job of a kind without a key is due; None where none waits."""
    row = await tx.one("select run_at from job where kind = $1 and key = '' and state = 'pending'", kind)
    return row[0] if row else None


def _claim(due: str, now: int) -> str:
    """The statement; `now` is the number of its place for the time, after which come since, limit, worker and lease."""
    # Materialized: a planner that takes the table for empty would ask for the due ones again for each row, and pass
    # over those that it has just taken, until all are.
    return (
        f"with due as materialized (select id from job where state = 'pending' and {due} limit ${now + 2} "
        f"/*skip locked*/) update job set state = 'running', worker = ${now + 3}, lease_until = ${now + 4}, "
        f"attempts = attempts + 1, started_at = ${now}, stop_asked = 0, progress = '' "
        "where id in (select id from due) returning id, kind, key, payload, attempts, run_at"
    )


_CLAIM_ANY: Final = _claim("run_at <= $1 and run_at >= $2 order by run_at, id", 1)
# In these words no planner can take the index by time, and read all that waits of other kinds.
_CLAIM_KIND: Final = _claim("(kind, run_at) <= ($1, $2) and (kind, run_at) >= ($1, $3) order by kind, run_at, id", 2)


async def claim_jobs(tx: Tx, claim: Claim) -> list[JobRow]:
    """Take due jobs, the oldest first, until the lease ends."""
    question = (claim.now, claim.since, claim.limit, claim.worker, claim.lease_until)
    if claim.kind:
        rows = await tx.all(_CLAIM_KIND, claim.kind, *question)
    else:
        rows = await tx.all(_CLAIM_ANY, *question)
    return [JobRow(*row) for row in rows]


# Only a running job has a worker. Its state is not asked for: a planner could take the index of those that run, and
# walk over all that have run since somebody's snapshot.


async def extend_lease(tx: Tx, job: int, worker: str, lease_until: int) -> bool:
    """Go on holding a job; False if somebody else has taken it."""
    return 0 < await tx.execute(
        "update job set lease_until = $1 where id = $2 and worker = $3", lease_until, job, worker
    )


async def beat(tx: Tx, job: int, worker: str, progress: str, lease_until: int) -> bool | None:
    """Go on holding a job and tell how far it is: whether it shall stop; None if somebody else has taken it."""
    rows = await tx.all(
        "update job set lease_until = $1, progress = $2 where id = $3 and worker = $4 returning stop_asked",
        lease_until,
        progress,
        job,
        worker,
    )
    return bool(rows[0][0]) if rows else None


async def finish_job(tx: Tx, job: int) -> None:
    """A job that is done leaves the table: what it did is in the events."""
    await tx.execute("delete from job where id = $1", job)


async def finish_jobs(tx: Tx, worker: str, wanted: Sequence[int]) -> set[int]:
    """The same for many that a worker still holds; which those were."""
    slots = ", ".join(f"${number}" for number in range(2, len(wanted) + 2))
    sql = f"delete from job where worker = $1 and id in ({slots}) returning id"
    return {row[0] for row in await tx.all(sql, worker, *wanted)}


async def retry_job(tx: Tx, job: int, error: str, run_at: int) -> None:
    """Try again later, unless an equal job has been queued meanwhile."""
    await _requeue(tx, job, "error = $1, run_at = $2", error, run_at)


async def release_job(tx: Tx, job: int, run_at: int) -> None:
    """Let go of a job that was not done, as if it had never been taken."""
    await _requeue(tx, job, "attempts = attempts - $1, run_at = $2", 1, run_at)


async def renew_job(tx: Tx, job: int, run_at: int) -> None:
    """Try a job again with as many attempts as a new one has."""
    await _requeue(tx, job, "attempts = $1, run_at = $2, ended_at = null", 0, run_at)


async def _requeue(tx: Tx, job: int, change: str, value: object, run_at: int) -> None:
    changed = await tx.execute(
        f"update job set state = 'pending', worker = null, lease_until = null, started_at = null, {change} "
        "where id = $3 and not exists (select 1 from job other join job mine on mine.id = $3 "
        "where other.state = 'pending' and other.kind = mine.kind and other.key = mine.key and other.id <> mine.id)",
        value,
        run_at,
        job,
    )
    if not changed:
        await finish_job(tx, job)


async def bury_job(tx: Tx, job: int, error: str, now: int) -> None:
    """Give up on a job; it stays as a dead letter for people to look at."""
    await tx.execute(
        "update job set state = 'dead', worker = null, lease_until = null, error = $1, ended_at = $2 where id = $3",
        error,
        now,
        job,
    )


async def ask_to_stop(tx: Tx, job: int) -> None:
    """Let the worker of a running job hear, at its next heartbeat, that it is to stop."""
    await tx.execute("update job set stop_asked = 1 where id = $1 and worker is not null", job)


async def list_expired(tx: Tx, now: int, limit: int, since: int = 0) -> list[JobRow]:
    """Jobs whose worker has died: whose lease ended from `since` until now."""
    rows = await tx.all(
        "select id, kind, key, payload, attempts, run_at from job "
        "where state = 'running' and lease_until < $1 and lease_until >= $2 order by lease_until limit $3",
        now,
        since,
        limit,
    )
    return [JobRow(*row) for row in rows]


async def count_jobs(tx: Tx, most: int = 100_000) -> dict[str, int]:
    """How many jobs there are in each state that has any, each counted up to `most`."""
    counts = {}
    for state in STATES:
        # The state is in the text, and not bound, for the indexes of one state.
        row = await tx.one(f"select count(*) from (select 1 from job where state = '{state}' limit $1) counted", most)
        if row and row[0]:
            counts[str(state)] = int(row[0])
    return counts


class JobDetailRow(msgspec.Struct, frozen=True):
    """A job without what it carries; times are microseconds since 1970, `progress` is JSON or empty."""

    id: int
    kind: str
    key: str
    state: str
    attempts: int
    worker: str | None
    progress: str
    error: str
    stop_asked: int
    run_at: int
    created_at: int
    started_at: int | None
    ended_at: int | None


_DETAIL: Final = (
    "select id, kind, key, state, attempts, worker, progress, error, stop_asked, run_at, created_at, started_at, "
    "ended_at from job "
)


async def find_job(tx: Tx, job: int) -> JobDetailRow | None:
    """One job."""
    row = await tx.one(f"{_DETAIL}where id = $1", job)
    return None if row is None else JobDetailRow(*row)


async def list_jobs(tx: Tx, wanted: tuple[JobState | None, str], after: int, limit: int) -> list[JobDetailRow]:
    """Jobs of a state and of a kind (None and "" are any), the oldest first, a page after the id `after`."""
    state, kind = wanted
    # The state is one of three words: see `count_jobs`.
    of_state = f"state = '{state}' and " if state else ""
    of_kind = "and kind = $3 " if kind else ""
    sql = f"{_DETAIL}where {of_state}id > $1 {of_kind}order by id limit $2"
    rows = await tx.all(sql, after, limit, *([kind] if kind else []))
    return [JobDetailRow(*row) for row in rows]
