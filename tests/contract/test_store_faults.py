"""Stores that fail: short trouble is nobody's, long trouble is told, and nothing passes for whole that is not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import requests

from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import Unavailable
from entrepot.ports.store import BlobStore
from tests.contract.conftest import Bucket
from tests.contract.test_blob_store import chunks, open_store, read_all
from tests.contract.test_object_stores import resident_mebibytes
from tests.support.fault_proxy import FOREVER, Fault, FaultProxy
from tests.support.server import ADMIN_PASSWORD, Server

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
SMALL, LARGE = os.urandom(MEBIBYTE), os.urandom(20 * MEBIBYTE)
REPOSITORY = "acme/app"
WRITERS, WRITTEN_MEBIBYTES, MOST_MEBIBYTES = 8, 32, 200
PUSHES = 40

FAULTS = {
    "500": Fault("answer", status=500, code="InternalError"),
    "slow-down": Fault("answer"),
    "slow-down-in-mid-body": Fault("answer", after_bytes=100_000),
    "reset": Fault("reset"),
    "reset-in-mid-body": Fault("reset", after_bytes=700_000),
    "answer-lost": Fault("forget"),
    "late": Fault("delay", seconds=0.3),
}
CUTS = {"cut": Fault("cut", after_bytes=300_000), "cut-at-once": Fault("cut")}


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FaultProxy]:
    """A proxy in front of each kind of store."""
    with FaultProxy(bucket.port) as proxy:
        yield proxy


async def keys_of(store: BlobStore) -> set[str]:
    """What the store holds."""
    listing = store.stored()  # type: ignore[attr-defined]
    return {each.key async for each in listing}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_writes_get_over_short_trouble(bucket: Bucket, proxy: FaultProxy, fault: str, content: bytes) -> None:
    """What is sent again arrives once and whole, wherever the trouble was: at the beginning, in a part, at the end."""

    async def story() -> None:
        store = open_store(bucket.fresh_url(proxy.port))
        proxy.harm(FAULTS[fault], times=2, method="PUT")
        proxy.harm(FAULTS[fault], times=1, method="POST")
        written = await store.write("prefix", chunks(content), "sha256")
        assert proxy.harmed
        assert written.digest == digest_of(content)
        assert await keys_of(store) == set(written.keys)
        assert await read_all(store, written) == content

    asyncio.run(story())


@pytest.mark.parametrize("fault", [*FAULTS, *CUTS])
def test_reads_get_over_short_trouble(bucket: Bucket, proxy: FaultProxy, fault: str) -> None:
    """What was cut off is asked for again from where it broke, and nothing comes twice."""

    async def story() -> None:
        store = open_store(bucket.fresh_url(proxy.port))
        written = await store.write("prefix", chunks(LARGE), "sha256")
        proxy.harm((FAULTS | CUTS)[fault], times=2, method="GET", part="prefix.")
        assert await read_all(store, written) == LARGE
        assert len(proxy.harmed) == 2

    asyncio.run(story())


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", ["500", "slow-down-in-mid-body", "reset-in-mid-body", "answer-lost"])
def test_long_trouble_is_told(bucket: Bucket, proxy: FaultProxy, fault: str, content: bytes) -> None:
    """Reads and writes are Unavailable while it lasts, and go on once it is over."""

    async def story() -> None:
        store = open_store(bucket.fresh_url(proxy.port))
        written = await store.write("prefix", chunks(content), "sha256")
        other = await store.write("prefix", chunks(b"deleted meanwhile"), "sha256")
        proxy.harm(FAULTS[fault], times=FOREVER)
        with pytest.raises(Unavailable):
            await read_all(store, written)
        with pytest.raises(Unavailable):
            await store.write("prefix", chunks(content), "sha256")
        with pytest.raises(Unavailable):
            await store.delete(other.keys)
        proxy.heal()
        assert await read_all(store, written) == content
        await store.delete(written.keys)
        assert not await keys_of(store) & set(written.keys)

    asyncio.run(story())


def test_a_slow_store_does_not_fill_the_memory(bucket: Bucket, proxy: FaultProxy) -> None:
    """Uploads wait for a store that takes its time with each part; what they hold meanwhile is bounded."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(WRITTEN_MEBIBYTES):
            yield b"x" * MEBIBYTE
            await asyncio.sleep(0)

    async def story() -> int:
        store = open_store(bucket.fresh_url(proxy.port))
        await store.write("warm", body(), "sha256")
        before = most = resident_mebibytes()
        proxy.harm(Fault("delay", seconds=0.2), times=FOREVER)
        writing = [asyncio.ensure_future(store.write("prefix", body(), "sha256")) for _ in range(WRITERS)]
        while not all(each.done() for each in writing):
            most = max(most, resident_mebibytes())
            await asyncio.sleep(0.02)
        assert {(await each).size for each in writing} == {WRITTEN_MEBIBYTES * MEBIBYTE}
        return most - before

    assert asyncio.run(story()) < MOST_MEBIBYTES


