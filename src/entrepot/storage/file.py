"""The disk store: one new file per key, hashed while it is written, synced with its folder by `settle`.

<root>/3f/9a1e...c1.07c1d28e5be0d2f1a6c7e8f9     a key is the path below root; its first part is a fan-out of 256

After the dot: eight digits of the run that wrote it (see `_this_run`), then random ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import secrets
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeGuard, TypeVar

from entrepot.domain.digests import Digest, new_hash
from entrepot.domain.errors import Damaged
from entrepot.ports.store import Buffer, Piece, Pours, StoredKey, Written
from entrepot.storage._settling import Settler, sync_folder, telling

FOLDERS: Final = 256
IN_A_ROW: Final = 64
BATCH_BYTES: Final = 1 << 20
SMALLEST_READ: Final = 32 << 10
LARGEST_READ: Final = 1 << 20
READERS_BYTES: Final = 8 << 20
THREADS: Final = 16

R = TypeVar("R")


class FileStore:
    """The port BlobStore over a local folder, with LocalFiles, ListsStored, Probes and Forgets."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = str(root.resolve())
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="file-store")
        self._settler = Settler(self._pool)
        self._run = _this_run()
        self._made = secrets.randbelow(FOLDERS * IN_A_ROW)
        self._readers = 0
        for number in range(FOLDERS):
            (root / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        sync_folder(self._root)
        sync_folder(os.path.dirname(self._root))

    def path_of(self, key: str) -> str:
        """Where the bytes under a key lie."""
        return f"{self._root}/{key}"

    def open(self, key: str) -> int:
        return _open_to_read(self.path_of(key))

    async def write(self, prefix: str, chunks: AsyncIterable[bytes], algorithm: str) -> Written:
        writer = _Writer(self._root, self._new_key(prefix), algorithm)
        try:
            rest = await chunks.pour(partial(telling, writer.append)) if _pours(chunks) else None
            if rest is None:
                rest = await self._append_all(writer, chunks)
            await self._submit(writer.finish, rest)
        except BaseException:
            # The writer may still be at work in its thread when the client has gone: drop the file behind it.
            self._pool.submit(writer.discard)
            raise
        return writer.written()

    async def _append_all(self, writer: _Writer, chunks: AsyncIterable[bytes]) -> list[bytes]:
        """Hand on a MiB at a time while the next one arrives; the last pieces are left."""
        pending: asyncio.Future[None] | None = None
        batch: list[bytes] = []
        held = 0
        async for chunk in chunks:
            batch.append(chunk)
            held += len(chunk)
            if held >= BATCH_BYTES:
                await _ended(pending)
                pending = self._submit(writer.append, batch)
                batch, held = [], 0
        await _ended(pending)
        return batch

    async def settle(self, keys: Sequence[str]) -> None:
        await self._settler.settle([self.path_of(key) for key in keys])

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        writer = _Writer(self._root, self._new_key(prefix), algorithm)
        try:
            await self._submit(_copy, [self.path_of(key) for key in keys], writer)
        except BaseException:
            self._pool.submit(writer.discard)
            raise
        return writer.written()

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        descriptor = _open_to_read(self.path_of(key))
        self._readers += 1
        try:
            while start < stop:
                # Few readers get large pieces, which is fast; a thousand slow ones must not hold a large one each.
                share = max(SMALLEST_READ, min(LARGEST_READ, READERS_BYTES // self._readers))
                length = min(share, stop - start)
                if _is_cached(descriptor, start, length):
                    chunk = os.pread(descriptor, length, start)
                else:
                    chunk = await self._submit(os.pread, descriptor, length, start)
                if not chunk:
                    raise Damaged("the stored file is shorter than it was written", key=key)
                start += len(chunk)
                yield chunk
        finally:
            self._readers -= 1
            os.close(descriptor)

    async def delete(self, keys: Sequence[str]) -> None:
        if keys:
            await self._submit(_unlink, [self.path_of(key) for key in keys])

    async def stored(self) -> AsyncIterator[StoredKey]:
        for number in range(FOLDERS):
            folder = f"{number:02x}"
            for each in await self._submit(_list_folder, self.path_of(folder), folder):
                yield each

    def is_certain(self, key: str) -> bool:
        return key.rpartition(".")[2].startswith(self._run)

    async def probe(self) -> int:
        room = await self._submit(os.statvfs, self._root)
        return room.f_bavail * room.f_frsize

    async def close(self) -> None:
        self._settler.close()
        self._pool.shutdown()

    def _new_key(self, prefix: str) -> str:
        # Neighbours in time are neighbours on the disk: what is settled together shares the sync of its folder.
        self._made += 1
        return f"{self._made // IN_A_ROW % FOLDERS:02x}/{prefix}.{self._run}{secrets.token_hex(8)}"

    def _submit(self, call: Callable[..., R], *arguments: object) -> asyncio.Future[R]:
        return asyncio.get_running_loop().run_in_executor(self._pool, telling, call, *arguments)


async def _ended(pending: asyncio.Future[None] | None) -> None:
    if pending is not None:
        await pending


class _Writer:
    """One new file. Its methods run in the pool's threads, one at a time; after `discard` nothing is written."""

    def __init__(self, root: str, key: str, algorithm: str) -> None:
        self.key = key
        self.path = f"{root}/{key}"
        self.size = 0
        self._algorithm = algorithm
        self._hash = new_hash(algorithm)
        self._descriptor = -1
        # An append may be at work when its client goes: a descriptor closed under it could be another file's by then.
        self._lock = threading.Lock()
        self._is_discarded = False

    def append(self, chunks: Sequence[Buffer]) -> None:
        with self._lock:
            if not self._is_discarded:
                self._append(chunks)

    def finish(self, chunks: Sequence[Buffer]) -> None:
        with self._lock:
            if not self._is_discarded:
                self._append(chunks)
                self._close()

    def discard(self) -> None:
        with self._lock:
            self._is_discarded = True
            self._close()
            _unlink([self.path])

    def written(self) -> Written:
        return Written((Piece(self.key, self.size),), Digest(f"{self._algorithm}:{self._hash.hexdigest()}"))

    def _append(self, chunks: Sequence[Buffer]) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        for chunk in chunks:
            self._hash.update(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self.size += len(chunk)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _this_run() -> str:
    """The same for all workers of one `serve`, another after its restart and so after loss of power."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        began = pathlib.Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    except OSError:
        return secrets.token_hex(4)
    return hashlib.sha256(f"{boot} {os.getppid()} {began}".encode()).hexdigest()[:8]


def _pours(chunks: AsyncIterable[bytes]) -> TypeGuard[Pours]:
    # As `isinstance` would say, which takes as long as a statement of the database.
    return hasattr(chunks, "pour")


def _open_to_read(path: str) -> int:
    return telling(os.open, path, os.O_RDONLY | os.O_CLOEXEC)


def _is_cached(descriptor: int, start: int, length: int) -> bool:
    """Whether the bytes are in memory, judged by the first and the last: then reading does not wait for the disk."""
    try:
        return all(os.preadv(descriptor, [bytearray(1)], at, os.RWF_NOWAIT) for at in (start, start + length - 1))
    except OSError:
        return False


def _copy(paths: Sequence[str], writer: _Writer) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := os.read(descriptor, BATCH_BYTES):
                writer.append([chunk])
        finally:
            os.close(descriptor)
    writer.finish([])


def _list_folder(path: str, folder: str) -> list[StoredKey]:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            # A file may go between being listed and being looked at.
            with suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                found.append(StoredKey(f"{folder}/{entry.name}", about.st_size, about.st_mtime_ns // 1000))
    return found


def _unlink(paths: Sequence[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue


def open_store(url: str) -> FileStore:
    """Open `file:///PATH`, making the folder as needed. Raises Unavailable."""
    return telling(FileStore, pathlib.Path(url.removeprefix("file://")))
