"""The port Source over each place that a repair may take bytes from."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import pathlib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from entrepot.app import open_source
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import BlobUnknown, Unavailable
from entrepot.ports.source import Source, Wanted
from entrepot.ports.store import BlobStore, Piece
from entrepot.sources import registry as module
from entrepot.sources.objects import ObjectsSource
from entrepot.sources.registry import Access, RegistrySource
from entrepot.storage.memory import MemoryStore
from tests.cli.caller import push
from tests.support.images import LAYER, image
from tests.support.seaweedfs import SeaweedFs
from tests.support.server import ADMIN_PASSWORD, Server

CONTENT = b"the bytes that were lost" * 100_000
DIGEST = digest_of(CONTENT)
HEX = DIGEST.partition(":")[2]
KEY = "3f/0123456789abcdef0123456789abcdef.0123456789abcdef"
WANTED = Wanted(DIGEST, len(CONTENT), (Piece(KEY, len(CONTENT)),), ("acme/app", "acme/other"))
PLACES = [
    KEY,
    f"blobs/sha256/{HEX}",
    f"sha256/{HEX}",
    f"docker/registry/v2/blobs/sha256/{HEX[:2]}/{HEX}/data",
]


async def read(source: Source, wanted: Wanted = WANTED) -> bytes:
    """Everything that a source gives; it is closed twice."""
    try:
        return b"".join([chunk async for chunk in source.read(wanted)])
    finally:
        await source.close()
        await source.close()


@pytest.mark.parametrize("place", [*PLACES, f"blobs/{KEY}"])
def test_a_folder_is_looked_through_in_every_known_shape(tmp_path: pathlib.Path, place: str) -> None:
    """A copy of our own blobs or of the data folder, an OCI image layout, CNCF distribution's; nothing is changed."""
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    before = sorted(tmp_path.rglob("*"))
    source = open_source(f"file://{tmp_path}")
    assert source.name == f"file://{tmp_path}"
    assert asyncio.run(read(source)) == CONTENT
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_the_bytes(tmp_path: pathlib.Path) -> None:
    """It says so before the first byte, also for a blob that lies nowhere here; no folder at all is refused."""
    for wanted in (WANTED, Wanted(DIGEST, len(CONTENT), (), ())):
        with pytest.raises(BlobUnknown):
            asyncio.run(read(open_source(f"file://{tmp_path}"), wanted))
    with pytest.raises(Unavailable, match="no folder"):
        open_source(f"file://{tmp_path}/none")


def test_several_pieces_are_read_in_order(tmp_path: pathlib.Path) -> None:
    """A blob that lies in pieces here lies in pieces in the copy."""
    wanted = Wanted(digest_of(b"onetwo"), 6, (Piece("aa/1", 3), Piece("ab/2", 3)), ())
    for key, content in (("aa/1", b"one"), ("ab/2", b"two")):
        (tmp_path / key).parent.mkdir()
        (tmp_path / key).write_bytes(content)
    assert asyncio.run(read(open_source(f"file://{tmp_path}"), wanted)) == b"onetwo"
    store = MemoryStore()
    store.content |= {"aa/1": b"one", "ab/2": b"two"}
    assert asyncio.run(read(ObjectsSource("memory://", store), wanted)) == b"onetwo"


@pytest.mark.parametrize("place", PLACES)
def test_a_bucket_is_looked_through_in_every_known_shape(place: str) -> None:
    """As a folder is; what is shorter than it should be is something else."""
    store = MemoryStore()
    store.content[place] = CONTENT
    source = ObjectsSource("s3://backup/entrepot?endpoint=http://secret", store)
    assert source.name == "s3://backup/entrepot"
    assert asyncio.run(read(source)) == CONTENT
    store.content[place] = b""

    async def none() -> None:
        with pytest.raises(BlobUnknown):
            await read(ObjectsSource("s3://backup", _Short(store)))

    asyncio.run(none())


