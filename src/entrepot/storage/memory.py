"""A blob store in memory, for tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, AsyncIterator, Sequence

from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import BlobUnknown
from entrepot.ports.store import Piece, Written

CHUNK_BYTES = 1 << 20


class MemoryStore:
    """The port BlobStore over a dictionary; `content` is there for tests to look at and to damage."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def write(self, prefix: str, chunks: AsyncIterable[bytes], algorithm: str) -> Written:
        hasher = new_hash(algorithm)
        parts = []
        async for chunk in chunks:
            hasher.update(chunk)
            parts.append(bytes(chunk))
        return self._put(prefix, b"".join(parts), Digest(f"{algorithm}:{hasher.hexdigest()}"))

    async def settle(self, keys: Sequence[str]) -> None:
        pass

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        content = b"".join(self._get(key) for key in keys)
        hasher = new_hash(algorithm)
        hasher.update(content)
        return self._put(prefix, content, Digest(f"{algorithm}:{hasher.hexdigest()}"))

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        content = self._get(key)
        for offset in range(start, stop, CHUNK_BYTES):
            yield content[offset : min(stop, offset + CHUNK_BYTES)]

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.content.pop(key, None)

    async def close(self) -> None:
        pass

    def _put(self, prefix: str, content: bytes, digest: Digest) -> Written:
        key = f"{prefix}.{secrets.token_hex(8)}"
        self.content[key] = content
        return Written((Piece(key, len(content)),), digest)

    def _get(self, key: str) -> bytes:
        try:
            return self.content[key]
        except KeyError:
            raise BlobUnknown("the stored bytes are gone", key=key) from None


def open_store(url: str) -> MemoryStore:
    """Open `memory://`."""
    del url
    return MemoryStore()
