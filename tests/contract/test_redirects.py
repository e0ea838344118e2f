"""Redirects over a real store: what clients fetch there, for how long, and that no address is written down."""

from __future__ import annotations

import asyncio
import http.client
import os
import pathlib
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests

from entrepot.domain.digests import Digest, digest_of
from entrepot.ports.store import Abilities
from tests.contract.conftest import Bucket
from tests.contract.test_blob_store import open_store
from tests.support.seaweedfs import PUBLIC_HOST
from tests.support.server import ADMIN_PASSWORD, Server

REPOSITORY = "acme/app"
LARGE = os.urandom(3 << 20)
LIMIT_SECONDS = 20
KIBIBYTE = 1 << 10


def serve(tmp_path: pathlib.Path, bucket: Bucket, **storage: str) -> Server:
    """A server over a fresh place of the store."""
    environment = {f"ENTREPOT_STORAGE__{name.upper()}": value for name, value in storage.items()}
    return Server(tmp_path / "data", environment={"ENTREPOT_STORAGE__URL": bucket.public_url(), **environment})


@pytest.fixture
def server(tmp_path: pathlib.Path, bucket: Bucket) -> Iterator[Server]:
    """Everybody is redirected."""
    with serve(tmp_path, bucket, redirect="always") as server:
        yield server


def session() -> requests.Session:
    """The administrator, whose credentials go to no other host."""
    session = requests.Session()
    session.auth = ("admin", ADMIN_PASSWORD)
    session.trust_env = False
    return session


def push(server: Server, *chunks: bytes) -> Digest:
    """A blob in so many chunks."""
    client, content = session(), b"".join(chunks)
    location = client.post(f"{server.url}/v2/{REPOSITORY}/blobs/uploads/").headers["location"]
    for chunk in chunks:
        location = client.patch(location, data=chunk).headers["location"]
    digest = digest_of(content)
    answer = client.put(location, params={"digest": digest})
    assert answer.status_code == 201, answer.text
    return digest


def blob_url(server: Server, digest: Digest) -> str:
    """Where a blob is pulled."""
    return f"{server.url}/v2/{REPOSITORY}/blobs/{digest}"


def test_bytes_come_from_the_store(server: Server) -> None:
    """Whole and in ranges; a HEAD is answered here, and the store itself gives nothing without the signature."""
    url, client = blob_url(server, push(server, LARGE)), session()
    answer = client.get(url)
    assert (answer.status_code, answer.content) == (200, LARGE)
    assert [first.status_code for first in answer.history] == [307]
    assert urlsplit(answer.url).hostname == PUBLIC_HOST
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    part = client.get(url, headers={"range": "bytes=1000000-1000009"})
    assert (part.status_code, part.content) == (206, LARGE[1000000:1000010])
    head = client.head(url, allow_redirects=True)
    assert (head.status_code, head.history, head.headers["content-length"]) == (200, [], str(len(LARGE)))
    assert requests.get(answer.url.partition("?")[0], timeout=10).status_code in {403, 404}


def test_a_blob_in_chunks_is_joined(server: Server) -> None:
    """It pulls as soon as it is pushed, and once its objects have become one it is redirected."""
    url, client = blob_url(server, push(server, LARGE[:1000], LARGE[1000:])), session()
    limit = time.monotonic() + LIMIT_SECONDS
    while True:
        answer = client.get(url)
        assert (answer.status_code, answer.content) == (200, LARGE)
        if answer.history:
            break
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_a_client_that_forwards_credentials_never_shows_them_to_the_store(server: Server) -> None:
    """Python's urllib would carry the Authorization header along: it gets the bytes from us."""
    request = urllib.request.Request(blob_url(server, push(server, LARGE)))
    request.add_header("Authorization", requests.auth._basic_auth_str("admin", ADMIN_PASSWORD))
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert (answer.read(), answer.url) == (LARGE, request.full_url)


def test_a_network_that_cannot_reach_the_store_is_streamed(tmp_path: pathlib.Path, bucket: Bucket) -> None:
    """By its address; an address of the store would be of no use there."""
    with serve(tmp_path, bucket, redirect="rules", stream_networks="127.0.0.0/8") as server:
        answer = session().get(blob_url(server, push(server, LARGE)))
        assert (answer.status_code, answer.content, answer.history) == (200, LARGE, [])
        counted(server, "network")


def test_no_address_is_written_down(server: Server) -> None:
    """Neither the access log nor the audit log nor the metrics have it; they say that there was a redirect."""
    digest = push(server, LARGE)
    location = session().get(blob_url(server, digest), allow_redirects=False).headers["location"]
    query = dict(parse_qsl(urlsplit(location).query))
    [signature] = [value for name, value in query.items() if name in {"X-Amz-Signature", "sig"}]
    assert len(signature) >= 40
    found = counted(server, "redirected")
    audit = session().get(f"{server.url}/api/v1/audit").text
    server.stop()
    held = [path.read_bytes() for path in server.data.rglob("*") if path.is_file()]
    for text in (server.output().encode(), found.encode(), audit.encode(), *held):
        for written in (signature, quote(signature, safe=""), "X-Amz", "sig="):
            assert written.encode() not in text
    [line] = [line for line in server.output().splitlines() if digest in line and '"GET"' in line]
    assert '"status":307' in line


def counted(server: Server, result: str) -> str:
    """The metrics, once they count one pull of a kind: each worker publishes its own every second."""
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        found = session().get(f"{server.url}/metrics").text
        if f'entrepot_redirects_total{{result="{result}"}} 1.0' in found:
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def test_an_address_that_ends_ends_no_download(bucket: Bucket) -> None:
    """A download that has begun goes on; a new request with the address is refused, and a new address works."""

    async def sign() -> tuple[str, str]:
        store = open_store(bucket.public_url())
        written = await store.write("prefix", body(64), "sha256")
        signs = Abilities.of(store).signs
        assert signs is not None
        return await signs.sign(written.keys[0], 2), await signs.sign(written.keys[0], 1200)

    short, long = asyncio.run(sign())
    with opened(short) as begun:
        first = begun.read(KIBIBYTE)
        assert begun.status == 200
        limit = time.monotonic() + LIMIT_SECONDS
        while requests.get(short, headers={"range": "bytes=0-0"}, timeout=10).status_code != 403:
            assert time.monotonic() < limit
            time.sleep(0.2)
        assert len(first) + len(begun.read()) == 64 << 20
    assert requests.get(long, headers={"range": "bytes=0-9"}, timeout=10).content == b"x" * 10


async def body(mebibytes: int) -> AsyncIterator[bytes]:
    """So much."""
    for _ in range(mebibytes):
        yield b"x" * (1 << 20)


@contextmanager
def opened(url: str) -> Iterator[http.client.HTTPResponse]:
    """An answer whose body is read later."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        yield connection.getresponse()
