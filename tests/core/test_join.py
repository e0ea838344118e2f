"""Blobs that came in chunks, on a store that keeps each chunk by itself: joined by a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from entrepot.core import upload
from entrepot.core.jobs import Outcome, run_due
from entrepot.domain.digests import Digest, digest_of, new_hash
from entrepot.metadata import blobs
from entrepot.ports.store import Piece, Written
from entrepot.storage.memory import MemoryStore
from entrepot.wire.redirects import RedirectRules
from tests.support.asgi import Answer
from tests.support.world import World, push_blob

CONTENT = bytes(range(256)) * 2000
DIGEST = digest_of(CONTENT)
CHUNKS = (CONTENT[:1000], CONTENT[1000:1001], CONTENT[1001:])
DAY = 86_400


class PieceStore(MemoryStore):
    """A store that joins by a list of keys, as object stores do, and gives out addresses."""

    async def join(self, prefix: str, keys: Sequence[str], algorithm: str) -> Written:
        hasher = new_hash(algorithm)
        for key in keys:
            hasher.update(self.content[key])
        pieces = tuple(Piece(key, len(self.content[key])) for key in keys)
        return Written(pieces, Digest(f"{algorithm}:{hasher.hexdigest()}"))

    async def sign(self, key: str, seconds: int) -> str:
        return f"https://store.example/{key}?{seconds}"


@pytest.fixture
def world() -> Iterator[World]:
    """A world over such a store, with a blob in three chunks."""
    store = PieceStore()
    with World(wrap_store=lambda _: store, redirect_rules=RedirectRules()) as world:
        world.store = store
        push(world)
        yield world


def push(world: World) -> None:
    """The blob, chunk by chunk."""
    alice = world.client("alice")
    location = alice.request("POST", "/v2/priv/app/blobs/uploads/")["location"]
    for chunk in CHUNKS:
        location = alice.request("PATCH", location, chunk)["location"]
    assert alice.request("PUT", f"{location}?digest={DIGEST}").status == 201


def pull(world: World) -> Answer:
    """The blob."""
    return world.client("alice").request("GET", f"/v2/priv/app/blobs/{DIGEST}")


def run_jobs(world: World) -> list[Outcome]:
    """What became of the jobs that are due."""
    return world.run(run_due(world.registry, "worker"))


def keys(world: World) -> list[str]:
    """Where the blob lies."""
    return [row[0] for row in world.rows("select key from location where blob = $1 order by ordinal", DIGEST)]


def test_chunks_become_one(world: World) -> None:
    """The blob is streamed before and redirected afterwards; whoever reads the chunks has a day to come to the end."""
    chunks = keys(world)
    assert len(chunks) == 3
    assert (pull(world).status, pull(world).body) == (200, CONTENT)
    [outcome] = run_jobs(world)
    assert (outcome.job.kind, outcome.error) == ("blob.join", "")
    [joined] = keys(world)
    assert world.store.content[joined] == CONTENT
    assert pull(world)["location"] == f"https://store.example/{joined}?1800"
    assert set(world.store.content) == {joined, *chunks}
    world.clock.advance(seconds=DAY - 1)
    assert run_jobs(world) == []
    world.clock.advance(seconds=2)
    run_jobs(world)
    assert set(world.store.content) == {joined}


def test_there_is_nothing_to_join(world: World) -> None:
    """A blob in one piece asks for no job; a job that comes too late, or again, does nothing."""
    run_jobs(world)
    held = dict(world.store.content)
    push_blob(world.client("alice"), "priv/other", b"in one piece")
    world.transact(lambda tx: upload.jobs.add_job(tx, upload.JOIN, DIGEST, DIGEST, world.clock.now()))
    missing = digest_of(b"missing")
    world.transact(lambda tx: upload.jobs.add_job(tx, upload.JOIN, missing, missing, world.clock.now()))
    assert [outcome.error for outcome in run_jobs(world)] == ["", ""]
    assert len(world.store.content) == len(held) + 1


def test_what_has_moved_meanwhile_stays_where_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever healed or moved the blob while it was copied is right, and the copy is dropped."""
    elsewhere = "elsewhere"
    write = world.store.write

    async def late(*arguments: object) -> Written:
        written = await write(*arguments)  # type: ignore[arg-type]
        world.store.content[elsewhere] = CONTENT
        pieces = [Piece(elsewhere, len(CONTENT))]
        await world.database.transact(lambda tx: blobs.replace_locations(tx, DIGEST, pieces))
        return written

    monkeypatch.setattr(world.store, "write", late)
    before = set(world.store.content)
    assert [outcome.error for outcome in run_jobs(world)] == [""]
    assert keys(world) == [elsewhere]
    assert set(world.store.content) == {*before, elsewhere}


def test_damage_is_found(world: World) -> None:
    """Chunks that are not what was pushed are joined to nothing, and the blob is served no more until it is healed."""
    chunks = keys(world)
    world.store.content[chunks[0]] = bytes(len(CHUNKS[0]))
    [outcome] = run_jobs(world)
    assert "not what the digest says" in outcome.error
    assert (pull(world).status, pull(world).code) == (404, "BLOB_UNKNOWN")
    assert set(world.store.content) == set(chunks)
    assert world.rows("select subject from event where kind = 'blob.damaged'") == [(DIGEST,)]
    push(world)
    world.clock.advance(seconds=10)
    run_jobs(world)
    assert len(keys(world)) == 1
    assert pull(world).status == 307


def test_what_is_too_large_stays_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it would keep all other jobs waiting."""
    monkeypatch.setattr(upload, "MOST_JOINED_BYTES", len(CONTENT))
    location = world.client("alice").request("POST", "/v2/priv/large/blobs/uploads/")["location"]
    larger = CONTENT + b"x"
    for chunk in (larger[:5], larger[5:]):
        location = world.client("alice").request("PATCH", location, chunk)["location"]
    assert world.client("alice").request("PUT", f"{location}?digest={digest_of(larger)}").status == 201
    assert [outcome.job.payload for outcome in run_jobs(world)] == [f'"{DIGEST}"']
