"""Reading the audit log: the newest first, from the database and then from archived days; reading is recorded too."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import msgspec

from entrepot.core.accounts import require_admin
from entrepot.core.audit_archive import may_hold, read_segment
from entrepot.core.audit_verify import Report, verify
from entrepot.core.decide import require
from entrepot.core.registry import Registry, by_of
from entrepot.core.services import require_unscoped
from entrepot.domain.access import Action, Caller
from entrepot.domain.audit import DAY, Category, Filter, Linked, new_record
from entrepot.domain.errors import TooLarge, Unknown
from entrepot.domain.json import render_json
from entrepot.metadata import audit_records, audit_segments
from entrepot.metadata.audit_records import FOREVER, LAST_ID
from entrepot.metadata.audit_segments import SegmentRow
from entrepot.ports.database import Tx

WINDOW: Final = 1_000
# One request looks at so much; a page may be short and still have a next one.
MOST_WINDOWS: Final = 20
MOST_SEGMENTS: Final = 10
MOST_VERIFIED: Final = 500_000
NEWEST: Final = (FOREVER, LAST_ID)
Place = tuple[int, int]


class Span(msgspec.Struct, frozen=True):
    """Which part of the log is asked for: what lies before a place (day, id), so many records at most."""

    before: Place
    limit: int


class _Search:
    """One search: what it has found, and how far it has come."""

    def __init__(self, registry: Registry, wanted: Filter, span: Span) -> None:
        self._registry = registry
        self._wanted = wanted
        self._limit = span.limit
        self.found: list[Linked] = []
        # `until` is apart: at midnight, nothing of the day that begins is looked at.
        latest = ((wanted.until - 1) // DAY + 1, 0) if wanted.until else NEWEST
        self.place = min(span.before, latest)
        self.is_over = False

    @property
    def is_full(self) -> bool:
        """Whether there is a page, and one more record that tells of a next one."""
        return len(self.found) > self._limit

    @property
    def _span(self) -> tuple[int, Place]:
        return self._wanted.since // DAY, self.place

    @property
    def _key(self) -> tuple[str, str]:
        if self._wanted.actor:
            return "actor", self._wanted.actor
        return ("namespace", self._wanted.namespace) if self._wanted.namespace else ("", "")

    async def in_database(self) -> bool:
        """Look there until the page is full; whether the end was reached."""
        # No more than the page at first: each row may lie on a page of its own, which is read from the disk.
        window = min(WINDOW, self._limit + 1)
        for _ in range(MOST_WINDOWS):
            rows = await self._registry.database.read(partial(self._scan, window=window))
            self._take(rows)
            if self.is_full:
                return False
            if len(rows) < window:
                return True
            window = WINDOW
            await asyncio.sleep(0)
        return False

    async def _scan(self, tx: Tx, window: int) -> list[Linked]:
        return await audit_records.scan(tx, self._key, self._span, window)

    async def _list_segments(self, tx: Tx) -> list[SegmentRow]:
        return await audit_segments.list_segments(tx, self._span, MOST_SEGMENTS)

    async def in_store(self) -> None:
        """Look into archived days."""
        looked = 0
        while looked < MOST_SEGMENTS and not self.is_full:
            rows = await self._registry.database.read(self._list_segments)
            if not rows:
                self.is_over = True
                return
            for row in rows[: MOST_SEGMENTS - looked]:
                looked += await self._look_into(row)
                if self.is_full:
                    return

    async def _look_into(self, row: SegmentRow) -> int:
        wanted, new = self._wanted, row.new
        may = not wanted.actor or may_hold(new.actors, wanted.actor)
        if may and (not wanted.namespace or may_hold(new.namespaces, wanted.namespace)):
            records = await read_segment(self._registry, row)
            self._take([each for each in sorted(records, key=_place, reverse=True) if each.place < self.place])
            if not self.is_full:
                self.place = min(self.place, (new.day, new.first_id))
            return 1
        self.place = min(self.place, (new.day, new.first_id))
        return 0

    def _take(self, rows: list[Linked]) -> None:
        self.found += [row for row in rows if self._wanted.admits(row.record)]
        if rows:
            self.place = rows[-1].place


async def list_records(
    registry: Registry, caller: Caller, wanted: Filter, span: Span
) -> tuple[list[Linked], Place | None]:
    """Records, the newest first, and before which place the next page begins; it may be short and have a next one.

    For administrators; of one namespace also for its owners. Raises Denied, InsufficientScope, Unavailable.
    """
    require_reader(registry, caller, wanted.namespace)
    note_reading(registry, caller, "audit.read", wanted)
    search = _Search(registry, wanted, span)
    if await search.in_database():
        await search.in_store()
    if search.is_full:
        return search.found[: span.limit], search.found[span.limit - 1].place
    return search.found, None if search.is_over else search.place


async def get_record(registry: Registry, caller: Caller, number: int) -> Linked:
    """One record that is still in the database. Raises Denied, InsufficientScope, Unknown."""
    require_reader(registry, caller, "")
    found = await registry.database.read(lambda tx: audit_records.find_linked(tx, number))
    if found is None:
        raise Unknown("there is no such record in the database; archived ones are listed by their day", record=number)
    return found


async def verify_log(registry: Registry, caller: Caller, known: tuple[int, str] | None) -> Report:
    """What `verify` finds, for administrators; a log that is too long for a request is for the command line.

    Raises Denied, InsufficientScope, TooLarge, Unavailable.
    """
    require_admin(caller, registry.policy.snapshot)
    length = await registry.database.read(audit_records.count_written)
    if length > MOST_VERIFIED:
        raise TooLarge(
            f"the log has {length} records, more than one request looks at; on a machine of the registry: "
            "entrepot audit verify --data DIR",
            records=length,
        )
    note_reading(registry, caller, "audit.verified", Filter())
    return await verify(registry, known=known)


def require_reader(registry: Registry, caller: Caller, namespace: str) -> None:
    """Refuse whoever may not read the audit log. Raises Denied, InsufficientScope."""
    snapshot = registry.policy.snapshot
    if namespace:
        require(caller, snapshot, Action.NAMESPACE_ADMIN, namespace)
        require_unscoped(caller)
    else:
        require_admin(caller, snapshot)


def note_reading(registry: Registry, caller: Caller, action: str, wanted: Filter) -> None:
    """Reading the log is in the log."""
    asked = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value not in {"", 0, None}}
    name = caller.identity.name if caller.identity else ""
    record = new_record(Category.AUDIT, action, registry.clock.now(), (name, by_of(caller)))
    registry.audit.note(msgspec.structs.replace(record, detail=render_json(asked).decode()))


def _place(linked: Linked) -> Place:
    return linked.place
