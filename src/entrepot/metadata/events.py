"""Rows of events: what happened, in the order of the database's own identity."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.domain.audit import NOBODY, By, Category, new_record
from entrepot.domain.events import Event
from entrepot.domain.json import render_json
from entrepot.metadata.audit_records import add_record
from entrepot.ports.database import Row, Tx


async def add_event(tx: Tx, event: Event, now: int, by: By = NOBODY) -> None:
    """Remember what happened, in the transaction in which it does; in the audit log with whose doing it was.

    If the audit log cannot be written, nothing happens.
    """
    detail = render_json(event.detail).decode()
    await tx.execute(
        "insert into event (at, kind, actor, subject, detail) values ($1, $2, $3, $4, $5)",
        now,
        event.kind,
        event.actor,
        event.subject,
        detail,
    )
    record = new_record(Category.CHANGE, event.kind, now, (event.actor, by), event.subject)
    await add_record(tx, msgspec.structs.replace(record, detail=detail))


class Place(msgspec.Struct, frozen=True, order=True):
    """Where an event stands among all: epochs follow restores, `transaction` is 0 where commits come one by one."""

    epoch: int
    transaction: int
    id: int


BEGINNING: Final = Place(0, 0, 0)


class EventRow(msgspec.Struct, frozen=True):
    """An event as stored; `detail` is JSON, `at` is microseconds since 1970."""

    place: Place
    site: str
    at: int
    kind: str
    actor: str
    subject: str
    detail: str


# Identities are handed out before commits and may appear out of order: id 7 is there while id 5 is still to come.
# So the order is that of the transactions, and those that may still be overtaken by an older one are left for later.
_LIST = (
    "select epoch, transaction_id, id, site, at, kind, actor, subject, detail from event "
    "where (epoch, transaction_id, id) > ($1, $2, $3) /*settled*/ order by epoch, transaction_id, id limit $4"
)


async def list_events(tx: Tx, after: Place, limit: int) -> list[EventRow]:
    """Events in order, a page after a place; none that is still to come will stand before one that was listed."""
    rows = await tx.all(_LIST, after.epoch, after.transaction, after.id, limit)
    return [EventRow(Place(row[0], row[1], row[2]), *row[3:]) for row in rows]


class SeenEvent(msgspec.Struct, frozen=True):
    """An event that is there; one that `is_settled` and all before it have nothing more to come before them."""

    place: Place
    is_settled: bool
    at: int
    kind: str
    subject: str
    detail: str


BEFORE_ALL: Final = SeenEvent(BEGINNING, is_settled=True, at=0, kind="", subject="", detail="")

_SEEN = "select epoch, transaction_id, id, (true /*settled*/), at, kind, subject, detail from event "
_LIST_SEEN = f"{_SEEN} where (epoch, transaction_id, id) >= ($1, $2, $3) order by epoch, transaction_id, id limit $4"


async def list_seen(tx: Tx, after: SeenEvent, limit: int) -> list[SeenEvent] | None:
    """Every event after one that is there now, settled or not: for whoever had rather hear of one twice than late.

    What is settled comes first. Others may still appear between those that are not. None where the event itself is not
    there any more: the database has gone back to an earlier state, and what comes since may stand before it.
    """
    place = after.place
    found = [_seen(row) for row in await tx.all(_LIST_SEEN, place.epoch, place.transaction, place.id, limit + 1)]
    if after is BEFORE_ALL:
        return found[:limit]
    is_there = bool(found) and (found[0].place, found[0].at) == (place, after.at)
    return found[1:] if is_there else None


async def find_last_seen(tx: Tx) -> SeenEvent:
    """The newest event that nothing will be put before; BEFORE_ALL without any."""
    row = await tx.one(f"{_SEEN} where true /*settled*/ order by epoch desc, transaction_id desc, id desc limit 1")
    return BEFORE_ALL if row is None else _seen(row)


def _seen(row: Row) -> SeenEvent:
    return SeenEvent(Place(row[0], row[1], row[2]), bool(row[3]), *row[4:])


async def find_last_place(tx: Tx) -> Place:
    """Where the newest event stands that nothing will be put before; whoever begins there misses nothing."""
    row = await tx.one(
        "select epoch, transaction_id, id from event where true /*settled*/ "
        "order by epoch desc, transaction_id desc, id desc limit 1"
    )
    return BEGINNING if row is None else Place(*row)
