"""Wraps the port Directory: counts logins by their result, and tells when servers go away and come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from entrepot.domain.directory import Person
from entrepot.domain.errors import EntrepotError
from entrepot.ports.directory import Directory
from entrepot.telemetry.metrics import Meter


class ObservedDirectory:
    """A directory with its answers metered and its absence logged."""

    def __init__(self, directory: Directory, meter: Meter) -> None:
        self._directory = directory
        self._meter = meter
        self._log = structlog.get_logger()
        self._seen: Mapping[str, str] = {}

    async def log_in(self, name: str, password: str) -> Person | None:
        result = "failed"
        try:
            person = await self._directory.log_in(name, password)
            result = "proven" if person is not None else "refused"
        except EntrepotError:
            result = "unavailable"
            raise
        finally:
            self._meter.logins[result] = self._meter.logins.get(result, 0) + 1
            self._look()
        return person

    async def find(self, names: Sequence[str]) -> dict[str, Person]:
        return await self._directory.find(names)

    def away(self) -> Mapping[str, str]:
        return self._directory.away()

    async def close(self) -> None:
        await self._directory.close()

    def _look(self) -> None:
        now = self._directory.away()
        for url, reason in now.items():
            if url not in self._seen:
                self._log.warning("directory away", server=url, reason=reason)
        for url in self._seen:
            if url not in now:
                self._log.info("directory back", server=url)
        self._seen = now
        self._meter.away = dict.fromkeys(now, 1)
