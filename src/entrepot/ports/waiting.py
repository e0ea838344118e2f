"""The ability to tell how many wait: for metrics, of whatever adapter has a queue."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Waits(Protocol):
    """An adapter with a queue in front of it."""

    def waiting(self) -> int:
        """How many callers wait at this moment."""
