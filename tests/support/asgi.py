"""An in-memory client for ASGI applications, lifespan included; it holds every answer to the rules of HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import unquote

from entrepot.wire.messages import Application, Message, Scope

T = TypeVar("T")
HOST = "registry.test"
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
ORIGIN = re.compile(r"^https?://[^/]*")
DISCONNECT = "disconnect"
ZERO_COPY: dict[str, dict[str, str]] = {"http.response.zerocopysend": {}}


@dataclass(frozen=True, slots=True)
class Pause:
    """In a body: nothing arrives for so many seconds."""

    seconds: float


Part = bytes | str | Pause


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as a client sees it; `is_file` says that the server was asked to send it from a file by itself."""

    status: int
    pairs: tuple[tuple[str, str], ...]
    body: bytes
    is_file: bool = False

    def __getitem__(self, name: str) -> str:
        """A header by its lower-case name; repeated ones are joined."""
        return ", ".join(value for key, value in self.pairs if key == name)

    def __contains__(self, name: str) -> bool:
        """Whether a header is there."""
        return any(key == name for key, _ in self.pairs)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error, which must have the specification's form."""
        errors = self.json["errors"]
        assert self["content-type"] == "application/json", self
        assert all({"code", "message"} <= set(error) <= {"code", "message", "detail"} for error in errors), errors
        return str(errors[0]["code"])


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to an application on a loop of the test's own."""

    application: Application
    runner: asyncio.Runner
    headers: Mapping[str, str] = field(default_factory=dict)
    scope: Mapping[str, Any] = field(default_factory=dict)

    def with_headers(self, **headers: str) -> Client:
        """The same client with further headers on every request; underscores stand for dashes."""
        return replace(self, headers={**self.headers, **_dashed(headers)})

    def with_scope(self, **scope: Any) -> Client:
        """The same client with further members of the ASGI scope."""
        return replace(self, scope={**self.scope, **scope})

    def request(self, method: str, target: str, body: bytes | Sequence[Part] = b"", **headers: str) -> Answer:
        """One exchange; a body in parts is sent without a length."""
        return self.runner.run(self.exchange(method, target, body, **headers))

    async def exchange(self, method: str, target: str, body: bytes | Sequence[Part] = b"", **headers: str) -> Answer:
        """The same inside a coroutine."""
        pairs = {"host": HOST, **self.headers, **_dashed(headers)}
        if not isinstance(body, bytes):
            pairs.setdefault("transfer-encoding", "chunked")
        elif body or method in {"POST", "PUT", "PATCH"}:
            pairs.setdefault("content-length", str(len(body)))
        path, _, query = ORIGIN.sub("", target).partition("?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
            "client": ("198.51.100.7", 40000),
            "server": ("127.0.0.1", 5000),
            **self.scope,
        }
        parts: Sequence[Part] = [body] if isinstance(body, bytes) else body
        listener = Listener(parts)
        await self.application(scope, listener.receive, listener.send)
        return listener.answer(is_head=method == "HEAD")


class Listener:
    """The other end of one exchange."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts) or [b""]
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._is_file = False
        self._is_over = False

    async def receive(self) -> Message:
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, Pause):
                await asyncio.sleep(part.seconds)
            elif isinstance(part, str):
                break
            else:
                return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        assert not self._is_over, "a message came after the end of the response"
        kind = message["type"]
        if kind == "http.response.start":
            assert self._start is None, "a response began twice"
            self._start = message
            return
        assert self._start is not None, "a body came before the response began"
        if kind == "http.response.zerocopysend":
            self._is_file = True
            self._chunks.append(os.pread(message["file"], message["count"], message["offset"]))
            self._is_over = True
            return
        self._chunks.append(message.get("body", b""))
        self._is_over = not message.get("more_body", False)

    def answer(self, *, is_head: bool) -> Answer:
        """What was answered, once it has been found to be legal HTTP."""
        assert self._start is not None, "there was no response"
        assert self._is_over, "the response has no end"
        headers: Iterable[tuple[bytes, bytes]] = self._start["headers"]
        for name, value in headers:
            assert TOKEN.fullmatch(name), name
            assert not re.search(rb"[\r\n\0]", value), (name, value)
        pairs = tuple((name.decode(), value.decode("latin-1")) for name, value in headers)
        answer = Answer(self._start["status"], pairs, b"".join(self._chunks), self._is_file)
        if is_head or answer.status in {204, 304}:
            assert answer.body == b""
        elif "content-length" in answer:
            assert answer["content-length"] == str(len(answer.body)), answer
        return answer


class Lifespan:
    """Starts an application and stops it again, as a server does."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Message:
        """Send the start-up; what the application says to it."""
        await self._inbox.put({"type": "lifespan.startup"})
        living = self._application({"type": "lifespan"}, self._inbox.get, self._outbox.put)
        self._task = asyncio.ensure_future(living)
        return await self._outbox.get()

    async def stop(self) -> Message:
        """Send the shutdown; what the application says to it, once it has ended."""
        await self._inbox.put({"type": "lifespan.shutdown"})
        message = await self._outbox.get()
        if self._task is not None:
            await self._task
        return message

    async def ended(self) -> None:
        """Wait for an application that failed to start."""
        if self._task is not None:
            await self._task


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner() as runner:
        return runner.run(work)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something has come about that others work on."""
    for _ in range(3000):
        if await is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come about")


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
