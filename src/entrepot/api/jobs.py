"""Jobs: `/jobs`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response

from entrepot.api.request import Ids, TheRegistry
from entrepot.api.types import Answer, time_of
from entrepot.metadata import jobs


class JobCounts(Answer, frozen=True):
    """How many jobs there are in each state; those that are done leave the queue."""

    pending: int
    running: int
    dead: int


class DeadJob(Answer, frozen=True):
    """A job that was given up after its last attempt."""

    id: int
    kind: str
    key: str
    attempts: int
    error: str
    created_at: datetime
    ended_at: datetime


class DeadJobs(Answer, frozen=True):
    """A page of dead letters, the oldest first."""

    jobs: list[DeadJob]


def _job(row: jobs.DeadJobRow) -> DeadJob:
    created, ended = time_of(row.created_at), time_of(row.ended_at)
    return DeadJob(row.id, row.kind, row.key, row.attempts, row.error, created, ended)


async def count(registry: TheRegistry) -> JobCounts:
    """How full the queue is."""
    counts = await registry.database.read(jobs.count_jobs)
    return JobCounts(counts.get("pending", 0), counts.get("running", 0), counts.get("dead", 0))


async def list_dead(registry: TheRegistry, ids: Ids) -> Response[DeadJobs]:
    """Jobs that nobody will try again, the oldest first."""
    rows = await registry.database.read(lambda tx: jobs.list_dead_jobs(tx, ids.after, ids.limit + 1))
    following = rows[ids.limit - 1].id if len(rows) > ids.limit else None
    return ids.answer(DeadJobs([_job(row) for row in rows[: ids.limit]]), following)
