"""The promises of docs/conformance.md, held against what this run has sent."""

from __future__ import annotations

import ast

import pytest

from . import spec
from .mapping import HERE, PAGE, Run, gaps, mapped, official_checks

NO_REQUEST = {"html custom reporter"}
CHECKS = official_checks()
ENTRIES = list(mapped(PAGE.read_text(), CHECKS))


def test_every_official_check_is_mapped() -> None:
    """Every distinct check name of both official suites is in a row of the page."""
    assert CHECKS - {entry.check for entry in ENTRIES} == NO_REQUEST


def test_mapped_tests_exist(run: Run) -> None:
    """In a full run, every test that the table names was selected."""
    if not run.is_full():
        pytest.skip("only a part of the suite was selected: run pytest tests/conformance")
    known = {f"{file}::{name}" for file, name in run.selected}
    assert {entry.test for entry in ENTRIES} - known == set()


def test_mapped_requests_were_sent(run: Run) -> None:
    """Every mapped test of this run sent the requests that its row names."""
    assert gaps(run, ENTRIES) == {}


def test_every_row_names_requests() -> None:
    """No row is empty of requests: a check that is mapped to nothing would always pass."""
    assert [entry for entry in ENTRIES if not entry.requests] == []


def test_every_sentence_is_cited() -> None:
    """Every sentence that spec.py holds is cited by an assertion of this suite."""
    cited = set()
    for path in HERE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "spec":
                cited.add(node.attr)
    sentences = {name for name, value in vars(spec).items() if name.isupper() and isinstance(value, str)}
    assert sentences - cited == set()
