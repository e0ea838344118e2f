"""Jobs: `/jobs`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from entrepot.api.request import Ids, InPath, TheCaller, TheRegistry
from entrepot.api.types import Answer, time_of
from entrepot.core import job_control
from entrepot.core.job_control import JobFilter
from entrepot.core.registry import SECOND
from entrepot.domain.errors import JobUnknown
from entrepot.metadata import jobs
from entrepot.metadata.jobs import JobDetailRow

LONGEST_ID: Final = 16
OfState = Annotated[
    Literal["pending", "running", "dead"] | None, QueryParameter(name="state", description="Only jobs in this state.")
]
OfKind = Annotated[str, QueryParameter(name="kind", max_length=64, description="Only jobs of this kind.")]


class JobCounts(Answer, frozen=True):
    """How many jobs there are in each state, each counted up to 100,000; those that are done leave the queue."""

    pending: int
    running: int
    dead: int


class JobProgress(Answer, frozen=True):
    """How far a job is: `done` of `total`, and what it counts besides; null where it is not known."""

    done: int
    total: int | None
    counts: dict[str, int]
    seconds_left: int | None


class Job(Answer, frozen=True):
    """A job. `run_at` is when it is due, `stopping` says that it was cancelled and has not stopped yet."""

    id: int
    kind: str
    key: str
    state: str
    attempts: int
    error: str
    worker: str | None
    progress: JobProgress | None
    stopping: bool
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Jobs(Answer, frozen=True):
    """A page of jobs, the oldest first."""

    jobs: list[Job]


class _Told(msgspec.Struct, frozen=True):
    """What a job has written of its progress."""

    done: int
    total: int = 0
    counts: dict[str, int] = {}


def progress_of(row: JobDetailRow, now: int) -> JobProgress | None:
    """How far a job was at its last heartbeat, and how long the rest will take at that pace."""
    if not row.progress or row.started_at is None:
        return None
    told = msgspec.json.decode(row.progress, type=_Told)
    left = None
    if told.done and told.total:
        left = max(0, (now - row.started_at) * (told.total - told.done) // told.done // SECOND)
    return JobProgress(told.done, told.total or None, told.counts, left)


def _job(row: JobDetailRow, now: int) -> Job:
    return Job(
        row.id,
        row.kind,
        row.key,
        row.state,
        row.attempts,
        row.error,
        row.worker,
        progress_of(row, now),
        bool(row.stop_asked),
        time_of(row.run_at),
        time_of(row.created_at),
        None if row.started_at is None else time_of(row.started_at),
        None if row.ended_at is None else time_of(row.ended_at),
    )


def _number(job: str) -> int:
    if not (job.isascii() and job.isdecimal()) or len(job) > LONGEST_ID:
        raise JobUnknown("the id of a job is a number", job=job)
    return int(job)


async def list_page(registry: TheRegistry, ids: Ids, in_state: OfState = None, kind: OfKind = "") -> Response[Jobs]:
    """Jobs that wait, run or were given up, the oldest first."""
    now = registry.clock.now()
    rows, following = await job_control.list_jobs(registry, JobFilter(in_state, kind), (ids.after, ids.limit))
    return ids.answer(Jobs([_job(row, now) for row in rows]), following)


async def count(registry: TheRegistry) -> JobCounts:
    """How full the queue is."""
    counts = await registry.database.read(jobs.count_jobs)
    return JobCounts(counts.get("pending", 0), counts.get("running", 0), counts.get("dead", 0))


async def get(registry: TheRegistry, job: InPath) -> Job:
    """One job, and how far it is."""
    return _job(await job_control.get_job(registry, _number(job)), registry.clock.now())


async def cancel(registry: TheRegistry, caller: TheCaller, job: InPath) -> None:
    """Take a job out of the queue, or tell the one that runs to stop."""
    await job_control.cancel_job(registry, caller, _number(job))


async def retry(registry: TheRegistry, caller: TheCaller, job: InPath) -> None:
    """Let a job that was given up, or that waits for its time, run now."""
    await job_control.retry_job(registry, caller, _number(job))
