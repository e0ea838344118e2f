"""`entrepot serve`: a parent that keeps HTTP workers and a job process alive."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Annotated, Any

import structlog
from cyclopts import Parameter
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from entrepot.cli.common import Config, Data, load_settings
from entrepot.lifeline import die_with_parent
from entrepot.settings import Settings, SettingsError, parse_listen
from entrepot.telemetry.logs import configure_logs

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
RESTART_SECONDS = 1.0
OLDEST = {"tls1.2": SSLProtocols.tls12, "tls1.3": SSLProtocols.tls13}


def serve(
    *,
    config: Config = None,
    data: Data = None,
    listen: Annotated[str | None, Parameter(help="HOST:PORT to listen on (default 127.0.0.1:5000).")] = None,
) -> None:
    """Serve the registry: HTTP workers and a job process, until SIGTERM."""
    settings = load_settings(config, data, listen)
    configure_logs(settings.log.level)
    host, port = parse_listen(settings.server.listen)
    _require_free_port(host, port)
    settings.data_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="entrepot-metrics-") as metrics:
        os.environ[METRICS_DIRECTORY] = metrics
        jobs = _JobProcess(config, settings.data_path)
        server = _http_server(settings, host, port)
        server.on_startup(jobs.start)
        server.on_shutdown(jobs.stop)
        scheme = "https" if settings.tls.certificate else "http"
        structlog.get_logger().info("serving", url=f"{scheme}://{settings.server.listen}", data=str(settings.data_path))
        server.serve(target_loader=_Loader(settings, os.getpid()), wrap_loader=False)


class _Loader:
    """Runs in each HTTP worker: ties its life to the parent's, then builds the application."""

    def __init__(self, settings: Settings, parent: int) -> None:
        self._settings = settings
        self._parent = parent

    def __call__(self, *_: object, **__: object) -> Any:
        die_with_parent(self._parent)
        configure_logs(self._settings.log.level)
        from entrepot.app import build  # noqa: PLC0415 - the parent does not need what the workers do

        return build(self._settings)


class _JobProcess:
    """The job process, started again when it dies."""

    def __init__(self, config: pathlib.Path | None, data: pathlib.Path) -> None:
        self._command = [sys.executable, "-m", "entrepot", "worker", "--data", str(data), "--parent", str(os.getpid())]
        if config is not None:
            self._command += ["--config", str(config)]
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="job-keeper", daemon=True)

    def start(self) -> None:
        self._keeper.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._keeper.join()

    def _keep(self) -> None:
        # The death signal is tied to the thread that started a child: this one lives as long as the parent does.
        while not self._stopping.is_set():
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
            if self._stopping.is_set():
                self._process.terminate()
            code = self._process.wait()
            if not self._stopping.is_set():
                structlog.get_logger().error("job process ended; starting another", code=code)
                self._stopping.wait(RESTART_SECONDS)


def _http_server(settings: Settings, host: str, port: int) -> Any:
    certificate, key = settings.tls.certificate, settings.tls.key
    return Server(
        target="entrepot",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.server.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=settings.server.header_seconds * 1000, max_buffer_size=settings.server.header_bytes
        ),
        websockets=False,
        backlog=settings.server.connections,
        backpressure=settings.server.connections,
        log_level=LogLevels.error,
        ssl_cert=pathlib.Path(certificate) if certificate else None,
        ssl_key=pathlib.Path(key) if key else None,
        ssl_protocol_min=OLDEST[settings.tls.oldest],
        respawn_failed_workers=True,
        workers_kill_timeout=settings.server.stop_seconds,
    )


def _require_free_port(host: str, port: int) -> None:
    # The workers bind with SO_REUSEPORT, which would silently share the port with a stranger of the same user.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(f"server.listen: port {port} on {host} is in use") from None
            raise SettingsError(f"server.listen: cannot listen on {host}:{port}: {error.strerror}") from None
