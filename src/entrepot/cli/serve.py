"""`entrepot serve`: a parent that keeps HTTP workers and a job process alive."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import structlog
from cyclopts import Parameter
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.places import Lease, require_free_port, require_local_folder
from entrepot.lifeline import die_with_parent
from entrepot.settings import Settings, parse_listen
from entrepot.telemetry.logs import configure_logs

RESTART_SECONDS = 1.0
# The writer thread takes the interpreter back after each statement; at Python's 5 ms it would wait that long each time.
SWITCH_SECONDS = 0.0005
OLDEST = {"tls1.2": SSLProtocols.tls12, "tls1.3": SSLProtocols.tls13}
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
    host, port = parse_listen(settings.server.listen)
    require_free_port(host, port)
    settings.data_path.mkdir(parents=True, exist_ok=True)
    require_local_folder(settings.data_path)
    lease = Lease(settings.data_path)
    lease.acquire()
    try:
        with tempfile.TemporaryDirectory(prefix="entrepot-metrics-") as metrics:
            loader = _Loader(settings, os.getpid(), pathlib.Path(metrics))
            _serve(settings, _JobProcess(config, settings.data_path), loader)
    finally:
        lease.release()


def _serve(settings: Settings, jobs: _JobProcess, loader: _Loader) -> None:
    address = parse_listen(settings.server.listen)
    files = _tls_files(settings, address[0])
    url = _own_url(address, is_https=files is not None)
    server = _http_server(settings, address, files)
    jobs.check(settings.server.public_url or url, files[2] if files else None)
    server.on_startup(jobs.start)
    server.on_reload(lambda: _tls_files(settings, address[0]))
    server.on_shutdown(jobs.stop)
    structlog.get_logger().info("serving", url=url, data=str(settings.data_path), workers=settings.server.workers)
    server.serve(target_loader=loader, wrap_loader=False)


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


class _Loader:
    """Runs in each HTTP worker: ties its life to the parent's, then builds the application."""

    def __init__(self, settings: Settings, parent: int, metrics: pathlib.Path) -> None:
        self._settings = settings
        self._metrics = metrics
        self._parent = parent

    def __call__(self, *_: object, **__: object) -> Any:
        die_with_parent(self._parent)
        sys.setswitchinterval(SWITCH_SECONDS)
        configure_logs(self._settings.log.level)
        from entrepot.app import build  # noqa: PLC0415 - the parent does not need what the workers do

        return build(self._settings, self._metrics)


class _JobProcess:
    """The job process, started again when it dies."""

    def __init__(self, config: pathlib.Path | None, data: pathlib.Path) -> None:
        self._command = [sys.executable, "-m", "entrepot", "worker", "--data", str(data), "--parent", str(os.getpid())]
        if config is not None:
            self._command += ["--config", str(config)]
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="job-keeper", daemon=True)

    def check(self, url: str, ca: str | None) -> None:
        """Have the process look first whether clients get through to `url`.

        Not here: a worker that is forked while a thread is inside OpenSSL inherits its locks, held for ever.
        """
        self._command += ["--check-address", url, *(["--check-ca", ca] if ca else [])]

    def start(self) -> None:
        self._keeper.start()
        # Workers are forked next. One forked while Popen waits for its child would hold the other end of Popen's pipe
        # open for as long as it lives, and the keeper would never hear of the job process's death.
        self._begun.wait()

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._keeper.join()

    def _keep(self) -> None:
        # The death signal is tied to the thread that started a child: this one lives as long as the parent does.
        while not self._stopping.is_set():
            try:
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
            finally:
                self._begun.set()
            if self._stopping.is_set():
                self._process.terminate()
            code = self._process.wait()
            if not self._stopping.is_set():
                structlog.get_logger().error("job process ended; starting another", code=code)
                self._stopping.wait(RESTART_SECONDS)


def _http_server(settings: Settings, address: tuple[str, int], files: tuple[str, str, str | None] | None) -> Any:
    return Server(
        target="entrepot",
        address=address[0],
        port=address[1],
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
        ssl_cert=pathlib.Path(files[0]) if files else None,
        ssl_key=pathlib.Path(files[1]) if files else None,
        ssl_protocol_min=OLDEST[settings.tls.oldest],
        respawn_failed_workers=True,
        workers_kill_timeout=settings.server.stop_seconds,
    )
