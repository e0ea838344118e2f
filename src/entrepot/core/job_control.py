"""Looking at jobs, and changing their course: trying again, and cancelling."""

from __future__ import annotations

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.jobs import RECURRING
from entrepot.core.recurrence import find_rule
from entrepot.core.registry import Act, Registry
from entrepot.core.upload import DISCARD
from entrepot.domain.access import Caller
from entrepot.domain.errors import Conflict, JobUnknown
from entrepot.domain.events import Event, EventKind
from entrepot.metadata import events, jobs
from entrepot.metadata.jobs import JobDetailRow, JobState
from entrepot.ports.database import Tx


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs are meant: of a state and of a kind; None and "" are any."""

    state: JobState | None = None
    kind: str = ""


async def list_jobs(
    registry: Registry, wanted: JobFilter, page: tuple[int, int]
) -> tuple[list[JobDetailRow], int | None]:
    """Jobs, the oldest first, a page (after an id, limit), and after which id the next one begins."""
    after, limit = page
    rows = await registry.database.read(lambda tx: jobs.list_jobs(tx, (wanted.state, wanted.kind), after, limit + 1))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


async def get_job(registry: Registry, job: int) -> JobDetailRow:
    """One job. Raises JobUnknown: what is done has left the queue."""
    return await registry.database.read(lambda tx: _get(tx, job))


async def retry_job(registry: Registry, caller: Caller, job: int) -> None:
    """Let a job that was given up, or that waits, run now. Raises Denied, JobUnknown, Conflict."""
    require_admin(caller, registry.policy.snapshot)
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        found = await _get(tx, job)
        if found.state == "running":
            raise Conflict("the job is running; it can be cancelled", job=job)
        await jobs.renew_job(tx, job, act.now)
        await _tell(tx, act, "job.retried", found)

    await registry.database.transact(record)


async def cancel_job(registry: Registry, caller: Caller, job: int) -> None:
    """Take a job out of the queue; one that runs is told to stop, and one that comes back does so at its next time.

    Raises Denied, JobUnknown, and Conflict where bytes would be left that nobody knows of.
    """
    require_admin(caller, registry.policy.snapshot)
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        found = await _get(tx, job)
        if found.kind == DISCARD:
            raise Conflict("nothing else knows of the bytes that this job deletes; let it run", job=job)
        if found.state == "running":
            await jobs.ask_to_stop(tx, job)
        else:
            await jobs.finish_job(tx, job)
            if found.state == "pending" and found.kind in RECURRING:
                await _come_back(tx, found, act.now)
        await _tell(tx, act, "job.cancelled", found)

    await registry.database.transact(record)


async def _come_back(tx: Tx, job: JobDetailRow, now: int) -> None:
    # The time that it waited for is not the next one again.
    rule = await find_rule(tx, job.kind, RECURRING[job.kind], now)
    following = rule.next_after(max(now, job.run_at))
    if following is not None:
        await jobs.add_job(tx, job.kind, job.key, {}, following)


async def _get(tx: Tx, job: int) -> JobDetailRow:
    found = await jobs.find_job(tx, job)
    if found is None:
        raise JobUnknown("there is no such job: what is done has left the queue", job=job)
    return found


async def _tell(tx: Tx, act: Act, kind: EventKind, job: JobDetailRow) -> None:
    detail: dict[str, object] = {"job": job.id, "key": job.key, "state": job.state}
    await events.add_event(tx, Event(kind, act.actor, job.kind, detail), act.now, act.by)
