"""The pages as an ASGI application, whose templates are read when somebody first asks for one."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Final

from entrepot.wire.context import Context
from entrepot.wire.messages import Application, Receive, Scope, Send

MOUNTS: Final = ("login", "logout", "static")


class WebFace:
    """Everything below the first segments of `MOUNTS`; a server without visitors pays for no template."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._building = asyncio.Lock()
        self._application: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application or await self._build()
        await application(scope, receive, send)

    async def _build(self) -> Application:
        async with self._building:
            if self._application is None:
                module = await asyncio.to_thread(import_module, "entrepot.web.application")
                application: Application = module.Pages(self._context)
                self._application = application
            return self._application
