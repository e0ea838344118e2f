"""One worker process: an event loop, a listening socket it shares with its siblings, and an application."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import uvloop

from entrepot.server.connection import Connection
from entrepot.server.hub import Application, Hub, Message, Options
from entrepot.server.supervisor import FAILED_TO_START

BACKLOG: Final = 4096
SHUTDOWN_SECONDS: Final = 2.0
GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)
OLDEST: Final = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Tls:
    """Files of a certificate chain and its key, and the oldest version that is spoken: tls1.2 or tls1.3."""

    certificate: str
    key: str
    oldest: str

    def load(self, context: ssl.SSLContext | None = None) -> ssl.SSLContext:
        """A context for new connections, or the same one with the files read again. Raises OSError, ssl.SSLError."""
        context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.minimum_version = OLDEST[self.oldest]
        context.set_alpn_protocols(["http/1.1"])
        # Clients of registries do not resume sessions (Go keeps no tickets by default): making two for each is wasted.
        context.num_tickets = 0
        return context


def run_worker(load: Callable[[], Application], listener: socket.socket, tls: Tls | None, options: Options) -> int:
    """Serve on a listening socket until SIGTERM; the exit code. SIGHUP reads the certificate again."""
    # The loop is not closed: uvloop waits for ever there for a client that has not ended its TLS handshake. The process
    # ends next.
    return uvloop.new_event_loop().run_until_complete(_serve(load, listener, tls, options))


async def _serve(load: Callable[[], Application], listener: socket.socket, tls: Tls | None, options: Options) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    application = load()
    hub = Hub(application, options, loop)
    seen = {"entrepot.refused": hub.refused, "entrepot.connections": lambda: len(hub.connections)}
    life = _Lifespan(application, seen)
    if not await life.start():
        return FAILED_TO_START
    context = tls.load() if tls is not None else None
    if tls is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, tls, context)
    server = await loop.create_server(
        lambda: Connection(hub),
        sock=listener,
        ssl=context,
        ssl_handshake_timeout=options.header_seconds if context else None,
        ssl_shutdown_timeout=SHUTDOWN_SECONDS if context else None,
        backlog=BACKLOG,
    )
    hub.sweep()
    _spare_the_collector()
    await stopping.wait()
    server.close()
    await hub.stop()
    await life.stop()
    return 0


def _reload(tls: Tls, context: ssl.SSLContext | None) -> None:
    try:
        tls.load(context)
    except (OSError, ssl.SSLError) as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the certificate could not be read again; the one before stays", "exception": error}
        )


def _spare_the_collector() -> None:
    # What was loaded stays: looking through all of it again and again would cost requests milliseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


class _Lifespan:
    """The application's start and end (ASGI's lifespan protocol)."""

    def __init__(self, application: Application, state: dict[str, object]) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        self._task = asyncio.ensure_future(application(scope, self._inbox.get, self._outbox.put))

    async def start(self) -> bool:
        return await self._say("lifespan.startup") == "lifespan.startup.complete"

    async def stop(self) -> None:
        await self._say("lifespan.shutdown")
        await self._task

    async def _say(self, what: str) -> str:
        self._inbox.put_nowait({"type": what})
        answer = asyncio.ensure_future(self._outbox.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            return "ended"
        message = answer.result()
        if message.get("message"):
            print(message["message"], flush=True)  # noqa: T201 - there is no log yet
        return str(message["type"])
