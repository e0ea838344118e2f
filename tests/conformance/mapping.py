"""Reads the table of docs/conformance.md and says which mapped request a run did not make."""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .data import ALGORITHMS
from .wire import Exchange, Recorder

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conformance.md"
SUITES = {"rewritten": "OCI Conformance Test/", "1.1.1": "OCI Distribution Conformance Tests "}
ROW = re.compile(r"\| (?P<quote>`+)(?P<check>.+?)(?P=quote) \| (?P<tests>[^|]*) \| (?P<requests>[^|]*) \|")
CODE = re.compile(r"`([^`]+)`")
REQUEST = re.compile(r"(?P<shape>\S+ \S+)(?: (?P<header>[\w-]+): (?P<value>.+?))?(?: -> (?P<status>\d+))?")


@dataclass(frozen=True)
class Mapped:
    """One check name of an official suite with one of our tests and the requests it must send."""

    check: str
    test: str
    requests: tuple[str, ...]


@dataclass
class Run:
    """The record of one run: what was selected, what ran here, what failed, what was sent."""

    recorder: Recorder = field(default_factory=Recorder)
    selected: list[tuple[str, str]] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    is_partial: bool = False

    def is_full(self) -> bool:
        """Whether every test of this folder was selected; naming files or tests, -k and the like make a part."""
        files = {path.name for path in HERE.glob("test_*.py")}
        return not self.is_partial and {file for file, _ in self.selected} >= files

    def begin(self, test: str) -> None:
        """Put the requests that follow down to this test."""
        self.recorder.test = test
        self.ran.add(test)

    def sent(self) -> dict[str, list[Exchange]]:
        """The requests of each test."""
        found: dict[str, list[Exchange]] = {test: [] for test in self.ran}
        for exchange in self.recorder.exchanges:
            found.setdefault(exchange.test, []).append(exchange)
        return found


def official_checks() -> set[str]:
    """Every distinct check name of both official suites, without the suite's own name in front."""
    names: set[str] = set()
    for suite, prefix in SUITES.items():
        lines = (HERE / "official" / f"suite-{suite}.txt").read_text().splitlines()
        names |= {line.removeprefix(prefix) for line in lines if line}
    return names


def rows(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """The rows of the page's tables of checks: the first column, and the code in the second and third."""
    for found in ROW.finditer(text.split("\n### Rewritten suite", 1)[1]):
        yield found["check"], CODE.findall(found["tests"]), CODE.findall(found["requests"])


def data_sets(text: str) -> dict[str, str]:
    """The page's table of data sets: their official name and the parameter of our tests."""
    section = text.split("### Data sets", 1)[1].split("\n### ", 1)[0]
    return dict(re.findall(r"\| `([^`]+)` \| `([^`]+)` \|", section))


def mapped(text: str, checks: set[str]) -> Iterator[Mapped]:
    """Every row with its placeholders filled in; one with `<set>` by the checks that no other row covers."""
    sets, plain = data_sets(text), set()
    general = []
    for check, tests, requests in rows(text):
        if "<set>" in check:
            general.append((check, tests, requests))
            continue
        for algorithm in ALGORITHMS if "<algorithm>" in check else ALGORITHMS[:1]:
            filled = check.replace("<algorithm>", algorithm)
            plain.add(filled)
            yield from (Mapped(filled, test.replace("<algorithm>", algorithm), tuple(requests)) for test in tests)
    for (check, tests, requests), (official, ours) in itertools.product(general, sets.items()):
        filled = check.replace("<set>", official)
        if filled in checks - plain:
            yield from (Mapped(filled, test.replace("<set>", ours), tuple(requests)) for test in tests)


def is_like(exchange: Exchange, request: str, *, any_range: bool) -> bool:
    """Whether a request that was sent is of the kind that the page describes; `any_range`: in chunks of any size."""
    found = REQUEST.fullmatch(request)
    assert found, f"not a request: {request}"
    if exchange.shape != found["shape"] or found["status"] not in {None, str(exchange.status)}:
        return False
    given = exchange.header(found["header"] or "Host") or ""
    is_free = found["value"] == "*" or (any_range and found["header"] == "Content-Range")
    return found["header"] is None or (given == found["value"] or bool(given and is_free))


def gaps(run: Run, entries: list[Mapped]) -> dict[str, list[str]]:
    """The mapped requests that a test of this run did not send, by check and test; failed tests are left out."""
    sent = run.sent()
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.test not in run.ran - run.failed:
            continue
        exchanges = sent[entry.test]
        # The page has the ranges that are sent where nobody asks for larger chunks.
        any_range = any(exchange.wants_larger for exchange in exchanges)
        lacking = [
            each
            for each in entry.requests
            if not any(is_like(exchange, each, any_range=any_range) for exchange in exchanges)
        ]
        if lacking:
            found[f"{entry.check} -> {entry.test}"] = lacking
    return found
