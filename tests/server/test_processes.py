"""A parent with workers: what is started, started again, reloaded and ended."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from entrepot.cli.certificates import prepare_certificates
from tests.server.conftest import LIMIT_SECONDS, Wire

ROOT = pathlib.Path(__file__).parents[2]


class Tiny:
    """One run of `tests.server.tiny`."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "tests.server.tiny", *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(self.lines.get(timeout=LIMIT_SECONDS))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def wait_for(self, text: str) -> None:
        """Wait for a line that holds this."""
        while True:
            line = self.lines.get(timeout=LIMIT_SECONDS)
            self.seen.append(line)
            if text in line:
                return

    def ask(self, context: ssl.SSLContext | None = None) -> int:
        """The process that answers a request."""
        wire = Wire(self.port, context)
        try:
            return int(wire.ask("GET", "/").body)
        finally:
            wire.close()

    def require_both(self, context: ssl.SSLContext | None = None) -> set[int]:
        """Wait until each of the two workers has answered; who they are."""
        seen: set[int] = set()
        limit = time.monotonic() + LIMIT_SECONDS
        while len(seen) < 2:
            seen.add(self.ask(context))
            assert time.monotonic() < limit, "one of the workers answers nothing"
        return seen

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(LIMIT_SECONDS)
        self._reader.join()
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        return code

    def close(self) -> None:
        """Make an end of it, whatever the test did."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Tiny]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start one, which ends with the test."""
    started: list[Tiny] = []

    def run(*words: str) -> Tiny:
        started.append(Tiny(*words))
        return started[-1]

    yield run
    for tiny in started:
        tiny.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(start: Start, number: int) -> None:
    """SIGTERM and Ctrl-C: workers finish, the application stops, exit 0, and nobody is left."""
    tiny = start("well")
    tiny.require_both()
    assert tiny.end(number) == 0
    assert tiny.seen.count("worker stopped") == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(tiny.process.pid, 0)


def test_workers_are_started_again(start: Start) -> None:
    """However often they are killed, somebody answers on the same port."""
    tiny = start("well")
    for _ in range(3):
        pid = tiny.ask()
        os.kill(pid, signal.SIGKILL)
        tiny.wait_for("worker ended; starting another")
        assert tiny.ask() != pid
    assert tiny.end() == 0


NEWBORN = """
import os, signal, time
from entrepot.server.supervisor import SIGNALS, _note, fork
for number in SIGNALS:
    signal.signal(number, _note)
for _ in range(100):
    pid = fork(lambda: time.sleep(1) or 0)
    os.kill(pid, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_process_that_has_just_been_started_hears_that_it_is_to_end() -> None:
    """However early SIGTERM comes: the parent's handlers, which only note it, swallow nothing in the child."""
    done = subprocess.run([sys.executable, "-c", NEWBORN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGTERM)] * 100


@pytest.mark.parametrize("kind", ["dying", "failing"])
def test_a_helper_that_dies_is_started_more_and_more_slowly(start: Start, kind: str) -> None:
    """It does not take the others with it."""
    tiny = start(kind)
    for _ in range(3):
        tiny.wait_for("helper started")
    tiny.ask()
    assert tiny.end() == 0


@pytest.mark.parametrize(
    ("kind", "reason"), [("broken", "there is no database"), ("slow", "there is no database"), ("crashing", "")]
)
def test_what_cannot_start_ends(start: Start, kind: str, reason: str) -> None:
    """An application that does not start is not started for ever, on slow machines neither: exit 1, with its reason."""
    tiny = start(kind)
    assert tiny.wait() == 1
    assert reason in "\n".join(tiny.seen)


def test_the_deaf_are_killed(start: Start) -> None:
    """Who does not end by itself ends all the same."""
    tiny = start("deaf")
    tiny.wait_for("helper started")
    assert tiny.end() == 0
    assert "stopping" in tiny.seen


def test_a_reload_hurts_nobody(start: Start) -> None:
    """SIGHUP where there is no certificate to read again ends no worker, however often it comes."""
    tiny = start("well")
    before = tiny.require_both()
    for _ in range(3):
        tiny.process.send_signal(signal.SIGHUP)
        tiny.wait_for("reloading")
    assert tiny.require_both() == before
    assert tiny.end() == 0
    assert not [line for line in tiny.seen if "starting another" in line]


def names_of(tiny: Tiny, ca: pathlib.Path) -> list[str]:
    """The names in the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=ca)
    wire = Wire(tiny.port, context)
    try:
        assert wire.ask("GET", "/").status == 200
        shown = wire.socket.getpeercert()  # type: ignore[attr-defined]
        return [value for kind, value in shown["subjectAltName"] if kind == "DNS"]
    finally:
        wire.close()


def test_certificates_are_read_again(start: Start, tmp_path: pathlib.Path) -> None:
    """After SIGHUP new connections see the new certificate; one that cannot be read leaves the one before."""
    files = prepare_certificates(tmp_path, ["localhost"])
    tiny = start("well", str(files.certificate), str(files.key))
    tiny.require_both(ssl.create_default_context(cafile=files.ca))
    assert "new.example" not in names_of(tiny, files.ca)
    prepare_certificates(tmp_path, ["localhost", "new.example"])
    tiny.process.send_signal(signal.SIGHUP)
    tiny.wait_for("reloading")
    for _ in range(200):
        if "new.example" in names_of(tiny, files.ca):
            break
    assert "new.example" in names_of(tiny, files.ca)
    files.certificate.write_text("no certificate")
    tiny.process.send_signal(signal.SIGHUP)
    tiny.wait_for("the one before stays")
    assert "new.example" in names_of(tiny, files.ca)
    assert tiny.end() == 0


def test_a_worker_waits_for_files_that_belong_together(start: Start, tmp_path: pathlib.Path) -> None:
    """A certificate and its key that are written anew while workers start end no server."""
    files = prepare_certificates(tmp_path / "one", ["localhost"])
    other = prepare_certificates(tmp_path / "other", ["localhost"])
    certificate = files.certificate.read_bytes()
    files.certificate.write_bytes(other.certificate.read_bytes())
    tiny = start("well", str(files.certificate), str(files.key))
    tiny.wait_for("helper started")
    files.certificate.write_bytes(certificate)
    tiny.require_both(ssl.create_default_context(cafile=files.ca))
    assert tiny.end() == 0
    assert not [line for line in tiny.seen if "cannot be read" in line]


def test_a_stop_does_not_wait_for_handshakes(start: Start, tmp_path: pathlib.Path) -> None:
    """A client that connects and never begins its TLS handshake holds nobody up."""
    files = prepare_certificates(tmp_path, ["localhost"])
    tiny = start("well", str(files.certificate), str(files.key))
    names_of(tiny, files.ca)
    with contextlib.ExitStack() as silent:
        for _ in range(4):
            silent.enter_context(contextlib.closing(Wire(tiny.port)))
        tiny.require_both(ssl.create_default_context(cafile=files.ca))
        assert tiny.end() == 0
    assert tiny.seen.count("worker stopped") == 2
