"""Request bodies: streamed, within limits of size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from entrepot.domain.errors import EntrepotError, RequestInvalid, SizeInvalid, TooLarge, TooSlow
from entrepot.ports.store import Buffer, Consume
from entrepot.wire.messages import Request

MOST_DIGITS: Final = 18

DRAIN_BYTES: Final = 8 << 20
DRAIN_SECONDS: Final = 2.0


class Limits(msgspec.Struct, frozen=True):
    """Bounds of bodies: seconds without a byte, bytes per second at least (after the first idle limit), sizes.

    A form is the usual body of the API, a document one that lists many things, such as all grants of a team.
    """

    idle_seconds: float = 60.0
    slowest_bytes_per_second: int = 1024
    manifest_bytes: int = 4 << 20
    blob_bytes: int = 0
    form_bytes: int = 64 << 10
    document_bytes: int = 4 << 20


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


class Body:
    """A request's body, to be read once within limits: piece by piece, or poured into a consumer in a thread.

    `most` is a limit in bytes, 0 for none; `exact` is a length in bytes that another header announced.
    Reading raises TooLarge, TooSlow, and SizeInvalid when the client went away before the end.
    """

    def __init__(self, request: Request, limits: Limits, most: int, exact: int | None = None) -> None:
        self._request = request
        self._limits = limits
        self._most = most
        self._exact = exact
        self._received = 0
        self._began = 0.0
        self._announced: int | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def pour(self, consume: Consume) -> list[bytes] | None:
        """As the port Pours has it; None where the server cannot do that."""
        pour = self._request.scope.get("entrepot.pour")
        if pour is None:
            return None
        self._begin()

        def count(pieces: Sequence[Buffer]) -> None:
            self._count(sum(map(len, pieces)))
            consume(pieces)

        try:
            rest: list[bytes] = await pour(count, self._require_pace, self._limits.idle_seconds)
        except TimeoutError:
            raise self._silent() from None
        except ConnectionResetError:
            raise self._cut_off() from None
        self._request.is_read = True
        self._count(sum(map(len, rest)))
        self._end()
        return rest

    async def _pieces(self) -> AsyncIterator[bytes]:
        self._begin()
        more = True
        while more:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    message = await self._request.receive()
            except TimeoutError:
                raise self._silent() from None
            more = message.get("more_body", False)
            self._request.is_read = not more
            if message["type"] == "http.disconnect":
                raise self._cut_off()
            piece: bytes = message.get("body", b"")
            self._count(len(piece))
            if piece:
                yield piece
        self._end()

    def _begin(self) -> None:
        self._announced = content_length(self._request)
        if self._most and self._announced is not None and self._announced > self._most:
            raise self._too_large(self._announced)
        self._began = time.monotonic()

    def _count(self, size: int) -> None:
        self._received += size
        if self._most and self._received > self._most:
            raise self._too_large(self._received)
        self._require_pace(self._received)

    def _require_pace(self, received: int) -> None:
        due = (time.monotonic() - self._began - self._limits.idle_seconds) * self._limits.slowest_bytes_per_second
        if received < due:
            raise TooSlow(
                "the body arrives more slowly than the limit allows",
                bytesPerSecond=self._limits.slowest_bytes_per_second,
            )

    def _end(self) -> None:
        for want, header in ((self._announced, "Content-Length says"), (self._exact, "its Content-Range says")):
            if want is not None and want != self._received:
                raise SizeInvalid(f"the body is not as long as {header}", want=want, got=self._received)

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(f"the body is larger than the limit of {self._most} bytes", limit=self._most, got=size)

    def _silent(self) -> TooSlow:
        return TooSlow("no byte of the body arrived in time", seconds=self._limits.idle_seconds)

    def _cut_off(self) -> SizeInvalid:
        return SizeInvalid("the connection ended before the body did", received=self._received)


async def read(request: Request, limits: Limits, most: int) -> bytes:
    """A whole small body. Raises as `Body` does."""
    return b"".join([piece async for piece in Body(request, limits, most)])


async def drain(request: Request) -> bool:
    """Throw away the rest of a body that was refused, within bounds; whether it has ended.

    A client that is still sending when the connection closes may see a reset instead of the answer. One that waits
    to be invited (`Expect: 100-continue`) is not.
    """
    limits = Limits(idle_seconds=DRAIN_SECONDS)
    with suppress(EntrepotError):
        if not has_body(request):
            return True
        if request.header(b"expect") is None:
            async for _ in Body(request, limits, DRAIN_BYTES):
                pass
    return request.is_read
