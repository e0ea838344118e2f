"""How far a job is, in a few words."""

from __future__ import annotations

from typing import Any

from rich.filesize import decimal

from entrepot.cli.output import clean


def told(progress: dict[str, Any] | None) -> str:
    """Progress as the API gives it; "-" for none."""
    if progress is None:
        return "-"
    total = f" of {progress['total']}" if progress["total"] else ""
    left = "" if progress["seconds_left"] is None else f", {progress['seconds_left']} s left"
    counts = [
        f", {decimal(number)} freed" if name == "freed_bytes" else f", {number} {clean(name)}"
        for name, number in progress["counts"].items()
    ]
    return f"{progress['done']}{total}{''.join(counts)}{left}"
