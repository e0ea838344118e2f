"""What commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec


def print_json(document: Any) -> None:
    """A document on several lines."""
    print(msgspec.json.format(msgspec.json.encode(document)).decode())


def print_rows(entries: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table with a line per entry; a column is named as its field is."""
    rows = [[column.replace("_", " ").upper() for column in columns]]
    rows += [[clean(entry[column]) for column in columns] for entry in entries]
    widths = [max(len(row[position]) for row in rows) for position in range(len(columns))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, Any]) -> None:
    """A line per field; of a list its parts."""
    for name, value in fields.items():
        told = (", ".join(map(str, value)) or None) if isinstance(value, list) else value
        print(f"{name.replace('_', ' ')}: {clean(told)}")


def clean(value: Any) -> str:
    """A value on a terminal: one line, without control characters that somebody else may have put into it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(character if character.isprintable() else "?" for character in str(value))


def in_utc(time: datetime | None) -> datetime | None:
    """A time as it was written; in UTC where that says no zone."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
