"""Starts and stops what is compared: Entrepot, CNCF distribution, nginx and the reference receiver."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Protocol

from bench import process
from bench.client import tls_context
from bench.tokens import ISSUER, SERVICE, Minter
from tests.support.server import ADMIN_PASSWORD, Server, free_port

START_SECONDS = 60
STOP_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class TokenService:
    """Where a client gets its bearer token, and with which request."""

    port: int
    path: str
    authorization: str = ""

    def request(self) -> bytes:
        """One token request on a connection of its own."""
        credentials = f"Authorization: {self.authorization}\r\n" if self.authorization else ""
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{credentials}Connection: close\r\n\r\n"
        return head.encode()


class Target(Protocol):
    """A server under load."""

    name: str
    port: int
    tls: ssl.SSLContext | None

    def cpu(self) -> float:
        """CPU seconds used since its start."""
        ...

    def pss(self) -> float:
        """Memory of all its processes now, in MiB."""
        ...

    def stop(self) -> None:
        """End it, and wait for its end."""
        ...


class Registry(Target, Protocol):
    """A target that speaks the distribution API and checks bearer tokens."""

    def bearer(self, scope: str) -> str:
        """The Authorization header's value for one scope, never the same twice."""
        ...

    def token_service(self, scope: str) -> TokenService:
        """How a client of this registry gets its tokens."""
        ...


