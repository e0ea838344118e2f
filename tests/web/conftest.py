"""What tests of the pages ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.world import World
from tests.web.signing import Signing


@pytest.fixture
def world() -> Iterator[World]:
    """A registry of its own."""
    with World() as world:
        yield world


@pytest.fixture
def signing() -> Iterator[Signing]:
    """A registry that knows a provider."""
    signing = Signing()
    yield signing
    signing.close()
