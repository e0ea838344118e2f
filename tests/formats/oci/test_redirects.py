"""Which pulls of blobs are sent to the store, and which are streamed, through the door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.metadata import blobs
from entrepot.ports.store import Piece
from entrepot.storage.memory import MemoryStore
from entrepot.wire.redirects import LEAST_BYTES, RedirectRules
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.world import World, push_blob

LARGE = bytes(range(256)) * (LEAST_BYTES // 256)
SMALL = LARGE[1:]
DIGEST = digest_of(LARGE)
STORE = "store.example"


class SigningStore(MemoryStore):
    """A store in memory that says where its keys are, as if somebody listened there."""

    def __init__(self, host: str = STORE, scheme: str = "https") -> None:
        super().__init__()
        self.host = host
        self.scheme = scheme

    async def sign(self, key: str, seconds: int) -> str:
        return f"{self.scheme}://{self.host}/bucket/{key}?expires={seconds}&signature=s3cr3t"


def open_world(rules: RedirectRules, host: str = STORE, scheme: str = "https") -> World:
    """A world whose store signs, with a large and a small blob in a private repository."""
    store = SigningStore(host, scheme)
    world = World(wrap_store=lambda _: store, redirect_rules=rules)
    world.store = store
    for content in (LARGE, SMALL):
        push_blob(world.client("alice"), "priv/app", content)
    return world


@pytest.fixture
def world() -> Iterator[World]:
    """Everybody is redirected."""
    with open_world(RedirectRules(seconds=1234)) as world:
        yield world


def get(client: Client, content: bytes = LARGE, method: str = "GET", **more: str) -> Answer:
    """Pull or check a blob."""
    return client.request(method, f"/v2/priv/app/blobs/{digest_of(content)}", **more)


def counts(world: World) -> dict[str, int]:
    """What came of the pulls."""
    assert world.context.redirects is not None
    return world.context.redirects.counts


def test_a_large_blob_is_fetched_from_the_store(world: World) -> None:
    """307 with an address of the store that holds as long as the settings say, which nobody may keep."""
    answer = get(world.client("alice"))
    [[key]] = world.rows("select key from location where blob = $1", DIGEST)
    assert (answer.status, answer.body) == (307, b"")
    assert dict(answer.pairs) == {
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "location": f"https://{STORE}/bucket/{key}?expires=1234&signature=s3cr3t",
        "docker-content-digest": DIGEST,
        "docker-distribution-api-version": "registry/2.0",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "content-length": "0",
    }
    assert counts(world) == {"redirected": 1}


def test_a_range_is_asked_for_at_the_store(world: World) -> None:
    """A client repeats its Range where it is sent; a range that cannot be satisfied is refused here."""
    alice = world.client("alice")
    assert get(alice, range="bytes=0-1").status == 307
    assert get(alice, range=f"bytes={len(LARGE)}-").status == 416
    assert get(alice, if_none_match=f'"{DIGEST}"').status == 304


@pytest.mark.parametrize("header", ["if_range", "if_match", "if_unmodified_since"])
def test_conditions_that_the_store_would_judge_otherwise_are_answered_here(world: World, header: str) -> None:
    """Our entity tags are digests, the store's are not."""
    answer = get(world.client("alice"), range="bytes=0-1", **{header: f'"{DIGEST}"'})
    assert (answer.status, answer.body) == (206, LARGE[:2])
    assert counts(world) == {"condition": 1}


def test_nothing_else_is_redirected(world: World) -> None:
    """Small blobs, HEADs, manifests and listings are answered here."""
    alice = world.client("alice")
    pushed = world.push("priv/app", image([LARGE]), "latest", user="alice")
    assert get(alice, SMALL).body == SMALL
    assert get(alice, method="HEAD").status == 200
    for path in ("manifests/latest", f"manifests/{pushed.digest}", "tags/list", f"referrers/{pushed.digest}"):
        assert alice.request("GET", f"/v2/priv/app/{path}").status == 200
    assert counts(world) == {"small": 1}


def test_a_blob_in_pieces_is_streamed(world: World) -> None:
    """No single address has all of it."""
    world.store.content.update(one=LARGE[:100], two=LARGE[100:])
    pieces = [Piece("one", 100), Piece("two", len(LARGE) - 100)]
    world.transact(lambda tx: blobs.replace_locations(tx, DIGEST, pieces))
    assert get(world.client("alice")).body == LARGE
    assert counts(world) == {"pieces": 1}


def test_who_may_not_pull_gets_no_address(world: World) -> None:
    """The address is made once the guard and the registry have said yes."""
    for client, status in ((world.client(), 401), (world.client("bob"), 404)):
        answer = get(client)
        assert (answer.status, "location" in answer) == (status, False)
    assert get(world.client("alice"), b"never pushed" * 100_000).status == 404
    world.transact(lambda tx: tx.execute("update blob set state = 'damaged' where digest = $1", DIGEST))
    assert "location" not in get(world.client("alice"))
    assert counts(world) == {}


