"""The port for time, so that tests can hold it still."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time; nothing orders events by it."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
