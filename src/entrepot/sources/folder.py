"""A folder as a source: a copy of the blobs or data folder, an OCI image layout, or the storage of distribution."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from entrepot.domain.errors import BlobUnknown, Unavailable
from entrepot.ports.source import Wanted
from entrepot.sources._places import places_of

CHUNK_BYTES: Final = 1 << 20


class FolderSource:
    """The port Source over files that are only read. Raises Unavailable where there is no such folder."""

    def __init__(self, url: str) -> None:
        self._root = pathlib.Path(url.removeprefix("file://"))
        self.name = url
        if not self._root.is_dir():
            raise Unavailable(f"there is no folder {self._root} to take bytes from")

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        for path in await asyncio.to_thread(self._find, wanted):
            async for chunk in _read(path):
                yield chunk

    def _find(self, wanted: Wanted) -> list[pathlib.Path]:
        pieces = [[piece.key for piece in wanted.pieces], [f"blobs/{piece.key}" for piece in wanted.pieces]]
        for keys in (*pieces, *([place] for place in places_of(wanted))):
            paths = [self._root / key for key in keys]
            if paths and all(path.is_file() for path in paths):
                return paths
        raise BlobUnknown("the folder has no such bytes", digest=wanted.digest)

    async def close(self) -> None:
        pass


async def _read(path: pathlib.Path) -> AsyncIterator[bytes]:
    file: BinaryIO = await asyncio.to_thread(path.open, "rb")
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
