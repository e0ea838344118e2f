"""Request bodies: streamed, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import msgspec

from entrepot.domain.errors import EntrepotError, RequestInvalid, SizeInvalid, TooLarge, TooSlow
from entrepot.wire.messages import Request

MOST_DIGITS: Final = 18

DRAIN_BYTES: Final = 8 << 20
DRAIN_SECONDS: Final = 2.0


class Limits(msgspec.Struct, frozen=True):
    """Bounds of bodies: seconds without a byte, bytes per second at least (after the first idle limit), sizes."""

    idle_seconds: float = 60.0
    slowest_bytes_per_second: int = 1024
    manifest_bytes: int = 4 << 20
    blob_bytes: int = 0
    form_bytes: int = 64 << 10


def content_length(request: Request) -> int | None:
    """The announced length in bytes; None if it is chunked. Raises RequestInvalid."""
    value = request.header(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise RequestInvalid("Content-Length is not a number of bytes", got=value.decode("latin-1")[:40])
    return int(value)


def has_body(request: Request) -> bool:
    """Whether a body was announced; a chunked one may still turn out to be empty."""
    length = content_length(request)
    return length > 0 if length is not None else request.header(b"transfer-encoding") is not None


async def stream(request: Request, limits: Limits, most: int) -> AsyncIterator[bytes]:
    """The body in the pieces in which it arrives; `most` is a limit in bytes, 0 for none.

    Raises TooLarge, TooSlow, SizeInvalid when the client went away before the end.
    """
    announced = content_length(request)
    if most and announced is not None and announced > most:
        raise TooLarge(f"the body is larger than the limit of {most} bytes", limit=most, got=announced)
    loop = asyncio.get_running_loop()
    began = loop.time()
    received = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(limits.idle_seconds):
                message = await request.receive()
        except TimeoutError:
            raise TooSlow("no byte of the body arrived in time", seconds=limits.idle_seconds) from None
        more = message.get("more_body", False)
        request.is_read = not more
        if message["type"] == "http.disconnect":
            raise SizeInvalid("the connection ended before the body did", received=received)
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if most and received > most:
            raise TooLarge(f"the body is larger than the limit of {most} bytes", limit=most)
        _require_pace(limits, loop.time() - began, received)
        if chunk:
            yield chunk
    if announced is not None and received != announced:
        raise SizeInvalid("the body is not as long as Content-Length says", want=announced, got=received)


async def exactly(content: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    """A chunked body whose length another header announced. Raises SizeInvalid where it differs."""
    received = 0
    async for chunk in content:
        received += len(chunk)
        yield chunk
    if received != length:
        raise SizeInvalid("the body is not as long as its Content-Range says", want=length, got=received)


async def read(request: Request, limits: Limits, most: int) -> bytes:
    """A whole small body. Raises as `stream` does."""
    return b"".join([chunk async for chunk in stream(request, limits, most)])


async def drain(request: Request) -> bool:
    """Throw away the rest of a body that was refused, within bounds; whether it has ended.

    A client that is still sending when the connection closes may see a reset instead of the answer.
    """
    limits = Limits(idle_seconds=DRAIN_SECONDS)
    with suppress(EntrepotError):
        if not has_body(request):
            return True
        async for _ in stream(request, limits, DRAIN_BYTES):
            pass
    return request.is_read


def _require_pace(limits: Limits, elapsed: float, received: int) -> None:
    due = (elapsed - limits.idle_seconds) * limits.slowest_bytes_per_second
    if received < due:
        raise TooSlow(
            "the body arrives more slowly than the limit allows", bytesPerSecond=limits.slowest_bytes_per_second
        )
