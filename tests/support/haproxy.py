"""Debian's haproxy on a loopback port, which gives each request to the next replica."""

from __future__ import annotations

import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping

import pytest

from tests.support.server import free_port

START_SECONDS = 20
# As docs/replicas.md has it, with shorter times: a test does not wait for a check of two seconds.
CONFIGURATION = """\
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 1s
    option redispatch 1
    retries 4
    retry-on conn-failure empty-response
frontend registry
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    http-request disable-l7-retry unless METH_GET
    http-response set-header X-Replica %s
    option httpchk GET /readyz
    default-server check inter 200ms fall 1 rise 1
{servers}
"""


class Balancer:
    """A load balancer over named ports; use it as a context manager. `port` is where clients come.

    Skips the test, loudly, where haproxy is not installed.
    """

    def __init__(self, folder: pathlib.Path, ports: Mapping[str, int]) -> None:
        program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("haproxy is missing: apt-get install haproxy")
        self.port = free_port()
        self._program = program
        self._path = folder / "haproxy.cfg"
        self._log = folder / "haproxy.log"
        servers = "\n".join(f"    server {name} 127.0.0.1:{port}" for name, port in ports.items())
        self._path.write_text(CONFIGURATION.format(port=self.port, servers=servers))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Balancer:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-db", "-f", self._path], stdout=log, stderr=log)
        limit = time.monotonic() + START_SECONDS
        while not self._is_listening():
            if self._process.poll() is not None or time.monotonic() > limit:
                self.__exit__()
                raise RuntimeError(f"haproxy did not start:\n{self.output()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        """What it has printed so far: which replicas it took for up and down."""
        return self._log.read_text(errors="replace")

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
