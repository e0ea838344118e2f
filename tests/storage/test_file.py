"""The disk store beyond its contract: full disks, files that are gone or short, clients that go away."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from entrepot.domain.digests import digest_of
from entrepot.domain.errors import BlobUnknown, Damaged, StorageFull, Unavailable
from entrepot.storage import file as module
from entrepot.storage._settling import telling
from entrepot.storage.file import BATCH_BYTES, FileStore, open_store

LARGE = os.urandom(1 << 16) * 50


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop of the test's own."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def store(tmp_path: pathlib.Path, runner: asyncio.Runner) -> Iterator[FileStore]:
    """A store in a folder of its own."""
    opened = open_store(f"file://{tmp_path}/blobs")
    yield opened
    runner.run(opened.close())


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for part in parts:
        yield part


async def read(store: FileStore, key: str, start: int, stop: int) -> bytes:
    """What lies under a key."""
    return b"".join([chunk async for chunk in store.read(key, start, stop)])


def files(store: FileStore) -> list[pathlib.Path]:
    """Every file there is."""
    return [path for path in pathlib.Path(store.path_of("")).rglob("*") if path.is_file()]


def test_large_bodies_are_written_in_batches(store: FileStore, runner: asyncio.Runner) -> None:
    """Hashed while they are written, whatever the size of their pieces; and read in any range."""
    assert len(LARGE) > 3 * BATCH_BYTES
    parts = [LARGE[start : start + 100_000] for start in range(0, len(LARGE), 100_000)]
    written = runner.run(store.write("ab" * 16, chunks(*parts), "sha256"))
    assert (written.digest, written.size) == (digest_of(LARGE), len(LARGE))
    (key,) = written.keys
    assert re.fullmatch("[0-9a-f]{2}/" + "ab" * 16 + "[.][0-9a-f]{24}", key)
    for start, stop in ((0, len(LARGE)), (5, 5), (7, 999_999), (len(LARGE) - 1, len(LARGE))):
        assert runner.run(read(store, key, start, stop)) == LARGE[start:stop]


def test_a_file_that_was_cut_is_damaged(store: FileStore, runner: asyncio.Runner) -> None:
    """It ends before what was promised."""
    written = runner.run(store.write("aa", chunks(b"content"), "sha256"))
    os.truncate(store.path_of(written.keys[0]), 3)
    with pytest.raises(Damaged, match="shorter"):
        runner.run(read(store, written.keys[0], 0, 7))


def test_a_client_that_goes_away_leaves_no_file(store: FileStore, runner: asyncio.Runner) -> None:
    """In the middle of a body, also while a batch is being written."""

    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        runner.run(store.write("aa", broken(), "sha256"))
    runner.run(store.close())
    assert files(store) == []


def test_a_cancelled_write_leaves_no_file(store: FileStore, runner: asyncio.Runner) -> None:
    """The server stops while bytes are on their way."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield LARGE
            await asyncio.sleep(0)

    async def cancel() -> None:
        writing = asyncio.ensure_future(store.write("aa", endless(), "sha256"))
        while not files(store):  # noqa: ASYNC110 - nobody else tells when the file is there
            await asyncio.sleep(0)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing

    runner.run(cancel())
    runner.run(store.close())
    assert files(store) == []


def test_nothing_is_written_after_it_was_discarded(store: FileStore) -> None:
    """A batch that comes late finds the writer closed."""
    writer = module._Writer(store.path_of("aa"), "late", "sha256")
    writer.append([b"1"])
    writer.discard()
    writer.append([b"2"])
    writer.finish([b"3"])
    writer.discard()
    assert files(store) == []


def test_joining_what_is_gone(store: FileStore, runner: asyncio.Runner) -> None:
    """BlobUnknown, and no half of a file."""
    first = runner.run(store.write("aa", chunks(b"1"), "sha256"))
    with pytest.raises(BlobUnknown):
        runner.run(store.join("bb", [first.keys[0], "aa/gone"], "sha256"))
    runner.run(store.close())
    assert [str(path) for path in files(store)] == [store.path_of(first.keys[0])]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
        (errno.ENOENT, BlobUnknown),
    ],
)
def test_errors_of_the_disk(number: int, error: type[Exception]) -> None:
    """Full, away, gone: each is told by its own error."""

    def fail() -> None:
        raise OSError(number, os.strerror(number), "name")

    with pytest.raises(error):
        telling(fail)


