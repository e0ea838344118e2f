"""Issuers over HTTP: discovery and keys (OpenID Connect Discovery), and AWS STS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from entrepot.authn._keys import KeySet, read_keys, require_keys
from entrepot.domain.aws import ReadyRequest
from entrepot.domain.errors import Unauthenticated, Unavailable
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented

LIMIT_SECONDS: Final = 5
LARGEST_ANSWER: Final = 512 << 10
DISCOVERY: Final = "/.well-known/openid-configuration"
FRESH_SECONDS: Final = 600
KEPT_SECONDS: Final = 86_400
MISS_SECONDS: Final = 60
FAILED_SECONDS: Final = 10
OK: Final = 200
CLIENT_ERRORS: Final = range(400, 500)
LONGEST_REASON: Final = 200


class Refused(Exception):
    """Why an issuer could not be asked, or not be understood."""


class _Resolver(AbstractResolver):
    """Names to addresses, private ones refused: whoever names an issuer is not to reach what only this machine can."""

    def __init__(self, *, is_private_allowed: bool) -> None:
        self._is_private_allowed = is_private_allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await aiohttp.ThreadedResolver().resolve(host, port, family)
        for each in found:
            self.require_public(each["host"])
        return found

    def require_public(self, address: str) -> None:
        """Raises OSError for an address that is not for everybody; a name that is no address passes."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return
        if not self._is_private_allowed and (not parsed.is_global or parsed.is_multicast):
            raise OSError("it has a private address, which only federation.private_addresses allows")

    async def close(self) -> None:
        """Nothing is held."""


class _Ring:
    """What is known of one issuer's keys, since when, and when it was asked last (monotonic seconds)."""

    def __init__(self) -> None:
        self.keys: KeySet | None = None
        self.read_at = 0.0
        self.asked_at = float("-inf")
        self.failure = ""
        self.flight: asyncio.Task[None] | None = None


class Issuers:
    """The port Outside, with keys kept for ten minutes, or for a day while their issuer is away."""

    def __init__(self, *, is_private_allowed: bool, seconds: Callable[[], float] = time.monotonic) -> None:
        self._is_private_allowed = is_private_allowed
        self._seconds = seconds
        self._resolver = _Resolver(is_private_allowed=is_private_allowed)
        self._session: aiohttp.ClientSession | None = None
        self._rings: dict[str, _Ring] = {}
        self._pinned: dict[str, KeySet] = {}

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        keys = self._pinned_keys(issuer.jwks) if issuer.jwks else await self._keys(issuer, token.key_id)
        keys.require_proof(token)

    def require_keys(self, jwks: str) -> None:
        require_keys(jwks)

    async def forward(self, issuer: Issuer, request: ReadyRequest) -> str:
        try:
            status, body = await self._ask(request.url, request.headers, request.body.encode())
        except Refused as error:
            raise Unavailable(
                f"STS cannot be asked at {issuer.url}: {error}", issuer=issuer.name, problem="away"
            ) from None
        if status in CLIENT_ERRORS:
            raise Unauthenticated(f"STS refuses the signature (status {status})", problem="signature")
        if status != OK:
            raise Unavailable(f"STS answers with status {status}", issuer=issuer.name, problem="away")
        return body.decode("utf-8", "replace")

    async def close(self) -> None:
        flights = [ring.flight for ring in self._rings.values() if ring.flight is not None]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _pinned_keys(self, jwks: str) -> KeySet:
        keys = self._pinned.get(jwks)
        if keys is None:
            self._pinned.clear()
            keys = self._pinned[jwks] = read_keys(jwks)
        return keys

    async def _keys(self, issuer: Issuer, key_id: str) -> KeySet:
        ring = self._rings.setdefault(issuer.url, _Ring())
        if self._is_due(ring, key_id):
            if ring.flight is None:
                ring.flight = asyncio.create_task(self._read(issuer, ring))
            await asyncio.shield(ring.flight)
        age = self._seconds() - ring.read_at
        if ring.keys is None or (ring.failure and (age > KEPT_SECONDS or not ring.keys.has(key_id))):
            kept = f"; the keys that are kept are {int(age / 3600)} hours old" if ring.keys is not None else ""
            raise Unavailable(
                f"the issuer {issuer.name} cannot be asked for its keys: {ring.failure}{kept}",
                issuer=issuer.name,
                problem="away",
            )
        return ring.keys

    def _is_due(self, ring: _Ring, key_id: str) -> bool:
        now = self._seconds()
        if ring.flight is not None:
            return ring.keys is None or not ring.keys.has(key_id)
        pause = FAILED_SECONDS if ring.failure else MISS_SECONDS
        is_stale = ring.keys is None or now - ring.read_at > FRESH_SECONDS or not ring.keys.has(key_id)
        return is_stale and now - ring.asked_at >= pause

    async def _read(self, issuer: Issuer, ring: _Ring) -> None:
        ring.asked_at = self._seconds()
        try:
            ring.keys = await self._fetch_keys(issuer.url)
            ring.read_at, ring.failure = self._seconds(), ""
        except Refused as error:
            ring.failure = str(error)
        finally:
            ring.flight = None

    async def _fetch_keys(self, url: str) -> KeySet:
        address = str((await self._discover(url)).get("jwks_uri"))
        self._require_near(address, url)
        try:
            return read_keys(await self._fetch(address))
        except ValueError as error:
            raise Refused(f"its keys cannot be read: {error}") from None

    async def _discover(self, url: str) -> dict[str, Any]:
        found = await self._fetch(url.rstrip("/") + DISCOVERY)
        try:
            document = msgspec.json.decode(found, type=dict[str, Any])
        except (RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
            raise Refused("its discovery document is no JSON object") from None
        if document.get("issuer") != url:
            raise Refused("its discovery document is of another issuer; the URL must be the same letter by letter")
        return document

    def _require_near(self, address: str, url: str) -> None:
        try:
            is_near = urlsplit(address)[:2] == urlsplit(url)[:2]
        except ValueError:
            is_near = False
        if not is_near:
            raise Refused("its keys are at another host, which is not asked; pin them (jwks)")

    async def _fetch(self, url: str) -> bytes:
        status, body = await self._ask(url, {"accept": "application/json", "accept-encoding": "identity"}, None)
        if status != OK:
            raise Refused(f"it answers with status {status}")
        return body

    async def _ask(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        method = "GET" if body is None else "POST"
        try:
            self._require_allowed(url)
            async with self._opened().request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                return answer.status, await _read_bounded(answer)
        except TimeoutError:
            raise Refused(f"no answer within {LIMIT_SECONDS} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Refused(_reason(error)) from None

    def _require_allowed(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._is_private_allowed:
            raise OSError("it is asked over https only")
        # The client does not ask a resolver about a host that is an address already.
        self._resolver.require_public(parts.hostname or "")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, force_close=True),
                timeout=aiohttp.ClientTimeout(total=LIMIT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("user-agent", "accept", "accept-encoding"),
                auto_decompress=False,
            )
        return self._session


async def _read_bounded(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in answer.content.iter_chunked(65_536):
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise Refused(f"its answer is larger than {LARGEST_ANSWER} bytes")
    return bytes(content)


def _reason(error: Exception) -> str:
    # The client wraps what the system said.
    inner = getattr(error, "os_error", error)
    return str(getattr(inner, "strerror", "") or inner or type(inner).__name__)[:LONGEST_REASON]
