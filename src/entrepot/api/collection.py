"""Garbage collection: `/collection`."""

from __future__ import annotations

from litestar.params import JSONBody

from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer, Document
from entrepot.core import collect


class Collection(Answer, frozen=True):
    """What a collection would forget now. `waiting` counts ended pins, up to 100,000; without `whole` there is more."""

    manifests: int
    blobs: int
    freed_bytes: int
    waiting: int
    whole: bool


class Request(Document, frozen=True):
    """With `audit`, everything is looked at first, and not only what has been let go."""

    audit: bool = False


class Queued(Answer, frozen=True):
    """The job will run as soon as a worker is free; `waiting` counts what it has to look at, up to 100,000."""

    waiting: int


async def plan(registry: TheRegistry, caller: TheCaller) -> Collection:
    """What a collection would forget now; nothing is changed."""
    found = await collect.plan(registry, caller)
    total = found.collected
    return Collection(total.manifests, total.blobs, total.freed_bytes, found.waiting, found.is_whole)


async def run(registry: TheRegistry, caller: TheCaller, data: JSONBody[Request]) -> Queued:
    """Let the collector run now and not when its time comes."""
    return Queued(await collect.request(registry, caller, with_audit=data.audit))
