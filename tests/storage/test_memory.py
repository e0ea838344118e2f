"""The memory store, as tests use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from entrepot.domain.errors import BlobUnknown
from entrepot.storage.memory import CHUNK_BYTES, MemoryStore, open_store
from tests.support.asgi import run


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for part in parts:
        yield part


def test_content_can_be_looked_at_and_damaged() -> None:
    """Bytes lie under their key; reads are in bounded chunks; what is gone is unknown."""
    store = open_store("memory://")
    assert isinstance(store, MemoryStore)
    content = b"x" * (CHUNK_BYTES + 1)
    (key,) = run(store.write("p", chunks(content), "sha256")).keys
    assert store.content == {key: content}

    async def read() -> list[int]:
        return [len(chunk) async for chunk in store.read(key, 0, len(content))]

    assert run(read()) == [CHUNK_BYTES, 1]
    store.content.clear()
    with pytest.raises(BlobUnknown):
        run(read())
    run(store.close())
