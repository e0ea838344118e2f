"""What tests of the command line ask for: a running server, and somebody with an empty home who calls commands."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.cli.caller import Caller
from tests.support.server import ADMIN_PASSWORD, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; they keep out of each other's way by names."""
    with Server(tmp_path_factory.mktemp("cli") / "data") as server:
        yield server


@pytest.fixture
def nobody(tmp_path: pathlib.Path) -> Caller:
    """Somebody who has not logged in anywhere."""
    return Caller(tmp_path)


@pytest.fixture
def admin(nobody: Caller, server: Server) -> Caller:
    """The administrator, logged in."""
    nobody.run("login", server.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    return nobody