class Command:
    """A server that is one command line."""

    name = "server"
    tls: ssl.SSLContext | None = None

    def __init__(self, folder: pathlib.Path, port: int | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.running: subprocess.Popen[bytes] | None = None

    def launch(self, command: list[str]) -> None:
        """Start it and wait until its port answers."""
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + START_SECONDS
        while not is_listening(self.port):
            if self.running.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{self.name} did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.running is not None
        return self.running.pid

    def cpu(self) -> float:
        """CPU seconds used since its start."""
        return process.cpu_seconds(self.pid)

    def pss(self) -> float:
        """Memory of all its processes now, in MiB."""
        return process.pss_mib(self.pid)

    def stop(self) -> None:
        """End it, and wait for its end."""
        if self.running is not None and self.running.poll() is None:
            self.running.terminate()
            try:
                self.running.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


DISTRIBUTION_CONFIG = """\
version: 0.1
log: {{level: info, fields: {{service: registry}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  secret: bench
{tls}
auth:
  token:
    realm: http://127.0.0.1:{token_port}/token
    service: {service}
    issuer: {issuer}
    rootcertbundle: {bundle}
"""


class Distribution(Command):
    """CNCF distribution with Debian's settings (memory cache of descriptors, access log) and token authentication.

    It has no token service of its own; a real one costs something, ours is nginx with a file that never changes, so
    that this side of the comparison is as cheap as it can be.
    """

    name = "distribution"

    def __init__(
        self,
        folder: pathlib.Path,
        minter: Minter,
        tokens: Nginx,
        certificate: tuple[pathlib.Path, pathlib.Path] | None = None,
    ) -> None:
        super().__init__(folder)
        self.minter = minter
        self.tokens = tokens
        tls = f"  tls: {{certificate: {certificate[0]}, key: {certificate[1]}}}" if certificate else ""
        self.tls = tls_context() if certificate else None
        config = folder / "config.yml"
        config.write_text(
            DISTRIBUTION_CONFIG.format(
                root=folder / "data",
                port=self.port,
                tls=tls,
                token_port=tokens.port,
                service=SERVICE,
                issuer=ISSUER,
                bundle=minter.bundle,
            )
        )
        self.launch(["docker-registry", "serve", str(config)])

    def bearer(self, scope: str) -> str:
        """The Authorization header's value for one scope, never the same twice."""
        return f"Bearer {self.minter.mint(scope)}"

    def token_service(self, scope: str) -> TokenService:
        """The stand-in's file for this scope."""
        name = re.sub("[^a-z0-9]", "-", scope)
        (self.tokens.root / name).write_text(json.dumps({"token": self.minter.mint(scope), "expires_in": 3600}))
        return TokenService(self.tokens.port, f"/{name}")


NGINX_CONFIG = """\
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096{tls}; root {root}; }}
}}
"""


class Nginx(Command):
    """nginx serving a folder with sendfile: the limit for large downloads and, with a certificate, for handshakes."""

    name = "nginx"

    def __init__(self, folder: pathlib.Path, certificate: tuple[pathlib.Path, pathlib.Path] | None = None) -> None:
        super().__init__(folder)
        tls = " ssl; ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {}" if certificate else ""
        self.tls = tls_context() if certificate else None
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        folder.chmod(0o755)
        config = folder / "nginx.conf"
        config.write_text(
            NGINX_CONFIG.format(folder=folder, port=self.port, root=self.root, tls=tls.format(*certificate or ()))
        )
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
        self.launch([program, "-c", str(config)])


class Receiver(Command):
    """The reference receiver, in a process of its own."""

    name = "receiver"

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        self.launch([sys.executable, "-m", "bench.receiver", str(self.port), str(folder)])

    def bearer(self, scope: str) -> str:
        """It asks for nothing."""
        return f"Bearer {scope}"

    def token_service(self, scope: str) -> TokenService:
        """It has none."""
        raise NotImplementedError(scope)


def basic(user: str, password: str) -> str:
    """The Authorization header's value of a name and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Entrepot:
    """`entrepot serve`, started as the tests start it."""

    name = "entrepot"

    def __init__(
        self,
        folder: pathlib.Path,
        environment: dict[str, str] | None = None,
        certificate: tuple[pathlib.Path, pathlib.Path] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = dict(environment or {})
        if certificate:
            settings["ENTREPOT_TLS__CERTIFICATE"] = str(certificate[0])
            settings["ENTREPOT_TLS__KEY"] = str(certificate[1])
        self.tls = tls_context() if certificate else None
        self.server = ReadyServer(folder / "data", environment=settings)
        self.server.tls = self.tls
        self.port = self.server.port
        self.start_seconds = 0.0
        self.credentials = basic("admin", ADMIN_PASSWORD)
        self.start()

    def start(self) -> None:
        """Start (again) on the same data and port; how long it took to be ready is kept."""
        began = time.monotonic()
        self.server.start()
        self.start_seconds = time.monotonic() - began

    @property
    def pid(self) -> int:
        """The parent process."""
        assert self.server.process is not None
        return self.server.process.pid

    def cpu(self) -> float:
        """CPU seconds used since its start."""
        return process.cpu_seconds(self.pid)

    def pss(self) -> float:
        """Memory of all its processes now, in MiB."""
        return process.pss_mib(self.pid)

    def stop(self) -> None:
        """End it, and wait for its end."""
        self.server.stop()

    def token_service(self, scope: str) -> TokenService:
        """Its own, with the administrator's credentials."""
        service = f"127.0.0.1:{self.port}"
        query = urllib.parse.urlencode({"service": service, "scope": scope})
        return TokenService(self.port, f"/token?{query}", self.credentials)

    def bearer(self, scope: str) -> str:
        """The Authorization header's value for one scope, never the same twice."""
        status, body = self.request("GET", self.token_service(scope).path)
        if status != 200:
            raise RuntimeError(f"/token answered {status}: {body[:300]!r}")
        return f"Bearer {json.loads(body)['token']}"

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request as the administrator, with a JSON body where one is given."""
        connection = self._connect()
        headers = {"Authorization": self.credentials}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        with contextlib.closing(connection):
            connection.request(method, path, body=content, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _connect(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


class ReadyServer(Server):
    """A `Server` that can also be asked over TLS whether it is ready."""

    tls: ssl.SSLContext | None = None

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        if self.tls is None:
            return super().is_ready()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=self.tls)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False


Start = Callable[[], Target]
