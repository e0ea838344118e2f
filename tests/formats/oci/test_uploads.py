"""Uploads through the door: whole, in chunks, resumed, cancelled, expired, mounted."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from entrepot.core.registry import Rules
from entrepot.core.upload import expire_uploads
from entrepot.domain.digests import digest_of
from entrepot.metadata import blobs
from entrepot.storage.file import open_store
from entrepot.storage.memory import MemoryStore
from entrepot.wire.bodies import Limits
from tests.support.asgi import DISCONNECT, HOST, Answer, Client, Pause
from tests.support.faults import AwayDatabase
from tests.support.world import World, push_blob

CONTENT = b"0123456789" * 10
DIGEST = digest_of(CONTENT)
OTHER = digest_of(b"other")
START = "/v2/priv/app/blobs/uploads/"


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of the namespace `priv`."""
    return world.client("alice")


def start(client: Client, query: str = "") -> str:
    """Begin an upload; its location."""
    answer = client.request("POST", START + query)
    assert answer.status == 202, answer
    return answer["location"]


def require_there(client: Client, content: bytes = CONTENT, repository: str = "priv/app") -> None:
    """The blob is pulled as it was pushed."""
    assert client.request("GET", f"/v2/{repository}/blobs/{digest_of(content)}").body == content


def require_created(answer: Answer, content: bytes = CONTENT, algorithm: str = "sha256") -> None:
    """201 with Location and digest."""
    digest = digest_of(content, algorithm)
    assert (answer.status, answer.body) == (201, b"")
    assert answer["location"] == f"/v2/priv/app/blobs/{digest}"
    assert answer["docker-content-digest"] == digest
    assert answer["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize("target", [START, START.rstrip("/")])
def test_an_upload_begins(alice: Client, target: str) -> None:
    """202 with a location, an id and nothing received, with and without the slash at the end."""
    answer = alice.request("POST", target)
    assert (answer.status, answer["range"]) == (202, "0-0")
    assert answer["location"] == f"http://{HOST}{START}{answer['docker-upload-uuid']}"
    assert answer["content-length"] == "0"
    assert "oci-chunk-min-length" not in answer
    shown = alice.request("GET", answer["location"])
    assert (shown.status, shown["range"], shown["location"]) == (204, "0-0", answer["location"])
    assert alice.request("HEAD", answer["location"]).status == 204


class ChunkyStore(MemoryStore):
    """A store that had better get large chunks."""

    least_chunk_bytes = 5 << 20


def test_a_store_may_ask_for_large_chunks() -> None:
    """Clients are told when an upload begins; whoever sends smaller ones is served all the same."""
    store = ChunkyStore()
    with World(wrap_store=lambda _: store) as world:
        alice = world.client("alice")
        answer = alice.request("POST", START)
        assert (answer.status, answer["oci-chunk-min-length"]) == (202, "5242880")
        location = alice.request("PATCH", answer["location"], CONTENT[:1])["location"]
        location = alice.request("PATCH", location, CONTENT[1:])["location"]
        require_created(alice.request("PUT", f"{location}?digest={DIGEST}"))
        require_there(alice)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [CONTENT, b""])
def test_a_whole_blob_in_one_request(alice: Client, algorithm: str, content: bytes) -> None:
    """end-4b, of any algorithm, also for no bytes at all."""
    digest = digest_of(content, algorithm)
    require_created(alice.request("POST", f"{START}?digest={digest}", content), content, algorithm)
    assert alice.request("GET", f"/v2/priv/app/blobs/{digest}").body == content


def test_bytes_are_not_taken_while_the_database_is_away() -> None:
    """A blob that could not be named is refused before its bytes are in the store, where they would stay."""
    with World(wrap_database=AwayDatabase) as world:
        alice = world.client("alice")
        location = start(alice)
        database = world.registry.database
        assert isinstance(database, AwayDatabase)
        database.is_away = True
        for method, path in (("POST", START), ("PUT", location), ("PATCH", location)):
            answer = alice.request(method, f"{path}?digest={DIGEST}", CONTENT)
            assert (answer.status, world.store.content) == (503, {})
        database.is_away = False
        require_created(alice.request("POST", f"{START}?digest={DIGEST}", CONTENT))


