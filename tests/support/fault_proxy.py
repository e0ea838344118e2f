"""A proxy in front of a store that delays, resets, refuses, cuts off or forgets to answer what the tests name."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Literal, Self

import msgspec

PIECE_BYTES = 65536
START_SECONDS = 30
FOREVER = 1_000_000
TURNS = 10
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
REASONS = {500: "Internal Server Error", 503: "Service Unavailable"}
# To be closed with a reset instead of an end.
AT_ONCE = struct.pack("ii", 1, 0)

Kind = Literal["delay", "answer", "reset", "cut", "forget"]


class Fault(msgspec.Struct, frozen=True):
    """What is done to a request.

    `delay` passes it on after `seconds`. `answer` refuses it with `status` and the store's `code` once `after_bytes` of
    its body have come, without asking the store. `reset` breaks the connection at that point. `cut` passes it on, and
    breaks off after so many bytes of the answer's body. `forget` passes it on, and breaks off instead of answering.
    """

    kind: Kind
    status: int = 503
    code: str = "SlowDown"
    after_bytes: int = 0
    seconds: float = 0.0


class Rule(msgspec.Struct):
    """A fault for the next `times` requests whose first line has `method` and `part` in it."""

    fault: Fault
    times: int
    method: str
    part: str


class FaultProxy:
    """Passes one request a connection on to 127.0.0.1:`target`; a context manager, with a loop in a thread of its own.

    `seen` are the first lines of what came, `harmed` of what a fault was done to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0
        self.seen: list[str] = []
        self.harmed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(START_SECONDS)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def harm(self, fault: Fault, *, times: int = 1, method: str = "", part: str = "") -> None:
        """Do something to the next requests of a kind."""
        with self._lock:
            self._rules.append(Rule(fault, times, method, part))

    def heal(self) -> None:
        """Pass everything on from now on."""
        with self._lock:
            self._rules.clear()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        # Whoever was let in at this moment becomes a task a few turns of the loop later.
        for _ in range(TURNS):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)

    def _take(self, line: str) -> Fault | None:
        with self._lock:
            self.seen.append(line)
            for rule in self._rules:
                if rule.times and line.startswith(rule.method) and rule.part in line:
                    rule.times -= 1
                    self.harmed.append(line)
                    return rule.fault
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Cancelled at the end of the test, which nobody need hear of.
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._exchange(reader, writer)
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        length = int(found[1]) if found else 0
        fault = self._take(head.partition(b"\r\n")[0].decode("latin-1"))
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind in {"answer", "reset"}:
            await reader.readexactly(min(length, fault.after_bytes))
            await _refuse(writer, fault)
            return
        from_store, to_store = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            to_store.write(head[:-2] + b"connection: close\r\n\r\n")
            await _pass_on(reader, to_store, length)
            await _answer(from_store, writer, fault, is_head=head.startswith(b"HEAD "))
        finally:
            to_store.close()


async def _answer(
    from_store: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, *, is_head: bool
) -> None:
    head = await from_store.readuntil(b"\r\n\r\n")
    if fault is not None and fault.kind == "forget":
        _break(writer)
        return
    writer.write(head)
    if fault is not None and fault.kind == "cut":
        await _pass_on(from_store, writer, fault.after_bytes)
        _break(writer)
        return
    found = LENGTH.search(head)
    await _pass_on(from_store, writer, 0 if is_head else int(found[1]) if found else None)


async def _refuse(writer: asyncio.StreamWriter, fault: Fault) -> None:
    if fault.kind == "reset":
        _break(writer)
        return
    body = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>as the test wants</Message></Error>".encode()
    line = f"HTTP/1.1 {fault.status} {REASONS[fault.status]}\r\n"
    headers = f"content-type: application/xml\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(line.encode() + headers.encode() + body)
    await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None) -> None:
    """So many bytes, or all until the end."""
    left = FOREVER * PIECE_BYTES if length is None else length
    while left and (piece := await reader.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        writer.write(piece)
        await writer.drain()


def _break(writer: asyncio.StreamWriter) -> None:
    connection: Any = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
