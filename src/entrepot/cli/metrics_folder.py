"""The folder by which the processes of one server see each other's numbers, and what killed servers left of theirs."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

PREFIX: Final = "entrepot-metrics-"
LOCK: Final = "lock"


@contextmanager
def open_metrics_folder() -> Iterator[pathlib.Path]:
    """A new folder, gone at the end; those of servers of this user that were killed are removed first."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Somebody else may clear at the same time, and whatever cannot be read is not for us to judge.
        with suppress(OSError):
            _remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = pathlib.Path(name)
        # Workers inherit the lock: the last process of this server that ends gives it up. The file has it before it
        # has its name, so that nobody finds it without.
        fresh = folder / f"{LOCK}.new"
        with fresh.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fresh.rename(folder / LOCK)
            yield folder


def _remove_abandoned(folder: pathlib.Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
