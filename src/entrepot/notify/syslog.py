"""Syslog over UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from entrepot.domain.errors import Unavailable

LIMIT_SECONDS: Final = 10.0
LARGEST_DATAGRAM: Final = 65_000


class SyslogForwarder:
    """The port Forwarder over one connection that is made when it is needed and made again when it is lost."""

    def __init__(self, url: str, ca: str = "") -> None:
        parts = urlsplit(url)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 0
        self._ca = ca
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        # What was written last to a connection may be lost with it: the protocol has no answer.
        self._last: bytes = b""

    async def send(self, messages: Sequence[bytes]) -> None:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                if self._scheme == "udp":
                    await self._send_datagrams(messages)
                else:
                    await self._send_stream(b"".join(b"%d %s" % (len(message), message) for message in messages))
        except (OSError, TimeoutError) as error:
            await self._drop()
            raise Unavailable(
                f"the syslog receiver {self._host}:{self._port} cannot be reached", reason=str(error)
            ) from error

    async def close(self) -> None:
        await self._drop()
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None

    async def _send_datagrams(self, messages: Sequence[bytes]) -> None:
        if self._datagrams is None:
            loop = asyncio.get_running_loop()
            address = self._host, self._port
            self._datagrams, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
        for message in messages:
            self._datagrams.sendto(message[:LARGEST_DATAGRAM])

    async def _send_stream(self, content: bytes) -> None:
        if self._stream is not None and self._stream[0].at_eof():
            await self._drop()
        if self._stream is None:
            self._stream = await asyncio.open_connection(self._host, self._port, ssl=self._context())
            content = self._last + content
        self._last = content
        self._stream[1].write(content)
        await self._stream[1].drain()

    def _context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self._ca or None) if self._scheme == "tls" else None

    async def _drop(self) -> None:
        if self._stream is not None:
            _, writer = self._stream
            self._stream = None
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()
