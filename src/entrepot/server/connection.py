"""One client's connection: requests parsed by llhttp, answered one after the other (RFC 9112)."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from entrepot.server.exchange import MOST_BUFFERED, Exchange
from entrepot.server.heads import Refusal, parse_target, render_refusal
from entrepot.server.listeners import MAIN, Arrival
from entrepot.server.pump import BUFFER_BYTES, TURN_BYTES, WORTH_WAKING_BYTES, Buffer, Consume, read_some, wake_at

if TYPE_CHECKING:
    from entrepot.server.hub import Hub, Scope

MOST_HEADERS: Final = 100
MOST_TARGET_BYTES: Final = 16_384
LINGER_SECONDS: Final = 2.0
SURELY_LARGE: Final = 4 << 20
# Headers that the server itself has to understand.
SPECIAL: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
ZERO_COPY: Final[dict[str, dict[str, object]]] = {"http.response.zerocopysend": {}}
Transport = asyncio.Transport


class Connection(asyncio.Protocol):
    """Between asyncio, the parser and the exchanges; at `deadline` (the loop's clock) what is waited for now ends."""

    def __init__(self, hub: Hub, arrival: Arrival | None = None) -> None:
        self.hub = hub
        self._arrival = arrival
        self._notes: dict[str, object] = {}
        self.loop = hub.loop
        self.deadline = math.inf
        self._transport: Transport = cast("Transport", None)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._arriving: Exchange | None = None
        self._direct = 0
        self._is_pumping = False
        self._is_resuming = False
        self._is_reading = True
        self._is_lingering = False
        self._is_renounced = False
        self._hang_up: Callable[[], None] | None = None
        self._can_write: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusal: Refusal | None = None
        self._untaken_bytes = 0
        self._head_bytes = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] | None = []
        self._special: dict[bytes, bytes] = {}

    # What an acceptor calls.

    def begin(self, hang_up: Callable[[], None]) -> bool:
        """Count as a connection while TLS is still to begin, which `hang_up` ends; whether there is room for it."""
        if not self.hub.has_room():
            return False
        self._hang_up = hang_up
        self.hub.connections.add(self)
        self.hub.idle[self] = None
        return True

    def settle(self) -> None:
        """TLS has begun or never will, after which this counts no more."""
        if self._hang_up is not None:
            self._hang_up = None
            self.connection_lost(None)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("Transport", transport)
        peer = transport.get_extra_info("peername")
        # An IPv6 socket shows IPv4 clients in a form that no rule about addresses expects (RFC 4291, section 2.5.5.2).
        self._client = (peer[0].removeprefix("::ffff:"), peer[1]) if peer else None
        secured = transport.get_extra_info("ssl_object")
        self._is_plain = secured is None
        if self._arrival is not None:
            self._arrive(self._arrival, secured)
        has_place, self._hang_up = self._hang_up is not None, None
        if not has_place and not self.hub.has_room():
            self._is_lingering = True
            self._answer(Refusal(503, "all connections of this server are taken; try again"))
            self.close()
            return
        self.hub.connections.add(self)
        self.hub.idle.pop(self, None)
        self._rest()
        if self._is_renounced and "entrepot.certificate" in self._notes:
            # A request may have come with the end of the handshake: it is not heard.
            self._is_lingering = True
            self.close()

    def data_received(self, data: bytes) -> None:
        if self._is_lingering or self._refusal is not None:
            return
        if self._direct:
            data = self._take_direct(data)
        if data:
            self._parse(data)
        self.regulate()

    def connection_lost(self, _: Exception | None) -> None:
        self.hub.connections.discard(self)
        self.hub.idle.pop(self, None)
        self.deadline = math.inf
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.lose()
        if self._can_write is not None:
            self.resume_writing()
        # Else these and the connection keep each other alive until the collector comes round.
        self._parser = self._current = self._arriving = None
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._can_write = self.loop.create_future()
        self._wait_for_client()

    def resume_writing(self) -> None:
        self._untaken_bytes = 0
        if not self._transport.is_closing():
            self.deadline = math.inf if self._current is not None else self._until_head()
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)
        self._can_write = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._target, self._headers, self._special = b"", [], {}
        if self._current is None:
            self.hub.idle.pop(self, None)
            self.deadline = self._until_head()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers is None:
            # A trailer: nothing here needs one, and none may pass for a header (RFC 9110, section 6.5.1).
            return
        name = name.lower()
        self._headers.append((name, value))
        if name in SPECIAL:
            if name in self._special and name == b"host":
                value = b""
            self._special[name] = value

    def on_headers_complete(self) -> None:
        if self._is_resuming:
            return
        version = self._parser.get_http_version()
        headers, self._headers = self._headers or [], None
        try:
            self._require_bounds(headers)
            self._require_host(version)
            path, raw_path, query = parse_target(self._target)
        except Refusal as refusal:
            self._refusal = self._refusal or refusal
        if self._refusal is not None:
            return
        scope: Scope = {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http" if self._is_plain else "https",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "client": self._client,
        }
        if self._notes:
            scope.update(self._notes)
        special = self._special
        length = None if b"transfer-encoding" in special else int(special.get(b"content-length", b"0"))
        exchange = Exchange(self, scope, keeps=self._parser.should_keep_alive(), length=length)
        if self._is_plain:
            scope["extensions"] = ZERO_COPY
            if length != 0:
                scope["entrepot.pour"] = exchange.pour
        exchange.expects = special.get(b"expect", b"").lower() == b"100-continue" and version == "1.1"
        self._arriving = exchange
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        if self._arriving is not None:
            self._arriving.feed(body)
            self._wake(self._arriving)

    def on_message_complete(self) -> None:
        arriving = self._arriving
        if arriving is None or (arriving.length != 0 and b"upgrade" in self._special and self._parser.should_upgrade()):
            # The parser takes a body behind an upgrade for the other protocol: see `_ignore_upgrade`.
            return
        arriving.is_complete = True
        self._wake(arriving)
        self._arriving = None

    # What exchanges call.

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the client takes them."""
        self._transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether what was written has yet to be taken by the client."""
        return self._can_write is not None

    async def writable(self) -> None:
        """Wait until the client has taken enough. Raises ConnectionResetError."""
        while self._can_write is not None:
            await asyncio.shield(self._can_write)
        if self._transport.is_closing():
            raise ConnectionResetError("the client went away")

    async def flushed(self) -> None:
        """Wait until the kernel has all that was written, so that others may write. Raises ConnectionResetError."""
        if not self._transport.get_write_buffer_size():
            return
        self._transport.set_write_buffer_limits(0)
        try:
            await self.writable()
        finally:
            self._transport.set_write_buffer_limits()

    def channel(self) -> socket.socket:
        """The connection's socket once more, for a thread: to be closed by whoever asked.

        Raises ConnectionResetError.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("the client went away")
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        # What is said here need not be asked of the kernel; for what threads do, IPv6 is the same.
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptor)

    def keeps_alive(self, exchange: Exchange) -> bool:
        """Whether another request may follow this one."""
        # A client that was never invited to send its body may send it yet, or not: nobody can tell what comes next.
        return not self.hub.is_stopping and not exchange.expects

    def regulate(self) -> None:
        """Read from the client as long as somebody takes it."""
        if self._is_pumping or self._parser is None:
            return
        arriving = self._arriving
        wanted = not self._waiting and (arriving is None or arriving.buffered < MOST_BUFFERED)
        if wanted == self._is_reading or self._transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    async def pump(self, exchange: Exchange, chunks: list[bytes], consume: Consume) -> None:
        """Consume `chunks`, then what the socket holds, in a thread, until the client pauses or the body ends."""
        if exchange.length is not None and not self._direct:
            # The rest is counted here; the parser, which has not seen its end, is done with.
            self._direct = exchange.length - exchange.received
            self._parser = httptools.HttpRequestParser(self)
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        self._is_pumping = True
        channel = self.channel()
        work = self._pump_direct if exchange.length is not None else self._pump_chunked
        running = self.loop.run_in_executor(self.hub.pool, work, channel, exchange, (chunks, consume))
        running.add_done_callback(lambda _: self._end_pump(channel))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            channel.shutdown(socket.SHUT_RDWR)
            raise

    def _end_pump(self, channel: socket.socket) -> None:
        with suppress(OSError):
            wake_at(channel, 1)
        channel.close()
        self._is_pumping = False
        self.regulate()
        if self._refusal is not None:
            self._refuse(self._refusal)

    def finish(self, exchange: Exchange) -> None:
        """The response is written: on to the next request, or to the end."""
        if self._transport.is_closing():
            return
        if not exchange.keeps or not exchange.is_complete:
            self._part(exchange)
            return
        self._current = None
        if self._waiting:
            self._begin(self._waiting.popleft())
            self.regulate()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        else:
            self._rest()

    def abort(self) -> None:
        """Drop the connection, whatever is on its way."""
        if self._hang_up is not None:
            self._hang_up()
            return
        if self._is_plain and not self._transport.is_closing():
            # A thread may be sending or receiving on its own descriptor of this socket.
            with self.channel() as channel, suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        self._transport.abort()

    def close(self) -> None:
        """Close after what was written has gone out, which may not take for ever either."""
        if self._hang_up is not None:
            self._hang_up()
            return
        self._wait_for_client()
        self._transport.close()

    # What the hub calls.

    def expire(self) -> None:
        """The deadline has passed."""
        if self._untaken_bytes and self._transport.get_write_buffer_size() < self._untaken_bytes:
            # Slow is not silent: some of what was written has been taken since.
            self._wait_for_client()
        elif self._current is not None or self._is_lingering or self._transport.is_closing():
            self.abort()
        else:
            self.close()

    def retire(self) -> None:
        """Close now if idle, else after the response that is on its way."""
        if self._current is None:
            self.close()

    def _arrive(self, arrival: Arrival, secured: ssl.SSLObject | None) -> None:
        # Once a connection; where there is nothing to tell, requests do not carry it.
        if arrival.listener != MAIN:
            self._notes["entrepot.listener"] = arrival.listener
        certificate = secured.getpeercert() if secured is not None else None
        if certificate:
            self._notes["entrepot.certificate"] = certificate
        if arrival.is_relayed:
            self._client = arrival.client

    def renounce(self, listener: str) -> None:
        """If it showed a certificate to this listener, end it as `retire` does: the next one is judged anew.

        One that is about to show it is judged by what held when TLS began, and ends with that.
        """
        if self._arrival is None or self._arrival.listener != listener:
            return
        self._is_renounced = self._hang_up is not None
        if "entrepot.certificate" not in self._notes:
            return
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.keeps = False
        self.retire()

    def _rest(self) -> None:
        self.hub.idle[self] = None
        self.deadline = self._until_head()
        if self.hub.is_stopping:
            self.close()

    def _wait_for_client(self) -> None:
        self._untaken_bytes = self._transport.get_write_buffer_size()
        self.deadline = self.loop.time() + self.hub.options.write_seconds

    def _until_head(self) -> float:
        return self.loop.time() + self.hub.options.header_seconds

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        if not self.is_full:
            self.deadline = math.inf
        self._task = self.loop.create_task(self._run(exchange))

    async def _run(self, exchange: Exchange) -> None:
        try:
            if self.is_full:
                # Whoever asks on and on without taking what they were given would fill the memory with answers.
                await self.writable()
            await self.hub.application(exchange.scope, exchange.receive, exchange.send)
        except ConnectionResetError:
            if not exchange.is_gone:
                raise
        finally:
            # An application that ends without an answer, or in the middle of one, has failed: cut it off visibly.
            if not exchange.is_over:
                self.abort()
            # Else the exchange and its scope keep each other alive until the collector comes round.
            exchange.scope.pop("entrepot.pour", None)

    def _require_bounds(self, headers: list[tuple[bytes, bytes]]) -> None:
        if len(self._target) > MOST_TARGET_BYTES:
            raise Refusal(414, f"the request target is longer than {MOST_TARGET_BYTES} bytes")
        if len(headers) > MOST_HEADERS:
            raise Refusal(431, f"the request has more than {MOST_HEADERS} headers")
        most = self.hub.options.header_bytes
        # What arrived with the head is no smaller than the head.
        if self._head_bytes > most and sum(len(name) + len(value) for name, value in headers) > most:
            raise Refusal(431, f"the headers are larger than {most} bytes")

    def _require_host(self, version: str) -> None:
        host = self._special.get(b"host")
        if host == b"" or (host is None and version == "1.1"):
            raise Refusal(400, "the request must have exactly one Host header (RFC 9112, section 3.2)")

    def _parse(self, data: bytes) -> None:
        if self._current is None:
            self._head_bytes += len(data)
        rest: Buffer = data
        while rest:
            rest = self._feed(rest)
        if self._current is not None:
            self._head_bytes = 0
        elif self._head_bytes > self.hub.options.header_bytes + MOST_TARGET_BYTES:
            self._refusal = self._refusal or Refusal(431, "the head of the request does not end")
        if self._refusal is not None:
            self._refuse(self._refusal)

    def _feed(self, data: Buffer) -> Buffer:
        """Have the parser read; what it leaves behind an upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or Refusal(400, f"the request is not HTTP/1.1: {error}")
        return b""

    def _ignore_upgrade(self) -> None:
        # An upgrade may be ignored (RFC 9110, section 7.8), as Java's client expects that offers HTTP/2 with each
        # request; what follows is HTTP/1.1 as before, first of all the body that was announced.
        self._parser = httptools.HttpRequestParser(self)
        arriving = self._arriving
        if arriving is not None:
            chunked = b"transfer-encoding: chunked"
            framing = chunked if arriving.length is None else b"content-length: %d" % arriving.length
            self._is_resuming = True
            self._parser.feed_data(b"PUT / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            self._is_resuming = False

    def _refuse(self, refusal: Refusal) -> None:
        current = self._current
        if current is not None and current.is_complete:
            # What is wrong came after it: it is answered first, see `finish`.
            return
        if current is not None:
            current.lose()
            if current.has_begun:
                self.abort()
                return
        self._answer(refusal)
        self._linger()

    def _answer(self, refusal: Refusal) -> None:
        self.hub.note(refusal, self._client)
        self.write(render_refusal(refusal))

    def _part(self, exchange: Exchange) -> None:
        if exchange.is_complete or exchange.expects:
            self.close()
        else:
            self._linger()

    def _linger(self) -> None:
        # Closing with unread bytes resets the connection, and the client would never read the answer
        # (RFC 9112, section 9.6).
        self._is_lingering = True
        self._arriving, self._direct = None, 0
        self._waiting.clear()
        self.deadline = self.loop.time() + LINGER_SECONDS
        self.regulate()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    def _wake(self, exchange: Exchange) -> None:
        if not self._is_pumping:
            exchange.wake()

    def _take_direct(self, data: bytes) -> bytes:
        exchange, part = self._arriving, data[: self._direct]
        assert exchange is not None, "a body without its exchange"
        self._direct -= len(part)
        exchange.feed(part)
        if not self._direct:
            exchange.is_complete = True
            self._arriving = None
        exchange.wake()
        return data[len(part) :]

    def _pump_direct(self, channel: socket.socket, exchange: Exchange, work: tuple[list[bytes], Consume]) -> None:
        chunks, consume = work
        consume(chunks)
        stop = max(0, self._direct - TURN_BYTES)
        wake_at(channel, self._direct)
        while self._direct > stop and (received := read_some(channel, self._direct)) is not None:
            self._direct -= len(received)
            exchange.received += len(received)
            if not self._direct:
                exchange.is_complete = True
                self._arriving = None
            elif self._direct < WORTH_WAKING_BYTES:
                wake_at(channel, self._direct)
            consume([received])

    def _pump_chunked(self, channel: socket.socket, exchange: Exchange, work: tuple[list[bytes], Consume]) -> None:
        chunks, consume = work
        consume(chunks)
        stop = exchange.received + TURN_BYTES
        while not exchange.is_complete and exchange.received < stop and self._refusal is None:
            if exchange.received > SURELY_LARGE:
                # The end of the body may fall short of this; then it comes when the patience of `read_some` is over.
                wake_at(channel, WORTH_WAKING_BYTES)
            received = read_some(channel, BUFFER_BYTES)
            if received is None:
                return
            rest: Buffer = received
            while rest:
                rest = self._feed(rest)
            # What is wrong may come after the end of this body, which is whole then.
            consume(exchange.drain())
