"""Whether this host may serve from this folder and on this port, and who stands in the way."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import threading
import time
from typing import Final

import msgspec

from entrepot.domain.json import render_json
from entrepot.settings import SettingsError

REMOTE_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "afs"})
LEASE_FILE: Final = "lease.json"
LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 15
LISTENING: Final = "0A"
BOOT_ID: Final = pathlib.Path("/proc/sys/kernel/random/boot_id")


class LeaseHolder(msgspec.Struct, frozen=True):
    """Who serves from a data folder: `boot` tells kernels apart, `at` is seconds since 1970."""

    host: str
    boot: str
    pid: int
    at: float


class Lease:
    """Keeps a second host from serving the same folder: SQLite's locks hold between processes of one kernel only."""

    def __init__(self, data: pathlib.Path) -> None:
        self._path = data / LEASE_FILE
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()
        self._done = threading.Event()

    def acquire(self) -> None:
        """Take the lease and go on renewing it. Raises SettingsError, naming the holder."""
        holder = self._read()
        if holder is not None and holder.boot != self._boot and time.time() - holder.at < LEASE_SECONDS:
            raise SettingsError(
                f"data: host {holder.host} (process {holder.pid}) serves from {self._path.parent}; one host at a time. "
                f"If it is gone for good, wait {LEASE_SECONDS} seconds or remove {self._path}"
            )
        self._write()
        threading.Thread(target=self._renew, name="lease", daemon=True).start()

    def release(self) -> None:
        """Let another host have the folder at once."""
        self._done.set()
        holder = self._read()
        if holder is not None and holder.pid == os.getpid() and holder.boot == self._boot:
            self._path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            self._write()

    def _read(self) -> LeaseHolder | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=LeaseHolder)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _write(self) -> None:
        fresh = self._path.with_suffix(f".{os.getpid()}")
        try:
            fresh.write_bytes(render_json(LeaseHolder(socket.gethostname(), self._boot, os.getpid(), time.time())))
            fresh.replace(self._path)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            # A full disk must not keep the server from serving pulls; the lease is renewed when there is room.
            fresh.unlink(missing_ok=True)


def require_local_folder(data: pathlib.Path) -> None:
    """Refuse a data folder on a network file system, where locks and fsync do not hold. Raises SettingsError."""
    kind = file_system_of(data, pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    if kind in REMOTE_FILE_SYSTEMS:
        raise SettingsError(
            f"data: {data} is on {kind}; SQLite and durable writes need a local disk. "
            "Use a local folder, or PostgreSQL and an object store"
        )


def file_system_of(path: pathlib.Path, mountinfo: str) -> str:
    """The type of the file system that holds a path (proc(5), mountinfo)."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that somebody listens on: SO_REUSEPORT would share it with a stranger. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # Connections of a former server may linger in TIME_WAIT; only a listener is in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(f"server.listen: port {port} on {host} is in use{_by_whom(port)}") from None
            raise SettingsError(f"server.listen: cannot listen on {host}:{port}: {error.strerror}") from None


def _by_whom(port: int) -> str:
    inodes = _listening_inodes(port)
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, inodes):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            return f" by process {process.name}: {command[:200]}"
    return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == LISTENING:
                inodes.add(fields[9])
    return inodes


def _holds(process: pathlib.Path, inodes: set[str]) -> bool:
    try:
        return any(
            os.readlink(link) in {f"socket:[{inode}]" for inode in inodes} for link in (process / "fd").iterdir()
        )
    except OSError:
        return False
