"""When secrets were last used: collected in this process, written now and then, never while somebody waits."""

from __future__ import annotations

from functools import partial
from typing import Final

from entrepot.core.registry import SECOND, Registry
from entrepot.metadata import credentials

FLUSH_SECONDS: Final = 60
BATCH: Final = 500


async def flush_uses(registry: Registry, *, is_last: bool = False) -> int:
    """Write what was collected if a minute has passed since the last time, or if it is the last; how many secrets."""
    uses = registry.uses
    now = registry.clock.now()
    if not uses.at or (not is_last and now < uses.flushed_at + FLUSH_SECONDS * SECOND):
        return 0
    uses.flushed_at = now
    # Taken before anything is awaited: what comes meanwhile is for the next time.
    pairs = sorted(uses.at.items())
    uses.at.clear()
    for start in range(0, len(pairs), BATCH):
        batch = partial(credentials.note_uses, uses=dict(pairs[start : start + BATCH]), grain=FLUSH_SECONDS * SECOND)
        # Losing a minute of this in a power cut costs nobody anything, so nobody waits for a disk.
        await registry.database.transact(batch, durable=False)
    return len(pairs)
