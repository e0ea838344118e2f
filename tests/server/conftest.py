"""A server of one's own on a loopback port, in a thread, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import uvloop

from entrepot.cli.places import open_listener
from entrepot.server.acceptor import Acceptor
from entrepot.server.connection import Connection
from entrepot.server.hub import Application, Hub, Options
from entrepot.server.listeners import Listener

T = TypeVar("T")
LIMIT_SECONDS = 20


@dataclass(frozen=True)
class Reply:
    """One response as it was read."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """A header, empty if it is not there."""
        return self.headers.get(name, "")


class Wire:
    """One connection on which a test writes what it likes."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        self.file = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Write these bytes, each in a packet of its own."""
        for part in parts:
            self.socket.sendall(part)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
        """A request and its response."""
        self.send(request(method, path, *headers, body=body))
        return self.read(method)

    def read(self, method: str = "GET") -> Reply:
        """One response."""
        response = http.client.HTTPResponse(_Unclosed(self.file), method=method)  # type: ignore[arg-type]
        response.begin()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def is_closed(self) -> bool:
        """Whether nothing more comes before the server hangs up."""
        with contextlib.suppress(ConnectionResetError):
            return self.file.read() == b""
        return True

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()


class _Unclosed:
    """Hands out a file as a socket does; http.client closes what it was given after each response."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, _: str) -> _Unclosed:
        return self

    def close(self) -> None:
        """Keep it open for the next response."""

    def flush(self) -> None:
        """There is nothing to flush."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request; a body without a length among the headers gets one."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Served:
    """An application behind the server, on a loop in a thread."""

    def __init__(
        self, application: Application, options: Options, context: ssl.SSLContext | None, listen: Listen | None = None
    ) -> None:
        self._listen = listen
        self.acceptor: Acceptor | None = None
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._context = context
        self.hub = Hub(application, options, self._runner.get_loop())
        self.wires: list[Wire] = []
        self.problems: list[dict[str, Any]] = []
        self.port = 0
        self._thread = threading.Thread(target=self._run)
        self._is_ready = threading.Event()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._is_ready.wait(LIMIT_SECONDS)

    def stop(self) -> None:
        """Stop as a worker does at SIGTERM, and wait for the end."""
        for wire in self.wires:
            wire.close()
        with contextlib.suppress(RuntimeError):
            self._runner.get_loop().call_soon_threadsafe(self._done.set)
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()
        self._runner.close()

    def retire(self) -> None:
        """Begin to stop, and do not wait."""
        self._runner.get_loop().call_soon_threadsafe(self._done.set)

    def run(self, call: Callable[[], T]) -> T:
        """Have the loop call something, and wait for its answer."""

        async def answer() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(answer(), self._runner.get_loop()).result(LIMIT_SECONDS)

    def connect(self, context: ssl.SSLContext | None = None) -> Wire:
        """A new connection."""
        wire = Wire(self.port, context)
        self.wires.append(wire)
        return wire

    def _run(self) -> None:
        self._runner.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._done = asyncio.Event()
        close = await self._open(loop)
        self.hub.sweep()
        self._is_ready.set()
        await self._done.wait()
        close()
        await self.hub.stop()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        if self._listen is not None:
            listening = open_listener("127.0.0.1", 0)
            self.port = listening.getsockname()[1]
            self.acceptor = Acceptor(self.hub, self._listen(listening))
            self.acceptor.start()
            return self.acceptor.close
        server = await loop.create_server(lambda: Connection(self.hub), "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        return server.close


Listen = Callable[[socket.socket], Listener]
Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test: `serve(application, context=None, listen=None, write_seconds=...)`.

    `listen` makes a listener of a socket whose connections the server accepts by itself.
    """
    started: list[Served] = []

    def start(
        application: Application, context: ssl.SSLContext | None = None, listen: Listen | None = None, **options: Any
    ) -> Served:
        server = Served(application, Options(**{"stop_seconds": 5.0, **options}), context, listen)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
