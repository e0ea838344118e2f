"""What tests of the API ask for: a populated registry behind `/api/v1`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.door import Door
from tests.support.world import World


@pytest.fixture
def door() -> Iterator[Door]:
    """A registry of its own, with the users, namespaces and content that `Door` tells of."""
    with World() as world:
        yield Door(world)


@pytest.fixture(scope="module")
def shared() -> Iterator[Door]:
    """The same for all tests of a file that only read."""
    with World() as world:
        yield Door(world)
