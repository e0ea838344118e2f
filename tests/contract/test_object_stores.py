"""What only a store in a bucket has: wrong places, short objects, clients that send nothing, and its memory."""

from __future__ import annotations

import asyncio
import pathlib
import re
from collections.abc import AsyncIterator

import obstore
import pytest

from entrepot.domain.errors import Damaged, TooLarge, Unavailable
from entrepot.ports.store import BlobStore
from entrepot.storage import _objects
from entrepot.storage._objects import ObjectStore
from tests.contract.conftest import Bucket
from tests.contract.test_blob_store import open_store

MEBIBYTE = 1 << 20
UPLOADS, UPLOAD_MEBIBYTES, MOST_MEBIBYTES = 16, 32, 200


async def body(mebibytes: int, *, is_stalled: bool = False) -> AsyncIterator[bytes]:
    """So much, and perhaps a client that sends nothing more and does not go away."""
    for _ in range(mebibytes):
        yield b"x" * MEBIBYTE
        await asyncio.sleep(0)
    if is_stalled:
        await asyncio.Event().wait()


async def read(store: BlobStore, key: str, start: int = 0, stop: int = 1) -> bytes:
    """The first byte, or others."""
    return b"".join([chunk async for chunk in store.read(key, start, stop)])


def test_a_wrong_place_is_not_a_lost_blob(bucket: Bucket) -> None:
    """Where the bucket is missing, or holds nothing below the prefix, it says so, and no check takes that for loss."""

    async def story() -> None:
        url = bucket.fresh_url()
        missing, empty = open_store(url.replace("://blobs/", "://never-made/")), open_store(url)
        for store, told in ((missing, "no such bucket"), (empty, "holds nothing")):
            with pytest.raises(Unavailable, match=told):
                await read(store, "key")
            with pytest.raises(Unavailable, match=told):
                await store.join("prefix", ["key"], "sha256")
        with pytest.raises(Unavailable, match="no such bucket"):
            await missing.delete(["one", "two"])
        await empty.delete(["one", "two"])

    asyncio.run(story())


@pytest.mark.parametrize("left", [b"", b"half"])
def test_what_became_shorter_is_damaged(bucket: Bucket, left: bytes) -> None:
    """Bytes that are gone from the end of an object are damage, and no store that is away, wherever a read begins."""

    async def story() -> None:
        store = open_store(bucket.fresh_url())
        ((key,), size) = (written := await store.write("prefix", body(1), "sha256")).keys, written.size
        assert isinstance(store, ObjectStore)
        await obstore.put_async(store._store, key, left)
        for start, stop in ((0, size), (size - 1, size), (len(left), size)):
            with pytest.raises(Damaged, match="shorter than it was written"):
                await read(store, key, start, stop)

    asyncio.run(story())


@pytest.mark.parametrize("most", [1, 20])
def test_more_than_an_object_can_have_is_refused(bucket: Bucket, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the store fails at one part too many, and nothing is left; joining has no bound."""
    monkeypatch.setattr(_objects, "MOST_BYTES", most * MEBIBYTE)

    async def story() -> None:
        store = open_store(bucket.fresh_url())
        with pytest.raises(TooLarge, match="in several chunks"):
            await store.write("prefix", body(most + 2), "sha256")
        assert [each async for each in store.stored()] == []
        keys = [key for _ in range(2) for key in (await store.write("prefix", body(most), "sha256")).keys]
        assert (await store.join("prefix", keys, "sha256")).size == 2 * most * MEBIBYTE

    asyncio.run(story())


@pytest.mark.parametrize("mebibytes", [1, 20])
def test_a_cancelled_upload_of_a_stalled_client_ends_at_once(bucket: Bucket, mebibytes: int) -> None:
    """Whether one part or several are on their way: no task of it and no key are left."""

    async def story() -> None:
        store = open_store(bucket.fresh_url())
        # The server makes room for its first objects before it answers anything.
        await store.delete((await store.write("warm", body(mebibytes), "sha256")).keys)
        writing = asyncio.ensure_future(store.write("stalled", body(mebibytes, is_stalled=True), "sha256"))
        await asyncio.sleep(0.5)
        writing.cancel()
        _, late = await asyncio.wait({writing}, timeout=2)
        assert (late, writing.cancelled()) == (set(), True)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [each async for each in store.stored()] == []

    asyncio.run(story())


def resident_mebibytes() -> int:
    """What this process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


@pytest.mark.slow
def test_uploads_at_once_hold_a_part_each(bucket: Bucket) -> None:
    """Memory stays bounded by the parts that are on their way, however large the uploads are."""

    async def story() -> int:
        store = open_store(bucket.fresh_url())
        await store.write("warm", body(20), "sha256")
        before = most = resident_mebibytes()
        writing = [
            asyncio.ensure_future(store.write(str(number), body(UPLOAD_MEBIBYTES), "sha256"))
            for number in range(UPLOADS)
        ]
        while not all(each.done() for each in writing):
            most = max(most, resident_mebibytes())
            await asyncio.sleep(0.02)
        assert {(await each).size for each in writing} == {UPLOAD_MEBIBYTES * MEBIBYTE}
        return most - before

    assert asyncio.run(story()) < MOST_MEBIBYTES
