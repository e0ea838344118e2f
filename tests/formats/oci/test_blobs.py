"""Blobs through the door: pull whole and in ranges, check, delete."""

from __future__ import annotations

import os
import pathlib

import pytest

from entrepot.domain.digests import digest_of
from entrepot.metadata import blobs
from entrepot.ports.store import Piece
from entrepot.storage.file import open_store
from tests.support.asgi import ZERO_COPY, Answer, Client
from tests.support.images import CONFIG, LAYER, image
from tests.support.world import World, push_blob

CONTENT = bytes(range(256)) * 4
DIGEST = digest_of(CONTENT)
MISSING = "sha256:" + "0" * 64


def get(client: Client, digest: str = DIGEST, repository: str = "priv/app", method: str = "GET", **more: str) -> Answer:
    """Pull or check a blob."""
    return client.request(method, f"/v2/{repository}/blobs/{digest}", **more)


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of a repository that has one blob."""
    client = world.client("alice")
    push_blob(client, "priv/app", CONTENT)
    return client


def test_what_was_pushed_is_pulled(alice: Client) -> None:
    """The bytes, as an attachment that no browser runs; HEAD says the same without them."""
    answer = get(alice)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert dict(answer.pairs) == {
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "docker-content-digest": DIGEST,
        "docker-distribution-api-version": "registry/2.0",
        "etag": f'"{DIGEST}"',
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": "attachment",
        "content-length": str(len(CONTENT)),
    }
    head = get(alice, method="HEAD")
    assert (head.status, head.pairs) == (200, answer.pairs)
    assert get(alice, method="HEAD", if_none_match=f'"{DIGEST}"').status == 304


def test_a_public_blob_may_be_kept_by_anybody(world: World) -> None:
    """Nothing about it is private."""
    push_blob(world.client("alice"), "pub/app", CONTENT)
    assert get(world.client(), repository="pub/app")["cache-control"] == "max-age=31536000, immutable"


@pytest.mark.parametrize("header", [f'"{DIGEST}"', f'W/"{DIGEST}"', "*"])
def test_what_the_client_has_is_not_sent_again(alice: Client, header: str) -> None:
    """304, also where a range was asked for."""
    for more in ({}, {"range": "bytes=0-1"}):
        answer = get(alice, if_none_match=header, **more)
        assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=1000-", 1000, 1024), ("bytes=-4", 1020, 1024), ("bytes=10-5000", 10, 1024)],
)
def test_ranges(alice: Client, header: str, start: int, stop: int) -> None:
    """206 with exactly the bytes asked for, and where they lie."""
    answer = get(alice, range=header)
    assert (answer.status, answer.body) == (206, CONTENT[start:stop])
    assert answer["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert answer["docker-content-digest"] == DIGEST


@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=5-4", "bytes=-0"])
def test_ranges_that_cannot_be_satisfied(alice: Client, header: str) -> None:
    """416 says how much there is."""
    answer = get(alice, range=header)
    assert (answer.status, answer["content-range"], answer.body) == (416, "bytes */1024", b"")


@pytest.mark.parametrize("more", [{}, {"range": "bytes=0-1,4-5"}, {"range": "lines=1-2"}, {"range": "nonsense"}])
def test_other_ranges_are_answered_whole(alice: Client, more: dict[str, str]) -> None:
    """RFC 9110 section 14.2 allows it."""
    assert get(alice, **more).status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{DIGEST}"', 206), (f' "{DIGEST}" ', 206), (f'W/"{DIGEST}"', 200), ('"other"', 200), ("yesterday", 200)],
)
def test_a_part_continues_only_the_same_content(alice: Client, condition: str, status: int) -> None:
    """If-Range compares strongly; anything else is answered whole."""
    assert get(alice, range="bytes=0-1", if_range=condition).status == status


def test_a_blob_in_pieces_is_one_blob(world: World, alice: Client) -> None:
    """Where a store keeps a blob in several keys, whole pulls and ranges run across them."""
    keys = {"one": CONTENT[:100], "two": CONTENT[100:101], "three": CONTENT[101:]}
    world.store.content.update(keys)
    pieces = [Piece(key, len(content)) for key, content in keys.items()]
    world.transact(lambda tx: blobs.replace_locations(tx, DIGEST, pieces))
    assert get(alice).body == CONTENT
    for start, stop in ((0, 100), (0, 101), (99, 102), (100, 101), (101, 1024), (50, 60)):
        assert get(alice, range=f"bytes={start}-{stop - 1}").body == CONTENT[start:stop]


def test_a_file_is_sent_by_the_server_where_it_can(tmp_path: pathlib.Path) -> None:
    """Blobs of the disk store and ranges of them are left to the server, and their files are closed afterwards."""
    store = open_store(f"file://{tmp_path}")
    with World(wrap_store=lambda _: store) as world:
        alice = world.client("alice").with_scope(extensions=ZERO_COPY)
        push_blob(alice, "priv/app", CONTENT)
        before = len(os.listdir("/proc/self/fd"))
        whole, part = get(alice), get(alice, range="bytes=1-2")
        assert (whole.body, whole.is_file) == (CONTENT, True)
        assert (part.body, part.is_file) == (CONTENT[1:3], True)
        assert get(alice.with_scope(extensions=None)).body == CONTENT
        assert len(os.listdir("/proc/self/fd")) == before
        world.run(store.close())


@pytest.mark.parametrize(
    ("repository", "digest", "status", "code"),
    [
        ("priv/app", MISSING, 404, "BLOB_UNKNOWN"),
        ("priv/none", DIGEST, 404, "NAME_UNKNOWN"),
        ("priv/app", "sha256:short", 400, "DIGEST_INVALID"),
        ("priv/app", "blake3:00", 400, "DIGEST_INVALID"),
        ("priv/app", "nonsense", 400, "DIGEST_INVALID"),
    ],
)
def test_what_is_not_there(alice: Client, repository: str, digest: str, status: int, code: str) -> None:
    """Unknown repository, unknown blob, and digests that are none: to pull, to check and to delete."""
    for method in ("GET", "HEAD", "DELETE"):
        answer = get(alice, digest, repository, method)
        assert answer.status == status
        assert method == "HEAD" or answer.code == code


def test_bytes_known_only_elsewhere_are_not_there(world: World, alice: Client) -> None:
    """A repository answers for what it knows itself."""
    world.push("priv/other", image(), "v1")
    assert get(alice, repository="priv/other").code == "BLOB_UNKNOWN"


def test_damaged_bytes_are_not_served_until_they_are_healed(world: World, alice: Client) -> None:
    """404 until somebody pushes the same bytes again."""
    world.transact(lambda tx: blobs.set_damaged(tx, DIGEST))
    answer = get(alice)
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert get(alice, method="HEAD").status == 404
    push_blob(alice, "priv/app", CONTENT)
    assert get(alice).body == CONTENT


def test_a_blob_is_deleted(alice: Client) -> None:
    """202, then it is not there, and a push brings it back."""
    assert get(alice, method="DELETE").status == 202
    assert get(alice).code == get(alice, method="DELETE").code == "BLOB_UNKNOWN"
    push_blob(alice, "priv/app", CONTENT)
    assert get(alice).status == 200


@pytest.mark.parametrize("content", [CONFIG, LAYER])
def test_a_blob_in_use_is_not_deleted(world: World, content: bytes) -> None:
    """405 naming the manifest, until that is gone."""
    pushed = world.push("priv/app", image(), "v1")
    alice = world.client("alice")
    refused = get(alice, digest_of(content), method="DELETE")
    assert (refused.status, refused.code) == (405, "UNSUPPORTED")
    assert refused.json["errors"][0]["detail"]["manifests"] == [pushed.digest]
    assert alice.request("DELETE", f"/v2/priv/app/manifests/{pushed.digest}").status == 202
    assert get(alice, digest_of(content), method="DELETE").status == 202


def test_bytes_that_are_gone_are_never_answered(world: World, alice: Client) -> None:
    """What the store has lost is 404 where that is found in time, and else a response without an end."""
    large = bytes(100_000)
    digest = push_blob(alice, "priv/app", large)
    world.store.content.clear()
    for lost in (DIGEST, digest):
        assert (get(alice, lost).status, get(alice, lost).code) == (404, "BLOB_UNKNOWN")
    world.store.content["kept"] = large[:70_000]
    pieces = [Piece("kept", 70_000), Piece("lost", 30_000)]
    world.transact(lambda tx: blobs.replace_locations(tx, digest, pieces))
    with pytest.raises(Exception, match="the stored bytes are gone"):
        get(alice, digest)
