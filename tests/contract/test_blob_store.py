"""The contract of the port BlobStore, over every store."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import pytest

from entrepot.domain.digests import digest_of
from entrepot.domain.errors import BlobUnknown
from entrepot.ports.store import BlobStore, ListsStored, LocalFiles, Written
from entrepot.storage.memory import MemoryStore

PREFIX = "0123456789abcdef0123456789abcdef"
MEBIBYTE = 1 << 20
Story = Callable[[BlobStore], Coroutine[None, None, None]]


def open_store(url: str) -> BlobStore:
    """Open the store behind a url, as the application does."""
    store: BlobStore = importlib.import_module(f"entrepot.storage.{url.partition('://')[0]}").open_store(url)
    return store


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for part in parts:
        yield part


async def breaking(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that breaks off."""
    for part in parts:
        yield part
    raise ConnectionResetError("the client has gone")


async def read_all(store: BlobStore, written: Written) -> bytes:
    """Everything that was written, read back."""
    content = b""
    for piece in written.pieces:
        content += b"".join([chunk async for chunk in store.read(piece.key, 0, piece.size)])
    return content


@pytest.fixture
def tell(store_url: str) -> Callable[[Story], None]:
    """Runs a story over a fresh store, and closes it twice."""

    def run(story: Story) -> None:
        async def whole() -> None:
            store = open_store(store_url)
            try:
                await story(store)
            finally:
                await store.close()
                await store.close()

        asyncio.run(whole())

    return run


Tell = Callable[[Story], None]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize(
    "parts",
    [(), (b"",), (b"a",), (b"a", b"", b"bc"), (os.urandom(3 * MEBIBYTE + 1), b"tail"), (b"x" * 10_000,) * 500],
    ids=["none", "empty", "byte", "bytes", "large", "many"],
)
def test_what_is_written_is_read(tell: Tell, parts: tuple[bytes, ...], algorithm: str) -> None:
    """Any body comes back as it was, with its size and its digest."""
    content = b"".join(parts)

    async def story(store: BlobStore) -> None:
        written = await store.write(PREFIX, chunks(*parts), algorithm)
        assert written.digest == digest_of(content, algorithm)
        assert written.size == len(content)
        assert all(os.path.basename(key).startswith(PREFIX) for key in written.keys)
        await store.settle(written.keys)
        await store.settle(written.keys)
        assert await read_all(store, written) == content

    tell(story)


def test_keys_are_never_reused(tell: Tell) -> None:
    """The same bytes under the same prefix get a new key each time, also after a delete."""

    async def story(store: BlobStore) -> None:
        keys: list[str] = []
        for _ in range(20):
            written = await store.write(PREFIX, chunks(b"same"), "sha256")
            keys += written.keys
            await store.delete(written.keys)
        assert len(set(keys)) == 20

    tell(story)


def test_ranges(tell: Tell) -> None:
    """A range gives the bytes from its start up to and without its stop, in bounded chunks."""
    content = os.urandom(2 * MEBIBYTE)

    async def story(store: BlobStore) -> None:
        [piece] = (await store.write(PREFIX, chunks(content), "sha256")).pieces
        for start, stop in ((0, 1), (0, 0), (5, 5), (1, 100), (MEBIBYTE - 1, MEBIBYTE + 1), (7, len(content))):
            found = [chunk async for chunk in store.read(piece.key, start, stop)]
            assert b"".join(found) == content[start:stop]
            assert all(0 < len(chunk) <= MEBIBYTE for chunk in found)

    tell(story)


def test_a_reader_may_stop_early(tell: Tell) -> None:
    """A client that goes away in the middle of a read disturbs neither the store nor the next reader."""

    async def story(store: BlobStore) -> None:
        written = await store.write(PREFIX, chunks(b"x" * 3 * MEBIBYTE), "sha256")
        reader = store.read(written.keys[0], 0, written.size)
        assert await anext(reader)
        close: Callable[[], Awaitable[None]] = reader.aclose  # type: ignore[attr-defined]
        await close()
        assert len(await read_all(store, written)) == 3 * MEBIBYTE

    tell(story)


