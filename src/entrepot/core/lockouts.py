"""What this process knows of locks between two looks at the database, and what is still to be told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from entrepot.domain.attempts import Tally

# So long a lock is believed without another look, which floods then need not have.
BELIEVED_SECONDS: Final = 1
MOST_HELD: Final = 10_000
MOST_NEWS: Final = 50
# So many refusals of one name from one network within a span are more than a person or a machine that errs would cause.
SPAN_SECONDS: Final = 10
MOST_REFUSALS: Final = 100


class Lock(msgspec.Struct, frozen=True):
    """A lock that has just begun: the name as it is counted, the network, and until when (microseconds)."""

    name: str
    network: str
    until: int
    failures: int


class Lockouts:
    """Locks seen a moment ago, those still to be told as events, and what was refused by any limit, by kind.

    `alone` is what was counted, by key, while the database took nothing.
    """

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.news: dict[str, Lock] = {}
        self.alone: dict[str, Tally] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._refusals: dict[str, int] = {}
        self._span = 0

    def count(self, kind: str) -> None:
        """One more refusal of a kind."""
        self.refused[kind] = self.refused.get(kind, 0) + 1

    @property
    def has_refusals(self) -> bool:
        """Whether anything was refused lately."""
        return bool(self._refusals)

    def count_refusal(self, key: str, now: int) -> None:
        """One more try that was not heard."""
        self._turn(now)
        if len(self._refusals) >= MOST_HELD:
            self._refusals.clear()
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def is_flooded(self, key: str, now: int) -> bool:
        """Whether too many tries were not heard within this span."""
        self._turn(now)
        return self._refusals.get(key, 0) >= MOST_REFUSALS

    def _turn(self, now: int) -> None:
        span = now // (SPAN_SECONDS * 1_000_000)
        if span != self._span:
            self._span, self._refusals = span, {}

    def find(self, key: str, now: int) -> int:
        """Until when something is locked, if that was seen within the last second; else 0."""
        until, believed_until = self._held.get(key, (0, 0))
        return until if now < believed_until else 0

    def hold(self, key: str, until: int, now: int) -> None:
        """Believe a lock for a second."""
        if len(self._held) >= MOST_HELD:
            self._held.clear()
        self._held[key] = (until, min(until, now + BELIEVED_SECONDS * 1_000_000))

    def count_alone(self, tallies: Mapping[str, Tally]) -> None:
        """Count in this process, where the database cannot."""
        if len(self.alone) >= MOST_HELD:
            self.alone.clear()
        self.alone.update(tallies)

    def tell(self, lock: Lock) -> None:
        """Let an event tell of a lock: one a second for each name, and no more than fifty."""
        if len(self.news) < MOST_NEWS:
            self.news[lock.name] = lock

    def take(self) -> list[Lock]:
        """What is to be told now."""
        news, self.news = self.news, {}
        return list(news.values())
