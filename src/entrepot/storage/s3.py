"""An S3-compatible store: one object per key, hashed while it is written in parts, and never renamed.

s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION     `endpoint` for anything but AWS itself

Credentials come as AWS's own tools take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity token, or the
role of the machine.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import BlobUnknown, Damaged, Unavailable
from entrepot.ports.store import Piece, Written

if TYPE_CHECKING:
    # Only in the library's stubs.
    from obstore.store import ClientConfig, RetryConfig, S3Config

# S3 takes 10,000 parts of at least 5 MiB: with 8 MiB an object may have 78 GiB.
PART_BYTES: Final = 8 << 20
PARTS_AT_ONCE: Final = 2
BATCH_BYTES: Final = 1 << 20
SMALLEST_READ: Final = 256 << 10
LARGEST_READ: Final = 8 << 20
READERS_BYTES: Final = 64 << 20
CHUNK_BYTES: Final = 1 << 20
ABORT_SECONDS: Final = 5
KNOWN: Final = frozenset({"endpoint", "region"})
# A part must have passed in this time, whole; whoever waits longer has been told to come again.
CLIENT: Final[ClientConfig] = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=60)}
RETRY: Final[RetryConfig] = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}


class ObjectStore:
    """The port BlobStore over a bucket, with the ability ListsKeys. What it has acknowledged is durable."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._readers = 0

    async def write(self, prefix: str, chunks: AsyncIterable[bytes], algorithm: str) -> Written:
        key = f"{prefix}.{secrets.token_hex(8)}"
        content = _Hashed(chunks, algorithm)
        parts = content.parts()
        first = await anext(parts, b"")
        writing = asyncio.ensure_future(self._put(key, first, parts))
        try:
            with _telling(key):
                await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The body ends with an error, upon which the library takes back the parts that have been written.
            content.is_over = True
            await asyncio.wait({writing}, timeout=ABORT_SECONDS)
            raise
        except Unavailable:
            if content.failure is not None:
                # The library has another error for a body that breaks off.
                raise content.failure from None
            raise
        return content.written((Piece(key, content.size),))

    async def _put(self, key: str, first: bytes, rest: AsyncIterator[bytes]) -> None:
        if len(first) < PART_BYTES:
            await obstore.put_async(self._store, key, first, use_multipart=False)
            return
        await obstore.put_async(
            self._store,
            key,
            _led_by(first, rest),
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def settle(self, keys: Sequence[str]) -> None:
        """Nothing: an object store has settled what it has acknowledged."""

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        """The digest of the pieces, which stay where they are: an object store has no cheap way to join them."""
        del prefix
        pieces: list[Piece] = []
        content = _Hashed(self._read_all(keys, pieces), algorithm)
        async for _ in content.parts():
            pass
        return content.written(tuple(pieces))

    async def _read_all(self, keys: Sequence[str], pieces: list[Piece]) -> AsyncIterator[bytes]:
        for key in keys:
            with _telling(key):
                size = (await obstore.head_async(self._store, key))["size"]
            pieces.append(Piece(key, size))
            async for chunk in self.read(key, 0, size):
                yield chunk

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        # In requests of their own: a client that takes an hour holds no connection to the store meanwhile, and what
        # breaks off is asked for again.
        self._readers += 1
        try:
            while start < stop:
                share = max(SMALLEST_READ, min(LARGEST_READ, READERS_BYTES // self._readers))
                part = await self._get(key, start, min(stop, start + share))
                for at in range(0, len(part), CHUNK_BYTES):
                    yield bytes(part[at : at + CHUNK_BYTES])
                start += len(part)
        finally:
            self._readers -= 1

    async def _get(self, key: str, start: int, stop: int) -> memoryview:
        with _telling(key):
            part = memoryview(await obstore.get_range_async(self._store, key, start=start, end=stop))
        if len(part) != stop - start:
            raise Damaged("the stored object is shorter than it was written", key=key)
        return part

    async def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        try:
            with _telling(keys[0]):
                await obstore.delete_async(self._store, list(keys))
        except BlobUnknown:
            # Some stores say so of what is gone already; the others are asked one by one.
            for key in keys if len(keys) > 1 else ():
                await self.delete([key])

    async def keys(self) -> AsyncIterator[str]:
        listing = obstore.list(self._store, chunk_size=1000)
        with _telling(""):
            async for batch in listing:
                for meta in batch:
                    yield meta["path"]

    async def close(self) -> None:
        """Nothing: connections end with their last use."""


class _Hashed:
    """A stream in parts of the size that S3 wants, hashed in a thread on the way."""

    def __init__(self, chunks: AsyncIterable[bytes], algorithm: str) -> None:
        self.size = 0
        self.failure: Exception | None = None
        self.is_over = False
        self._chunks = chunks
        self._algorithm = algorithm
        self._hash = new_hash(algorithm)

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Parts of exactly PART_BYTES, the last one shorter."""
        part, batch = bytearray(), bytearray()
        async for chunk in self._received():
            batch += chunk
            if len(batch) < BATCH_BYTES:
                continue
            await asyncio.to_thread(self._hash.update, batch)
            part += batch
            batch = bytearray()
            while len(part) >= PART_BYTES:
                yield self._count(part[:PART_BYTES])
                del part[:PART_BYTES]
        self._hash.update(batch)
        part += batch
        for start in range(0, len(part), PART_BYTES):
            yield self._count(part[start : start + PART_BYTES])

    async def _received(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                if self.is_over:
                    raise ConnectionAbortedError("nobody waits for this any more")
                yield chunk
        except Exception as error:
            self.failure = error
            raise

    def written(self, pieces: tuple[Piece, ...]) -> Written:
        """What was written, once all of it has passed."""
        return Written(pieces, Digest(f"{self._algorithm}:{self._hash.hexdigest()}"))

    def _count(self, part: bytearray) -> bytes:
        self.size += len(part)
        return bytes(part)


async def _led_by(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


@contextmanager
def _telling(key: str) -> Iterator[None]:
    """Errors of the store in the words of the port; what it answered is the cause, for the log alone."""
    try:
        yield
    except FileNotFoundError:
        raise BlobUnknown("the stored bytes are gone", key=key) from None
    except (BaseError, OSError, ValueError) as error:
        raise Unavailable("the object store is away or refuses; the registry's log says why") from error


def open_store(url: str) -> ObjectStore:
    """Open `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. Raises Unavailable."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if not parts.hostname or options.keys() - KNOWN:
        raise Unavailable("storage.url is s3://BUCKET/PREFIX, perhaps with ?endpoint=URL&region=NAME")
    config: S3Config = {"region": options.get("region", "us-east-1")}
    client = CLIENT.copy()
    if endpoint := options.get("endpoint"):
        config["endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    with _telling(""):
        return ObjectStore(
            S3Store(
                parts.hostname,
                prefix=parts.path.strip("/") or None,
                config=config,
                client_options=client,
                retry_config=RETRY,
            )
        )