@pytest.mark.parametrize(
    "agent",
    [
        "Python-urllib/3.11",
        "curl/7.29.0",
        "curl/7.57.0",
        "containerd/1.7.12+unknown",
        "azsdk-js-container-registry/1.0.0 core-rest-pipeline/1.2.0",
        "my tool azsdk-js-container-registry/1.0.0",
        "Apache-HttpClient/4.5.12 (Java/11)",
    ],
)
def test_clients_that_forward_credentials_are_streamed(world: World, agent: str) -> None:
    """They would show the registry's token to the store, which would refuse them for it."""
    assert get(world.client("alice"), user_agent=agent).body == LARGE
    assert counts(world) == {"client": 1}


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "curl/7.58.0",
        "curl/7.88.1",
        "curl/8.5.0",
        "containerd/v2.0.1",
        "docker/27.0",
        "python-requests/2.32",
        "x" * 5000,
    ],
)
def test_other_clients_are_redirected(world: World, agent: str) -> None:
    """They drop the header where the host is another one."""
    assert get(world.client("alice"), user_agent=agent).status == 307


@pytest.mark.parametrize(
    ("registry", "store", "status"),
    [
        ("registry.example", "registry.example", 200),
        ("registry.example:5000", "registry.example:8333", 200),
        ("registry.example", "s3.registry.example", 200),
        ("Registry.Example.", "s3.registry.example", 200),
        ("registry.example", "s3.example", 307),
        ("registry.example", "otherregistry.example", 307),
        ("s3.example", "example", 307),
        ("[2001:db8::1]:5000", "[2001:db8::1]:8333", 200),
        ("[2001:db8::1", "s3.example", 307),
    ],
)
def test_credentials_do_not_follow_to_a_store_of_the_same_name(registry: str, store: str, status: int) -> None:
    """Most clients keep the header where the store's host is the registry's or below it: then the blob is streamed."""
    with open_world(RedirectRules(), store) as world:
        assert get(world.client("alice"), host=registry).status == status
        assert counts(world) == {"host" if status == 200 else "redirected": 1}


@pytest.mark.parametrize(
    ("registry", "store", "status"),
    [("https", "https", 307), ("http", "https", 307), ("http", "http", 307), ("https", "http", 200)],
)
def test_nobody_is_sent_from_https_to_http(registry: str, store: str, status: int) -> None:
    """What was private on its way here is private on its way from the store."""
    with open_world(RedirectRules(), scheme=store) as world:
        assert get(world.client("alice").with_scope(scheme=registry)).status == status
        assert counts(world) == {"scheme" if status == 200 else "redirected": 1}


def test_a_store_that_cannot_sign(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials for an address there are none to read with either: the client is told to come again."""

    async def fail(key: str, seconds: int) -> str:
        raise Unavailable("the object store is away or refuses")

    monkeypatch.setattr(world.store, "sign", fail)
    answer = get(world.client("alice"))
    assert (answer.status, "retry-after" in answer, "location" in answer) == (503, True, False)


def test_who_has_no_credentials_has_none_to_lose() -> None:
    """An anonymous pull of a public blob is redirected wherever the store is."""
    with open_world(RedirectRules(), "registry.example") as world:
        push_blob(world.client("alice"), "pub/app", LARGE)
        answer = world.client().request("GET", f"/v2/pub/app/blobs/{DIGEST}", host="registry.example")
        assert answer.status == 307


@pytest.mark.parametrize(
    ("rules", "address", "listener", "agent", "reason"),
    [
        (RedirectRules(networks=("10.0.0.0/8",)), "10.1.2.3", "main", "", "redirected"),
        (RedirectRules(networks=("10.0.0.0/8",)), "::ffff:10.1.2.3", "main", "", "redirected"),
        (RedirectRules(networks=("10.0.0.0/8",)), "192.0.2.1", "main", "", "network"),
        (RedirectRules(networks=("10.0.0.0/8",)), "unknown", "main", "", "network"),
        (RedirectRules(streamed_networks=("10.9.0.0/16",)), "10.9.0.1", "main", "", "network"),
        (RedirectRules(streamed_networks=("10.9.0.0/16",)), "10.8.0.1", "main", "", "redirected"),
        (RedirectRules(listeners=frozenset({"inside"})), "10.0.0.1", "inside", "", "redirected"),
        (RedirectRules(listeners=frozenset({"inside"})), "10.0.0.1", "main", "", "listener"),
        (RedirectRules(streamed_clients=("old/", "odd")), "10.0.0.1", "main", "odd 1.0", "client"),
        (RedirectRules(streamed_clients=("old/", "odd")), "10.0.0.1", "main", "new, not odd", "redirected"),
    ],
)
def test_rules(rules: RedirectRules, address: str, listener: str, agent: str, reason: str) -> None:
    """By network, by listener and by client, as the settings have it."""
    with open_world(rules) as world:
        alice = world.client("alice").with_scope(client=(address, 1), **{"entrepot.listener": listener})
        assert get(alice, user_agent=agent).status == (307 if reason == "redirected" else 200)
        assert counts(world) == {reason: 1}
