"""`python -m bench`: run the rows, print the table, keep the JSON."""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import traceback

from bench import report
from bench.context import Bench
from bench.load import missing_tools
from bench.measure import Line, Quiet, say
from bench.rows import Row, discover

QUICK_ROUNDS, FULL_ROUNDS = 2, 5
QUICK_SECONDS, FULL_SECONDS = 0.7, 2.0
NEEDED_FILES = 8192


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", help="only these rows, separated by commas")
    parser.add_argument("--rounds", type=int, help=f"rounds of each measurement (default {FULL_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="short rounds and less data, under three minutes")
    parser.add_argument("--json", type=pathlib.Path, help="where to write every sample")
    parser.add_argument("--folder", type=pathlib.Path, help="where the servers keep their data while it runs")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait, in all, for a quiet machine")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_args()


def chosen(rows: list[Row], names: str | None) -> list[Row]:
    """The rows that were asked for; a name that does not exist ends the run."""
    if names is None:
        return rows
    wanted = names.split(",")
    if unknown := set(wanted) - {row.name for row in rows}:
        sys.exit(f"no such row: {', '.join(sorted(unknown))}; --list names them")
    return [row for row in rows if row.name in wanted]


def run(bench: Bench, rows: list[Row]) -> tuple[list[Line], list[str]]:
    """Every line of these rows, and what could not be measured."""
    lines: list[Line] = []
    failures: list[str] = []
    for row in rows:
        began = time.monotonic()
        try:
            for line in row.run(bench):
                lines.append(line)
                say(f"  {line.row}: {line.what}: {' | '.join(report.cells(line)[2:8])}")
        except Exception as reason:  # noqa: BLE001 - one row that cannot be measured must not take the others with it
            failures.append(f"{row.name}: {type(reason).__name__}: {reason}")
            say(traceback.format_exc())
        say(f"{row.name}: {time.monotonic() - began:.1f} s")
    return lines, failures


def main() -> int:
    """Run; 1 when something could not be measured, whatever the numbers say."""
    options = arguments()
    rows = chosen(discover(), options.rows)
    if options.list:
        print("\n".join(f"{row.name:16}{row.what}" for row in rows))
        return 0
    if missing := missing_tools():
        sys.exit("\n".join(missing))
    raise_file_limit()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="entrepot-bench-", dir=options.folder))
    folder.chmod(0o755)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    seconds = QUICK_SECONDS if options.quick else FULL_SECONDS
    facts = {**report.machine(folder), "rounds": rounds, "seconds": seconds, "quick": options.quick}
    try:
        with Bench(folder, rounds, seconds, is_quick=options.quick) as bench:
            bench.quiet = Quiet(options.patience)
            lines, failures = run(bench, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(report.table(lines))
    print(*(f"\nNOT MEASURED {failure}" for failure in failures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(report.document(lines, failures, facts))
    return 1 if failures else 0


def raise_file_limit() -> None:
    """A thousand clients and their servers need more open files than a shell usually gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < NEEDED_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(NEEDED_FILES, hard), hard))


if __name__ == "__main__":
    sys.exit(main())
