"""The table for people and the JSON for trend."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence

from bench.measure import Line, Sample, median

COLUMNS = (
    "row",
    "what",
    "ours",
    "theirs",
    "ratio",
    "budget",
    "holds",
    "cpu ms/op",
    "p99 ms",
    "PSS MiB",
    "noise",
    "client",
    "others",
)


def table(lines: Sequence[Line]) -> str:
    """All lines in aligned columns; pairs are ours:theirs."""
    rows = [COLUMNS, *(cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    text.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"  {line.row}, {line.what}: {line.note}" for line in lines if line.note]
    return "\n".join([*text, *(["", "Notes:"] if notes else []), *notes])


def cells(line: Line) -> tuple[str, ...]:
    """One line as text."""
    against = "" if line.their_value is None or line.against == "distribution" else f" ({line.against})"
    return (
        line.row,
        line.what,
        number(line.our_value) + line.unit,
        "-" if line.their_value is None else number(line.their_value) + line.unit + against,
        "-" if line.ratio is None else f"{line.ratio:.2f}",
        line.budget,
        verdict(line),
        pair(line, "cpu_per_1000", 1),
        pair(line, "p99", 1000),
        pair(line, "pss", 1),
        f"{line.spread:.0%}" if len(line.ours) > 1 else "-",
        f"{median(line.ours, 'client_cores'):.2f}" if line.ours else "-",
        f"{max(median([*line.ours, *line.theirs], 'other_cores'), 0):.2f}" if line.ours else "-",
    )


def verdict(line: Line) -> str:
    """`ok`, `NOT` with what fails, or nothing where there is no budget."""
    if not line.verdicts:
        return ""
    return "ok" if line.holds else "NOT: " + ", ".join(name for name, holds in line.verdicts if not holds)


def pair(line: Line, what: str, scale: float) -> str:
    """One number of both sides."""
    sides = [number(median(side, what) * scale) for side in (line.ours, line.theirs) if side]
    return ":".join(sides) or "-"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def document(lines: Sequence[Line], failures: Sequence[str], machine: dict[str, object]) -> str:
    """Everything as JSON: medians, verdicts and every sample of every round."""
    return json.dumps(
        {"schema": 1, "machine": machine, "failures": list(failures), "lines": [_entry(line) for line in lines]},
        indent=1,
    )


def _entry(line: Line) -> dict[str, object]:
    return {
        "row": line.row,
        "what": line.what,
        "budget": line.budget,
        "unit": line.unit,
        "ours": line.our_value,
        "theirs": line.their_value,
        "against": line.against if line.their_value is not None else None,
        "ratio": line.ratio,
        "holds": line.holds if line.verdicts else None,
        "verdicts": [{"what": name, "holds": holds} for name, holds in line.verdicts],
        "noise": line.spread,
        "note": line.note,
        "rounds": {"ours": _samples(line.ours), "theirs": _samples(line.theirs)},
    }


def _samples(samples: Sequence[Sample]) -> list[dict[str, object]]:
    return [dataclasses.asdict(sample) for sample in samples]


def machine(folder: pathlib.Path) -> dict[str, object]:
    """What a reader needs to know about where and when this ran."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "file system": subprocess.run(
            ["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "fsync ms": round(fsync_seconds(folder) * 1000, 3),
        "load before": os.getloadavg()[0],
        "commit": subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        ).stdout.strip(),
    }


def fsync_seconds(folder: pathlib.Path) -> float:
    """The median time of one small durable write here: near nothing means that nothing is durable."""
    found = []
    descriptor = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY, 0o600)
    for _ in range(20):
        began = time.monotonic()
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        found.append(time.monotonic() - began)
    os.close(descriptor)
    return statistics.median(found)
