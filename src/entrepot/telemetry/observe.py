"""Wraps an ASGI application: counts, times and logs each request, once, here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from entrepot.telemetry.logs import LineBuffer
from entrepot.telemetry.metrics import Meter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ROUTE = "entrepot.route"
CALLER = "entrepot.caller"
REASON = "entrepot.reason"
LISTENER = "entrepot.listener"
FAILED = 500
LONGEST_AGENT = 200
INTERNAL = b'{"errors":[{"code":"UNKNOWN","message":"the registry failed; its log says why"}]}'


class _Line(msgspec.Struct, omit_defaults=True):
    event: str
    timestamp: str
    method: str
    path: str
    status: int
    ms: float
    sent: int
    received: int
    client: str
    user: str
    agent: str
    reason: str = ""
    listener: str = ""


class Observed:
    """An application with its requests metered and, if wanted, logged; an unforeseen error becomes a bare 500."""

    def __init__(self, application: Application, meter: Meter, *, is_logged: bool) -> None:
        self._application = application
        self._meter = meter
        self.lines = LineBuffer() if is_logged else None
        self._log = structlog.get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            if self.lines is not None:
                self.lines.flush()
            return
        tally = _Tally(receive, send)
        began = time.perf_counter()
        try:
            await self._application(scope, tally.receive, tally.send)
        except Exception as error:  # noqa: BLE001 - the last door: nobody else would answer or tell
            # A client that goes away while it is answered leaves nobody to tell, and nothing to mend.
            if not (isinstance(error, ConnectionResetError) and tally.status):
                self._log.exception("request failed", method=scope["method"], path=scope["path"], error=str(error))
                await tally.fail()
        self._note(scope, tally, time.perf_counter() - began)

    def _note(self, scope: Scope, tally: _Tally, seconds: float) -> None:
        method: str = scope["method"]
        self._meter.add((scope.get(ROUTE, "other"), method, tally.status), seconds, tally.sent, tally.received)
        if self.lines is not None:
            self.lines.add(msgspec.json.encode(_line(scope, tally, seconds)))


class _Tally:
    """Counts what passes; a response that ends early is seen by its missing status."""

    __slots__ = ("_receive", "_send", "received", "sent", "status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.status = 0
        self.sent = 0
        self.received = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        elif kind == "http.response.zerocopysend":
            self.sent += message["count"]
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
        return self._send(message)

    async def fail(self) -> None:
        """Answer 500, unless an answer has begun: then cutting it off is all that is left."""
        if self.status:
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(INTERNAL))]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": INTERNAL})


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _timestamp() -> str:
    now = time.time()
    second = int(now)
    return f"{_second(second)}.{int((now - second) * 1000):03}Z"


def _line(scope: Scope, tally: _Tally, seconds: float) -> _Line:
    client = scope.get("client")
    # By position, in the order of the class: half the time of naming each.
    return _Line(
        "request",
        _timestamp(),
        scope["method"],
        scope["path"],
        tally.status,
        round(seconds * 1000, 3),
        tally.sent,
        tally.received,
        client[0] if client else "",
        scope.get(CALLER, ""),
        _agent(scope["headers"]),
        scope.get(REASON, "") if tally.status >= FAILED else "",
        scope.get(LISTENER, ""),
    )


def _agent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"user-agent":
            return value[:LONGEST_AGENT].decode("latin-1")
    return ""
