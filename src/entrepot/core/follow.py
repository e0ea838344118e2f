"""Following what happens: the events in order, from now on."""

from __future__ import annotations

from typing import Final

from entrepot.core.registry import Registry
from entrepot.metadata import events
from entrepot.metadata.events import EventRow

BATCH: Final = 500


class Follower:
    """Reads each event once, beginning with the first after `start`."""

    def __init__(self, registry: Registry) -> None:
        self._database = registry.database
        self._place = events.BEGINNING

    async def start(self) -> None:
        """Leave out everything that has happened so far."""
        self._place = await self._database.read(events.find_last_place)

    async def read(self) -> list[EventRow]:
        """What has happened since, up to a batch. Raises Unavailable."""
        place = self._place
        found = await self._database.read(lambda tx: events.list_events(tx, place, BATCH))
        if found:
            self._place = found[-1].place
        return found
