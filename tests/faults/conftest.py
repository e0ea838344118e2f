"""Rounds, servers and root for the fault tests."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.faults.machine import end
from tests.support.server import Server

SECONDS_PER_ROUND = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fault-rounds N`: how many times each random fault is tried."""
    parser.addoption("--fault-rounds", type=int, default=1, help="how often each random fault is tried (CI: 1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """More rounds may take more time; what needs root skips loudly without it."""
    rounds = config.getoption("--fault-rounds", default=1)
    folder = pathlib.Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS_PER_ROUND * rounds))
            if item.get_closest_marker("root") and os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root for mounts: sudo make faults"))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a random fault is tried."""
    number: int = request.config.getoption("--fault-rounds", default=1)
    return number


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server on an empty folder; whatever the test did to it, none of its processes outlives the test."""
    made = Server(tmp_path / "data")
    made.start()
    yield made
    end(made)
