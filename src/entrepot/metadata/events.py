"""Rows of events: what happened, in the order of the database's own identity."""

from __future__ import annotations

from entrepot.domain.events import Event
from entrepot.domain.json import render_json
from entrepot.ports.database import Tx


async def add_event(tx: Tx, event: Event, now: int) -> None:
    """Remember what happened, in the transaction in which it does."""
    await tx.execute(
        "insert into event (at, kind, actor, subject, detail) values ($1, $2, $3, $4, $5)",
        now,
        event.kind,
        event.actor,
        event.subject,
        render_json(event.detail).decode(),
    )
