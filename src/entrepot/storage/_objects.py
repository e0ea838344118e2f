"""What all stores of objects have in common: one object per key, hashed while it is written, and never renamed."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import msgspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import BlobUnknown, Damaged, TooLarge, Unavailable
from entrepot.ports.store import Piece, StoredKey, Written

if TYPE_CHECKING:
    # Only in the library's stubs.
    from obstore import Attributes
    from obstore.store import ClientConfig, RetryConfig

Store: TypeAlias = S3Store | AzureStore | GCSStore

# S3 takes 10,000 parts of at least 5 MiB: with 8 MiB an object may have 78 GiB.
PART_BYTES: Final = 8 << 20
MOST_BYTES: Final = 10_000 * PART_BYTES
PARTS_AT_ONCE: Final = 2
# What S3 takes as a part at least, and so what its clients and servers are made for.
LEAST_CHUNK_BYTES: Final = 5 << 20
BATCH_BYTES: Final = 1 << 20
SMALLEST_READ: Final = 256 << 10
LARGEST_READ: Final = 8 << 20
READERS_BYTES: Final = 64 << 20
WRITERS_BYTES: Final = 64 << 20
CHUNK_BYTES: Final = 1 << 20
ABORT_SECONDS: Final = 5
# In the words of S3 and Google, and of Azure, whose batches of deletes have no code.
NO_BUCKET: Final = (
    "<Code>NoSuchBucket</Code>",
    "<Code>ContainerNotFound</Code>",
    "The specified container does not exist",
)
# A range that begins where the object has ended already, in the word of all three stores and in those of the library,
# for where a store answers it with something else: what was written there is gone.
PAST_ITS_END: Final = ("<Code>InvalidRange</Code>", "Wanted range starting at")
SHORTER: Final = "the stored object is shorter than it was written"
# A part must have passed in this time, whole; whoever waits longer has been told to come again.
CLIENT: Final[ClientConfig] = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=60)}
# What the store tells whoever comes with a signed address: a browser saves it, and runs nothing of it.
ATTRIBUTES: Final[Attributes] = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}
RETRY: Final[RetryConfig] = {"max_retries": 4, "retry_timeout": timedelta(seconds=15)}


class ObjectStore:
    """The port BlobStore over a bucket, with the abilities ListsStored, Signs and WantsChunks.

    What it has acknowledged is durable. `signer` is the same place as clients reach it.
    """

    least_chunk_bytes = LEAST_CHUNK_BYTES

    def __init__(self, store: Store, signer: Store) -> None:
        self._store = store
        self._signer = signer
        self._readers = 0
        self._writers = 0

    async def write(self, prefix: str, chunks: AsyncIterable[bytes], algorithm: str) -> Written:
        key = f"{prefix}.{secrets.token_hex(8)}"
        content = _Hashed(chunks, algorithm, MOST_BYTES)
        self._writers += 1
        try:
            await self._write(key, content)
        except Unavailable:
            if content.failure is not None:
                # The library has another error for a body that breaks off.
                raise content.failure from None
            raise
        finally:
            self._writers -= 1
        return content.written((Piece(key, content.size),))

    async def _write(self, key: str, content: _Hashed) -> None:
        batches = content.batches()
        first: deque[bytearray] = deque()
        while content.size < PART_BYTES and (batch := await anext(batches, None)):
            first.append(batch)
        del batch
        writing = asyncio.ensure_future(self._put(key, first, batches))
        try:
            with telling(key):
                await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The body ends with an error, upon which the library takes back the parts that have been written.
            content.end()
            try:
                await asyncio.wait({writing}, timeout=ABORT_SECONDS)
            finally:
                writing.cancel()
            raise

    async def _put(self, key: str, first: deque[bytearray], rest: AsyncIterator[bytearray]) -> None:
        if sum(map(len, first)) < PART_BYTES:
            await obstore.put_async(self._store, key, b"".join(first), attributes=ATTRIBUTES, use_multipart=False)
            return
        # The library holds one part that it fills, and those that are on their way.
        await obstore.put_async(
            self._store,
            key,
            _Led(first, rest),
            attributes=ATTRIBUTES,
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=max(1, min(PARTS_AT_ONCE, WRITERS_BYTES // PART_BYTES // self._writers)),
        )

    async def settle(self, keys: Sequence[str]) -> None:
        """Nothing: an object store has settled what it has acknowledged."""

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        """The digest of the pieces, which stay where they are: an object store has no cheap way to join them."""
        del prefix
        pieces: list[Piece] = []
        content = _Hashed(self._read_all(keys, pieces), algorithm)
        async for _ in content.batches():
            pass
        return content.written(tuple(pieces))

    async def _read_all(self, keys: Sequence[str], pieces: list[Piece]) -> AsyncIterator[bytes]:
        for key in keys:
            async with self._reading(key):
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
        async with self._reading(key):
            part = memoryview(await obstore.get_range_async(self._store, key, start=start, end=stop))
        if len(part) != stop - start:
            raise Damaged(SHORTER, key=key)
        return part

    @asynccontextmanager
    async def _reading(self, key: str) -> AsyncIterator[None]:
        try:
            with telling(key):
                yield
        except BlobUnknown:
            # A place that holds nothing at all is more likely the wrong one than one where each blob was lost.
            async for _ in self.stored():
                raise
            raise Unavailable("the object store holds nothing there: is storage.url right?") from None

    async def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        try:
            with telling(keys[0]):
                await obstore.delete_async(self._store, list(keys))
        except BlobUnknown:
            # Some stores say so of what is gone already; the others are asked one by one.
            for key in keys if len(keys) > 1 else ():
                await self.delete([key])

    async def stored(self) -> AsyncIterator[StoredKey]:
        listing = obstore.list(self._store, chunk_size=1000)
        with telling(""):
            async for batch in listing:
                for meta in batch:
                    yield StoredKey(meta["path"], meta["size"], int(meta["last_modified"].timestamp() * 1_000_000))

    async def sign(self, key: str, seconds: int) -> str:
        with telling(key):
            return await obstore.sign_async(self._signer, "GET", key, timedelta(seconds=seconds))

    async def close(self) -> None:
        """Nothing: connections end with their last use."""


class _Hashed:
    """A stream in batches, hashed in a thread on the way, of which nothing is kept here; perhaps `most` bytes of it."""

    def __init__(self, chunks: AsyncIterable[bytes], algorithm: str, most: int = sys.maxsize) -> None:
        self.size = 0
        self.failure: Exception | None = None
        self._is_over = False
        self._waiting: asyncio.Task[Any] | None = None
        self._chunks = chunks
        self._most = most
        self._algorithm = algorithm
        self._hash = new_hash(algorithm)
        self._batch = bytearray()

    async def batches(self) -> AsyncGenerator[bytearray, None]:
        """Batches of BATCH_BYTES or a little more, the last one shorter."""
        received = aiter(self._chunks)
        while (chunk := await self._next(received)) is not None:
            self._batch += chunk
            del chunk
            self._require_room()
            if len(self._batch) >= BATCH_BYTES:
                await asyncio.to_thread(self._hash.update, self._batch)
                yield self._take()
        if self._batch:
            self._hash.update(self._batch)
            yield self._take()

    def _require_room(self) -> None:
        if self.size + len(self._batch) > self._most:
            self.failure = TooLarge(
                f"an object store takes {self._most} bytes in one request: send the blob in several chunks",
                limit=self._most,
            )
            raise self.failure

    def _take(self) -> bytearray:
        # Whoever waits for the next one holds none.
        taken, self._batch = self._batch, bytearray()
        self.size += len(taken)
        return taken

    async def _next(self, received: AsyncIterator[bytes]) -> bytes | None:
        if not self._is_over:
            self._waiting = asyncio.current_task()
            try:
                return await anext(received, None)
            except asyncio.CancelledError:
                if not self._is_over:
                    raise
            except Exception as error:
                self.failure = error
                raise
            finally:
                self._waiting = None
        raise ConnectionAbortedError("nobody waits for this any more")

    def end(self) -> None:
        """Break the stream off with an error, also where it waits for a client that sends nothing."""
        self._is_over = True
        if self._waiting is not None:
            self._waiting.cancel()

    def written(self, pieces: tuple[Piece, ...]) -> Written:
        """What was written, once all of it has passed."""
        return Written(pieces, Digest(f"{self._algorithm}:{self._hash.hexdigest()}"))


class _Led:
    """Some batches and then the rest, each held by whoever took it alone: a generator would hold the last one."""

    def __init__(self, first: deque[bytearray], rest: AsyncIterator[bytearray]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[bytearray]:
        return self

    async def __anext__(self) -> bytearray:
        return self._first.popleft() if self._first else await anext(self._rest)


@contextmanager
def telling(key: str) -> Iterator[None]:
    """Say errors of the store in the words of the port; what it answered is the cause, for the log alone."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        if any(code in str(error) for code in NO_BUCKET):
            raise Unavailable("there is no such bucket: is storage.url right?") from error
        if any(word in str(error) for word in PAST_ITS_END):
            raise Damaged(SHORTER, key=key) from None
        if isinstance(error, FileNotFoundError):
            raise BlobUnknown("the stored bytes are gone", key=key) from None
        raise Unavailable("the object store is away or refuses; the registry's log says why") from error


class Place(msgspec.Struct, frozen=True):
    """What a storage.url says: a bucket or container, the prefix of all keys (None without one), and its options."""

    name: str
    prefix: str | None
    options: dict[str, str]


def parse_place(url: str, known: frozenset[str], form: str) -> Place:
    """Read `SCHEME://NAME/PREFIX?OPTION=VALUE`. Raises Unavailable, which shows the right form."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise Unavailable(f"storage.url is {form}") from None
    if parts.netloc != parts.hostname or options.keys() - known:
        raise Unavailable(f"storage.url is {form}")
    return Place(parts.netloc, parts.path.strip("/") or None, options)


def client_for(endpoint: str) -> ClientConfig:
    """The options of the HTTP client for an endpoint; empty is the provider's own."""
    client = CLIENT.copy()
    client["allow_http"] = endpoint.startswith("http://")
    return client


def open_objects(at: Callable[[str], Store], options: dict[str, str]) -> ObjectStore:
    """The store that `at` opens at an endpoint; it signs for the public one if there is one. Raises Unavailable."""
    endpoint = options.get("endpoint", "")
    with telling(""):
        store = at(endpoint)
        return ObjectStore(store, at(options["public_endpoint"]) if "public_endpoint" in options else store)
