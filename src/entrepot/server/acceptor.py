"""Accepting connections by ourselves, where TLS comes before requests, or a header before TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from entrepot.server.connection import Connection
from entrepot.server.listeners import Arrival, Listener, is_within
from entrepot.server.proxy import Client, MalformedError, find_end, parse_header

if TYPE_CHECKING:
    from entrepot.server.hub import Hub

SHUTDOWN_SECONDS: Final = 2.0
# A proxy sends its header with the first packet.
PROXY_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 64
PEEK_BYTES: Final = 4096


class Acceptor:
    """The connections of one listener, until each is a `Connection`. `reload` reads certificates again."""

    def __init__(self, hub: Hub, listener: Listener) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._listener = listener
        self._context = listener.tls.load() if listener.tls else None
        self._openings: set[Opening] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener.socket, self._accept)

    def close(self) -> None:
        """Accept nobody any more, and drop who has not got as far as a request."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener.socket)
        self._listener.socket.close()
        for opening in list(self._openings):
            opening.drop("")

    def reload(self) -> None:
        """Read the files of certificates again, for new connections. Raises OSError, ssl.SSLError."""
        if self._listener.tls is not None:
            self._context = self._listener.tls.load()
            # Whoever is connected was judged by what held before, and would be for as long as they like.
            for connection in list(self._hub.connections):
                connection.renounce(self._listener.name)

    def turn_away(self, reason: str, peer: Client) -> None:
        """Count who is not let in."""
        self._hub.turn_away(self._listener.name, reason, peer)

    def forget(self, opening: Opening) -> None:
        """A header is read, or never will be."""
        self._openings.discard(opening)

    def hand_over(self, channel: socket.socket, arrival: Arrival) -> None:
        """Begin TLS, if it is spoken here, and then requests."""
        connection = Connection(self._hub, arrival)
        if self._context is not None and not connection.begin(lambda: _hang_up(channel)):
            channel.close()
            self.turn_away("full", arrival.client)
            return
        task = self._loop.create_task(self._hand_over(channel, connection, arrival))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                channel, peer = self._listener.socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors left, most likely: others end meanwhile.
                self._loop.call_exception_handler({"message": "connections cannot be accepted", "exception": error})
                self._loop.remove_reader(self._listener.socket)
                self._timer = self._loop.call_later(PAUSE_SECONDS, self.start)
                return
            channel.settimeout(0)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._admit(channel, (peer[0].removeprefix("::ffff:"), peer[1]))

    def _admit(self, channel: socket.socket, peer: tuple[str, int]) -> None:
        proxies = self._listener.proxies
        if proxies is None:
            self.hand_over(channel, Arrival(self._listener.name, peer))
            return
        is_full = len(self._openings) >= self._hub.options.connections
        if is_full or not is_within(peer[0], proxies):
            channel.close()
            self.turn_away("full" if is_full else "stranger", peer)
            return
        self._openings.add(Opening(self, self._loop, channel, Arrival(self._listener.name, peer)))

    async def _hand_over(self, channel: socket.socket, connection: Connection, arrival: Arrival) -> None:
        limits = {"ssl_handshake_timeout": self._hub.options.header_seconds, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                channel,
                ssl=self._context,
                **(limits if self._context else {}),
            )
        except (OSError, ssl.SSLError):
            channel.close()
            self.turn_away("tls", arrival.client)
        finally:
            connection.settle()


def _hang_up(channel: socket.socket) -> None:
    # The event loop, which has it, is told so in its own time.
    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


class Opening:
    """A connection whose header has yet to come. Exactly the header is taken out of the socket, not a byte more."""

    def __init__(
        self, acceptor: Acceptor, loop: asyncio.AbstractEventLoop, channel: socket.socket, arrival: Arrival
    ) -> None:
        self._acceptor = acceptor
        self._loop = loop
        self._channel = channel
        self._arrival = arrival
        self._header = b""
        self._timer = loop.call_later(PROXY_SECONDS, lambda: self.drop("silent"))
        loop.add_reader(channel, self._read)

    def drop(self, reason: str) -> None:
        """Hang up."""
        self._end()
        self._channel.close()
        if reason:
            self._acceptor.turn_away(reason, self._arrival.client)

    def _read(self) -> None:
        try:
            is_whole = self._take()
            client = parse_header(self._header, self._arrival.client) if is_whole else None
        except (MalformedError, OSError) as error:
            self.drop("malformed" if isinstance(error, MalformedError) else "")
            return
        if is_whole:
            self._end()
            self._acceptor.hand_over(self._channel, Arrival(self._arrival.listener, client, is_relayed=True))

    def _take(self) -> bool:
        """Take what belongs to the header; whether it is whole. Raises MalformedError, OSError."""
        seen = self._channel.recv(PEEK_BYTES, socket.MSG_PEEK)
        if not seen:
            raise ConnectionResetError("the proxy hung up")
        end = find_end(self._header + seen)
        count = len(seen) if end is None else end - len(self._header)
        self._header += self._channel.recv(count)
        return end is not None

    def _end(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._channel)
        self._acceptor.forget(self)
