"""Whether this host may serve from this folder and on this port, and who stands in the way."""

from __future__ import annotations

import errno
import os
import pathlib
import resource
import socket
import time
from typing import Final

import msgspec

from entrepot.domain.json import render_json
from entrepot.settings_sense import SettingsError

REMOTE_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "afs"})
LEASE_FILE: Final = "lease.json"
LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 15
LISTENING: Final = "0A"
BACKLOG: Final = 4096
OTHER_FILES: Final = 256
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
        self._renew_at = 0.0

    def acquire(self) -> None:
        """Take the lease, to be renewed from then on. Raises SettingsError, naming the holder."""
        holder = self._read()
        if holder is not None and holder.boot != self._boot and time.time() - holder.at < LEASE_SECONDS:
            raise SettingsError(
                f"data: host {holder.host} (process {holder.pid}) serves from {self._path.parent}; one host at a time. "
                f"If it is gone for good, wait {LEASE_SECONDS} seconds or remove {self._path}"
            )
        self.renew()

    def release(self) -> None:
        """Let another host have the folder at once."""
        holder = self._read()
        if holder is not None and holder.pid == os.getpid() and holder.boot == self._boot:
            self._path.unlink(missing_ok=True)

    def renew(self) -> float:
        """Write the lease again if it is time to; in how many seconds to come back."""
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_SECONDS
            self._write()
        return self._renew_at - now

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


def open_listener(host: str, port: int, key: str = "server.listen") -> socket.socket:
    """A socket that listens there, for workers to inherit. Raises SettingsError, naming the key and who has the port.

    Without SO_REUSEPORT, which would share a port with a stranger.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # `[::]` is all addresses, IPv4's too.
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"{key}: port {port} on {host} is in use{_by_whom(port)}") from None
        raise SettingsError(f"{key}: cannot listen on {host}:{port}: {error.strerror}") from None
    listener.settimeout(0)
    return listener


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


def raise_open_files(connections: int) -> None:
    """Have room for this many connections with two files each, as far as the system allows (`ulimit -n`)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + OTHER_FILES
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