def test_a_blob_by_post_and_put(alice: Client) -> None:
    """end-4a and end-6: the closing PUT brings everything."""
    require_created(alice.request("PUT", f"{start(alice)}?digest={DIGEST}", CONTENT))
    require_there(alice)


@pytest.mark.parametrize("closing", [b"", CONTENT[70:]])
def test_a_blob_in_chunks(alice: Client, closing: bytes) -> None:
    """end-5: in order, with Content-Range, and a last chunk with the PUT or without."""
    location = start(alice)
    end = len(CONTENT) - len(closing)
    for first, last in ((0, 9), (10, 39), (40, end - 1)):
        answer = alice.request("PATCH", location, CONTENT[first : last + 1], content_range=f"{first}-{last}")
        assert (answer.status, answer["range"], answer["location"]) == (202, f"0-{last}", location)
        assert alice.request("GET", location)["range"] == f"0-{last}"
    headers = {"content_range": f"{end}-{len(CONTENT) - 1}"} if closing else {}
    require_created(alice.request("PUT", f"{location}?digest={DIGEST}", closing, **headers))
    require_there(alice)
    assert alice.request("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_streamed_without_a_length(alice: Client) -> None:
    """Docker sends one PATCH in chunks of transfer encoding, then an empty PUT."""
    location = start(alice)
    assert alice.request("PATCH", location, [CONTENT[:1], b"", CONTENT[1:]])["range"] == "0-99"
    require_created(alice.request("PUT", f"{location}?digest={DIGEST}"))
    require_there(alice)


def test_an_empty_chunk_changes_nothing(alice: Client) -> None:
    """Neither with PATCH nor with the PUT."""
    location = start(alice)
    assert alice.request("PATCH", location, b"")["range"] == "0-0"
    assert alice.request("PATCH", location, CONTENT)["range"] == "0-99"
    assert alice.request("PATCH", location, [b""])["range"] == "0-99"
    require_created(alice.request("PUT", f"{location}?digest={DIGEST}", [b""]))
    require_there(alice)


def test_an_empty_blob_by_chunks(alice: Client) -> None:
    """No byte ever comes, and that is a blob."""
    empty = digest_of(b"")
    require_created(alice.request("PUT", f"{start(alice)}?digest={empty}"), b"")
    require_there(alice, b"")


@pytest.mark.parametrize("query", ["?digest-algorithm=sha512", ""])
def test_a_sha512_blob_in_chunks(alice: Client, query: str) -> None:
    """end-4c: announced or not, the digest that closes the upload is the one that is checked."""
    location = start(alice, query)
    alice.request("PATCH", location, CONTENT[:50])
    digest = digest_of(CONTENT, "sha512")
    require_created(alice.request("PUT", f"{location}?digest={digest}", CONTENT[50:]), CONTENT, "sha512")
    assert alice.request("GET", f"/v2/priv/app/blobs/{digest}").body == CONTENT


@pytest.mark.parametrize("content_range", ["5-9", "9-18", "11-20", "0-9"])
def test_chunks_out_of_order_are_refused(alice: Client, content_range: str) -> None:
    """416 says how far the upload has come, and where to go on; PUT as well as PATCH."""
    location = start(alice)
    alice.request("PATCH", location, CONTENT[:10])
    first, last = map(int, content_range.split("-"))
    chunk = CONTENT[first : last + 1]
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={DIGEST}")):
        answer = alice.request(method, target, chunk, content_range=content_range)
        assert (answer.status, answer["range"]) == (416, "0-9")
        assert answer["location"].endswith(location.partition("/v2/")[2])
        assert answer.code == "BLOB_UPLOAD_INVALID"
    require_created(alice.request("PUT", f"{location}?digest={DIGEST}", CONTENT[10:], content_range="10-99"))


def test_a_chunked_body_is_held_to_its_range(alice: Client) -> None:
    """Without a Content-Length it is the Content-Range that says how much there is; the upload stays where it was."""
    location = start(alice)
    answer = alice.request("PATCH", location, [CONTENT[:5], CONTENT[5:10]], content_range="0-10")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert alice.request("PATCH", location, [CONTENT[:5], CONTENT[5:10]], content_range="0-9")["range"] == "0-9"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content_range": "0-98"}, "SIZE_INVALID"),
        ({"content_range": "nonsense"}, "UNSUPPORTED"),
        ({"content_length": "99"}, "SIZE_INVALID"),
        ({"content_length": "x"}, "UNSUPPORTED"),
    ],
)
def test_chunks_that_contradict_their_headers(alice: Client, headers: dict[str, str], code: str) -> None:
    """400, and the upload stays where it was."""
    location = start(alice)
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={DIGEST}")):
        answer = alice.request(method, target, CONTENT, **headers)
        assert (answer.status, answer.code) == (400, code)
        assert alice.request("GET", location)["range"] == "0-0"


