"""A clock that stands still until a test moves it."""

from __future__ import annotations

from entrepot.core.registry import SECOND

START = 1_790_000_000 * SECOND


class FrozenClock:
    """The port Clock, held by a test."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        return self.time

    def advance(self, *, days: float = 0, seconds: float = 0) -> None:
        """Let time pass."""
        self.time += int((days * 86_400 + seconds) * SECOND)
