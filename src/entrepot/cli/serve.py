"""`entrepot serve`: a parent that keeps HTTP workers and a job process alive."""

from __future__ import annotations

import os
import pathlib
import socket
import sys
import tempfile
from typing import Annotated, Literal
from urllib.parse import urlsplit

import structlog
from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.places import Lease, open_listener, raise_open_files, require_local_folder
from entrepot.lifeline import die_with_parent
from entrepot.server.supervisor import FAILED_TO_START, Child, Chores, Supervisor, fork
from entrepot.settings import Settings, parse_listen
from entrepot.telemetry.logs import configure_logs

# How much longer than `server.stop_seconds` a worker may take to end before it is killed.
KILL_SECONDS = 5.0
# The writer thread takes the interpreter back after each statement; at Python's 5 ms it would wait that long each time.
SWITCH_SECONDS = 0.0005
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


def serve(
    *,
    config: Config = None,
    data: Data = None,
    listen: Annotated[str | None, Parameter(help="HOST:PORT to listen on (default 127.0.0.1:5000).")] = None,
    tls: Annotated[Literal["auto"] | None, Parameter(help="auto: make a private CA and serve HTTPS by it.")] = None,
) -> None:
    """Serve the registry: HTTP workers and a job process, until SIGTERM."""
    settings = load_settings(config, data, listen, tls)
    configure_logs(settings.log.level)
    settings.data_path.mkdir(parents=True, exist_ok=True)
    require_local_folder(settings.data_path)
    listener = open_listener(*parse_listen(settings.server.listen))
    lease = Lease(settings.data_path)
    lease.acquire()
    try:
        with tempfile.TemporaryDirectory(prefix="entrepot-metrics-") as metrics:
            code = _serve(settings, (listener, lease), config, pathlib.Path(metrics))
    finally:
        lease.release()
    sys.exit(code)


def _serve(
    settings: Settings, held: tuple[socket.socket, Lease], config: pathlib.Path | None, metrics: pathlib.Path
) -> int:
    listener, lease = held
    address = parse_listen(settings.server.listen)
    files = _tls_files(settings, address[0])
    url = _own_url(address, is_https=files is not None)
    http = _HttpWorker(settings, listener, files, metrics)
    jobs = _JobProcess(config, settings.data_path, settings.server.public_url or url, files[2] if files else None)
    count = settings.server.worker_count
    workers = [Child("http worker", http.spawn, FAILED_TO_START, reloads=True) for _ in range(count)]
    chores = Chores(lease.renew, listener.close, lambda: _renew_tls(settings, address[0]))
    structlog.get_logger().info("serving", url=url, data=str(settings.data_path), workers=count)
    kill_seconds = settings.server.stop_seconds + KILL_SECONDS
    return Supervisor([*workers, Child("job process", jobs.spawn)], chores, kill_seconds).run()


def _renew_tls(settings: Settings, host: str) -> None:
    _tls_files(settings, host)


def _tls_files(settings: Settings, host: str) -> tuple[str, str, str | None] | None:
    """(certificate, key, CA or None) of an HTTPS server, None for a plain one."""
    if settings.tls.certificate:
        return settings.tls.certificate, settings.tls.key, None
    if not settings.tls.auto:
        return None
    from entrepot.cli.certificates import TRUST, prepare_certificates  # noqa: PLC0415 - only HTTPS needs it

    public = urlsplit(settings.server.public_url).hostname
    files = prepare_certificates(settings.data_path, [host, public] if public else [host])
    authority = urlsplit(_own_url(parse_listen(settings.server.listen), is_https=True)).netloc
    print(TRUST.format(ca=files.ca, host=urlsplit(settings.server.public_url).netloc or authority), flush=True)
    return str(files.certificate), str(files.key), str(files.ca)


def _own_url(address: tuple[str, int], *, is_https: bool) -> str:
    host, port = address
    shown = "localhost" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
    return f"{'https' if is_https else 'http'}://{shown}:{port}"


class _HttpWorker:
    """What runs in each HTTP worker: ties its life to the parent's, then builds the application and serves it."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        files: tuple[str, str, str | None] | None,
        metrics: pathlib.Path,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._files = files
        self._metrics = metrics
        self._parent = os.getpid()

    def spawn(self) -> int:
        """Start one; its process id."""
        return fork(self._work)

    def _work(self) -> int:
        die_with_parent(self._parent)
        sys.setswitchinterval(SWITCH_SECONDS)
        configure_logs(self._settings.log.level)
        # The parent does not need what the workers do.
        from entrepot.app import build  # noqa: PLC0415
        from entrepot.server.hub import Options  # noqa: PLC0415
        from entrepot.server.worker import Tls, run_worker  # noqa: PLC0415

        server, limits = self._settings.server, self._settings.limits
        options = Options(
            header_seconds=server.header_seconds,
            header_bytes=server.header_bytes,
            write_seconds=limits.body_idle_seconds,
            stop_seconds=server.stop_seconds,
            connections=server.connections,
        )
        raise_open_files(server.connections)
        tls = Tls(self._files[0], self._files[1], self._settings.tls.oldest) if self._files else None
        return run_worker(lambda: build(self._settings, self._metrics), self._listener, tls, options)


class _JobProcess:
    """The job process. It looks first whether clients get through to `url`, once: the answer is for the log."""

    def __init__(self, config: pathlib.Path | None, data: pathlib.Path, url: str, ca: str | None) -> None:
        self._command = [sys.executable, "-m", "entrepot", "worker", "--data", str(data), "--parent", str(os.getpid())]
        if config is not None:
            self._command += ["--config", str(config)]
        self._check: list[str] | None = ["--check-address", url, *(["--check-ca", ca] if ca else [])]

    def spawn(self) -> int:
        """Start it; its process id."""
        command, self._check = self._command + (self._check or []), None
        return fork(lambda: _become(command))


def _become(command: list[str]) -> int:
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell wanted
