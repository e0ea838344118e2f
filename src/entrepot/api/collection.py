"""Garbage collection: `/collection`."""

from __future__ import annotations

from datetime import datetime

from litestar.params import JSONBody

from entrepot.api.jobs import JobProgress, progress_of
from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import collect
from entrepot.core.collect import Collected


class Freed(Answer, frozen=True):
    """What is forgotten, and the bytes that are freed by it."""

    manifests: int
    blobs: int
    freed_bytes: int


class Collection(Freed, frozen=True):
    """What a collection would forget now, and what goes besides once `keep.grace_seconds` are over (`after_grace`).

    `waiting` counts ended pins, up to 100,000; without `whole` there is more than was looked at.
    """

    after_grace: Freed
    waiting: int
    whole: bool


class LastRun(Freed, frozen=True):
    """The last run that freed anything."""

    began_at: datetime
    ended_at: datetime


class Status(Answer, frozen=True):
    """Whether the collector is at work, and how far. `waiting` counts ended pins up to 100,000, `all` is since ever."""

    running: bool
    progress: JobProgress | None
    waiting: int
    last: LastRun | None
    all: Freed


class Request(Document, frozen=True):
    """With `audit`, everything is looked at first, and not only what has been let go."""

    audit: bool = False


class Queued(Answer, frozen=True):
    """The job will run as soon as a worker is free; `waiting` counts what it has to look at, up to 100,000."""

    waiting: int


async def plan(registry: TheRegistry, caller: TheCaller) -> Collection:
    """What a collection would forget now, and what waits for its grace window besides; nothing is changed."""
    found = await collect.plan(registry, caller)
    later = Freed(*_counts(found.after_grace))
    return Collection(*_counts(found.collected), later, found.waiting, found.is_whole)


async def get_status(registry: TheRegistry, caller: TheCaller) -> Status:
    """What the collector is at, what waits for it, and what it has freed."""
    found = await collect.get_status(registry, caller)
    progress = progress_of(found.running, registry.clock.now()) if found.running else None
    runs = found.runs
    last = None if runs is None else LastRun(*_counts(runs.last), time_of(runs.began_at), time_of(runs.ended_at))
    everything = Freed(*_counts(runs.all if runs else Collected()))
    return Status(found.running is not None, progress, found.waiting, last, everything)


def _counts(collected: Collected) -> tuple[int, int, int]:
    return collected.manifests, collected.blobs, collected.freed_bytes


async def run(registry: TheRegistry, caller: TheCaller, data: JSONBody[Request]) -> Queued:
    """Let the collector run now and not when its time comes."""
    return Queued(await collect.request(registry, caller, with_audit=data.audit))
