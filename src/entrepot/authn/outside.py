"""Issuers of identities elsewhere, asked over HTTP; what that needs is imported when the first one is asked.

The HTTP client and the JOSE library cost a quarter of a second of a core and 20 MiB, which a registry that trusts
nobody else never pays.
"""

from __future__ import annotations

import asyncio
from importlib import import_module

from entrepot.domain.aws import ReadyRequest
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented
from entrepot.ports.outside import Outside


class HttpOutside:
    """The port Outside. `is_private_allowed` also lets it go to private addresses, and over plain http."""

    def __init__(self, *, is_private_allowed: bool) -> None:
        self._is_private_allowed = is_private_allowed
        self._building = asyncio.Lock()
        self._inner: Outside | None = None

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        await (await self._built()).prove(issuer, token)

    def require_keys(self, jwks: str) -> None:
        import_module("entrepot.authn._keys").require_keys(jwks)

    async def forward(self, issuer: Issuer, request: ReadyRequest) -> str:
        return await (await self._built()).forward(issuer, request)

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
            self._inner = None

    async def _built(self) -> Outside:
        async with self._building:
            if self._inner is None:
                module = await asyncio.to_thread(import_module, "entrepot.authn._issuers")
                inner: Outside = module.Issuers(is_private_allowed=self._is_private_allowed)
                self._inner = inner
            return self._inner
