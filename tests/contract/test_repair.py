"""Check and repair over every store that can list itself, disk and bucket alike."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator

import pytest

from entrepot.core.check import How, Report, check
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import BlobUnknown
from entrepot.ports.source import Wanted
from entrepot.ports.store import BlobStore, ListsStored
from tests.support.world import World, push_blob

# Two batches of an S3 request, and something small.
CONTENTS = [b"a" * 9_000_000, b"b" * 9_000_000, b"deleted", b"orphaned"]


class Shelf:
    """The port Source over what the test knows, but for what is to be found in an orphan."""

    name = "shelf"

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        found = [content for content in CONTENTS[:3] if digest_of(content) == wanted.digest]
        if not found:
            raise BlobUnknown("not here")
        yield found[0]

    async def close(self) -> None:
        pass


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


def test_damage_is_found_and_healed(store_url: str) -> None:
    """Exchanged, deleted and orphaned bytes are found, healed from a source or the orphan, and pulled as they were; the
    orphan goes when it is a day old, and nothing else does.
    """
    store: BlobStore = importlib.import_module(f"entrepot.storage.{store_url.partition('://')[0]}").open_store(
        store_url
    )
    if store_url == "memory://":
        # For tests alone: it lists nothing.
        return
    assert isinstance(store, ListsStored)
    with World(wrap_store=lambda _: store) as world:
        client = world.client("alice")
        for content in CONTENTS:
            push_blob(client, "priv/app", content)
        (one, two, deleted, orphaned) = (digest_of(content) for content in CONTENTS)
        keys = {row[0]: str(row[1]) for row in world.rows("select blob, key from location")}
        for digest, other in ((one, two), (two, one)):
            world.transact(
                lambda tx, d=digest, o=other: tx.execute("update location set key = $2 where blob = $1", d, keys[o])
            )
        world.run(store.delete([keys[deleted], keys[orphaned]]))
        left = world.run(store.write("f" * 32, _chunks(CONTENTS[3]), "sha256"))

        def look(*, repair: bool) -> Report:
            how = How(share=1.0, is_repair=repair, sources=[Shelf()])
            return world.run(check(world.registry, how, lambda what, amount: None))

        found = look(repair=False)
        assert {(each.kind, each.subject) for each in found.findings} == {
            ("blob.damaged", one),
            ("blob.damaged", two),
            ("blob.missing", deleted),
            ("blob.missing", orphaned),
        }
        healed = look(repair=True)
        assert (healed.found, healed.mended) == (0, 4)
        for content in CONTENTS:
            assert client.request("GET", f"/v2/priv/app/blobs/{digest_of(content)}").body == content
        world.clock.advance(days=400)
        cleaned = look(repair=True)
        assert cleaned.keys is not None
        assert (cleaned.found, cleaned.keys.removed, cleaned.keys.unreferenced) == (0, 1, 1)
        with pytest.raises(BlobUnknown):
            world.run(_read(store, left.keys[0]))
        assert look(repair=False).found == 0
        world.run(store.close())


async def _read(store: BlobStore, key: str) -> list[bytes]:
    return [chunk async for chunk in store.read(key, 0, 1)]
