"""Making files of the disk store survive loss of power: many that wait are synced together."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from entrepot.domain.errors import BlobUnknown, EntrepotError, StorageFull, Unavailable

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LARGE_BYTES: Final = 1 << 20
MOST_AT_ONCE: Final = 64
R = TypeVar("R")
_Waiting = tuple[Sequence[str], "asyncio.Future[None]"]


def telling(call: Callable[..., R], *arguments: object) -> R:
    """What `call` answers; errors of the disk become BlobUnknown, StorageFull or Unavailable, with the reason."""
    try:
        return call(*arguments)
    except FileNotFoundError as error:
        raise BlobUnknown("the stored bytes are gone", key=os.path.basename(str(error.filename))) from error
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull("the disk that holds the blobs is full", reason=os.strerror(error.errno or 0)) from error
        raise Unavailable("the disk that holds the blobs cannot be used now", reason=str(error.strerror)) from error


def sync_folder(folder: str) -> None:
    """Make the names in a folder survive loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Settler:
    """One thread that syncs the small files of all who wait; a large one is worth a thread of `pool`.

    A file system commits its journal once for all that it was told of before: sixteen files together cost a third of
    what they cost in sixteen threads.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)
        self._thread.start()

    async def settle(self, paths: Sequence[str]) -> None:
        """Return once these files, and their names, are on the disk. Raises BlobUnknown, StorageFull, Unavailable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put((paths, done))
        await done

    def close(self) -> None:
        """End the thread; who waits is told before."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < MOST_AT_ONCE and not self._queue.empty():
                batch.append(self._queue.get())
            is_open = None not in batch
            waiting = [each for each in batch if each is not None]
            small = [each for each in waiting if not _is_large(each)]
            for each in waiting:
                if each not in small:
                    self._pool.submit(_settle, [each])
            if small:
                _settle(small)


def _is_large(waiting: _Waiting) -> bool:
    with suppress(OSError):
        return sum(os.stat(path).st_size for path in waiting[0]) > LARGE_BYTES
    return False


def _settle(batch: Sequence[_Waiting]) -> None:
    """Sync all files, then each folder once, and tell everybody; a file that fails fails only whoever waits for it."""
    opened: list[tuple[list[int], _Waiting, EntrepotError | None]] = []
    begins = len(batch) > 1
    for waiting in batch:
        descriptors: list[int] = []
        opened.append((descriptors, waiting, _failure(_open_all, waiting[0], descriptors, begins)))
    outcomes = [(waiting, error or _failure(_sync_all, descriptors)) for descriptors, waiting, error in opened]
    for descriptors, _, _ in opened:
        for descriptor in descriptors:
            os.close(descriptor)
    folders = {os.path.dirname(path) for (paths, _), error in outcomes if error is None for path in paths}
    failed = {folder: error for folder in folders if (error := _failure(sync_folder, folder)) is not None}
    for (paths, done), error in outcomes:
        told = error or next((failed[os.path.dirname(path)] for path in paths if os.path.dirname(path) in failed), None)
        # The loop may have ended meanwhile, with nobody left to tell.
        with suppress(RuntimeError):
            done.get_loop().call_soon_threadsafe(_tell, done, told)


def _open_all(paths: Sequence[str], descriptors: list[int], begins: bool) -> None:  # noqa: FBT001 - handed on as it is
    for path in paths:
        descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if begins:
            # This begins writing without waiting for it: all files of a batch get their place before the first sync
            # commits the journal, so that the others find it committed. Alone it would only cost the cache.
            with suppress(OSError):
                os.posix_fadvise(descriptors[-1], 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.fsync(descriptor)


def _failure(call: Callable[..., None], *arguments: object) -> EntrepotError | None:
    try:
        telling(call, *arguments)
    except EntrepotError as error:
        return error
    return None


def _tell(done: asyncio.Future[None], error: EntrepotError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