def test_pieces_are_joined(tell: Tell) -> None:
    """Pieces in order give one digest, in whatever algorithm, and read as one."""
    parts = [os.urandom(MEBIBYTE), b"", b"middle", os.urandom(100)]
    content = b"".join(parts)

    async def story(store: BlobStore) -> None:
        keys = [key for part in parts for key in (await store.write(PREFIX, chunks(part), "sha256")).keys]
        joined = await store.join(PREFIX, keys, "sha512")
        assert joined.digest == f"sha512:{hashlib.sha512(content).hexdigest()}"
        assert joined.size == len(content)
        await store.settle(joined.keys)
        await store.delete([key for key in keys if key not in joined.keys])
        assert await read_all(store, joined) == content

    tell(story)


def test_a_body_that_breaks_off_leaves_nothing(tell: Tell) -> None:
    """The error of a body passes unchanged, and no key of it is left behind."""

    async def story(store: BlobStore) -> None:
        for parts in ((), (b"some",), (b"x" * 3 * MEBIBYTE,)):
            with pytest.raises(ConnectionResetError):
                await store.write(PREFIX, breaking(*parts), "sha256")
        kept = await store.write(PREFIX, chunks(b"kept"), "sha256")
        # What was begun may be dropped behind the caller's back, before the store has closed at the latest.
        await store.close()
        assert list_keys(store) in (None, set(kept.keys))

    tell(story)


def list_keys(store: BlobStore) -> set[str] | None:
    """What a closed store holds, if it can be told."""
    if isinstance(store, LocalFiles):
        return files_below(pathlib.Path(store.path_of("")))
    content = getattr(store, "content", None)
    return None if content is None else set(content)


def files_below(root: pathlib.Path) -> set[str]:
    """Relative paths of the files in a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_cancelled_write_leaves_nothing(tell: Tell) -> None:
    """A write whose caller is cancelled in the middle leaves no key behind."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * MEBIBYTE
            await asyncio.sleep(0)

    async def story(store: BlobStore) -> None:
        writing = asyncio.ensure_future(store.write(PREFIX, endless(), "sha256"))
        for _ in range(50):
            await asyncio.sleep(0.001)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await store.close()
        assert list_keys(store) in (None, set())

    tell(story)


def test_deleted_bytes_are_unknown(tell: Tell) -> None:
    """Reading or joining what is gone is BlobUnknown; deleting it again is no error."""

    async def story(store: BlobStore) -> None:
        written = await store.write(PREFIX, chunks(b"gone soon"), "sha256")
        kept = await store.write(PREFIX, chunks(b"kept"), "sha256")
        for _ in range(2):
            await store.delete(written.keys)
        await store.delete([])
        with pytest.raises(BlobUnknown):
            await read_all(store, written)
        with pytest.raises(BlobUnknown):
            await store.join(PREFIX, [*kept.keys, *written.keys], "sha256")
        assert await read_all(store, kept) == b"kept"

    tell(story)


def test_many_at_once(tell: Tell) -> None:
    """More writers and readers than a store has threads get their own bytes."""

    async def story(store: BlobStore) -> None:
        async def one(number: int) -> None:
            content = str(number).encode() * 1000
            written = await store.write(PREFIX, chunks(content), "sha256")
            await store.settle(written.keys)
            assert await read_all(store, written) == content

        await asyncio.gather(*(one(number) for number in range(100)))

    tell(story)


def test_local_files_are_where_they_are_said_to_be(tell: Tell) -> None:
    """A store with files of this machine gives the path under which a key's bytes lie."""

    async def story(store: BlobStore) -> None:
        written = await store.write(PREFIX, chunks(b"here"), "sha256")
        if isinstance(store, LocalFiles):
            with open(store.path_of(written.keys[0]), "rb") as file:  # noqa: ASYNC230 - a few bytes, nobody waits
                assert file.read() == b"here"

    tell(story)


def test_what_is_stored_tells_its_size_and_age(tell: Tell) -> None:
    """Each key is listed once with the size of what was written, at the time at which it was."""

    async def story(store: BlobStore) -> None:
        if isinstance(store, MemoryStore):
            return
        # Without it nobody finds what crashes leave.
        assert isinstance(store, ListsStored)
        assert [each async for each in store.stored()] == []
        began = time.time() - 5
        written = [await store.write(PREFIX, chunks(b"x" * number), "sha256") for number in (1, 70_000)]
        found = {each.key: each async for each in store.stored()}
        assert {key: each.size for key, each in found.items()} == {each.keys[0]: each.size for each in written}
        assert all(began <= each.written_at / 1_000_000 <= time.time() + 5 for each in found.values())
        await store.delete(written[0].keys)
        assert [each.key async for each in store.stored()] == written[1].keys

    tell(story)
