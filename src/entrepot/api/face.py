"""`/api/...` as an ASGI application that is built when it is first asked for.

Litestar costs most of a second of a core and 23 MiB: a server that only pushes and pulls never pays. The first request
pays in a thread, so that pulls beside it go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Final

from entrepot.api.paths import rewrite
from entrepot.core.identify import authenticate
from entrepot.domain.access import Caller
from entrepot.domain.json import render_json
from entrepot.wire.bodies import Limits, read
from entrepot.wire.context import Context
from entrepot.wire.messages import Application, Message, Receive, Request, Scope, Send
from entrepot.wire.rates import telling

PREFIX: Final = "/api/v1"
# Documents that list many things; who may send them is judged before the body is read.
LARGE: Final = tuple(f"{PREFIX}/{path}" for path in ("policy", "policy/plan", "plan-book", "plan-book/changes"))
MOST_TARGET_BYTES: Final = 4096
NOTES: Final = ("entrepot.route", "entrepot.caller")
# What a request brings along in its scope: the registry's context, and who finds its caller.
CONTEXT: Final = "entrepot.context"
AUTHENTICATE: Final = "entrepot.authenticate"

Authenticate = Callable[[Context, bytes | None, str], Awaitable[Caller]]


async def authenticate_header(context: Context, header: bytes | None, address: str) -> Caller:
    """Whoever the Authorization header proves, sent from an address. Raises Unauthenticated, TooMany."""
    return await authenticate(context.registry, context.genuine, header, lambda: address)


class ApiFace:
    """The management API. `who` finds the caller; the command line has another one for work on local files."""

    def __init__(self, context: Context, who: Authenticate = authenticate_header) -> None:
        self._context = context
        self._who = who
        self._building = asyncio.Lock()
        self._application: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > MOST_TARGET_BYTES:
            # The framework remembers paths and queries, as many as come.
            await _refuse_long(scope["method"], send)
            return
        application = self._application or await self._build()
        inner = {**scope, "method": "GET" if scope["method"] == "HEAD" else scope["method"], "path": rewrite(scope)}
        inner |= {CONTEXT: self._context, AUTHENTICATE: self._who}
        if self._context.limiter is not None:
            send = telling(inner, send)
        if scope["method"] == "HEAD":
            send = _without_body(send)
        try:
            await application(inner, self._body(scope, receive, inner["path"]).receive, send)
        finally:
            scope.update({name: inner[name] for name in NOTES if name in inner})

    def _body(self, scope: Scope, receive: Receive, path: str) -> _Body:
        limits = self._context.limits
        most = limits.document_bytes if path in LARGE else limits.form_bytes
        return _Body(limits, most, Request(scope, receive))

    async def _build(self) -> Application:
        async with self._building:
            if self._application is None:
                module = await asyncio.to_thread(import_module, "entrepot.api.application")
                application: Application = await asyncio.to_thread(module.build)
                self._application = application
            return self._application


class _Body:
    """Reads the body when it is wanted, whole and within the limits of size and time of all bodies."""

    def __init__(self, limits: Limits, most: int, request: Request) -> None:
        self._limits = limits
        self._most = most
        self._request = request
        self._is_read = False

    async def receive(self) -> Message:
        if self._is_read:
            return await self._request.receive()
        self._is_read = True
        body = await read(self._request, self._limits, self._most)
        return {"type": "http.request", "body": body, "more_body": False}


async def _refuse_long(method: str, send: Send) -> None:
    message = f"the path and query of a request to the API have {MOST_TARGET_BYTES} bytes at most"
    body = render_json({"errors": [{"code": "SIZE_INVALID", "message": message, "detail": {}}]})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 414, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _without_body(send: Send) -> Send:
    async def forward(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return forward
