"""One worker process: an event loop, listening sockets it shares with its siblings, and an application."""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import uvloop

from entrepot.server.acceptor import Acceptor
from entrepot.server.connection import Connection
from entrepot.server.hub import Application, Hub, Message, Options
from entrepot.server.listeners import Listener
from entrepot.server.supervisor import FAILED_TO_START

BACKLOG: Final = 4096
GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)
FILES_PAUSE_SECONDS: Final = 0.1


def run_worker(load: Callable[[], Application], listeners: Sequence[Listener], options: Options) -> int:
    """Serve on listening sockets until SIGTERM; the exit code. SIGHUP reads the certificates again."""
    # The loop is not closed: uvloop waits for ever there for a client that has not ended its TLS handshake. The process
    # ends next.
    return uvloop.new_event_loop().run_until_complete(_serve(load, listeners, options))


async def _serve(load: Callable[[], Application], listeners: Sequence[Listener], options: Options) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    application = load()
    hub = Hub(application, options, loop)
    seen = {
        "entrepot.refused": hub.refused,
        "entrepot.turned_away": hub.turned_away,
        "entrepot.connections": lambda: len(hub.connections),
        "entrepot.stopping": stopping.is_set,
    }
    life = _Lifespan(application, seen)
    if not await life.start():
        return FAILED_TO_START
    listening: list[asyncio.Server | Acceptor] = []
    if any(listener.tls for listener in listeners):
        loop.add_signal_handler(signal.SIGHUP, _reload, listening)
    for listener in listeners:
        try:
            listening.append(await _listen(hub, listener))
        except (OSError, ssl.SSLError) as error:
            print(f"listener {listener.name}: its certificates cannot be read: {error}", flush=True)  # noqa: T201
            await life.stop()
            return FAILED_TO_START
    hub.sweep()
    _spare_the_collector()
    await stopping.wait()
    # Whoever sends us requests asks now and then whether we are ready, and shall have heard that we are not.
    await asyncio.sleep(options.drain_seconds)
    for each in listening:
        each.close()
    await hub.stop()
    await life.stop()
    return 0


async def _listen(hub: Hub, listener: Listener) -> asyncio.Server | Acceptor:
    if not listener.is_plain:
        acceptor = await _open(hub, listener)
        acceptor.start()
        return acceptor
    arrival = listener.arrival
    return await hub.loop.create_server(lambda: Connection(hub, arrival), sock=listener.socket, backlog=BACKLOG)


async def _open(hub: Hub, listener: Listener) -> Acceptor:
    limit = hub.loop.time() + hub.options.files_seconds
    while True:
        try:
            return Acceptor(hub, listener)
        except (OSError, ssl.SSLError):
            if hub.loop.time() > limit:
                raise
            await asyncio.sleep(FILES_PAUSE_SECONDS)


def _reload(listening: Sequence[asyncio.Server | Acceptor]) -> None:
    for each in listening:
        if not isinstance(each, Acceptor):
            continue
        try:
            each.reload()
        except (OSError, ssl.SSLError) as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a certificate could not be read again; the one before stays", "exception": error}
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
