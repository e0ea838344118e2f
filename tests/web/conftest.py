"""What tests of the pages ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A registry of its own."""
    with World() as world:
        yield world
