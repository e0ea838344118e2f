"""The servers, machines and names that every real-client test starts from.

`CLIENTS_REGISTRY=host:port` (with `CLIENTS_USER`, `CLIENTS_PASSWORD`) points the plain tests at a server that runs
already, and `CLIENTS_TLS_REGISTRY` with `CLIENTS_TLS_CA` the TLS ones; without them each run starts its own, over the
engines that `--database` and `--store` name.
"""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
import uuid
from collections.abc import Iterator

import pytest

from tests.clients.authority import Authority, make_authority
from tests.clients.daemons import containerd_daemon, docker_daemon
from tests.clients.images import Layout
from tests.clients.machine import Machine
from tests.clients.target import Registry
from tests.support.engines import Engines
from tests.support.seaweedfs import SeaweedFs
from tests.support.server import ADMIN_PASSWORD, Server

MARKERS = {
    "tier_a": "real clients that install in seconds; always run",
    "tier_b": "daemons and larger clients; one job of their own",
    "tier_c": "heavy clients; nightly or before a release",
    "root": "needs root (mounts, namespaces or a daemon)",
}
LIMIT_SECONDS = 240


def pytest_configure(config: pytest.Config) -> None:
    """Name the tiers, so that `-m tier_a` selects and a misspelt one is refused."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test of this folder, and skip what only root can do."""
    here = pathlib.Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))
        if item.get_closest_marker("root") is not None and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: run as root, e.g. sudo make clients"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The private certificate authority of this run."""
    return make_authority(tmp_path_factory.mktemp("authority") / "files")


@pytest.fixture(scope="session")
def seaweed(authority: Authority) -> Iterator[SeaweedFs]:
    """One S3 server for the whole run, which those who trust the authority may also reach over TLS."""
    with SeaweedFs(tls=(authority.certificate, authority.key)) as seaweed:
        yield seaweed


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> Engines:
    """What the servers of this run are over; with `--store s3` all clients are redirected to the store."""
    database, store = request.config.getoption("--database"), request.config.getoption("--store")
    return Engines(database, store, request.getfixturevalue)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Server]:
    """The plain HTTP server of this run."""
    with Server(tmp_path_factory.mktemp("plain") / "data", environment=engines.redirecting()) as server:
        yield server


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest) -> Registry:
    """The registry over plain HTTP, used as an administrator who may push anywhere."""
    host = os.environ.get("CLIENTS_REGISTRY")
    if host:
        return Registry(host, os.environ.get("CLIENTS_USER", "admin"), os.environ.get("CLIENTS_PASSWORD", ""))
    server: Server = request.getfixturevalue("server")
    return Registry(server.host, "admin", ADMIN_PASSWORD)


@pytest.fixture(scope="session")
def secure_server(tmp_path_factory: pytest.TempPathFactory, authority: Authority, engines: Engines) -> Iterator[Server]:
    """The TLS server of this run."""
    environment = {
        **engines.redirecting(secure=True),
        "ENTREPOT_TLS__CERTIFICATE": str(authority.certificate),
        "ENTREPOT_TLS__KEY": str(authority.key),
    }
    with Server(tmp_path_factory.mktemp("secure") / "data", environment=environment) as server:
        yield server


@pytest.fixture(scope="session")
def secure(request: pytest.FixtureRequest) -> Registry:
    """The registry over TLS with a certificate of the private authority."""
    host = os.environ.get("CLIENTS_TLS_REGISTRY")
    if host:
        user, password = os.environ.get("CLIENTS_USER", "admin"), os.environ.get("CLIENTS_PASSWORD", "")
        return Registry(host, user, password, pathlib.Path(os.environ["CLIENTS_TLS_CA"]))
    server: Server = request.getfixturevalue("secure_server")
    trusted: Authority = request.getfixturevalue("authority")
    return Registry(server.host, "admin", ADMIN_PASSWORD, trusted.ca)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A private machine for the client of this test."""
    # podman wants paths of at most 50 bytes and sockets have 107: pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield Machine(pathlib.Path(home))


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> Layout:
    """An empty OCI layout to put images into."""
    return Layout(tmp_path / "layout")


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository name that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"clients/{words[:60].strip('-')}-{uuid.uuid4().hex[:6]}"


@pytest.fixture(params=["http", "tls"])
def either(request: pytest.FixtureRequest) -> Registry:
    """Both doors in turn: plain HTTP, and TLS with the private authority."""
    door: Registry = request.getfixturevalue("registry" if request.param == "http" else "secure")
    return door


@pytest.fixture(scope="session")
def docker_host(registry: Registry) -> Iterator[str]:
    """The socket of one Docker daemon for the run; what it pulls of Docker Hub it asks the registry for first."""
    with (
        tempfile.TemporaryDirectory(prefix="dockerd-") as home,
        docker_daemon(Machine(pathlib.Path(home)), {"registry-mirrors": [registry.url]}) as socket,
    ):
        yield socket


@pytest.fixture
def docker(machine: Machine, docker_host: str) -> Machine:
    """A private machine whose docker speaks to the daemon of the run."""
    machine.environment |= {"DOCKER_HOST": docker_host, "DOCKER_BUILDKIT": "0"}
    return machine


@pytest.fixture(scope="session")
def containerd_socket() -> Iterator[pathlib.Path]:
    """The socket of one containerd for the run."""
    with (
        tempfile.TemporaryDirectory(prefix="containerd-") as home,
        containerd_daemon(Machine(pathlib.Path(home))) as it,
    ):
        yield it
