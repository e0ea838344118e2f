"""The port for blob stores, and the extra abilities that some have."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from entrepot.domain.digests import Digest


class Piece(msgspec.Struct, frozen=True):
    """Bytes under one opaque key."""

    key: str
    size: int


class StoredKey(msgspec.Struct, frozen=True):
    """A key as the store itself lists it: bytes under it, and when they were written (microseconds since 1970)."""

    key: str
    size: int
    written_at: int


class Written(msgspec.Struct, frozen=True):
    """What a write left behind: its pieces in order, and the digest of all of them together."""

    pieces: tuple[Piece, ...]
    digest: Digest

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(piece.size for piece in self.pieces)

    @property
    def keys(self) -> list[str]:
        """The keys of the pieces, in order."""
        return [piece.key for piece in self.pieces]


Buffer: TypeAlias = bytes | memoryview
Consume: TypeAlias = Callable[[Sequence[Buffer]], None]


@runtime_checkable
class Pours(Protocol):
    """A stream of bytes that may also be consumed in a thread of its own, where the bytes arrive."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes in the pieces in which they arrive."""

    async def pour(self, consume: Consume) -> list[bytes] | None:
        """Call `consume`, in other threads but one call at a time, with pieces that are valid during the call.

        The last pieces are answered and not consumed. None: nothing was consumed, iterate over the stream instead.
        Raises what iterating raises, and what `consume` raises.
        """


class BlobStore(Protocol):
    """Where bytes live, under opaque keys that are written once and never reused.

    Contract: what `write` returned survives the death of the process; what `settle` returned for
    survives loss of power. A write that raises leaves no key behind. `prefix` begins the key, so that
    what a crash orphaned can be found by it. Deleting a missing key is no error.
    Raises StorageFull when there is no room, Unavailable when the store cannot be reached, BlobUnknown
    when a key that is read is gone.
    """

    async def write(self, prefix: str, chunks: AsyncIterable[bytes], algorithm: str) -> Written:
        """Store a stream under a new key, hashing on the way; memory stays bounded. Streams that Pours are poured."""

    async def settle(self, keys: Sequence[str]) -> None:
        """Make what lies under these keys survive loss of power. Idempotent."""

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        """Hash the pieces in order; a store that can, also writes them into one new key."""

    def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to and without `stop`, in bounded chunks."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget these keys. Idempotent."""

    async def close(self) -> None:
        """Let go of threads and connections. Idempotent."""


@runtime_checkable
class LocalFiles(Protocol):
    """A store whose keys are files of this machine, which a server may send by itself."""

    def open(self, key: str) -> int:
        """A descriptor of the file under a key, to be closed by the caller. Raises BlobUnknown, Unavailable."""


@runtime_checkable
class Probes(Protocol):
    """A store that can tell whether it is well, and how much room there is."""

    async def probe(self) -> int:
        """Free bytes. Raises Unavailable."""


@runtime_checkable
class Signs(Protocol):
    """A store that others may read from by themselves, with addresses that hold for a while."""

    async def sign(self, key: str, seconds: int) -> str:
        """An address by which whoever has it gets the bytes under a key for so long. Raises Unavailable."""


@runtime_checkable
class ListsStored(Protocol):
    """A store that can tell of each key how large and how old it is; only a check of everything asks."""

    def stored(self) -> AsyncIterator[StoredKey]:
        """Every key, in no order; those written or deleted meanwhile may be among them. Raises Unavailable."""


@runtime_checkable
class Forgets(Protocol):
    """A store that may lose, with the power or the machine, what it has written and not yet settled."""

    def is_certain(self, key: str) -> bool:
        """Whether unsettled bytes under a key must still be those written: nothing has restarted since."""


@runtime_checkable
class WantsChunks(Protocol):
    """A store where a chunk of an upload, which is a key of its own, had better have so many bytes."""

    least_chunk_bytes: int


class Abilities(msgspec.Struct, frozen=True):
    """Which of the extra abilities a store has; asked once at the start, because asking is slow."""

    files: LocalFiles | None
    forgets: Forgets | None
    probes: Probes | None
    signs: Signs | None
    chunks: WantsChunks | None
    stored: ListsStored | None

    @classmethod
    def of(cls, store: BlobStore) -> Abilities:
        """The abilities of a store."""
        return cls(
            store if isinstance(store, LocalFiles) else None,
            store if isinstance(store, Forgets) else None,
            store if isinstance(store, Probes) else None,
            store if isinstance(store, Signs) else None,
            store if isinstance(store, WantsChunks) else None,
            store if isinstance(store, ListsStored) else None,
        )
