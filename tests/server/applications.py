"""Small applications for tests of the server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from typing import Any

from entrepot.server.hub import Message, Receive, Scope, Send
from entrepot.server.pump import Buffer

START: Message = {"type": "http.response.start", "status": 200, "headers": []}


async def read_all(receive: Receive) -> bytes:
    """A whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        more = message["more_body"]
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked, as JSON."""
    body = await read_all(receive)
    told = {name: scope[name] for name in ("method", "path", "http_version", "scheme")}
    told |= {"query": scope["query_string"].decode(), "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    told["headers"] = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    await send(START)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else json.dumps(told).encode()})


class Pouring:
    """Consumes bodies in threads and answers with their digests; remembers what it saw."""

    def __init__(self, idle_seconds: float = 10.0, fails_after: int | None = None) -> None:
        self.idle_seconds = idle_seconds
        self.fails_after = fails_after
        self.errors: list[BaseException] = []
        self.threads: set[str] = set()
        self.seen: list[int] = []
        self.poured = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hashed = hashlib.sha256()

        def consume(pieces: Any) -> None:
            self.threads.add(threading.current_thread().name)
            for piece in pieces:
                hashed.update(piece)
                self.poured += len(piece)
            if self.fails_after is not None and self.poured > self.fails_after:
                raise OSError("no room")

        status = 200
        try:
            rest: list[Buffer] = await scope["entrepot.pour"](consume, self.seen.append, self.idle_seconds)
            for piece in rest:
                hashed.update(piece)
        except OSError as error:
            self.errors.append(error)
            status = 507
        await send({**START, "status": status})
        await send({"type": "http.response.body", "body": hashed.hexdigest().encode()})


class Answering:
    """Answers with as many bytes as it is made with; counts how often."""

    def __init__(self, size: int) -> None:
        self.body = bytes(size)
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        await send(START)
        await send({"type": "http.response.body", "body": self.body})


class Files:
    """Sends spans of one file: the query is `offset-count`; remembers how each ended."""

    def __init__(self, path: Any) -> None:
        self.path = path
        self.ends: list[BaseException | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        offset, _, count = scope["query_string"].partition(b"-")
        descriptor = os.open(self.path, os.O_RDONLY)
        message = {"type": "http.response.zerocopysend", "file": descriptor, "offset": int(offset), "count": int(count)}
        try:
            await send({**START, "headers": [(b"x-from", b"file")]})
            await send(message)
        except BaseException as error:
            self.ends.append(error)
            raise
        else:
            self.ends.append(None)
        finally:
            os.close(descriptor)


def _start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _body(body: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


LENGTH = (b"content-length", b"3")
SCRIPTS: dict[str, list[Message]] = {
    "/stream": [_start(), _body(b"one", more=True), _body(more=True), _body(b"two", more=True), _body()],
    "/empty": [_start(status=204), _body()],
    "/length": [_start(LENGTH), _body(b"abc")],
    "/split": [_start((b"location", b"a\r\nset-cookie: b")), _body(b"abc")],
    "/silent": [],
    "/half": [_start(LENGTH), _body(b"ab", more=True)],
}


class Parts:
    """Sends a response in parts: the path says what. Remembers how the endless ones ended."""

    def __init__(self) -> None:
        self.sent = 0
        self.ends: list[BaseException] = []
        self.go = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        for message in SCRIPTS.get(path, ()):
            await send(message)
        if path == "/fails":
            raise RuntimeError("it has failed")
        if path == "/wait":
            await asyncio.to_thread(self.go.wait, 20)
            await send(_start())
            await send(_body(b"waited"))
        if path == "/gone":
            await read_all(receive)
            self.ends.append(RuntimeError((await receive())["type"]))
        if path == "/endless":
            await self._send_endlessly(send)

    async def _send_endlessly(self, send: Send) -> None:
        await send(_start())
        try:
            while True:
                await send(_body(bytes(1 << 16), more=True))
                self.sent += 1 << 16
        except BaseException as error:
            self.ends.append(error)
            raise
