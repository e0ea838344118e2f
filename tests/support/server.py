"""A real `entrepot serve` for tests: its own process group, data folder and loopback port."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time

ADMIN_PASSWORD = "correct-horse-battery"
START_LIMIT_SECONDS = 60
STOP_LIMIT_SECONDS = 30


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """Starts, stops and kills one `entrepot serve`; use it as a context manager.

    `environment` adds settings (`ENTREPOT_SECTION__KEY`), `arguments` adds flags to `serve`. With a certificate
    among the settings (`ENTREPOT_TLS__CERTIFICATE`) the server speaks TLS, and `url` and the readiness probe follow.
    The first administrator is `admin` with `ADMIN_PASSWORD`.
    """

    def __init__(
        self,
        data: pathlib.Path,
        *,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}.log"
        self.arguments = arguments
        self.environment = {
            "ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD,
            **(environment or {}),
        }
        self.is_secure = "ENTREPOT_TLS__CERTIFICATE" in self.environment
        self.url = f"{'https' if self.is_secure else 'http'}://{self.host}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def command(self, *words: str) -> list[str]:
        """The command line of `entrepot WORDS` in this virtual environment."""
        return [sys.executable, "-m", "entrepot", *words]

    def start(self) -> None:
        """Start the server and wait until `/readyz` answers 200."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("serve", "--data", str(self.data), "--listen", self.host, *self.arguments),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        limit = time.monotonic() + START_LIMIT_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.output()}")
            if time.monotonic() > limit:
                self.kill()
                raise RuntimeError(f"the server was not ready in time:\n{self.output()}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        connection = self._connection()
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def _connection(self) -> http.client.HTTPConnection:
        if not self.is_secure:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        # Readiness is not trust: the tests that verify the certificate do so as clients.
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=unverified)

    def output(self) -> str:
        """What the server has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> int:
        """SIGTERM, wait for the end, and answer the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL the parent alone, as the kernel's out-of-memory killer would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_LIMIT_SECONDS)

    def kill_group(self) -> None:
        """SIGKILL every process of the server's group at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_LIMIT_SECONDS)
