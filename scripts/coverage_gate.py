"""Fail when branch coverage is below what the layer owes: python scripts/coverage_gate.py COVERAGE_JSON."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

WHOLE = ("domain", "core", "wire")
ELSEWHERE_PERCENT = 90.0
PACKAGE = "src/entrepot/"


def percent(summaries: list[dict[str, int]]) -> float:
    """Statements and branches that ran, of those there are."""
    there = sum(summary["num_statements"] + summary["num_branches"] for summary in summaries)
    ran = sum(summary["covered_lines"] + summary["covered_branches"] for summary in summaries)
    return 100.0 * ran / there if there else 100.0


def failures(files: dict[str, Any]) -> Iterator[str]:
    """A line for every file, or for everything else together, that falls short."""
    elsewhere: list[dict[str, int]] = []
    for path, measured in sorted(files.items()):
        layer = path.removeprefix(PACKAGE).partition("/")[0]
        if layer not in WHOLE:
            elsewhere.append(measured["summary"])
        elif measured["missing_lines"] or measured["missing_branches"]:
            arrows = ", ".join(f"{a}->{b if b > 0 else 'exit'}" for a, b in measured["missing_branches"])
            yield f"{path}: lines {measured['missing_lines']} branches [{arrows}] never ran; {layer}/ owes 100 %"
    found = percent(elsewhere)
    if found < ELSEWHERE_PERCENT:
        yield f"outside {', '.join(WHOLE)}: {found:.1f} % of {ELSEWHERE_PERCENT:.0f} %"
        for path, measured in sorted(files.items(), key=lambda item: percent([item[1]["summary"]])):
            if percent([measured["summary"]]) < ELSEWHERE_PERCENT:
                yield f"  {path}: {percent([measured['summary']]):.1f} %"


def main() -> int:
    """Judge one report."""
    files = json.loads(pathlib.Path(sys.argv[1]).read_text())["files"]
    lines = list(failures(files))
    for line in lines:
        print(line, file=sys.stderr)
    whole = percent([measured["summary"] for measured in files.values()])
    print(f"coverage gate: {whole:.1f} % of statements and branches; {'FAILED' if lines else 'passed'}")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