@pytest.fixture
def server(tmp_path: pathlib.Path, bucket: Bucket, proxy: FaultProxy) -> Iterator[Server]:
    """A registry whose store is behind the proxy."""
    environment = {"ENTREPOT_STORAGE__URL": bucket.fresh_url(proxy.port)}
    with Server(tmp_path / "data", environment=environment) as server:
        yield server


def session() -> requests.Session:
    """The administrator."""
    session = requests.Session()
    session.auth = ("admin", ADMIN_PASSWORD)
    session.trust_env = False
    return session


def push(server: Server, client: requests.Session, content: bytes) -> requests.Response:
    """A blob in one request."""
    parameters = {"digest": digest_of(content)}
    return client.post(f"{server.url}/v2/{REPOSITORY}/blobs/uploads/", params=parameters, data=content)


def pull(server: Server, client: requests.Session, digest: str, **headers: str) -> requests.Response:
    """A blob, whole."""
    return client.get(f"{server.url}/v2/{REPOSITORY}/blobs/{digest}", headers=headers)


def test_clients_are_told_to_come_again(server: Server, proxy: FaultProxy) -> None:
    """503 with Retry-After for pushes and pulls while the store asks to slow down, and nothing is acknowledged."""
    client, before, after = session(), os.urandom(MEBIBYTE), os.urandom(MEBIBYTE)
    assert push(server, client, before).status_code == 201
    proxy.harm(Fault("answer"), times=FOREVER)
    for answer in (push(server, client, after), pull(server, client, digest_of(before))):
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert answer.json()["errors"][0]["code"]
        assert "SlowDown" not in answer.text
    assert pull(server, client, digest_of(after)).status_code == 404
    proxy.heal()
    assert push(server, client, after).status_code == 201
    assert pull(server, client, digest_of(after)).content == after
    assert "503 Service Unavailable" in server.output()


def test_a_download_that_is_cut_does_not_look_whole(server: Server, proxy: FaultProxy) -> None:
    """Where the store fails for good in the middle, the connection breaks before the length that was announced."""
    client = session()
    assert push(server, client, LARGE).status_code == 201
    proxy.harm(Fault("delay"), times=1, method="GET")
    proxy.harm(Fault("answer"), times=FOREVER, method="GET")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        pull(server, client, digest_of(LARGE))
    proxy.heal()
    assert pull(server, client, digest_of(LARGE)).content == LARGE


def test_nothing_acknowledged_is_lost(server: Server, proxy: FaultProxy) -> None:
    """Whatever a store does at random, what got a 201 pulls byte for byte, and everything else got an error."""
    chance, client = random.Random(1), session()
    faults = [*FAULTS.values(), *CUTS.values()]
    acknowledged: list[tuple[Digest, bytes]] = []
    for number in range(PUSHES):
        proxy.heal()
        for _ in range(chance.randrange(3)):
            times = chance.choice((1, 2, FOREVER))
            proxy.harm(chance.choice(faults), times=times, method=chance.choice(("PUT", "POST", "")))
        content = chance.randbytes(chance.choice((10, 100_000, 9 * MEBIBYTE)) + number)
        answer = push(server, client, content)
        if answer.status_code == 201:
            acknowledged.append((digest_of(content), content))
        else:
            assert answer.status_code == 503, answer.text
    proxy.heal()
    assert 0 < len(acknowledged) <= PUSHES
    for digest, content in acknowledged:
        assert hashlib.sha256(pull(server, client, digest).content).hexdigest() == hashlib.sha256(content).hexdigest()
