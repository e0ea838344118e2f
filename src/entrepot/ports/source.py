"""The port for places outside this registry that may hold the same bytes: what repairs damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from entrepot.domain.digests import Digest
from entrepot.ports.store import Piece


class Wanted(msgspec.Struct, frozen=True):
    """Bytes that are looked for: their digest and size, where they should lie here, and who knows them.

    `media_type` is that of a manifest, None for a blob.
    """

    digest: Digest
    size: int
    pieces: tuple[Piece, ...]
    repositories: tuple[str, ...]
    media_type: str | None = None


class Source(Protocol):
    """One place that may hold bytes. Whoever reads proves them: a source promises nothing about what it gives.

    Contract: nothing here is changed by reading. Raises BlobUnknown where it has no such bytes, before the first of
    them; Unavailable where it does not answer, or breaks off.
    """

    @property
    def name(self) -> str:
        """What people call it, without any password."""

    def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """The bytes, in bounded chunks."""

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
