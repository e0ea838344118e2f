"""Syslog over UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from entrepot.domain.errors import Unavailable

LIMIT_SECONDS: Final = 10.0
LARGEST_DATAGRAM: Final = 65_000
# What may lie unread in the buffers between us and a receiver that stands still: ours is made small, and Linux gives
# the other end 6 MiB.
WINDOW_BYTES: Final = 8 << 20
BUFFER_BYTES: Final = 256 << 10
# Whoever closes a connection properly has read what was sent so long before the last word.
RECENT_SECONDS: Final = 10.0


class SyslogForwarder:
    """The port Forwarder over one connection that is made when it is needed and made again when it is lost.

    The protocol has no answer: what was sent last is held, and sent again when its connection is lost.
    """

    def __init__(self, url: str, ca: str = "") -> None:
        parts = urlsplit(url)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 0
        self._ca = ca
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._sent: deque[tuple[float, bytes]] = deque()
        self._sent_bytes = 0

    async def send(self, messages: Sequence[bytes]) -> None:
        try:
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
            async with asyncio.timeout(LIMIT_SECONDS):
                self._datagrams, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
        for message in messages:
            self._datagrams.sendto(message[:LARGEST_DATAGRAM])

    async def _send_stream(self, content: bytes) -> None:
        if self._stream is not None and self._stream[0].at_eof():
            self._forget(self._sent[-1][0] - RECENT_SECONDS if self._sent else 0)
            await self._drop()
        if self._stream is None:
            async with asyncio.timeout(LIMIT_SECONDS):
                self._stream = await asyncio.open_connection(self._host, self._port, ssl=self._context())
            self._stream[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            for _, before in tuple(self._sent):
                await self._write(self._stream[1], before)
        await self._write(self._stream[1], content)
        self._sent.append((asyncio.get_running_loop().time(), content))
        self._sent_bytes += len(content)
        self._forget(0)

    async def _write(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        writer.write(content)
        async with asyncio.timeout(LIMIT_SECONDS):
            await writer.drain()

    def _forget(self, before: float) -> None:
        """Forget what was sent before a time of the loop, and what is more than the window, but for the last."""
        while len(self._sent) > 1 and (self._sent[0][0] < before or self._sent_bytes > WINDOW_BYTES):
            self._sent_bytes -= len(self._sent.popleft()[1])

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
