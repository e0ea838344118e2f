"""CPU time and memory of a server's whole process tree, read from /proc."""

from __future__ import annotations

import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")
PROC = pathlib.Path("/proc")


def fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, or nothing when the process has gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    parents = {int(entry.name): fields(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()}
    found = [root]
    for pid in found:
        found += [child for child, stat in parents.items() if stat and int(stat[1]) == pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, children that have ended included."""
    return sum(sum(map(int, stat[11:15])) for stat in map(fields, tree(root)) if stat) / TICKS


def pss_mib(root: int) -> float:
    """Proportional set size of the tree: each shared page counted once."""
    return sum(map(_pss_kib, tree(root))) / 1024


def _pss_kib(pid: int) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def machine_seconds() -> float:
    """CPU seconds that everything on this machine has used since boot (idle and waiting left out)."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, (PROC / "stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / TICKS
