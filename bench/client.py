"""A load generator that is cheap beside the server it measures: one epoll loop, generators, preformatted requests.

A *lane* is one client: a generator that yields `None` to wait for its socket, or a clock time to sleep until.
Sockets are registered once, edge-triggered, so a request costs send, epoll_wait and recv and nothing else. Bodies that
nobody looks at are dropped inside the kernel (`MSG_TRUNC`), so that a large download measures the server alone.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple

Lane = Generator[float | None, None, None]
clock = time.monotonic

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
RECEIVE_BYTES = 65536
DROP_BYTES = 1 << 20
LONGEST_WAIT_SECONDS = 60.0
MOST_ERRORS = 1000


class WrongAnswer(Exception):
    """The server answered, but not with what this request must get."""


class Reply(NamedTuple):
    """One answer; the body is empty where it was dropped."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """The value of one header (name in lower case), or nothing."""
        start = self.head.lower().find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        start += len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip()


class Engine:
    """Runs lanes until all have ended, or none has moved for a minute."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.owners: dict[int, Lane] = {}
        self.timers: list[tuple[float, int, Lane]] = []
        self.asleep: set[Lane] = set()
        self.current: Lane | None = None
        self.live: set[Lane] = set()
        self.sequence = 0
        self.dropped = bytearray(DROP_BYTES)

    def register(self, descriptor: int) -> None:
        """Events of this descriptor wake the lane that is running now."""
        assert self.current is not None
        self.owners[descriptor] = self.current
        self.poll.register(descriptor, EDGES)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor that is about to be closed (closing removes it from epoll)."""
        self.owners.pop(descriptor, None)

    def run(self, lanes: Iterable[Lane]) -> None:
        """Start every lane, then serve sockets and timers."""
        for lane in lanes:
            self.live.add(lane)
            self._step(lane)
        while self.live:
            events = self.poll.poll(self._patience(), 1024)
            if not events and not self.timers:
                raise WrongAnswer(f"{len(self.live)} clients wait for more than {LONGEST_WAIT_SECONDS:.0f} s")
            for descriptor, _ in events:
                owner = self.owners.get(descriptor)
                if owner is not None and owner in self.live and owner not in self.asleep:
                    self._step(owner)
            self._wake_sleepers()

    def _patience(self) -> float:
        if not self.timers:
            return LONGEST_WAIT_SECONDS
        return max(0.0, self.timers[0][0] - clock())

    def _wake_sleepers(self) -> None:
        now = clock()
        while self.timers and self.timers[0][0] <= now:
            lane = heapq.heappop(self.timers)[2]
            self.asleep.discard(lane)
            self._step(lane)

    def _step(self, lane: Lane) -> None:
        self.current = lane
        try:
            until = lane.send(None)
        except StopIteration:
            self.live.discard(lane)
            return
        if until is not None:
            self.sequence += 1
            self.asleep.add(lane)
            heapq.heappush(self.timers, (until, self.sequence, lane))


class Connection:
    """One client's connection to one server; opened at need, so a closed one reconnects."""

    def __init__(self, engine: Engine, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.engine = engine
        self.address = address
        self.tls = tls
        self.receive_buffer_bytes = 0
        self.socket: socket.socket | None = None

    def close(self) -> None:
        """Close at once."""
        if self.socket is not None:
            self.engine.forget(self.socket.fileno())
            self.socket.close()
            self.socket = None

    def open(self) -> Generator[None, None, socket.socket]:
        """Connect, with a full handshake where TLS is on."""
        if self.socket is not None:
            return self.socket
        plain = socket.socket()
        plain.settimeout(0)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.receive_buffer_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
        plain.connect_ex(self.address)
        if self.tls is None:
            self.engine.register(plain.fileno())
            self.socket = plain
            return plain
        return (yield from self._open_tls(plain, self.tls))

    def _open_tls(self, plain: socket.socket, tls: ssl.SSLContext) -> Generator[None, None, socket.socket]:
        # wrap_socket asks for the peer's address, so it must come after the connect has gone through.
        self.engine.register(plain.fileno())
        self.socket = plain
        while plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and not is_connected(plain):
            yield
        secured = tls.wrap_socket(plain, do_handshake_on_connect=False)
        self.socket = secured
        while True:
            try:
                secured.do_handshake()
            except WAITS:
                yield
            else:
                return secured

    def send(self, data: bytes | memoryview) -> Generator[None, None, None]:
        """Send everything."""
        channel = yield from self.open()
        while True:
            try:
                sent = channel.send(data)
            except WAITS:
                yield
                continue
            if sent == len(data):
                return
            data = memoryview(data)[sent:]

    def send_file(self, file: int, size: int) -> Generator[None, None, None]:
        """Send the first `size` bytes of an open file without copying them through this process."""
        channel = yield from self.open()
        offset = 0
        while offset < size:
            try:
                offset += os.sendfile(channel.fileno(), file, offset, size - offset)
            except BlockingIOError:
                yield

    def receive(self, *, keep: bool, is_head: bool) -> Generator[None, None, Reply]:
        """One answer, its body kept or dropped."""
        head, rest = yield from self._receive_head()
        status = int(head[9:12])
        lowered = head.lower()
        if is_head or status in {204, 304}:
            body = b""
        elif (at := lowered.find(b"\r\ncontent-length:")) >= 0:
            end = lowered.find(b"\r\n", at + 17)
            size = int(lowered[at + 17 : end if end >= 0 else None])
            body = yield from self._receive_body(rest, size, keep=keep)
        elif b"\r\ntransfer-encoding: chunked" in lowered:
            body = yield from self._receive_chunks(rest)
        else:
            raise WrongAnswer(f"an answer without a length: {head[:80]!r}")
        if b"\r\nconnection: close" in lowered:
            self.close()
        return Reply(status, head, body)

    def _receive_head(self) -> Generator[None, None, tuple[bytes, bytes]]:
        yield
        data = yield from self._receive_some()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += yield from self._receive_some()
        return data[:end], data[end + 4 :]

    def _receive_some(self) -> Generator[None, None, bytes]:
        channel = self.socket
        assert channel is not None
        while True:
            try:
                data = channel.recv(RECEIVE_BYTES)
            except WAITS:
                yield
                continue
            if not data:
                raise ConnectionResetError("the server closed the connection before the end of its answer")
            return data

    def _receive_body(self, rest: bytes, size: int, *, keep: bool) -> Generator[None, None, bytes]:
        if keep or len(rest) >= size:
            while len(rest) < size:
                rest += yield from self._receive_some()
            return rest[:size]
        yield from self.drop(size - len(rest))
        return b""

    def drop(self, size: int) -> Generator[None, None, None]:
        """Receive `size` bytes and throw them away."""
        channel = self.socket
        assert channel is not None
        flags = 0 if self.tls else socket.MSG_TRUNC
        while size:
            try:
                count = channel.recv_into(self.engine.dropped, min(size, DROP_BYTES), flags)
            except WAITS:
                yield
                continue
            if not count:
                raise ConnectionResetError("the server closed the connection inside a body")
            size -= count

    def _receive_chunks(self, data: bytes) -> Generator[None, None, bytes]:
        while not data.endswith(b"0\r\n\r\n"):
            data += yield from self._receive_some()
        body = bytearray()
        while True:
            line, _, data = data.partition(b"\r\n")
            size = int(line, 16)
            if not size:
                return bytes(body)
            body += data[:size]
            data = data[size + 2 :]

    def exchange(self, request: bytes, status: int, *, keep: bool = False) -> Generator[None, None, Reply]:
        """Send one request without a body (or with it in `request`) and require this status."""
        yield from self.send(request)
        reply = yield from self.receive(keep=keep, is_head=request.startswith(b"HEAD"))
        if reply.status != status:
            raise WrongAnswer(f"{request[:90]!r}: {reply.status} instead of {status}: {reply.body[:200]!r}")
        return reply


def is_connected(channel: socket.socket) -> bool:
    """Whether a non-blocking connect has gone through."""
    with contextlib.suppress(OSError):
        channel.getpeername()
        return True
    return False


def tls_context() -> ssl.SSLContext:
    """TLS 1.3, no verification (that would be the client's cost) and no session to resume."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class Tally:
    """What happened to one client process: how long each operation took, and what went wrong."""

    def __init__(self) -> None:
        self.began = clock()
        self.ended = self.began
        self.latencies: list[float] = []
        self.errors = 0
        self.message = ""

    def add(self, began: float) -> None:
        """One operation that began then has ended now."""
        self.ended = clock()
        self.latencies.append(self.ended - began)

    def fail(self, reason: Exception) -> None:
        """One operation went wrong; the first reason is kept for the report."""
        self.errors += 1
        self.message = self.message or f"{type(reason).__name__}: {reason}"


Operation = Callable[[], Generator[float | None, None, None]]


def attempt(tally: Tally, connection: Connection, operation: Operation) -> Lane:
    """Run one operation, timed; a failure is counted and closes the connection."""
    began = clock()
    try:
        yield from operation()
    except (OSError, WrongAnswer) as reason:
        connection.close()
        tally.fail(reason)
    else:
        tally.add(began)


def repeat(tally: Tally, connection: Connection, operation: Operation, more: Callable[[], bool]) -> Lane:
    """A client that does the same again while there is more to do."""
    while tally.errors < MOST_ERRORS and more():
        yield from attempt(tally, connection, operation)
    connection.close()


def at(tally: Tally, connection: Connection, operation: Operation, moment: float) -> Lane:
    """A client that comes once, at its own moment."""
    yield moment
    yield from attempt(tally, connection, operation)
    connection.close()
