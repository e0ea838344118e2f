"""The pages of the machine room: health, readiness, metrics, and the front page."""

from __future__ import annotations

import asyncio
import pathlib

import pytest
from cryptography import x509

from entrepot.domain.errors import Unavailable
from entrepot.storage.file import FileStore, open_store
from entrepot.wire.operations import Operations
from tests.support.asgi import Client
from tests.support.directory import AWAY, FakeDirectory
from tests.support.faults import AwayDatabase
from tests.support.keys import fingerprint, verify_by_jwks
from tests.support.world import World


async def render() -> bytes:
    """Some metrics."""
    return b"up 1\n"


async def fail() -> bytes:
    """Metrics that need a database which is away."""
    raise Unavailable("the database cannot be reached")


def pages(world: World) -> Client:
    """A client of the machine room."""
    return Client(Operations(world.context, render), world.runner)


def test_healthz_is_the_process(world: World) -> None:
    """It answers as long as there is one."""
    answer = pages(world).request("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "alive"})
    assert pages(world).request("HEAD", "/healthz").status == 200


@pytest.mark.parametrize("query", ["", "?full=0"])
def test_readyz_is_short(world: World, query: str) -> None:
    """Load balancers need one word."""
    assert pages(world).request("GET", f"/readyz{query}").json == {"status": "ready"}


def test_readyz_in_full(world: World) -> None:
    """Nothing is away; a store that cannot tell its room says so."""
    answer = pages(world).request("GET", "/readyz?full=1")
    assert answer.json == {"status": "ready", "away": {}, "freeBytes": None}


def test_readyz_of_a_process_that_ends(world: World) -> None:
    """Whoever balances requests is to send the next ones elsewhere."""
    pages = Client(Operations(world.context, render, lambda: True), world.runner)
    answer = pages.request("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"status": "stopping"})
    assert pages.request("GET", "/healthz").status == 200


def test_readyz_looks_at_the_store(tmp_path: pathlib.Path) -> None:
    """A disk tells its room; a disk that is away degrades, and pulls of manifests still work."""

    class Unplugged(FileStore):
        """A disk that is there at first."""

        is_away = False

        async def probe(self) -> int:
            if self.is_away:
                raise Unavailable("the disk cannot be used now")
            return await super().probe()

    assert open_store(f"file://{tmp_path}").path_of("a") == f"{tmp_path}/a"
    store = Unplugged(tmp_path)
    with World(wrap_store=lambda _: store) as world:
        assert pages(world).request("GET", "/readyz?full=1").json["freeBytes"] > 0
        store.is_away = True
        answer = pages(world).request("GET", "/readyz?full=1")
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert answer.json["away"] == {"store": "the disk cannot be used now"}
        assert pages(world).request("GET", "/readyz").json == {"status": "ready"}
        world.run(store.close())


def test_readyz_without_a_database() -> None:
    """503: this replica can serve nothing."""
    with World(wrap_database=AwayDatabase) as world:
        object.__setattr__(world.registry.database, "is_away", True)
        answer = pages(world).request("GET", "/readyz?full=1")
        assert (answer.status, answer.json["status"]) == (503, "away")
        assert answer.json["away"] == {"database": "the database cannot be reached"}
        assert pages(world).request("GET", "/readyz").json == {"status": "away"}


def test_metrics_are_text(world: World) -> None:
    """In Prometheus's format; 503 while what they count cannot be read."""
    answer = pages(world).request("GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"up 1\n")
    assert answer["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    away = Client(Operations(world.context, fail), world.runner).request("GET", "/metrics")
    assert (away.status, away.code) == (503, "UNAVAILABLE")


def test_the_keys_of_tokens_are_published(world: World) -> None:
    """To anybody, as a JWK Set that verifies a token, to be asked for again after some minutes; nothing secret."""
    answer = pages(world).request("GET", "/.well-known/jwks.json")
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    assert answer["cache-control"] == "public, max-age=300"
    assert answer["x-content-type-options"] == "nosniff"
    (key,) = answer.json["keys"]
    assert set(key) == {"kty", "crv", "alg", "use", "kid", "x", "y"}
    assert verify_by_jwks(answer.body, world.token("alice"))["sub"] == "alice"
    assert pages(world).request("HEAD", "/.well-known/jwks.json")["content-length"] == str(len(answer.body))


def test_the_keys_are_published_as_certificates(world: World) -> None:
    """The same keys, for CNCF distribution 2, which knows no JWK Set."""
    answer = pages(world).request("GET", "/.well-known/token-certificates.pem")
    assert (answer.status, answer["content-type"]) == (200, "application/x-pem-file")
    assert answer["cache-control"] == "public, max-age=300"
    (found,) = x509.load_pem_x509_certificates(answer.body)
    (key,) = pages(world).request("GET", "/.well-known/jwks.json").json["keys"]
    assert fingerprint(found.public_key()) == key["kid"]
    assert b"PRIVATE" not in answer.body


def test_the_keys_are_published_without_a_database() -> None:
    """Verifiers elsewhere go on with what this process knows."""
    with World(wrap_database=AwayDatabase) as world:
        before = pages(world).request("GET", "/.well-known/jwks.json")
        object.__setattr__(world.registry.database, "is_away", True)
        assert pages(world).request("GET", "/.well-known/jwks.json").body == before.body


def test_the_front_page_says_how_to_begin(world: World) -> None:
    """With the address that the request came by, and with what its scheme needs."""
    plain = pages(world).request("GET", "/")
    assert plain["content-type"] == "text/plain; charset=utf-8"
    assert b"podman login --tls-verify=false registry.test\n" in plain.body
    assert b"--tls-verify=true" in pages(world).with_scope(scheme="https").request("GET", "/").body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/favicon.ico", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/.well-known/openid-configuration", 404),
        ("POST", "/.well-known/jwks.json", 405),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/readyz?full=%FF", 400),
        ("GET", "/readyz?%00", 400),
    ],
)
def test_other_requests(world: World, method: str, path: str, status: int) -> None:
    """404, 405 with Allow, 400: always JSON."""
    answer = pages(world).request(method, path)
    assert (answer.status, answer.code) == (status, "UNSUPPORTED")
    assert answer["allow"] == ("GET" if status == 405 else "")


def test_the_file_store_closes_in_any_loop(tmp_path: pathlib.Path) -> None:
    """Closing twice is no error."""
    store = open_store(f"file://{tmp_path}")
    asyncio.run(store.close())
    asyncio.run(store.close())


def test_readyz_tells_of_the_directory() -> None:
    """One that is away degrades, with the reason and without its address; it is no reason to send no requests."""
    fake = FakeDirectory()
    with World(directory=fake) as world:
        assert pages(world).request("GET", "/readyz?full=1").json["away"] == {}
        fake.is_away = True
        answer = pages(world).request("GET", "/readyz?full=1")
        assert (answer.status, answer.json["status"], answer.json["away"]) == (200, "degraded", {"directory": AWAY})
        assert pages(world).request("GET", "/readyz").json == {"status": "ready"}
