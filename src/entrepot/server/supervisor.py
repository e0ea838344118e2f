"""The parent: starts the other processes, starts them again when they die, ends them. No threads, so it may fork."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

# The exit code of a process that found out that it cannot work, and has said why.
FAILED_TO_START: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass
class Child:
    """One process that is to run. `spawn` starts it; an exit with `fatal` before any has run steadily ends everything.

    `reloads` says that it understands SIGHUP.
    """

    name: str
    spawn: Callable[[], int]
    fatal: int | None = None
    reloads: bool = False
    pid: int = 0
    started_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    due_at: float = 0.0


def fork(work: Callable[[], int]) -> int:
    """Run `work` in a child process, which ends with the code that it returns; the child's id."""
    sys.stdout.flush()
    sys.stderr.flush()
    # What comes before the child has put its own handlers in place waits: the parent's would swallow it there.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return pid
    code = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C and a closed terminal reach the whole group: the parent alone decides what they mean. And who has no
        # files to read again must not end of being asked to.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = work()
    except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's code
        structlog.get_logger().exception("process failed", error=str(error))
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class Chores:
    """What the parent does besides.

    `tick` as often as it says (seconds), `stop` before children are told to end, `reload` before they are told to read
    their files again.
    """

    tick: Callable[[], float]
    stop: Callable[[], None]
    reload: Callable[[], None]


class Supervisor:
    """Keeps children alive until a signal or a failed start; `kill_seconds` after SIGTERM it kills."""

    def __init__(self, children: Sequence[Child], chores: Chores, kill_seconds: float) -> None:
        self._children = children
        self._chores = chores
        self._kill_seconds = kill_seconds
        self._log = structlog.get_logger()
        self._is_steady = False

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT (exit code 0) or a start that failed (1)."""
        reading, writing = socket.socketpair()
        with reading, writing:
            writing.settimeout(0)
            for number in SIGNALS:
                signal.signal(number, _note)
            signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
            code = self._watch(reading)
            self._chores.stop()
            self._end()
            signal.set_wakeup_fd(-1)
        return code

    def _watch(self, signals: socket.socket) -> int:
        while True:
            self._start_due()
            patience = min(self._chores.tick(), self._patience())
            heard = signals.recv(64) if select.select([signals], [], [], patience)[0] else b""
            if signal.SIGTERM in heard or signal.SIGINT in heard:
                return 0
            if signal.SIGHUP in heard:
                self._chores.reload()
                self._tell(signal.SIGHUP, [child for child in self._children if child.reloads])
            if not self._bury():
                return 1

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due_at <= now:
                child.pid = child.spawn()
                child.started_at = time.monotonic()

    def _patience(self) -> float:
        due = [child.due_at for child in self._children if not child.pid]
        return max(0.0, min(due) - time.monotonic()) if due else math.inf

    def _bury(self) -> bool:
        """Note who has died; False when there is no use in starting again."""
        for child, status in self._dead():
            code = os.waitstatus_to_exitcode(status)
            now = time.monotonic()
            # Where all is slow, finding out that one cannot work takes as long as it takes.
            is_steady = code != child.fatal and now - child.started_at > STEADY_SECONDS
            self._is_steady = self._is_steady or is_steady
            if code == child.fatal and not self._is_steady:
                return False
            child.pause_seconds = FIRST_PAUSE_SECONDS if is_steady else child.pause_seconds * 2
            child.due_at = now + min(child.pause_seconds, LONGEST_PAUSE_SECONDS)
            self._log.error(f"{child.name} ended; starting another", code=code)
        return True

    def _dead(self) -> list[tuple[Child, int]]:
        dead = []
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    child.pid = 0
                    dead.append((child, status))
        return dead

    def _tell(self, number: signal.Signals, children: Sequence[Child]) -> None:
        for child in children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    def _end(self) -> None:
        self._tell(signal.SIGTERM, self._children)
        limit = time.monotonic() + self._kill_seconds
        while any(child.pid for child in self._children):
            self._dead()
            if time.monotonic() > limit:
                self._tell(signal.SIGKILL, self._children)
                limit = math.inf
            time.sleep(0.01)


def _note(*_: object) -> None:
    """The number arrives by the wake-up descriptor; a handler must be there for that."""
