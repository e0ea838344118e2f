"""Wrong passwords, counted: how many are borne, and for how long nobody is heard after more."""

from __future__ import annotations

from typing import Final

import msgspec

SECOND: Final = 1_000_000
# So long after the last failure, and after the last lock, all is forgotten.
FORGET_SECONDS: Final = 3600
# A name from anywhere, and a network with any name, bear so many times what a name from one network does: else whoever
# can type a name could lock its owner out.
WIDE: Final = 10
MOST_DOUBLINGS: Final = 30


class Tolerance(msgspec.Struct, frozen=True):
    """How many failures are borne before a lock, and how long the longest lock is (seconds)."""

    failures: int
    seconds: int

    def lock_seconds(self, failures: int) -> int:
        """How long the lock after so many failures is: 1 s after the first that is too many, doubled by each more."""
        over = failures - self.failures
        return min(self.seconds, 1 << min(over, MOST_DOUBLINGS)) if over >= 0 else 0


class Tally(msgspec.Struct, frozen=True):
    """Failures in a row, when the last one was, and until when nobody is heard (microseconds)."""

    failures: int = 0
    last_at: int = 0
    locked_until: int = 0

    def is_over(self, now: int) -> bool:
        """Whether it is so long ago that it counts no more."""
        return max(self.last_at, self.locked_until) + FORGET_SECONDS * SECOND <= now

    def failed(self, tolerance: Tolerance, now: int) -> Tally:
        """After one more failure."""
        failures = 1 if self.is_over(now) else self.failures + 1
        seconds = tolerance.lock_seconds(failures)
        # Not `now` where there is no lock: whoever looked at the clock before, or has one that is behind, would take
        # that for a lock.
        return Tally(failures, now, now + seconds * SECOND if seconds else 0)

    def less(self, failures: int, tolerance: Tolerance) -> Tally:
        """Without some failures, which were not guesses; a lock that they made is lifted."""
        left = max(0, self.failures - failures)
        return Tally(left, self.last_at, self.locked_until if left >= tolerance.failures else 0)
