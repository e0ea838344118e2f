"""`entrepot serve`: a parent that keeps HTTP workers and a job process alive."""

from __future__ import annotations

import os
import pathlib
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.listeners import Place, find_places, open_sockets, prepare
from entrepot.cli.metrics_folder import open_metrics_folder
from entrepot.cli.places import Lease, raise_open_files, require_local_folder
from entrepot.lifeline import die_with_parent
from entrepot.server.supervisor import FAILED_TO_START, Child, Chores, Supervisor, fork
from entrepot.settings import Settings
from entrepot.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from entrepot.server.listeners import Listener

# How much longer than `server.stop_seconds` a worker may take to end before it is killed.
KILL_SECONDS = 5.0
# The writer thread takes the interpreter back after each statement; at Python's 5 ms it would wait that long each time.
SWITCH_SECONDS = 0.0005


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
    sockets = open_sockets(settings)
    lease = Lease(settings.data_path)
    lease.acquire()
    try:
        with open_metrics_folder() as metrics:
            code = _serve(settings, (sockets, lease), config, metrics)
    finally:
        lease.release()
    sys.exit(code)


def _serve(
    settings: Settings,
    held: tuple[dict[str, socket.socket], Lease],
    config: pathlib.Path | None,
    metrics: pathlib.Path,
) -> int:
    sockets, lease = held
    certificates = prepare(settings)
    places = find_places(settings, sockets, certificates)
    http = _HttpWorker(settings, places, metrics)
    jobs = _JobProcess(config, settings.data_path, _addresses_to_check(settings, places), certificates.ca)
    count = settings.server.worker_count
    workers = [Child("http worker", http.spawn, FAILED_TO_START, reloads=True) for _ in range(count)]
    chores = Chores(lease.renew, lambda: _close(places), lambda: _renew(settings))
    log = structlog.get_logger()
    log.info("serving", url=places[0].url, data=str(settings.data_path), workers=count)
    for place in places[1:]:
        log.info("serving", url=place.url, listener=place.name)
    kill_seconds = settings.server.stop_seconds + KILL_SECONDS
    return Supervisor([*workers, Child("job process", jobs.spawn)], chores, kill_seconds).run()


def _close(places: list[Place]) -> None:
    for place in places:
        place.socket.close()


def _renew(settings: Settings) -> None:
    prepare(settings)


def _addresses_to_check(settings: Settings, places: list[Place]) -> list[str]:
    """Where to see whether clients get through: public addresses, and the main one unless it is closed to us."""
    main, *others = places
    is_closed = main.settings.proxy_protocol or main.settings.client_certificates == "required"
    first = settings.server.public_url or ("" if is_closed else main.url)
    rest = [place.settings.public_url for place in others if place.settings.client_certificates != "required"]
    return [url for url in (first, *rest) if url]


class _HttpWorker:
    """What runs in each HTTP worker: ties its life to the parent's, then builds the application and serves it."""

    def __init__(
        self,
        settings: Settings,
        places: list[Place],
        metrics: pathlib.Path,
    ) -> None:
        self._settings = settings
        self._places = places
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
        from entrepot.server.worker import run_worker  # noqa: PLC0415

        server, limits = self._settings.server, self._settings.limits
        options = Options(
            header_seconds=server.header_seconds,
            header_bytes=server.header_bytes,
            write_seconds=limits.body_idle_seconds,
            stop_seconds=server.stop_seconds,
            connections=server.connections,
        )
        raise_open_files(server.connections)
        listeners = [_listener(place, self._settings.tls.oldest) for place in self._places]
        return run_worker(lambda: build(self._settings, self._metrics), listeners, options)


def _listener(place: Place, oldest: str) -> Listener:
    from entrepot.server.listeners import ClientCertificates, Listener, Tls  # noqa: PLC0415 - as above

    held = place.settings
    clients = ClientCertificates(held.client_certificates, held.client_ca, held.client_crl)
    return Listener(
        place.name,
        place.socket,
        Tls(*place.files, oldest, clients) if place.files else None,
        tuple(held.proxies) if held.proxy_protocol else None,
    )


class _JobProcess:
    """The job process. It looks first whether clients get through to `urls`, once: the answer is for the log."""

    def __init__(self, config: pathlib.Path | None, data: pathlib.Path, urls: list[str], ca: str | None) -> None:
        self._command = [sys.executable, "-m", "entrepot", "worker", "--data", str(data), "--parent", str(os.getpid())]
        if config is not None:
            self._command += ["--config", str(config)]
        self._check: list[str] | None = [word for url in urls for word in ("--check-address", url)]
        self._check += ["--check-ca", ca] if ca else []

    def spawn(self) -> int:
        """Start it; its process id."""
        command, self._check = self._command + (self._check or []), None
        return fork(lambda: _become(command))


def _become(command: list[str]) -> int:
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell wanted
