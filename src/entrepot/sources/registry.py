"""Another registry as a source: any that speaks the OCI distribution API, asked for a blob or manifest by its digest.

Repositories are asked by the names that they have here, below the path of the address if it has one. Challenges are
answered as docker does: a token for `repository:NAME:pull`, anonymous or with the login, or Basic.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from entrepot.domain.errors import BlobUnknown, Unavailable
from entrepot.ports.source import Wanted

CHUNK_BYTES: Final = 1 << 20
ATTEMPTS: Final = 4
MOST_ANSWER_BYTES: Final = 256 << 10
LONGEST_WAIT_SECONDS: Final = 30.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
PARAMETER: Final = re.compile(r'([a-z]+)="([^"]*)"')
BUSY: Final = frozenset({429, 500, 502, 503, 504})
NOT_HERE: Final = frozenset({400, 401, 403, 404, 405})


class Access(msgspec.Struct, frozen=True):
    """How to log in to a registry; `ca` is a PEM file to trust, empty for those of the system."""

    username: str = ""
    password: str = ""
    ca: str = ""


class _Answer(msgspec.Struct):
    """What a token service says, by one name or the other."""

    token: str | None = None
    access_token: str | None = None


class RegistrySource:
    """The port Source over another registry."""

    def __init__(self, url: str, access: Access) -> None:
        parts = urlsplit(url)
        self.name = url.rstrip("/")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self._basic = _basic(access)
        self._ca = access.ca
        self._session: aiohttp.ClientSession | None = None
        self._authorizations: dict[str, str] = {}

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        what = "blobs" if wanted.media_type is None else "manifests"
        for repository in wanted.repositories:
            name = self._prefix + repository
            url = f"{self._origin}/v2/{name}/{what}/{wanted.digest}"
            async with self._get(url, name, wanted.media_type) as response:
                if response.status != HTTPStatus.OK:
                    continue
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
                return
        raise BlobUnknown("the registry has no such bytes", digest=wanted.digest)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _get(self, url: str, name: str, accept: str | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of 200, or one that says that it is not there; a busy registry is asked again."""
        try:
            response = await self._ask(url, name, accept)
            try:
                if response.status == HTTPStatus.OK or response.status in NOT_HERE:
                    yield response
                else:
                    raise Unavailable(f"{self._origin} answers {response.status}")
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{self._origin} does not answer: {str(error) or type(error).__name__}") from error

    async def _ask(self, url: str, name: str, accept: str | None) -> aiohttp.ClientResponse:
        response = await self._send(url, name, accept)
        if response.status == HTTPStatus.UNAUTHORIZED and await self._authorize(response, name):
            response.close()
            response = await self._send(url, name, accept)
        for attempt in range(1, ATTEMPTS):
            if response.status not in BUSY:
                break
            asked = response.headers.get("retry-after", "")
            response.close()
            await asyncio.sleep(min(LONGEST_WAIT_SECONDS, float(asked) if asked.isdecimal() else 0.5 * 2**attempt))
            response = await self._send(url, name, accept)
        return response

    async def _send(self, url: str, name: str, accept: str | None) -> aiohttp.ClientResponse:
        # A redirect to another origin, as to a bucket, goes without the header: the library takes it off.
        # Without the media type some registries answer with another manifest than the one that was pushed.
        headers = {"accept-encoding": "identity", "accept": f"{accept}, */*;q=0.1" if accept else "*/*"}
        if name in self._authorizations:
            headers["authorization"] = self._authorizations[name]
        return await self._open().get(url, headers=headers)

    async def _authorize(self, response: aiohttp.ClientResponse, name: str) -> bool:
        """Answer a challenge; whether asking again is worth it."""
        scheme, _, rest = response.headers.get("www-authenticate", "").partition(" ")
        if scheme.lower() == "basic" and self._basic:
            return self._remember(name, self._basic)
        about = dict(PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in about:
            return False
        if self._origin.startswith("https:") and not about["realm"].startswith("https:"):
            # The login would go over the network as it is.
            return False
        query = {"scope": f"repository:{name}:pull", "service": about.get("service", "")}
        headers = {"authorization": self._basic} if self._basic else {}
        async with self._open().get(about["realm"], params=query, headers=headers) as answer:
            token = await _read_token(answer) if answer.status == HTTPStatus.OK else ""
        return bool(token) and self._remember(name, f"Bearer {token}")

    def _remember(self, name: str, authorization: str) -> bool:
        is_other = self._authorizations.get(name) != authorization
        self._authorizations[name] = authorization
        return is_other

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=self._ca) if self._ca else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust, limit=16), timeout=TIMEOUT, auto_decompress=False
            )
        return self._session


async def _read_token(answer: aiohttp.ClientResponse) -> str:
    """The token in an answer. Raises ValueError where there is none that could be sent."""
    raw = b""
    async for chunk in answer.content.iter_chunked(MOST_ANSWER_BYTES):
        raw += chunk
        if len(raw) > MOST_ANSWER_BYTES:
            raise ValueError("the answer of its token service does not end")
    try:
        found = msgspec.json.decode(raw, type=_Answer)
    except msgspec.DecodeError:
        raise ValueError("its token service answers something else than a token") from None
    token = found.token or found.access_token or ""
    if not (token.isascii() and token.isprintable()):
        raise ValueError("its token service answers something else than a token")
    return token


def _basic(access: Access) -> str:
    if not access.username:
        return ""
    return f"Basic {base64.b64encode(f'{access.username}:{access.password}'.encode()).decode()}"
