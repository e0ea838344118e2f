"""What this process knows of issuers elsewhere: whom it asks about them, and how often what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from entrepot.domain.aws import ReadyRequest
from entrepot.domain.errors import Unavailable
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented
from entrepot.ports.outside import Outside
from entrepot.ports.providers import Endpoints, Providers, Tokens

NEWS_SECONDS: Final = 10
MOST_NEWS: Final = 1000


class NobodyOutside:
    """The port Outside of a process that asks nobody."""

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        raise _asks_nobody(issuer.name, token.algorithm)

    def require_keys(self, jwks: str) -> None:
        raise _asks_nobody("", jwks[:0])

    async def forward(self, issuer: Issuer, request: ReadyRequest) -> str:
        raise _asks_nobody(issuer.name, request.url)

    async def close(self) -> None:
        return


class NoProviders:
    """The port Providers of a process that asks nobody."""

    async def discover(self, issuer: Issuer) -> Endpoints:
        raise _asks_nobody(issuer.name, "")

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        raise _asks_nobody(issuer.name, token.algorithm)

    async def redeem(self, issuer: Issuer, form: Mapping[str, str], secret: str) -> Tokens:
        raise _asks_nobody(issuer.name, secret[:0] + "".join(sorted(form)))

    async def describe(self, issuer: Issuer, access_token: str) -> dict[str, Any]:
        raise _asks_nobody(issuer.name, access_token[:0])

    async def close(self) -> None:
        return


class Trust:
    """Whom to ask, and counts of (issuer, result) and of sign-ins since the process began."""

    def __init__(self, outside: Outside | None = None, providers: Providers | None = None) -> None:
        self.outside: Outside = outside or NobodyOutside()
        self.providers: Providers = providers or NoProviders()
        self.counts: dict[tuple[str, str], int] = {}
        self.sign_ins: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], int] = {}

    def count(self, issuer: str, result: str) -> None:
        """One more of a kind."""
        self.counts[issuer, result] = self.counts.get((issuer, result), 0) + 1

    def count_sign_in(self, way: str, result: str) -> None:
        """One more sign-in with a browser, by a way (a provider, or `password`), with a result."""
        self.sign_ins[way, result] = self.sign_ins.get((way, result), 0) + 1

    def is_news(self, issuer: str, result: str, now: int) -> bool:
        """Whether a refusal is worth an event: equal ones within seconds are not, which would fill the database."""
        key = (issuer, result)
        if now < self._told.get(key, 0) + NEWS_SECONDS * 1_000_000:
            return False
        if len(self._told) >= MOST_NEWS:
            self._told.clear()
        self._told[key] = now
        return True


def _asks_nobody(issuer: str, subject: str) -> Unavailable:
    return Unavailable("this process asks no issuer", issuer=issuer, subject=subject, problem="away")
