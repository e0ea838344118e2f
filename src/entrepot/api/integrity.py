"""Whether stored bytes are what they should be: `/integrity`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response

from entrepot.api.request import Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, time_of
from entrepot.core import scrub
from entrepot.core.scrub import Broken


class Integrity(Answer, frozen=True):
    """What is known of the soundness of blobs; `due` and `damaged` are counted up to 100,000.

    `oldest` is when the blob that was verified the longest ago was. What was read adds up over all replicas.
    """

    running: bool
    bytes_per_second: int
    days: int
    due: int
    damaged: int
    oldest: datetime | None
    read_blobs: int
    read_bytes: int
    found_damaged: int
    found_unreadable: int


class DamagedBlob(Answer, frozen=True):
    """A blob that is served to nobody until its bytes are pushed again, and tags that it breaks, 100 at most."""

    digest: str
    size: int
    tags: list[str]


class DamagedBlobs(Answer, frozen=True):
    """A page of damaged blobs in the order of their digests."""

    blobs: list[DamagedBlob]


class Round(Answer, frozen=True):
    """The blobs that are going to be read, counted up to 100,000."""

    due: int


def _blob(each: Broken) -> DamagedBlob:
    return DamagedBlob(each.blob.digest, each.blob.size, each.tags)


async def get(registry: TheRegistry, caller: TheCaller) -> Integrity:
    """How many blobs are damaged, and how far reading all of them again has come."""
    found = await scrub.get_status(registry, caller)
    row, rules = found.scrub, registry.rules
    return Integrity(
        running=found.is_running,
        bytes_per_second=rules.scrub_bytes_per_second,
        days=rules.scrub_days,
        due=found.due,
        damaged=found.damaged,
        oldest=None if found.oldest is None else time_of(found.oldest),
        read_blobs=row.read_blobs,
        read_bytes=row.read_bytes,
        found_damaged=row.damaged_blobs,
        found_unreadable=row.unreadable_blobs,
    )


async def list_damaged(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[DamagedBlobs]:
    """Blobs that are served to nobody, with the tags that they break."""
    found = await scrub.list_damaged(registry, caller, names.after, names.limit + 1)
    following = found[names.limit - 1].blob.digest if len(found) > names.limit else None
    return names.answer(DamagedBlobs([_blob(each) for each in found[: names.limit]]), following)


async def start(registry: TheRegistry, caller: TheCaller) -> Round:
    """Read every blob again, beginning now, within the rate that is set."""
    return Round(await scrub.request(registry, caller))