class _Short:
    """A store that, as real ones do, refuses a range behind the end."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        if len(self._store.content.get(key, b"")) < stop:
            raise BlobUnknown("too short")
        async for chunk in self._store.read(key, start, stop):
            yield chunk

    async def close(self) -> None:
        await self._store.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_real_bucket(tmp_path: pathlib.Path) -> None:
    """A copy in a bucket gives the bytes, and says of others that it has none."""
    del tmp_path
    with SeaweedFs() as seaweed:
        url = seaweed.fresh_url()

        async def story() -> None:
            import importlib  # noqa: PLC0415 - as the application finds it

            store: BlobStore = importlib.import_module("entrepot.storage.s3").open_store(url)
            written = await store.write("0" * 32, _chunks(CONTENT), "sha256")
            await store.close()
            there = Wanted(DIGEST, len(CONTENT), written.pieces, ())
            assert await read(open_source(url), there) == CONTENT
            with pytest.raises(BlobUnknown):
                await read(open_source(url), WANTED)

        asyncio.run(story())


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


NO_TOKENS = {
    "page": b"<html>",
    "list": b"[]",
    "number": b'{"token":1}',
    "lines": b'{"token":"a\\r\\nb: c"}',
    "endless": b'{"token":"' + b"a" * (1 << 20) + b'"}',
}


class Registry(http.server.BaseHTTPRequestHandler):
    """Another registry, of any make: what it answers is what each test sets."""

    protocol_version = "HTTP/1.1"
    mode: ClassVar[str] = ""
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        path, authorization = self.path, self.headers.get("authorization", "")
        type(self).seen.append((path, authorization))
        host = f"http://{self.headers['host']}"
        if path.startswith("/token") and self.mode in NO_TOKENS:
            return self.answer(200, NO_TOKENS[self.mode])
        if path.startswith("/token"):
            return self.answer(200, b'{"token":"t"}') if authorization else self.answer(200, b'{"access_token":"a"}')
        if path.startswith("/elsewhere"):
            return self.answer(200, CONTENT)
        if not path.startswith("/v2/mirror/acme/other/blobs/"):
            return self.answer(404)
        return self.blob(host, authorization)

    def blob(self, host: str, authorization: str) -> None:
        mode = type(self).mode
        mode = "bearer" if mode in NO_TOKENS else mode
        bearer, basic = f'Bearer realm="{host}/token",service="s"', 'Basic realm="s"'
        refusals: dict[str, dict[str, str]] = {"closed": {"challenge": 'Bearer service="s"'}}
        if not authorization.startswith("Bearer "):
            refusals["bearer"] = {"challenge": bearer}
        if not authorization.startswith("Basic "):
            refusals["basic"] = {"challenge": basic}
        if mode in refusals:
            return self.answer(401, **refusals[mode])
        if mode == "busy" and sum(path.startswith("/v2/mirror/acme/other") for path, _ in self.seen) < 3:
            return self.answer(503, retry="0")
        if mode == "redirect":
            return self.answer(307, location="/elsewhere")
        status = {"broken": 500, "odd": 418}.get(mode, 200)
        return self.answer(status, CONTENT if status == 200 else b"")

    def answer(self, status: int, body: bytes = b"", challenge: str = "", location: str = "", retry: str = "") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in (("www-authenticate", challenge), ("location", location), ("retry-after", retry)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[:1000] if self.mode == "torn" and status == 200 else body)
        if self.mode == "torn":
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of that registry."""
    monkeypatch.setattr(Registry, "seen", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mirror"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("mode", "username", "sent"),
    [
        ("", "", [""]),
        ("bearer", "", ["", "", "Bearer a"]),
        ("bearer", "bob", ["", "Basic Ym9iOnB3", "Bearer t"]),
        ("basic", "bob", ["", "Basic Ym9iOnB3"]),
        ("redirect", "", ["", ""]),
        ("busy", "", ["", "", ""]),
    ],
)
def test_another_registry_gives_a_blob(
    other: str, monkeypatch: pytest.MonkeyPatch, mode: str, username: str, sent: list[str]
) -> None:
    """By the names that repositories have here, below the path of the address; challenges, redirects and a busy server
    are met as a container client meets them.
    """
    monkeypatch.setattr(Registry, "mode", mode)
    source = RegistrySource(other, Access(username, "pw" if username else ""))
    assert source.name == other
    assert asyncio.run(read(source)) == CONTENT
    asked = [path for path, _ in Registry.seen]
    assert asked[0] == f"/v2/mirror/acme/app/blobs/{DIGEST}"
    assert [authorization for _, authorization in Registry.seen[1:]] == sent


@pytest.mark.parametrize("mode", ["closed", "basic"])
def test_a_registry_that_lets_nobody_in_has_nothing(other: str, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Without a login that helps, it has no such bytes."""
    monkeypatch.setattr(Registry, "mode", mode)
    with pytest.raises(BlobUnknown):
        asyncio.run(read(RegistrySource(other, Access())))


@pytest.mark.parametrize("mode", ["broken", "odd", "torn", *NO_TOKENS])
def test_a_registry_that_fails_is_away(other: str, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """An error that stays, an answer or a token that means nothing, and a body that ends early are told as such."""
    monkeypatch.setattr(Registry, "mode", mode)
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.01)
    with pytest.raises(Unavailable):
        asyncio.run(read(RegistrySource(other, Access())))


def test_nobody_there_is_away(tmp_path: pathlib.Path) -> None:
    """A port that nobody listens at, and an authority that signs nothing here."""
    with pytest.raises(Unavailable, match="does not answer"):
        asyncio.run(read(RegistrySource("http://127.0.0.1:1", Access())))
    with pytest.raises((OSError, ssl.SSLError, Unavailable)):
        asyncio.run(read(RegistrySource("https://127.0.0.1:1", Access(ca=str(tmp_path / "none.pem")))))


def test_a_login_never_goes_over_a_plain_network() -> None:
    """A registry behind TLS that sends us to a token service without it gets no login."""

    class Challenge:
        headers: ClassVar[dict[str, str]] = {"www-authenticate": 'Bearer realm="http://example.com/token"'}

    source = RegistrySource("https://127.0.0.1:1", Access("bob", "pw"))
    assert asyncio.run(source._authorize(Challenge(), "acme/app")) is False  # type: ignore[arg-type]


def test_another_entrepot_gives_a_blob_and_a_manifest(tmp_path: pathlib.Path) -> None:
    """With the login of somebody who may pull there; without one it has nothing."""
    pushed = image()
    with Server(tmp_path / "other") as server:
        push(server, "library/app", pushed, "v1")
        wanted = Wanted(digest_of(LAYER), len(LAYER), (), ("library/none", "library/app"))
        assert asyncio.run(read(open_source(server.url, "admin", ADMIN_PASSWORD), wanted)) == LAYER
        with pytest.raises(BlobUnknown):
            asyncio.run(read(open_source(server.url), wanted))
        whole = Wanted(pushed.digest, len(pushed.raw), (), ("library/none", "library/app"), pushed.media_type)
        assert asyncio.run(read(open_source(server.url, "admin", ADMIN_PASSWORD), whole)) == pushed.raw
        with pytest.raises(BlobUnknown):
            asyncio.run(
                read(open_source(server.url, "admin", ADMIN_PASSWORD), Wanted(DIGEST, 1, (), ("library/app",), ""))
            )
