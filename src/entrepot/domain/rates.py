"""How often somebody may ask: the generic cell rate algorithm (ITU-T I.371), one number for each who is counted.

The number says until when what was asked already would last at an even pace. Who is not ahead of the present may ask
for a whole span at once; then as fast as the pace.
"""

from __future__ import annotations

import msgspec

SECOND = 1_000_000


class Pace(msgspec.Struct, frozen=True):
    """So many requests in so many seconds, at once or evenly."""

    requests: int
    seconds: int

    @property
    def interval(self) -> int:
        """The time that one request takes up (microseconds), rounded up: never more than was said is admitted."""
        return -(-self.seconds * SECOND // self.requests)

    @property
    def depth(self) -> int:
        """How far ahead somebody may be (microseconds)."""
        return self.interval * self.requests

    def take(self, ahead_until: int, now: int) -> int | None:
        """Until when they are ahead after one more request; None if that is too far."""
        after = max(ahead_until, now) + self.interval
        return after if after - now <= self.depth else None

    def remaining(self, ahead_until: int, now: int) -> int:
        """How many requests are left at this moment."""
        return max(0, self.depth - max(0, ahead_until - now)) // self.interval

    def reset_seconds(self, ahead_until: int, now: int) -> int:
        """When all of them are left again."""
        return max(0, -(-(ahead_until - now) // SECOND))

    def retry_seconds(self, ahead_until: int, now: int) -> int:
        """When the next one is admitted, a second at least."""
        return max(1, -(-(max(ahead_until, now) + self.interval - self.depth - now) // SECOND))


class Standing(msgspec.Struct, frozen=True):
    """What clients are told of a limit: how many in how many seconds, how many are left, and when all are again.

    `source` is whose limit it is, an address or the name of an account, for a limit on pulls.
    """

    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    source: str = ""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """In the form of Docker Hub, which tools read."""
        window = f";w={self.window_seconds}"
        pairs = [
            ("ratelimit-limit", f"{self.limit}{window}"),
            ("ratelimit-remaining", f"{self.remaining}{window}"),
            ("ratelimit-reset", str(self.reset_seconds)),
        ]
        if self.source:
            pairs.append(("docker-ratelimit-source", self.source))
        return [(name.encode(), value.encode()) for name, value in pairs]