def test_a_broken_body_leaves_the_upload_where_it_was(world: World, alice: Client) -> None:
    """The client goes away in the middle; it asks how far it came, and goes on from there."""
    location = start(alice)
    alice.request("PATCH", location, CONTENT[:30])
    assert alice.request("PATCH", location, [CONTENT[30:50], DISCONNECT]).status == 400
    assert alice.request("PUT", f"{location}?digest={DIGEST}", [CONTENT[30:50], DISCONNECT]).status == 400
    world.restart()
    again = world.client("alice")
    assert again.request("GET", location)["range"] == "0-29"
    again.request("PATCH", location, CONTENT[30:], content_range="30-99")
    require_created(again.request("PUT", f"{location}?digest={DIGEST}"))
    require_there(again)
    assert len(world.store.content) == 3, "two segments wait to be discarded, nothing else was left behind"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (f"?digest={OTHER}", "DIGEST_INVALID"),
        ("", "DIGEST_INVALID"),
        ("?digest=", "DIGEST_INVALID"),
        ("?digest=sha256:short", "DIGEST_INVALID"),
        ("?digest=blake3:00", "DIGEST_INVALID"),
    ],
)
def test_an_upload_ends_only_with_its_digest(world: World, alice: Client, query: str, code: str) -> None:
    """400; what was received before stays, and the right digest still closes the upload."""
    location = start(alice)
    alice.request("PATCH", location, CONTENT[:60])
    answer = alice.request("PUT", location + query, CONTENT[60:])
    assert (answer.status, answer.code) == (400, code)
    assert len(world.store.content) == 1
    require_created(alice.request("PUT", f"{location}?digest={DIGEST}", CONTENT[60:]))


@pytest.mark.parametrize("query", [f"?digest={OTHER}", "?digest=x", "?digest-algorithm=md5", "?mount=x", "?digest=%00"])
def test_uploads_that_do_not_begin(world: World, alice: Client, query: str) -> None:
    """400, and nothing is left behind."""
    answer = alice.request("POST", START + query, CONTENT)
    assert (answer.status, answer.code) in {(400, "DIGEST_INVALID"), (400, "UNSUPPORTED")}
    assert world.store.content == {}
    assert world.rows("select id from upload") == []


@pytest.mark.parametrize(
    ("method", "query"), [("GET", ""), ("HEAD", ""), ("PATCH", ""), ("PUT", f"?digest={DIGEST}"), ("DELETE", "")]
)
def test_an_upload_that_is_not_there(alice: Client, method: str, query: str) -> None:
    """404 for an unknown id, one of another repository, and one that was cancelled."""
    elsewhere = start(alice).replace("priv/app", "priv/other")
    cancelled = start(alice)
    assert alice.request("DELETE", cancelled).status == 204
    for location in (START + "0" * 32, START + quote("é"), elsewhere, cancelled):
        answer = alice.request(method, location + query, CONTENT)
        assert answer.status == 404
        assert method == "HEAD" or answer.code == "BLOB_UPLOAD_UNKNOWN"


