"""Push, pull, delete and expiry: what they leave in the rows, and which promises they renew."""

from __future__ import annotations

import msgspec
import pytest

from entrepot.core.push import ManifestPush, push_manifest
from entrepot.core.registry import DAY, SECOND, Rules
from entrepot.core.repositories import open_repository
from entrepot.core.upload import expire_uploads
from entrepot.domain.access import Caller
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Denied
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import policy
from entrepot.ports.database import Row, Tx
from tests.support.asgi import Client
from tests.support.images import CONFIG, LAYER, Image, image
from tests.support.world import World, push_blob, put_manifest

IMAGE = image()
VERSIONS = [image(annotations={"version": str(number)}) for number in range(4)]


def pins(world: World, reason: str) -> list[tuple[str, str, int]]:
    """(digest, holder, days from now) of the pins for one reason."""
    rows = world.rows("select digest, holder, until from pin where reason = $1 order by until, holder", reason)
    return [(digest, holder, (until - world.clock.now()) // DAY) for digest, holder, until in rows]


def events(world: World) -> list[tuple[str, str, str]]:
    """(kind, actor, subject) of what happened, in order."""
    return [tuple(row) for row in world.rows("select kind, actor, subject from event order by id")]


def push_all(client: Client, images: list[Image], tag: str) -> None:
    """Move a tag over several images."""
    for each in images:
        assert put_manifest(client, "priv/app", each, tag).status == 201


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of a repository with the blobs that images need."""
    client = world.client("alice")
    for content in (CONFIG, LAYER):
        push_blob(client, "priv/app", content)
    return client


def test_every_change_is_an_event(world: World, alice: Client) -> None:
    """Who did what to what, in order; a push that changes nothing moves no tag."""
    push_all(alice, [VERSIONS[0], VERSIONS[1], VERSIONS[1]], "v1")
    alice.request("DELETE", "/v2/priv/app/manifests/v1")
    alice.request("DELETE", f"/v2/priv/app/manifests/{VERSIONS[0].digest}")
    alice.request("DELETE", f"/v2/priv/app/blobs/{push_blob(alice, 'priv/app', b'alone')}")
    kinds = [kind for kind, actor, subject in events(world) if (actor, subject) == ("alice", "priv/app")]
    pushed = ["manifest.pushed", "tag.moved"]
    assert sorted(kinds[1:5]) == sorted(pushed * 2)
    assert (kinds[0], kinds[5:]) == (
        "repository.created",
        ["manifest.pushed", "tag.deleted", "manifest.deleted", "blob.deleted"],
    )
    moves = world.rows("select name, from_digest, to_digest, actor, via from tag_event order by id")
    first, second = VERSIONS[0].digest, VERSIONS[1].digest
    assert [(row[1], row[2]) for row in moves] == [(None, first), (first, second), (second, None)]
    assert {(row[0], row[3], row[4]) for row in moves} == {("v1", "alice", "oci")}


def test_a_tag_counts_its_moves(world: World, alice: Client) -> None:
    """The generation goes up with each, and only with them."""
    push_all(alice, [VERSIONS[0], VERSIONS[0], VERSIONS[1]], "v1")
    assert world.rows("select name, digest, generation from tag") == [("v1", VERSIONS[1].digest, 2)]


def test_what_a_tag_pointed_at_is_kept_as_history(world: World, alice: Client) -> None:
    """For the days that the rules say, whether it was moved away or deleted."""
    push_all(alice, VERSIONS[:2], "v1")
    alice.request("DELETE", "/v2/priv/app/manifests/v1")
    kept = {(version.digest, "v1", world.rules.history_days) for version in VERSIONS[:2]}
    assert set(pins(world, "history")) == kept


@pytest.mark.parametrize(("digests", "expected"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_history_is_bounded(digests: int, expected: int) -> None:
    """Only the newest digests of a tag are kept; none where the rules say so."""
    with World(rules=Rules(history_digests=digests)) as world:
        alice = world.client("alice")
        for content in (CONFIG, LAYER):
            push_blob(alice, "priv/app", content)
        for version in VERSIONS:
            push_all(alice, [version], "v1")
            world.clock.advance(seconds=1)
        newest = [version.digest for version in VERSIONS[:-1]][3 - expected :]
        now = world.clock.now()
        rows = world.rows("select digest from pin where reason = 'history' and until >= $1 order by until", now)
        assert [row[0] for row in rows] == newest


def test_a_push_by_digest_is_kept_for_a_while(world: World, alice: Client) -> None:
    """As long as the namespace says; under a tag there is no need."""
    put_manifest(alice, "priv/app", VERSIONS[0], VERSIONS[0].digest)
    put_manifest(alice, "priv/app", VERSIONS[1], f"{VERSIONS[1].digest}?tag=v1")
    assert pins(world, "untagged") == [(VERSIONS[0].digest, "", 14)]
    world.clock.advance(days=7)
    put_manifest(alice, "priv/app", VERSIONS[0], VERSIONS[0].digest)
    assert pins(world, "untagged") == [(VERSIONS[0].digest, "", 14)], "pushing again renews it"


def test_without_days_a_push_by_digest_is_kept_for_the_grace_window(world: World, alice: Client) -> None:
    """The index over it comes a moment later; what was pushed before keeps the time that it had."""
    put_manifest(alice, "priv/app", VERSIONS[0], VERSIONS[0].digest)
    world.keep_untagged(0)
    put_manifest(alice, "priv/app", VERSIONS[1], VERSIONS[1].digest)
    now = world.clock.now()
    ends = world.rows("select digest, until from pin where reason = 'untagged' order by until")
    assert ends == [
        (VERSIONS[1].digest, now + world.rules.grace_seconds * SECOND),
        (VERSIONS[0].digest, now + 14 * DAY),
    ]


def test_deleted_content_waits_in_the_trash(world: World, alice: Client) -> None:
    """For the grace time, manifests and blobs alike."""
    put_manifest(alice, "priv/app", IMAGE, "v1")
    alice.request("DELETE", f"/v2/priv/app/manifests/{IMAGE.digest}")
    alice.request("DELETE", f"/v2/priv/app/blobs/{digest_of(LAYER)}")
    trash = {(IMAGE.digest, "", world.rules.trash_days), (digest_of(LAYER), "", world.rules.trash_days)}
    assert set(pins(world, "trash")) == trash
    assert [digest for digest, _, _ in pins(world, "upload")] == [digest_of(CONFIG)]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", f"blobs/{digest_of(LAYER)}"),
        ("POST", f"blobs/uploads/?mount={digest_of(LAYER)}&from=priv/app"),
        ("POST", f"blobs/uploads/?digest={digest_of(LAYER)}"),
    ],
)
def test_a_promise_is_renewed(world: World, alice: Client, method: str, target: str) -> None:
    """HEAD, a mount and a push of bytes that are there: each keeps them for another day."""
    world.clock.advance(seconds=12 * 3600)
    body = LAYER if "digest=" in target else b""
    assert alice.request(method, f"/v2/priv/app/{target}", body).status in {200, 201}
    ends: dict[str, int] = dict(world.rows("select digest, until from pin where reason = 'upload'"))
    assert ends[digest_of(LAYER)] == world.clock.now() + world.rules.promise_seconds * SECOND
    assert ends[digest_of(CONFIG)] < ends[digest_of(LAYER)]


def test_a_young_promise_is_not_written_again(world: World, alice: Client) -> None:
    """A HEAD within the hour costs no transaction; nor does one of a blob that no upload keeps."""
    before = world.rows("select digest, until from pin")
    world.clock.advance(seconds=1800)
    assert alice.request("HEAD", f"/v2/priv/app/blobs/{digest_of(LAYER)}").status == 200
    assert world.rows("select digest, until from pin") == before
    world.transact(lambda tx: tx.execute("delete from pin"))
    world.clock.advance(days=1)
    assert alice.request("HEAD", f"/v2/priv/app/blobs/{digest_of(LAYER)}").status == 200
    assert world.rows("select digest from pin") == []


def test_the_same_bytes_are_stored_once(world: World, alice: Client) -> None:
    """A push of bytes that some repository has already throws its own copy away, after a grace."""
    push_blob(world.client("bob"), "bob/app", LAYER)
    assert len(world.rows("select key from location where blob = $1", digest_of(LAYER))) == 1
    ((payload, run_at),) = world.rows("select payload, run_at from job")
    assert msgspec.json.decode(payload, type=list[str])[0] in world.store.content
    assert run_at == world.clock.now() + world.rules.discard_seconds * SECOND


def test_the_policy_of_the_moment_counts(world: World, alice: Client) -> None:
    """A caller who is no longer allowed is refused inside the verb, behind the guard."""
    push = ManifestPush(RepositoryName("priv/app"), IMAGE.media_type, IMAGE.raw, (Tag("v1"),))
    with pytest.raises(Denied):
        world.run(push_manifest(world.registry, world.caller("bob"), push))
    with pytest.raises(Denied):
        world.run(push_manifest(world.registry, Caller(None, None), push))
    assert world.rows("select name from tag") == []


def test_a_namespace_that_another_process_made_is_used(world: World) -> None:
    """The policy here may be a second old: the namespace is there, the repository is made in it."""

    async def make(tx: Tx) -> None:
        await tx.execute(
            "insert into namespace (name, owner, visibility, created_at) values ('bob', $1, 'private', 0)",
            world.ids["bob"],
        )
        await policy.bump_policy_version(tx)

    world.run(world.database.transact(make))
    assert "bob" not in world.registry.policy.snapshot.namespaces
    push_blob(world.client("bob"), "bob/app", LAYER)
    assert "bob" in world.registry.policy.snapshot.namespaces
    assert [kind for kind, _, _ in events(world)] == ["repository.created"]


class Racing:
    """A transaction whose first look at a repository comes too early to see what another one makes."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._is_blind = True
        self.all = tx.all
        self.execute = tx.execute

    async def one(self, sql: str, *arguments: object) -> Row | None:
        row = await self._tx.one(sql, *arguments)
        if "from repository" in sql and self._is_blind:
            self._is_blind = False
            return None
        return row


def test_two_first_pushes_make_one_repository(world: World, alice: Client) -> None:
    """The later one takes what the earlier one made, and tells of nothing new."""
    name, act = RepositoryName("priv/app"), world.registry.act(world.caller("alice"))
    before = events(world)
    found = world.transact(lambda tx: open_repository(Racing(tx), act, name))
    assert [(found,)] == world.rows("select id from repository where name = 'priv/app'")
    assert events(world) == before


def test_a_first_push_makes_namespace_and_repository(world: World) -> None:
    """In one transaction, owned by the user of the name, or by nobody where an administrator made it."""
    push_blob(world.client("bob"), "bob/app", LAYER)
    push_blob(world.client("admin"), "team/app", LAYER)
    owners: dict[str, int | None] = dict(world.rows("select name, owner from namespace where name in ('bob', 'team')"))
    assert owners == {"bob": world.ids["bob"], "team": None}
    assert ("namespace.created", "bob", "bob") in events(world)


@pytest.mark.parametrize("name", ["admin/app", "npm/app", "a__b/app", "a" * 64 + "/app"])
def test_names_that_no_namespace_may_have(world: World, name: str) -> None:
    """Reserved names, and those of the wider grammar of repositories, are NAME_INVALID even to administrators."""
    answer = world.client("admin").request("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(LAYER)}", LAYER)
    assert (answer.status, answer.code) == (400, "NAME_INVALID")
    assert world.store.content == {}


def test_many_uploads_expire_in_batches(world: World) -> None:
    """All that are stale, with their bytes; how many there were."""
    alice = world.client("alice")
    for _ in range(101):
        location = alice.request("POST", "/v2/priv/app/blobs/uploads/")["location"]
    alice.request("PATCH", location, LAYER)
    world.clock.advance(seconds=world.rules.upload_seconds + 1)
    assert world.run(expire_uploads(world.registry)) == 101
    assert world.rows("select id from upload union all select key from segment") == []
    assert len(world.rows("select id from job where kind = 'store.discard'")) == 1
