"""A bucket as a source, through the adapter of its store: a copy of our own, or one whose keys are digests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from entrepot.domain.errors import BlobUnknown
from entrepot.ports.source import Wanted
from entrepot.ports.store import BlobStore, Piece
from entrepot.sources._places import places_of


class ObjectsSource:
    """The port Source over a store that is only read; the store is closed with it."""

    def __init__(self, url: str, store: BlobStore) -> None:
        parts = urlsplit(url)
        # What follows may hold credentials.
        self.name = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        self._store = store

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        for piece in await self._find(wanted):
            async for chunk in self._store.read(piece.key, 0, piece.size):
                yield chunk

    async def _find(self, wanted: Wanted) -> Sequence[Piece]:
        for pieces in (wanted.pieces, *([Piece(place, wanted.size)] for place in places_of(wanted))):
            if pieces and await self._has(pieces):
                return pieces
        raise BlobUnknown("the store has no such bytes", digest=wanted.digest)

    async def _has(self, pieces: Sequence[Piece]) -> bool:
        try:
            for piece in pieces:
                # The last byte: a shorter object is another one.
                async for _ in self._store.read(piece.key, max(0, piece.size - 1), piece.size):
                    pass
        except BlobUnknown:
            return False
        return True

    async def close(self) -> None:
        await self._store.close()
