"""Runs clients (our own or wrk) in processes of their own and says what they saw."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pathlib
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection as Pipe

from bench.client import Engine, Lane, Tally

WRK_SCRIPT = pathlib.Path(__file__).with_name("wrk.lua")
FORK = multiprocessing.get_context("fork")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one load saw: operations, seconds, the spread of their times, and the client's own cost."""

    count: int
    seconds: float
    p50: float
    p99: float
    slowest: float
    errors: int = 0
    message: str = ""
    client_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.count / self.seconds if self.seconds else 0.0


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of the ordered ones does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def summary(tally: Tally, client_cpu: float) -> Outcome:
    """A tally in the numbers that the report needs."""
    ordered = sorted(tally.latencies)
    return Outcome(
        count=len(ordered),
        seconds=tally.ended - tally.began,
        p50=percentile(ordered, 0.5),
        p99=percentile(ordered, 0.99),
        slowest=ordered[-1] if ordered else 0.0,
        errors=tally.errors,
        message=tally.message,
        client_cpu=client_cpu,
    )


Lanes = Callable[[Engine, Tally], Iterable[Lane]]


def _child(lanes: Lanes, pipe: Pipe) -> None:
    engine = Engine()
    tally = Tally()
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        engine.run(lanes(engine, tally))
    except Exception as reason:  # noqa: BLE001 - whatever ends the client must reach the report, not a lost child
        tally.fail(reason)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pipe.send(summary(tally, used))
    pipe.close()


class Running:
    """A client process at work."""

    def __init__(self, lanes: Lanes) -> None:
        self.pipe, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=_child, args=(lanes, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def outcome(self) -> Outcome:
        """Wait for the end of it."""
        found: Outcome = self.pipe.recv()
        self.process.join()
        return found

    def is_running(self) -> bool:
        """Whether it still works."""
        return not self.pipe.poll()


def drive(lanes: Lanes) -> Outcome:
    """Run these clients in one process and wait."""
    return Running(lanes).outcome()


@dataclasses.dataclass(frozen=True)
class Wrk:
    """One GET load of wrk: keep-alive unless `close`."""

    url: str
    authorization: str
    seconds: float
    connections: int = 32
    accept: str = "*/*"
    close: bool = False


def wrk(load: Wrk) -> Outcome:
    """Run wrk once."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "20s"]
    command += ["-H", f"Authorization: {load.authorization}", "-H", f"Accept: {load.accept}"]
    command += ["-H", "Connection: close"] if load.close else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, "-s", str(WRK_SCRIPT), load.url], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = next((text for text in done.stdout.splitlines() if text.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    count, microseconds, socket_errors, bad, p50, p99, slowest = map(float, line.split()[1:])
    return Outcome(
        count=int(count - bad),
        seconds=microseconds / 1e6,
        p50=p50 / 1e6,
        p99=p99 / 1e6,
        slowest=slowest / 1e6,
        errors=int(socket_errors + bad),
        message="wrk counted socket errors or bad statuses" if socket_errors + bad else "",
        client_cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def missing_tools() -> list[str]:
    """A loud line for each program the benchmark cannot do without."""
    needs = {"wrk": "wrk", "docker-registry": "docker-registry", "nginx": "nginx", "pg_ctlcluster": "postgresql"}
    return [
        f"{program} is missing: apt-get install {package}"
        for program, package in needs.items()
        if shutil.which(program, path="/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin") is None
    ]
