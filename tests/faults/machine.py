"""The machine under a server: its processes, its disks, and the command `entrepot check`."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.server import Server

LIMIT_SECONDS = 30


@dataclass(frozen=True)
class Process:
    """A living process (no zombie) of a server's session."""

    pid: int
    parent: int
    state: str
    command: str


def list_processes(server: Server) -> list[Process]:
    """Every living process of the session that the server leads."""
    assert server.process is not None
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == server.process.pid and (state != "Z" or _has_threads(entry)):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append(Process(int(entry.name), int(parent), state, command))
    return found


def _has_threads(process: pathlib.Path) -> bool:
    # A killed process is a zombie as soon as its first thread is; its sockets are closed by its last.
    return any(
        (task / "stat").read_text().rpartition(")")[2].split()[0] != "Z" for task in (process / "task").iterdir()
    )


def find_worker(server: Server, *, is_job: bool) -> Process:
    """The job process or an HTTP worker of a server, as soon as there is one."""
    assert server.process is not None
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        for process in list_processes(server):
            if process.parent == server.process.pid and (" worker " in process.command) == is_job:
                return process
        time.sleep(0.02)
    raise AssertionError(f"no such process: {list_processes(server)}")


def require_no_process(server: Server) -> None:
    """Wait until the kernel has taken every process of the server away, and its port is free."""
    limit = time.monotonic() + LIMIT_SECONDS
    while list_processes(server):
        assert time.monotonic() < limit, list_processes(server)
        time.sleep(0.02)
    with socket.socket() as probe:
        # Connections of clients may linger in TIME_WAIT; only a listener is in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def end(server: Server) -> None:
    """Kill every process of a server that was started, and wait until none is left."""
    if server.process is not None:
        server.kill_group()
        require_no_process(server)


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Every process of a server stands still: SIGSTOP, once all are out of the kernel, then SIGCONT."""
    assert server.process is not None
    os.killpg(server.process.pid, signal.SIGSTOP)
    try:
        limit = time.monotonic() + LIMIT_SECONDS
        while any(state != "T" for state in _thread_states(server)):
            assert time.monotonic() < limit, "the server did not stop"
            time.sleep(0.002)
        yield
    finally:
        os.killpg(server.process.pid, signal.SIGCONT)


def _thread_states(server: Server) -> list[str]:
    states = []
    for process in list_processes(server):
        tasks = pathlib.Path(f"/proc/{process.pid}/task").glob("*/stat")
        states += [stat.read_text().rpartition(")")[2].split()[0] for stat in tasks]
    return states


@dataclass(frozen=True)
class Checked:
    """How `entrepot check` ended and what it printed."""

    code: int
    report: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        """The kinds of what was found, in order."""
        return [finding["kind"] for finding in self.report["findings"]]


def check(server: Server, *, deep: bool = False) -> Checked:
    """Run `entrepot check` over the data of a server, running or not."""
    words = ["check", "--data", str(server.data), "--json", *(["--deep"] if deep else [])]
    environment = {**os.environ, **server.environment}
    done = subprocess.run(
        server.command(*words), check=False, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("{"), done
    return Checked(done.returncode, json.loads(done.stdout))


def require_tool(name: str, package: str) -> str:
    """The path of a program; without it the test skips and says how to get it."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is missing: apt-get install {package}")
    return path


def run(*command: str) -> str:
    """Run a program to its end; what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


@contextlib.contextmanager
def mounted(folder: pathlib.Path, *options: str) -> Iterator[pathlib.Path]:
    """`mount OPTIONS folder`, unmounted afterwards whatever happened."""
    folder.mkdir(exist_ok=True)
    run(require_tool("mount", "mount"), *options, str(folder))
    try:
        yield folder
    finally:
        run("umount", str(folder))


@contextlib.contextmanager
def open_place() -> Iterator[pathlib.Path]:
    """A folder for mounts that PostgreSQL's account gets to, unlike the folders of the tests."""
    with tempfile.TemporaryDirectory(prefix="entrepot-disk-") as home:
        pathlib.Path(home).chmod(0o755)
        yield pathlib.Path(home)


def small_disk(folder: pathlib.Path, size: str) -> contextlib.AbstractContextManager[pathlib.Path]:
    """A tmpfs with room for `size`."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@contextlib.contextmanager
def loop_disk(image: pathlib.Path, folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """An ext4 image on a loop device whose journal is committed by fsync or after ten minutes, no sooner."""
    device = run(require_tool("losetup", "mount"), "--find", "--show", str(image)).strip()
    try:
        with mounted(folder, "-t", "ext4", "-o", "commit=600", device):
            yield folder
    finally:
        run("losetup", "--detach", device)


def make_image(path: pathlib.Path, size: int) -> None:
    """A new ext4 file system in a sparse file."""
    with path.open("wb") as file:
        file.truncate(size)
    run(require_tool("mkfs.ext4", "e2fsprogs"), "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(path))


SHIM = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_below(int descriptor, const char *part) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

/* FAULT_NO_SYNC=PART: syncing a file whose path has PART in it does nothing, nor does advice that begins to write it.
   FAULT_SYNC_FAILS=FILE: while FILE exists, syncing anything below blobs fails. */
static int sync_as(long number, int descriptor) {
    const char *part = getenv("FAULT_NO_SYNC"), *flag = getenv("FAULT_SYNC_FAILS");
    if (part && is_below(descriptor, part)) return 0;
    if (flag && access(flag, F_OK) == 0 && is_below(descriptor, "/blobs/")) {
        errno = EIO;
        return -1;
    }
    return syscall(number, descriptor);
}
int fsync(int descriptor) { return sync_as(SYS_fsync, descriptor); }
int fdatasync(int descriptor) { return sync_as(SYS_fdatasync, descriptor); }

static int advise(int descriptor, long offset, long length, int advice) {
    const char *part = getenv("FAULT_NO_SYNC");
    if (part && is_below(descriptor, part)) return 0;
    return syscall(SYS_fadvise64, descriptor, offset, length, advice);
}
int posix_fadvise(int descriptor, long offset, long length, int advice) {
    return advise(descriptor, offset, length, advice);
}
int posix_fadvise64(int descriptor, long offset, long length, int advice) {
    return advise(descriptor, offset, length, advice);
}
"""


def build_shim(folder: pathlib.Path) -> pathlib.Path:
    """A library that, loaded before the C library, makes syncing a lie or a failure."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    run(require_tool("gcc", "gcc libc6-dev"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source))
    return library
