"""Folders in the temporary folder that servers share their numbers by, and what is left of those that were killed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from typing import Final

import pytest

from entrepot.cli.metrics_folder import PREFIX, open_metrics_folder
from tests.support.server import Server

LIMIT_SECONDS: Final = 30


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A temporary folder of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def folders(temporary: pathlib.Path) -> set[pathlib.Path]:
    """Those there are now."""
    return set(temporary.glob(f"{PREFIX}*"))


def test_a_killed_server_leaves_nothing_for_long(temporary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What it left is gone with the next start, while the folder of one that runs stays and works."""
    environment = {"TMPDIR": str(temporary)}
    with Server(tmp_path / "killed", environment=environment) as killed:
        killed.kill_group()
        [left] = folders(temporary)
    with Server(tmp_path / "running", environment=environment):
        [running] = folders(temporary)
        assert running != left
        with open_metrics_folder() as own:
            assert folders(temporary) == {running, own}
        assert folders(temporary) == {running}
    assert folders(temporary) == set()


def test_a_worker_that_is_left_keeps_the_folder(temporary: pathlib.Path) -> None:
    """The lock is held as long as any process of the server lives."""
    script = (
        "import os, sys\n"
        "from entrepot.cli.metrics_folder import open_metrics_folder\n"
        "with open_metrics_folder() as folder:\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    print(folder, flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
    )
    words, environment = [sys.executable, "-c", script], {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = pathlib.Path(process.stdout.readline().strip())
        with open_metrics_folder():
            assert left.exists()
    limit = time.monotonic() + LIMIT_SECONDS
    while left.exists():
        assert time.monotonic() < limit
        with open_metrics_folder():
            pass


def test_what_is_not_ours_stays(temporary: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Folders without a lock, such as those of former versions, and what somebody has put there in their place."""
    old = temporary / f"{PREFIX}old"
    old.mkdir()
    (old / "1.json").write_text("{}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    trap = temporary / f"{PREFIX}trap"
    trap.mkdir()
    (trap / "lock").symlink_to(elsewhere / "lock")
    (temporary / f"{PREFIX}file").touch()
    before = folders(temporary)
    with open_metrics_folder():
        pass
    assert folders(temporary) == before
    assert (elsewhere / "lock").exists()
