"""The rows of "Budgets", one file per group, in the order of the table."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator

from bench.context import Bench
from bench.measure import Line

GROUPS = (
    "manifests",
    "pulls",
    "tokens",
    "hidden",
    "directory",
    "audit",
    "blobs",
    "crowds",
    "pushes",
    "scale",
    "footprint",
    "workers",
    "cluster",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: its name, what it measures, and how."""

    name: str
    what: str
    run: Callable[[Bench], Iterator[Line]]


def discover() -> list[Row]:
    """Every row of every group."""
    return [row for group in GROUPS for row in importlib.import_module(f"bench.rows.{group}").ROWS]
