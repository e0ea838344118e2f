"""What one process holds of the audit log until it is written: bounded, equal things folded, pulls only counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from entrepot.domain.audit import OTHERS, REGISTRY, SYSTEM, Category, Head, Record
from entrepot.domain.policy import AccountPolicy
from entrepot.domain.text import storable

SECOND: Final = 1_000_000
FOLD_SECONDS: Final = 10
BUCKET_SECONDS: Final = 60
# Above so many, things are written each second instead of after ten, and above very many at once.
FEW: Final = 2_000
MANY: Final = 12_000
MOST_HELD: Final = 30_000
MOST_BUCKETS: Final = 10_000
# So many different refusals a second in the long run: of those who proved who they are, and of strangers.
KNOWN_A_SECOND: Final = 100
STRANGE_A_SECOND: Final = 10
ROOM: Final = 2_000

_Key = tuple[object, ...]


class Counts:
    """How often each account did something to each repository within a minute; a pull costs one look into this."""

    def __init__(self, category: Category, action: str) -> None:
        self.category = category
        self.action = action
        self._counts: dict[tuple[int, str], int] = {}
        self._since = 0

    def add(self, account: int, subject: str) -> None:
        """One more."""
        counts, key = self._counts, (account, subject)
        count = counts.get(key)
        if count is None and len(counts) >= MOST_BUCKETS:
            key = (0, OTHERS)
            count = counts.get(key)
        counts[key] = (count or 0) + 1

    def take(self, now: int, accounts: Mapping[int, AccountPolicy], *, is_last: bool) -> list[Record]:
        """The counts as records, once their minute is over."""
        since = self._since
        if not is_last and now // (BUCKET_SECONDS * SECOND) == since // (BUCKET_SECONDS * SECOND):
            return []
        self._since = now
        taken, self._counts = self._counts, {}
        first = max(since, now - BUCKET_SECONDS * SECOND)
        return [
            Record(
                now,
                self.category,
                self.action,
                _name_of(account, accounts),
                account,
                subject,
                "",
                "",
                is_allowed=True,
                reasons=(),
                count=count,
                first_at=first,
                last_at=now,
            )
            for (account, subject), count in taken.items()
        ]


class _Room:
    """How many different refusals may still be told apart: a flood of made-up names fills no disk."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._room = float(ROOM)
        self._seen = 0

    def take(self, now: int) -> bool:
        """Whether there is room for one more now."""
        seconds, self._seen = max(0.0, (now - self._seen) / SECOND), now
        self._room = min(float(ROOM), self._room + seconds * self._a_second)
        if self._room < 1:
            return False
        self._room -= 1
        return True


class AuditLog:
    """The buffer of this process, the end of its chain, and what the metrics tell of it."""

    def __init__(self) -> None:
        self.pulls = Counts(Category.PULL, "pull")
        self.tokens = Counts(Category.TOKEN, "token.issued")
        self.head: Head | None = None
        self.broken: Head | None = None
        # The jobs of one process link into one chain, one after the other.
        self.turn = asyncio.Lock()
        self.counts: dict[str, int] = {"lost": 0}
        self._held: dict[_Key, Record] = {}
        self._pending: list[Record] = []
        self._known = _Room(KNOWN_A_SECOND)
        self._strange = _Room(STRANGE_A_SECOND)
        self._gap: tuple[int, int, int] | None = None
        self._is_much = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many records are held and not written."""
        return len(self._held) + len(self._pending)

    def note(self, record: Record) -> None:
        """Hold a record until it is written; one that is equal to another one of these seconds is added to it."""
        if not "".join((record.actor, record.subject, record.address, *record.reasons)).isprintable():
            # What the database does not take would keep all that comes later from being written as well.
            record = _storable(record)
        key = _key(record)
        held = self._held.get(key)
        if held is None and not record.is_allowed and not self._has_room(record):
            record = msgspec.structs.replace(record, actor=OTHERS, subject=OTHERS, address="", reasons=())
            key = _key(record)
            held = self._held.get(key)
        if held is not None:
            self._held[key] = msgspec.structs.replace(held, count=held.count + record.count, last_at=record.at)
        elif self.waiting < MOST_HELD:
            self._held[key] = record
            if len(self._held) == MANY:
                self._is_much.set()
        else:
            self._lose(record)

    async def wait(self, seconds: float) -> None:
        """Return after so long, or as soon as very many records are held."""
        # `asyncio.wait_for` of Python 3.11 loses a cancellation that comes together with what was waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_much.wait()
        self._is_much.clear()

    def settle(self, now: int, accounts: Mapping[int, AccountPolicy], *, is_last: bool = False) -> None:
        """Get ready what is due to be written: what nothing equal is added to any more, and minutes that are over."""
        is_all = is_last or len(self._held) > FEW
        until = now - FOLD_SECONDS * SECOND
        ready = (
            list(self._held.values()) if is_all else [each for each in self._held.values() if each.first_at <= until]
        )
        self._held = {} if is_all else {key: each for key, each in self._held.items() if each.first_at > until}
        for counts in (self.pulls, self.tokens):
            ready += counts.take(now, accounts, is_last=is_last)
        room = MOST_HELD - len(self._pending)
        self._pending += ready[:room]
        for record in ready[room:]:
            self._lose(record)

    def first(self, limit: int) -> list[Record]:
        """What is to be written next."""
        return self._pending[:limit]

    def gap(self, now: int) -> Record | None:
        """What has been lost and not been told yet, as a record."""
        if self._gap is None:
            return None
        count, first, last = self._gap
        return Record(
            now,
            Category.AUDIT,
            "gap",
            REGISTRY,
            0,
            "",
            "",
            SYSTEM.method,
            is_allowed=True,
            reasons=(),
            count=count,
            first_at=first,
            last_at=last,
        )

    def written(self, head: Head, number: int, counts: Mapping[str, int], gap: Record | None) -> None:
        """Forget the first so many, which are written, and the gap, if it is."""
        self.head = head
        del self._pending[:number]
        for category, count in counts.items():
            self.counts[category] = self.counts.get(category, 0) + count
        if gap is not None and self._gap is not None:
            left = self._gap[0] - gap.count
            self._gap = (left, gap.last_at, self._gap[2]) if left else None

    def abandon(self) -> None:
        """Begin another chain with what is written next."""
        self.broken, self.head = self.head or self.broken, None

    def _has_room(self, record: Record) -> bool:
        return (self._known if record.account else self._strange).take(record.at)

    def _lose(self, record: Record) -> None:
        self.counts["lost"] += record.count
        count, first, _ = self._gap or (0, record.first_at, 0)
        self._gap = (count + record.count, first, record.last_at)


def _storable(record: Record) -> Record:
    actor, subject, address, *reasons = map(storable, (record.actor, record.subject, record.address, *record.reasons))
    return msgspec.structs.replace(record, actor=actor, subject=subject, address=address, reasons=tuple(reasons))


def _name_of(account: int, accounts: Mapping[int, AccountPolicy]) -> str:
    if not account:
        return ""
    known = accounts.get(account)
    return known.name if known else f"#{account}"


def _key(record: Record) -> _Key:
    return (
        record.category,
        record.action,
        record.account,
        record.actor,
        record.subject,
        record.address,
        record.method,
        record.is_allowed,
        record.reasons,
        record.detail,
    )
