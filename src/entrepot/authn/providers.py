"""Providers that people sign on with, asked over HTTP; what that needs is imported when the first one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented
from entrepot.ports.providers import Endpoints, Providers, Tokens


class HttpProviders:
    """The port Providers. `is_private_allowed` also lets it go to private addresses, and over plain http."""

    def __init__(self, *, is_private_allowed: bool) -> None:
        self._is_private_allowed = is_private_allowed
        self._building = asyncio.Lock()
        self._inner: Providers | None = None

    async def discover(self, issuer: Issuer) -> Endpoints:
        return await (await self._built()).discover(issuer)

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        await (await self._built()).prove(issuer, token)

    async def redeem(self, issuer: Issuer, form: Mapping[str, str], secret: str) -> Tokens:
        return await (await self._built()).redeem(issuer, form, secret)

    async def describe(self, issuer: Issuer, access_token: str) -> dict[str, Any]:
        return await (await self._built()).describe(issuer, access_token)

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
            self._inner = None

    async def _built(self) -> Providers:
        async with self._building:
            if self._inner is None:
                module = await asyncio.to_thread(import_module, "entrepot.authn._providers")
                inner: Providers = module.AskedProviders(is_private_allowed=self._is_private_allowed)
                self._inner = inner
            return self._inner