def test_a_closing_put_may_be_repeated(world: World, alice: Client) -> None:
    """Who lost the answer asks again, with or without the body, and is told the same while the blob is promised."""
    location = f"{start(alice)}?digest={DIGEST}"
    for body in (CONTENT, CONTENT, b""):
        require_created(alice.request("PUT", location, body))
        world.clock.advance(seconds=world.rules.promise_seconds - 1)
    require_there(alice)
    other = location.partition("?")[0] + f"?digest={digest_of(b'other')}"
    assert alice.request("PUT", other).code == "BLOB_UPLOAD_UNKNOWN"
    assert alice.request("PUT", location.replace("priv/app", "priv/none")).code == "BLOB_UPLOAD_UNKNOWN"
    world.clock.advance(seconds=world.rules.promise_seconds + 1)
    assert alice.request("PUT", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_closing_put_is_not_repeated_after_a_deletion(world: World, alice: Client) -> None:
    """A blob that was taken out of the repository, or found damaged since, is uploaded again."""
    location = f"{start(alice)}?digest={DIGEST}"
    require_created(alice.request("PUT", location, CONTENT))
    world.transact(lambda tx: blobs.set_damaged(tx, DIGEST))
    assert alice.request("PUT", location).code == "BLOB_UPLOAD_UNKNOWN"
    require_created(alice.request("PUT", f"{start(alice)}?digest={DIGEST}", CONTENT))
    require_created(alice.request("PUT", location))
    assert world.client("admin").request("DELETE", f"/v2/priv/app/blobs/{DIGEST}").status == 202
    assert alice.request("PUT", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_expires(world: World, alice: Client) -> None:
    """Untouched for a day it is forgotten; one that was touched is not."""
    old, young = start(alice), start(alice)
    world.clock.advance(seconds=world.rules.upload_seconds)
    alice.request("PATCH", young, CONTENT)
    world.clock.advance(seconds=1)
    world.run(expire_uploads(world.registry))
    assert alice.request("GET", old).code == "BLOB_UPLOAD_UNKNOWN"
    require_created(alice.request("PUT", f"{young}?digest={DIGEST}"))


def test_open_uploads_are_bounded() -> None:
    """429 for one too many of the same account; another account still can."""
    with World(rules=Rules(open_uploads=1)) as world:
        alice = world.client("alice")
        location = start(alice)
        refused = alice.request("POST", START)
        assert (refused.status, refused.code, refused["retry-after"]) == (429, "TOOMANYREQUESTS", "1")
        assert world.client("admin").request("POST", START).status == 202
        alice.request("DELETE", location)
        start(alice)


def test_limits_of_bodies() -> None:
    """413 for too many bytes, 408 for a body that stops; both leave the upload where it was."""
    limits = Limits(idle_seconds=0.03, blob_bytes=50)
    with World(limits=limits) as world:
        alice = world.client("alice")
        location = start(alice)
        for body in (CONTENT, [CONTENT[:30], CONTENT[30:]]):
            answer = alice.request("PATCH", location, body)
            assert (answer.status, answer.code) == (413, "SIZE_INVALID")
        slow = alice.request("PATCH", location, [b"1", Pause(0.5), b"2"])
        assert (slow.status, slow.code) == (408, "SIZE_INVALID")
        assert alice.request("GET", location)["range"] == "0-0"
        assert world.store.content == {}


def test_a_blob_is_bounded_however_it_is_cut() -> None:
    """413 as soon as all chunks together are too large, by PATCH or by the closing PUT; up to the limit is enough."""
    with World(rules=Rules(blob_bytes=50)) as world:
        alice = world.client("alice")
        location = start(alice)
        assert alice.request("PATCH", location, CONTENT[:30]).status == 202
        for method, target in (("PATCH", location), ("PUT", f"{location}?digest={DIGEST}")):
            answer = alice.request(method, target, CONTENT[30:51])
            assert (answer.status, answer.code) == (413, "SIZE_INVALID")
            assert alice.request("GET", location)["range"] == "0-29"
        whole = f"{location}?digest={digest_of(CONTENT[:50])}"
        require_created(alice.request("PUT", whole, CONTENT[30:50]), CONTENT[:50])


def test_poured_chunks_are_bounded_too(tmp_path: pathlib.Path) -> None:
    """Where a thread receives the body, it is refused there, and what it had written is gone."""
    store = open_store(f"file://{tmp_path}")

    def pouring(*parts: bytes) -> dict[str, Any]:
        async def pour(consume: Callable[[list[bytes]], None], *_: object) -> list[bytes]:
            for part in parts[:-1]:
                await asyncio.to_thread(consume, [part])
            return [parts[-1]]

        return {"entrepot.pour": pour}

    with World(rules=Rules(blob_bytes=50), wrap_store=lambda _: store) as world:
        alice = world.client("alice")
        location = start(alice)
        poured = alice.with_scope(**pouring(CONTENT[:20], CONTENT[20:30]))
        assert poured.request("PATCH", location, CONTENT[:30])["range"] == "0-29"
        for parts in ((CONTENT[30:51], b""), (CONTENT[30:40], CONTENT[40:51])):
            answer = alice.with_scope(**pouring(*parts)).request("PATCH", location, CONTENT[30:51])
            assert (answer.status, answer.code) == (413, "SIZE_INVALID")
        closing = alice.with_scope(**pouring(CONTENT[30:40], CONTENT[40:50]))
        whole = f"{location}?digest={digest_of(CONTENT[:50])}"
        require_created(closing.request("PUT", whole, CONTENT[30:50]), CONTENT[:50])
        assert alice.request("GET", f"/v2/priv/app/blobs/{digest_of(CONTENT[:50])}").body == CONTENT[:50]
        world.run(store.close())


@pytest.mark.parametrize("source", ["&from=pub/base", "", f"&from={quote('pub/base', safe='')}"])
def test_a_blob_is_mounted(world: World, alice: Client, source: str) -> None:
    """201 without a byte moving; without `from`, from wherever the caller may pull."""
    push_blob(alice, "pub/base", CONTENT)
    require_created(alice.request("POST", f"{START}?mount={DIGEST}{source}"))
    require_there(alice)
    assert len(world.store.content) == 1


@pytest.mark.parametrize(
    "query",
    [
        f"?mount={OTHER}&from=pub/base",
        f"?mount={DIGEST}&from=pub/none",
        f"?mount={DIGEST}&from=pub/base/UPPER",
        f"?mount={DIGEST}&from=bob/own",
        f"?mount={OTHER}",
        f"?mount={OTHER}&digest={OTHER}",
    ],
)
def test_what_cannot_be_mounted_is_uploaded(world: World, alice: Client, query: str) -> None:
    """202 begins an upload instead: unknown blob, unknown or illegal source, or a source that may not be pulled."""
    push_blob(alice, "pub/base", CONTENT)
    push_blob(world.client("bob"), "bob/own", b"of bob")
    answer = alice.request("POST", START + query)
    assert (answer.status, answer["range"]) == (202, "0-0")


def test_nothing_is_mounted_from_where_the_caller_may_not_pull(world: World, alice: Client) -> None:
    """Neither named nor found, neither by policy nor beyond the token."""
    push_blob(alice, "priv/secret", CONTENT)
    bob = world.client("bob")
    for query in (f"?mount={DIGEST}&from=priv/secret", f"?mount={DIGEST}"):
        assert bob.request("POST", f"/v2/bob/app/blobs/uploads/{query}").status == 202
    narrow = world.bearer("alice", "repository:priv/app:pull,push")
    wide = world.bearer("alice", "repository:priv/app:pull,push", "repository:priv/secret:pull")
    target = f"{START}?mount={DIGEST}&from=priv/secret"
    assert narrow.request("POST", target).status == 202
    assert wide.request("POST", target).status == 201


def test_a_user_pushes_into_a_namespace_of_their_own_name(world: World) -> None:
    """The first push makes it; nobody else may look in."""
    bob = world.client("bob")
    push_blob(bob, "bob/app", CONTENT)
    require_there(bob, repository="bob/app")
    assert world.client("alice").request("HEAD", f"/v2/bob/app/blobs/{DIGEST}").status == 404
    refused = bob.request("POST", "/v2/robert/app/blobs/uploads/")
    assert (refused.status, refused.code) == (403, "DENIED")
    assert "entrepot namespace create robert" in refused.json["errors"][0]["detail"]["reasons"][1]
