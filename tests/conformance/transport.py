"""Two ways to carry a request to a registry: into an ASGI application in this process, or over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import threading
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

Pairs = tuple[tuple[str, str], ...]
Body = bytes | tuple[bytes, ...]
Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

LIMIT_SECONDS = 60
PIECE_BYTES = 64 * 1024
IN_PROCESS_URL = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Response:
    """A whole answer: status, headers as they came, and the body."""

    status: int
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(self.values(name)), None)

    def values(self, name: str) -> list[str]:
        """Every value of a header, one for each line."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Transport(Protocol):
    """Carries one request and answers with the whole response; `url` is where the registry is."""

    url: str

    def send(self, method: str, url: str, headers: Pairs, body: Body) -> Response:
        """Send to an absolute URL. A tuple of bytes is streamed in those pieces, without a length."""

    def close(self) -> None:
        """Release what the transport holds."""


class InProcess:
    """Calls an ASGI application, its lifespan included, on an event loop of its own thread."""

    def __init__(self, application: Application) -> None:
        self.url = IN_PROCESS_URL
        self.application = application
        self.state: dict[str, Any] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="conformance-asgi", daemon=True)
        self.thread.start()
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.started = asyncio.Event()
        self.lifespan = asyncio.run_coroutine_threadsafe(self._lifespan(), self.loop)
        self.messages.put_nowait({"type": "lifespan.startup"})
        asyncio.run_coroutine_threadsafe(self.started.wait(), self.loop).result(LIMIT_SECONDS)
        if self.lifespan.done():
            self.lifespan.result()

    async def _lifespan(self) -> None:
        """The application's lifespan, as one long call."""

        async def send(message: Message) -> None:
            """Note that the application is up, or raise why it is not."""
            if message["type"].endswith(".failed"):
                raise RuntimeError(f"{message['type']}: {message.get('message', '')}")
            self.started.set()

        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.application(scope, self.messages.get, send)
        finally:
            self.started.set()

    def send(self, method: str, url: str, headers: Pairs, body: Body) -> Response:
        """Run one request to its end on the loop's thread."""
        call = Call(method, url, headers, body)
        asyncio.run_coroutine_threadsafe(self._run(call), self.loop).result(LIMIT_SECONDS)
        return call.response()

    async def _run(self, call: Call) -> None:
        """One request, on the loop."""
        await self.application(call.scope(dict(self.state)), call.receive, call.send)

    def close(self) -> None:
        """Shut the application down and stop the loop."""
        self.loop.call_soon_threadsafe(self.messages.put_nowait, {"type": "lifespan.shutdown"})
        self.lifespan.result(LIMIT_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LIMIT_SECONDS)
        self.loop.close()


class Call:
    """The receiving and sending ends of one ASGI request."""

    def __init__(self, method: str, url: str, headers: Pairs, body: Body) -> None:
        self.method = method
        self.parts = urllib.parse.urlsplit(url)
        self.headers = framed(headers, body, self.parts.netloc)
        self.chunks = [body] if isinstance(body, bytes) else list(body) or [b""]
        self.sent: list[bytes] = []
        self.start: Message = {}

    def scope(self, state: dict[str, Any]) -> Message:
        """The ASGI scope, as a server of HTTP/1.1 makes it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.parts.scheme,
            "path": urllib.parse.unquote(self.parts.path),
            "raw_path": self.parts.path.encode("ascii"),
            "query_string": self.parts.query.encode("ascii"),
            "root_path": "",
            "headers": [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in self.headers],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 5000),
            "extensions": {"http.response.zerocopysend": {}},
            "state": state,
        }

    async def receive(self) -> Message:
        """The next piece of the body, then nothing until the application is done."""
        if not self.chunks:
            await asyncio.Event().wait()
        chunk = self.chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}

    async def send(self, message: Message) -> None:
        """Keep what the application answers, files that it leaves to the server included."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.zerocopysend":
            self.sent.append(os.pread(message["file"], message["count"], message["offset"]))
        else:
            self.sent.append(bytes(message.get("body", b"")))

    def response(self) -> Response:
        """The collected answer; a server drops the body of an answer to HEAD, so this does too."""
        headers = tuple(
            (bytes(key).decode("latin-1"), bytes(value).decode("latin-1")) for key, value in self.start["headers"]
        )
        body = b"".join(self.sent)
        return Response(self.start["status"], headers, b"" if self.method == "HEAD" else body)


class OverHTTP:
    """Speaks HTTP/1.1 to a running server, with a connection per request or one that is kept."""

    def __init__(self, url: str, *, keep_alive: bool = False) -> None:
        self.url = url.rstrip("/")
        self.keep_alive = keep_alive
        self.kept: http.client.HTTPConnection | None = None

    def send(self, method: str, url: str, headers: Pairs, body: Body) -> Response:
        """Send and read to the end; when a kept connection turns out to be closed, send again on a new one."""
        parts = urllib.parse.urlsplit(url)
        was_kept = self.kept is not None
        try:
            return self._exchange(method, parts, framed(headers, body, parts.netloc), body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not was_kept:
                raise
            return self._exchange(method, parts, framed(headers, body, parts.netloc), body)

    def _exchange(self, method: str, parts: urllib.parse.SplitResult, headers: Pairs, body: Body) -> Response:
        """One request and its response on a connection."""
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection = self._connection(parts)
        with contextlib.ExitStack() as failed:
            failed.callback(connection.close)
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for key, value in headers:
                connection.putheader(key, value)
            connection.endheaders()
            was_taken = self._send_body(connection, body)
            answer = connection.getresponse()
            response = Response(answer.status, tuple(answer.getheaders()), answer.read())
            failed.pop_all()
        self._keep(connection, answer.will_close or not was_taken)
        return response

    def _send_body(self, connection: http.client.HTTPConnection, body: Body) -> bool:
        """Send the body, but stop when the answer is already there, as it is when the headers were refused."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces_of(body):
                if select.select([connection.sock], [], [], 0)[0]:
                    return False
                connection.send(piece)
            return True
        return False

    def _connection(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        """The kept connection where it leads to the same place, or a new one."""
        if self.kept is not None and (self.kept.host, self.kept.port) == (parts.hostname, parts.port):
            kept, self.kept = self.kept, None
            return kept
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=LIMIT_SECONDS)

    def _keep(self, connection: http.client.HTTPConnection, will_close: bool) -> None:
        """Keep a connection for the next request, or close it."""
        self.close()
        if self.keep_alive and not will_close:
            self.kept = connection
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connection, if there is one."""
        if self.kept is not None:
            self.kept.close()
            self.kept = None


def pieces_of(body: Body) -> Iterator[bytes]:
    """A body as it goes over the wire: plain in bounded pieces, or in the chunks of Transfer-Encoding."""
    if isinstance(body, bytes):
        yield from (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))
    else:
        yield from (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*body, b""))


def framed(headers: Pairs, body: Body, host: str) -> Pairs:
    """The headers with Host and the body's framing, unless the caller has set the length."""
    names = {key.lower() for key, _ in headers}
    if isinstance(body, tuple):
        framing: Pairs = (("Transfer-Encoding", "chunked"),)
    elif body and "content-length" not in names:
        framing = (("Content-Length", str(len(body))),)
    else:
        framing = ()
    return (("Host", host), *headers, *framing)
