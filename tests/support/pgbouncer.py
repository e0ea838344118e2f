"""A private PgBouncer in transaction mode before a PostgreSQL of the tests, ended by process id."""

from __future__ import annotations

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.postgresql import Postgres
from tests.support.server import free_port

START_LIMIT_SECONDS = 20
STOP_LIMIT_SECONDS = 10


@contextmanager
def pgbouncer(folder: pathlib.Path, postgres: Postgres, **settings: int) -> Iterator[int]:
    """Its port; `settings` are more of its own. Skips the test, loudly, where it is not installed."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    folder.mkdir()
    port = free_port()
    more = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
        f"pool_mode = transaction\nmax_client_conn = 200\n{more}"
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, str(folder / "pgbouncer.ini")], stdout=log, stderr=log, user=_give(folder))
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_LIMIT_SECONDS)
        log.close()


def _give(folder: pathlib.Path) -> str | None:
    """It refuses to run as root: then it runs as nobody, who has to come to its files."""
    if os.geteuid():
        return None
    for path in (folder, *folder.iterdir()):
        os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    for above in folder.parents[:4]:
        above.chmod(above.stat().st_mode | 0o011)
    return "nobody"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise RuntimeError(f"PgBouncer did not start: {process.poll()}")
