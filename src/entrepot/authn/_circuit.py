"""Whether a server is asked at all: one that failed is left alone for a while, and then tried by one caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 30.0


class Circuit:
    """The state of one server; `now` is a clock in seconds that never goes back.

    Closed, everybody is let through. A failure opens it: nobody is, until a pause is over. Then one caller at a time
    probes; their failure doubles the pause, their success closes the circuit.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._pause = 0.0
        self._until = 0.0
        self._is_probed = False
        self.reason = ""

    def is_passable(self) -> bool:
        """Whether a caller would be let through."""
        return not self.reason or (not self._is_probed and self._now() >= self._until)

    def enter(self) -> bool:
        """Let a caller through, or not; who is let through ends with `fail`, `heal` or `leave`."""
        if not self.is_passable():
            return False
        self._is_probed = bool(self.reason)
        return True

    def fail(self, reason: str) -> None:
        """The server did not do its work; of those who were let through together, the first one counts."""
        if self.reason and not self._is_probed:
            return
        self.reason = reason
        self._is_probed = False
        self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2 or FIRST_PAUSE_SECONDS)
        self._until = self._now() + self._pause

    def heal(self) -> None:
        """The server did its work."""
        self.reason = ""
        self._is_probed = False
        self._pause = 0.0

    def leave(self) -> None:
        """Nothing was learned."""
        self._is_probed = False