def settle(store: FileStore, runner: asyncio.Runner, keys: list[list[str]]) -> list[type[BaseException] | None]:
    """Settle several lists of keys at once; the error of each."""

    async def story() -> list[object]:
        return await asyncio.gather(*map(store.settle, keys), return_exceptions=True)

    return [type(answer) if isinstance(answer, BaseException) else None for answer in runner.run(story())]


def test_many_are_settled_together(store: FileStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files wait in one queue, large ones do not hold it up; one that is gone fails only whoever waits for it."""
    sizes = [10, 20, 3 << 20, 30]
    keys = [runner.run(store.write("aa", chunks(b"x" * size), "sha256")).keys for size in sizes]
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert settle(store, runner, [*keys, ["00/gone"], keys[0]]) == [None, None, None, None, BlobUnknown, None]
    assert {store.path_of(key) for (key,) in keys} <= set(synced)
    assert {os.path.dirname(store.path_of(key)) for (key,) in keys} <= set(synced)


@pytest.mark.parametrize("part", ["file", "folder"])
def test_a_failed_sync_is_told_to_whom_it_concerns(
    store: FileStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Of two files that are settled together, one cannot be synced, or both share a folder that cannot."""
    good, bad = (runner.run(store.write(prefix, chunks(b"1"), "sha256")).keys for prefix in ("aa", "bb"))
    real = os.fsync

    def fail(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name == store.path_of(bad[0]) if part == "file" else os.path.isdir(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    assert settle(store, runner, [good, bad]) == [None if part == "file" else Unavailable, Unavailable]
    monkeypatch.undo()
    assert settle(store, runner, [good]) == [None]


def test_whoever_left_is_not_told(store: FileStore, runner: asyncio.Runner) -> None:
    """Settling goes on when the caller has gone, and when its loop has."""
    keys = runner.run(store.write("aa", chunks(b"1"), "sha256")).keys

    async def leave() -> None:
        settling = asyncio.ensure_future(store.settle(keys))
        await asyncio.sleep(0)
        settling.cancel()
        await store.settle(keys)

    runner.run(leave())
    with asyncio.Runner() as other:
        other.get_loop().call_soon(lambda: asyncio.ensure_future(store.settle(keys)))
        other.run(asyncio.sleep(0))
    assert settle(store, runner, [keys]) == [None]


def test_a_full_disk_leaves_no_file(store: FileStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """StorageFull from whichever write meets it."""

    def full(descriptor: int, content: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFull):
        runner.run(store.write("aa", chunks(b"1"), "sha256"))
    monkeypatch.undo()
    runner.run(store.close())
    assert files(store) == []


def test_a_folder_that_cannot_be_made() -> None:
    """Told at the start."""
    with pytest.raises(Unavailable):
        open_store("file:///dev/null/blobs")


def test_what_the_store_holds(store: FileStore, runner: asyncio.Runner) -> None:
    """Keys can be listed, room can be asked for, and deleting what is gone is no error."""

    async def keys() -> set[str]:
        return {each.key async for each in store.stored()}

    first, second = (runner.run(store.write(prefix, chunks(b"1"), "sha256")).keys[0] for prefix in ("aa", "bb"))
    assert runner.run(keys()) == {first, second}
    runner.run(store.delete([first, first, "cc/gone"]))
    assert runner.run(keys()) == {second}
    assert runner.run(store.probe()) > 0


def test_only_keys_of_this_run_are_certain(
    store: FileStore, runner: asyncio.Runner, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine what was not settled may be lost; nothing else can tell."""
    (key,) = runner.run(store.write("aa", chunks(b"1"), "sha256")).keys
    assert store.is_certain(key)
    assert not store.is_certain("aa/aa.00000000deadbeef")
    monkeypatch.setattr(os, "getppid", lambda: -1)
    other = open_store(f"file://{tmp_path}/blobs")
    assert not other.is_certain(key)
    runner.run(other.close())
