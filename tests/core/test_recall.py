"""What is remembered of pulls: warm ones hardly ask the database, and it is never served when it should not be."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec
import pytest

from entrepot.core.identify import believed
from entrepot.core.recall import BATCH, LEASE_SECONDS, MOST_FORGOTTEN, MOST_SURE_SECONDS
from entrepot.core.registry import Rules
from entrepot.core.tokens import GenuineCache
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.domain.events import Event
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import blobs, events, namespaces, policy, repositories
from entrepot.metadata.events import Place, SeenEvent
from entrepot.metadata.manifests import StoredManifest
from entrepot.ports.database import Tx, Work
from entrepot.wire.operations import Operations
from tests.support.asgi import Client
from tests.support.images import Image, image, index
from tests.support.site import AWAY_SECONDS, NAME, STALE, Network, Site, blobs_of
from tests.support.world import World

T = TypeVar("T")


@pytest.fixture
def site() -> Iterator[Site]:
    """A registry over a network database."""
    with World(wrap_database=Network) as world:
        yield Site(world)


@pytest.fixture
def app(site: Site) -> Image:
    """An image under the tag `1`, pulled once by tag, by digest, and with its blobs."""
    pushed = site.world.push(NAME, image([b"layer one", b"layer two"]), "1", user="alice")
    site.look()
    for target in ("manifests/1", f"manifests/{pushed.digest}", *blobs_of(pushed)):
        assert site.pull(target).status == 200
    return pushed


def test_a_warm_pull_of_16_requests_reads_twice(site: Site) -> None:
    """`/v2/`, token, tag, index, manifest, config and ten layers: one read for the token, one for the tag."""
    layers = [b"layer %d" % number for number in range(10)]
    pushed = image(layers)
    site.world.push(NAME, index([pushed]), "1", user="alice")
    site.look()
    counts = [pull_whole(site, pushed), pull_whole(site, pushed)]
    assert counts[1] <= 2 < counts[0], counts


def pull_whole(site: Site, pushed: Image) -> int:
    """Pull an image as a client does, 16 requests in all; how often the database was read."""
    before = site.network.reads
    assert site.world.client().request("GET", "/v2/").status == 401
    client = site.world.bearer("alice", f"repository:{NAME}:pull")
    requests = [("GET", "/v2/"), ("HEAD", f"/v2/{NAME}/manifests/1"), ("GET", f"/v2/{NAME}/manifests/{pushed.digest}")]
    requests += [("GET", f"/v2/{NAME}/{target}") for target in blobs_of(pushed)]
    found = client.request(*requests[1])["docker-content-digest"]
    requests[1:2] = [("GET", f"/v2/{NAME}/manifests/{found}")]
    assert {client.request(*each).status for each in requests} == {200}
    # With the request without credentials, the token and the HEAD.
    assert len(requests) + 3 >= 16
    return site.network.reads - before


def test_by_digest_it_is_remembered(site: Site, app: Image) -> None:
    """Manifests and blobs that were read are not read again; tags are."""
    by_digest = [f"manifests/{app.digest}", *blobs_of(app)]
    assert site.reads(*by_digest) == 0
    assert site.reads("manifests/1") == 1
    assert site.pull(f"manifests/{app.digest}", "HEAD").status == 200
    assert "warning" not in site.pull(f"manifests/{app.digest}")
    # The fixture pulled the manifest by digest after its tag: it was remembered then already.
    assert site.recall.counts == {"remembered": 1 + len(by_digest) + 2, "stale": 0}


def test_what_only_its_size_is_known_of_is_read(site: Site) -> None:
    """A HEAD by tag remembers where the tag is, and the bytes are read when they are asked for."""
    pushed = site.world.push(NAME, image(), "1", user="alice")
    site.look()
    assert site.pull("manifests/1", "HEAD").status == 200
    assert site.pull(f"manifests/{pushed.digest}").body == pushed.raw
    assert site.pull("manifests/1", "HEAD").status == 200
    assert site.reads(f"manifests/{pushed.digest}") == 0


def test_nothing_is_served_by_whoever_does_not_look(site: Site, app: Image) -> None:
    """Events that have not been looked at for longer than the lease might say anything: the database is asked."""
    site.seconds += LEASE_SECONDS + 0.1
    assert site.reads(f"manifests/{app.digest}", *blobs_of(app)) == 1 + len(app.blobs)
    site.look()
    assert site.reads(f"manifests/{app.digest}", *blobs_of(app)) == 0


def test_where_bytes_lie_is_read_again_for_all_blobs_together(site: Site, app: Image) -> None:
    """After a while one read says where the bytes of all remembered blobs of the repository are now."""
    site.seconds += MOST_SURE_SECONDS + 1
    site.look()
    assert site.reads(*blobs_of(app)) == 1
    gone = digest_of(b"layer one")

    async def lose(tx: Tx) -> None:
        await tx.execute("update member set deleted_at = 1 where digest = $1", gone)

    # As the collector forgets a blob: without an event of its own.
    site.world.transact(lose)
    site.seconds += MOST_SURE_SECONDS + 1
    site.look()
    assert site.pull(f"blobs/{gone}").status == 404
    assert site.pull(f"blobs/{digest_of(b'layer two')}").status == 200


def test_bytes_that_go_soon_are_looked_for_soon() -> None:
    """Where bytes stay for a moment only (`keep.discard_seconds`), where they lie is believed for half of it."""
    with World(wrap_database=Network, rules=Rules(discard_seconds=2)) as world:
        site = Site(world)
        pushed = world.push(NAME, image([b"layer one"]), "1", user="alice")
        site.look()
        assert [site.pull(target).status for target in blobs_of(pushed)] == [200, 200]
        assert site.reads(*blobs_of(pushed)) == 0
        site.seconds += 1.5
        site.look()
        assert site.reads(*blobs_of(pushed)) == 1


def test_many_who_come_at_once_share_that_read(site: Site, app: Image) -> None:
    """The second who finds the same blobs old waits for the first."""
    site.seconds += MOST_SURE_SECONDS + 1
    site.look()
    before = site.network.reads

    async def both() -> None:
        repository = RepositoryName(NAME)
        await asyncio.gather(site.recall.renew_blobs(repository), site.recall.renew_blobs(repository))

    site.world.run(both())
    assert site.network.reads - before == 1


def test_a_damaged_blob_is_not_remembered(site: Site, app: Image) -> None:
    """What an audit found damaged is no longer served, as soon as the event is seen or the place is read again."""
    digest = digest_of(b"layer one")

    async def damage(tx: Tx) -> None:
        await blobs.set_damaged(tx, digest)

    site.world.transact(damage)
    site.seconds += MOST_SURE_SECONDS + 1
    site.look()
    assert site.pull(f"blobs/{digest}").status == 404

    async def tell(tx: Tx) -> None:
        await blobs.set_damaged(tx, digest_of(b"layer two"))
        await events.add_event(tx, Event("blob.damaged", "check", digest_of(b"layer two")), 1)

    site.world.transact(tell)
    site.look()
    assert site.pull(f"blobs/{digest_of(b'layer two')}").status == 404


def test_what_another_replica_deletes_is_forgotten(site: Site, app: Image) -> None:
    """Manifests, tags and blobs deleted elsewhere are 404 here once the events were looked at."""
    elsewhere = Client(site.world.sibling(), site.world.runner).with_headers(
        authorization=site.world.client("admin").headers["authorization"]
    )
    assert elsewhere.request("DELETE", f"/v2/{NAME}/manifests/{app.digest}").status == 202
    # This is the bound: a moment, which whoever deletes waits for.
    assert site.pull(f"manifests/{app.digest}").status == 200
    site.look()
    assert site.pull(f"manifests/{app.digest}").status == 404
    for target in blobs_of(app):
        assert elsewhere.request("DELETE", f"/v2/{NAME}/{target}").status == 202
    site.look()
    assert {site.pull(target).status for target in blobs_of(app)} == {404}
    site.go_away()
    assert site.pull("manifests/1").status == 503


def test_what_is_deleted_here_is_gone_at_once(site: Site, app: Image) -> None:
    """Without any event having been looked at."""
    assert site.world.client("admin").request("DELETE", f"/v2/{NAME}/manifests/{app.digest}").status == 202
    assert site.pull(f"manifests/{app.digest}").status == 404


def test_what_was_read_before_a_deletion_is_not_remembered_after_it(site: Site) -> None:
    """Whoever took the stamp before something was forgotten remembers nothing that was read with it."""
    name, found = RepositoryName(NAME), StoredManifest(digest_of(b"x"), "a/b", 1, b"x")
    stamp = site.recall.stamp
    site.recall.forget(name, digest_of(b"x"))
    site.recall.keep_manifest(stamp, name, Tag("1"), found)
    site.recall.keep_blob(stamp, name, blobs.StoredBlob(digest_of(b"x"), 1, is_good=True, pieces=(), pinned_until=0))
    assert site.recall.find_manifest(name, Tag("1"), with_bytes=True) is None
    assert site.recall.find_blob(name, digest_of(b"x")) is None


def test_a_renewal_beside_a_deletion_puts_nothing_back(site: Site, app: Image) -> None:
    """What was forgotten while the places of blobs were read stays forgotten."""
    name, digest = RepositoryName(NAME), digest_of(b"layer one")

    class Slow(Network):
        async def _unless_away(self, work: Work[T], run: Any) -> T:
            value = await super()._unless_away(work, run)
            site.recall.forget(name, digest)
            return value

    site.recall._database = Slow(site.world.database)
    site.world.run(site.recall.renew_blobs(name))
    assert site.recall.find_blob(name, digest) is None


def test_an_event_of_another_kind_about_a_repository_forgets_all_of_it(site: Site, app: Image) -> None:
    """What later versions may do to a repository is not known here: nothing of it is believed."""

    async def tell(tx: Tx) -> None:
        await tx.execute(
            "insert into event (at, kind, actor, subject, detail) values (1, 'repository.moved', 'x', $1, '{}')", NAME
        )

    site.world.transact(tell)
    site.look()
    assert site.reads(f"manifests/{app.digest}") == 1


def test_memory_is_bounded() -> None:
    """The least recently used goes first; what would never fit is not kept."""
    with World(wrap_database=Network) as world:
        site = Site(world, most_bytes=4000)
        name = RepositoryName(NAME)

        def keep(number: int, size: int = 300) -> None:
            raw = bytes(size)
            site.recall.keep_manifest(
                site.recall.stamp,
                name,
                digest_of(b"%d" % number),
                StoredManifest(digest_of(b"%d" % number), "", 1, raw),
            )

        def held() -> list[int]:
            keys = [(name, "manifest", digest_of(b"%d" % number)) for number in range(9)]
            return [number for number, key in enumerate(keys) if key in site.recall._held]

        for number in range(4):
            keep(number)
        assert held() == [0, 1, 2, 3]
        site.recall.find_manifest(name, digest_of(b"0"), with_bytes=True)
        keep(4)
        assert held() == [0, 2, 3, 4]
        keep(5, 5000)
        assert held() == [0, 2, 3, 4]
        assert site.recall._bytes == 4000


def test_while_the_database_is_away_pulls_go_on(site: Site, app: Image) -> None:
    """By tag, digest and of blobs, with fresh tokens, said to be stale; writes and what is not known are 503."""
    client = site.world.client("alice")
    site.go_away()
    site.seconds += AWAY_SECONDS - 10
    for target in ("manifests/1", f"manifests/{app.digest}", *blobs_of(app)):
        answer = site.world.bearer("alice", f"repository:{NAME}:pull").request("GET", f"/v2/{NAME}/{target}")
        assert (answer.status, answer["warning"]) == (200, STALE), target
    assert site.pull(blobs_of(app)[0], "HEAD")["warning"] == STALE
    assert site.recall.counts["stale"] == 3 + len(app.blobs)
    refused = [
        site.pull("manifests/2"),
        site.pull(f"manifests/{digest_of(b'nothing')}"),
        site.pull(f"blobs/{digest_of(b'nothing')}"),
        site.pull("tags/list"),
        client.request("POST", f"/v2/{NAME}/blobs/uploads/"),
        client.request("DELETE", f"/v2/{NAME}/manifests/{app.digest}"),
        client.request("PUT", f"/v2/{NAME}/manifests/1", app.raw, content_type=app.media_type),
    ]
    assert [(answer.status, answer["retry-after"]) for answer in refused] == [(503, "5")] * len(refused)


def test_whoever_comes_without_a_token_is_sent_for_one(site: Site, app: Image) -> None:
    """containerd and BuildKit begin with the manifest itself: while the database is away they are challenged all the
    same, alike for what is there and what is not.
    """
    site.go_away()
    for name, method in itertools.product((NAME, "priv/none", "none/none"), ("GET", "HEAD")):
        answer = site.world.client().request(method, f"/v2/{name}/manifests/1")
        assert (answer.status, f'scope="repository:{name}:pull"' in answer["www-authenticate"]) == (401, True)
        narrow = site.world.bearer("alice", "repository:priv/other:pull").request(method, f"/v2/{NAME}/manifests/1")
        assert (narrow.status, 'error="insufficient_scope"' in narrow["www-authenticate"]) == (401, True)
    token = site.world.client("alice").request("GET", f"/token?scope=repository:{NAME}:pull").json["token"]
    bearer = site.world.client().with_headers(authorization=f"Bearer {token}")
    assert bearer.request("GET", f"/v2/{NAME}/manifests/1")["warning"] == STALE


def test_any_number_of_tokens_is_given_while_the_database_is_away(
    site: Site, app: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of its own for each pull, as docker asks for: they do not push out the password they are given for."""
    monkeypatch.setattr(GenuineCache, "LIMIT", 8)
    path = f"/token?scope=repository:{NAME}:pull"
    assert site.world.client("alice").request("GET", path).status == 200
    site.go_away()
    for _ in range(20):
        given = site.world.client("alice").request("GET", path)
        bearer = site.world.client().with_headers(authorization=f"Bearer {given.json['token']}")
        assert bearer.request("GET", f"/v2/{NAME}/manifests/1").status == 200
        site.world.clock.advance(seconds=1)


def test_an_open_namespace_tells_nothing_without_the_database(site: Site) -> None:
    """What is hidden in it and what is not there look alike to whoever may not read the one: 503, until it is back."""
    world = site.world
    world.push("pub/hidden", image(), "1", user="alice")
    world.set_visibility("pub/hidden", "private")
    clients = [world.client(), world.client("bob"), world.bearer("bob", "repository:pub/other:pull")]
    assert [client.request("GET", "/v2/pub/hidden/manifests/1").status for client in clients] == [401, 404, 404]
    site.go_away()
    for client, name in itertools.product(clients, ("pub/hidden", "pub/none")):
        assert client.request("GET", f"/v2/{name}/manifests/1").status == 503


def test_it_ends_after_its_time(site: Site, app: Image) -> None:
    """After `away_seconds` nothing is served any more and no token is given; once it is back all is normal."""
    token = f"/token?scope=repository:{NAME}:pull"
    site.go_away()
    site.seconds += AWAY_SECONDS + 1
    assert site.pull(f"manifests/{app.digest}").status == 503
    assert site.world.client("alice").request("GET", token).status == 503
    site.network.is_away = False
    site.look()
    assert "warning" not in site.pull("manifests/1")
    assert site.world.client("alice").request("GET", token).status == 200


def test_a_namespace_can_do_without(site: Site, app: Image) -> None:
    """Where `away_pulls` is off, nothing is pulled without the database."""

    async def switch(tx: Tx) -> None:
        await namespaces.set_away_pulls(tx, "priv", are_served=False)
        await policy.bump_policy_version(tx)

    site.world.transact(switch)
    assert site.pull("manifests/1").status == 200
    site.go_away()
    assert site.pull("manifests/1").status == 503
    assert site.pull(blobs_of(app)[0]).status == 503


def test_an_instance_can_do_without() -> None:
    """With `away_seconds` 0 nothing is served while the database is away, and warm pulls are warm all the same."""
    with World(wrap_database=Network) as world:
        site = Site(world, away_seconds=0)
        pushed = world.push(NAME, image(), "1", user="alice")
        assert site.pull(f"manifests/{pushed.digest}").status == 200
        assert site.reads(f"manifests/{pushed.digest}") == 0
        site.go_away()
        site.seconds += LEASE_SECONDS + 0.1
        assert site.pull(f"manifests/{pushed.digest}").status == 503


def test_only_what_was_proved_before_is_believed(site: Site, app: Image) -> None:
    """A password that was right before is right, long after it would be asked for again; nobody else gets in."""
    site.go_away()
    site.world.clock.advance(seconds=600)
    site.seconds += 600
    assert site.pull("manifests/1").status == 200
    assert site.pull("manifests/1", user="bob").status == 503
    wrong = site.world.client().with_headers(authorization="Basic YWxpY2U6d3Jvbmc=")
    assert wrong.request("GET", f"/v2/{NAME}/manifests/1").status == 503


def test_a_header_that_was_believed_before_is_believed(site: Site, app: Image) -> None:
    """What is remembered by the whole header, such as a robot's secret, lasts as long as passwords do."""
    header = site.world.client("carol").headers["authorization"].encode()
    cache, registry = site.world.context.genuine, site.world.registry
    site.go_away()
    assert site.pull("manifests/1", user="carol").status == 503
    cache.put(header, registry.policy.snapshot, site.world.caller("carol"), registry.clock.now() - 1)
    assert site.pull("manifests/1", user="carol")["warning"] == STALE


def test_the_first_to_notice_is_served_too(site: Site, app: Image) -> None:
    """Before anybody has looked, whoever asked the database in vain is believed as well."""
    site.network.is_away = True
    site.world.clock.advance(seconds=600)
    site.seconds += LEASE_SECONDS + 0.1
    assert site.pull("manifests/1")["warning"] == STALE


def test_who_asks_in_vain_together_looks_once(site: Site) -> None:
    """Many who find at one moment that the database does not answer wait for one look of theirs."""
    site.network.is_away = True
    before = site.network.reads

    async def ask() -> list[bool]:
        return await asyncio.gather(*(site.recall.is_gone() for _ in range(10)))

    assert site.world.run(ask()) == [True] * 10
    assert site.network.reads - before == 1


def test_a_query_that_fails_by_itself_makes_nothing_stale(site: Site, app: Image) -> None:
    """While the events can be looked at the database is not away: whoever asked it in vain gets 503, by a tag, for a
    blob, and with a password that was right before.
    """
    failing: set[str] = set()

    async def read(work: Work[T]) -> T:
        value: T = await site.world.database.read(lambda tx: work(Locked(tx, failing)))
        return value

    site.network.read = read  # type: ignore[method-assign, assignment]
    failing |= {"join tag", "join blob", "from account"}
    site.world.clock.advance(seconds=600)
    site.seconds += LEASE_SECONDS + 0.1
    assert (site.pull("manifests/1").status, site.pull("manifests/1")["retry-after"]) == (503, "5")
    failing.remove("from account")
    assert site.pull("manifests/1")["retry-after"] == "5"
    site.seconds += MOST_SURE_SECONDS + 0.1
    assert site.pull(blobs_of(app)[0]).status == 503
    assert (site.recall.is_away, site.recall.counts["stale"]) == (False, 0)
    failing.add("from event")
    assert site.pull("manifests/1")["warning"] == STALE


class Locked:
    """The port Tx, where statements about some tables end by their time limit."""

    def __init__(self, tx: Tx, failing: set[str]) -> None:
        self._tx = tx
        self._failing = failing

    async def one(self, sql: str, *arguments: Any) -> Any:
        """Refused, or one row."""
        self._judge(sql)
        return await self._tx.one(sql, *arguments)

    async def all(self, sql: str, *arguments: Any) -> Any:
        """Refused, or rows."""
        self._judge(sql)
        return await self._tx.all(sql, *arguments)

    def _judge(self, sql: str) -> None:
        if any(words in sql for words in self._failing):
            raise Unavailable("the database did not finish this within its time limit")


def test_a_secret_is_not_believed_beyond_its_end(site: Site) -> None:
    """What was proved by something that has ended since is void, whoever is away."""
    cache, registry = GenuineCache(), site.world.registry
    now, snapshot = registry.clock.now(), registry.policy.snapshot
    site.go_away()
    for until, is_believed in ((0, True), (now + 1, True), (now, False)):
        assert cache.find(b"shown", snapshot, now) is None
        cache.put(b"shown", snapshot, replace_until(site, until), now - 1)
        assert (believed(registry, cache, b"shown") is not None) == is_believed
    assert believed(registry, cache, b"other") is None


def replace_until(site: Site, until: int) -> Any:
    """A caller whose secret ends at a time."""
    return msgspec.structs.replace(site.world.caller("alice"), until=until)


def test_readyz_while_pulls_go_on(site: Site, app: Image) -> None:
    """Degraded, which counts as ready, and `full` names the database; away once nothing may be served."""

    async def render() -> bytes:
        return b""

    pages = Client(Operations(site.world.context, render), site.world.runner)
    site.go_away()
    assert (pages.request("GET", "/readyz").status, pages.request("GET", "/readyz").json["status"]) == (200, "degraded")
    assert "database" in pages.request("GET", "/readyz?full=1").json["away"]
    site.seconds += AWAY_SECONDS + 1
    assert (pages.request("GET", "/readyz").status, pages.request("GET", "/readyz").json["status"]) == (503, "away")


def test_more_events_than_a_batch_are_followed(site: Site, app: Image) -> None:
    """All of them, in several reads."""

    async def tell(tx: Tx) -> None:
        for number in range(BATCH + 1):
            await events.add_event(tx, Event("tag.moved", "x", f"pub/{number}", {"tag": "1"}), 1)
        await events.add_event(tx, Event("manifest.deleted", "x", NAME, {"digest": app.digest}), 1)

    site.world.transact(tell)
    site.look()
    assert site.reads(f"manifests/{app.digest}") == 1


def test_a_long_transaction_of_somebody_lets_nothing_stale_be_served(site: Site, app: Image) -> None:
    """When more is held up than is read each time, nothing is remembered from before."""
    row = SeenEvent(Place(1, 9, 9), is_settled=False, at=1, kind="manifest.pushed", subject=NAME, detail="{}")

    class HeldUp(Network):
        async def _unless_away(self, work: Work[T], run: Any) -> Any:
            return [row] * BATCH

    site.recall._database = HeldUp(site.world.database)
    site.look()
    assert site.recall.find_manifest(RepositoryName(NAME), app.digest, with_bytes=True) is None
    assert site.recall.find_blob(RepositoryName(NAME), digest_of(b"layer one")) is None


def test_a_database_that_has_gone_back_is_noticed(site: Site, app: Image) -> None:
    """After a fail-over that lost some events, or a restored backup, new events may stand where others were followed
    already, or before them: then all is forgotten, and no deletion is overlooked.
    """
    site.world.push("pub/other", image([b"other"]), "1", user="alice")
    site.look()
    newest = site.world.transact(events.find_last_seen)

    async def take_its_place(tx: Tx) -> None:
        await repositories.delete_member(tx, 1, app.digest, "manifest", 1)
        await tx.execute(
            "update event set at = at + 1, kind = 'manifest.deleted', subject = $1, detail = $2 where id = $3",
            NAME,
            f'{{"digest":"{app.digest}"}}',
            newest.place.id,
        )

    site.world.transact(take_its_place)
    site.look()
    assert site.pull(f"manifests/{app.digest}").status == 404
    for gone in ("id > 2", "true"):
        assert site.pull(blobs_of(app)[0]).status == 200
        site.world.transact(partial(remove_events, gone))
        site.look()
        assert site.reads(blobs_of(app)[0]) == 1
    site.look()
    assert site.reads(blobs_of(app)[0]) == 0


async def remove_events(gone: str, tx: Tx) -> None:
    """Forget events, as a database does that lacks the last moments."""
    await tx.execute(f"delete from event where {gone}")


def test_what_was_read_before_the_first_look_is_not_believed(site: Site) -> None:
    """What happens between the two is not followed."""
    pushed = site.world.push(NAME, image(), "1", user="alice")
    # As it is at the start, while the first look fails.
    site.recall._last = None
    site.seconds += LEASE_SECONDS + 0.1
    assert site.pull(f"manifests/{pushed.digest}").status == 200
    elsewhere = Client(site.world.sibling(), site.world.runner)
    admin = elsewhere.with_headers(authorization=site.world.client("admin").headers["authorization"])
    assert admin.request("DELETE", f"/v2/{NAME}/manifests/{pushed.digest}").status == 202
    site.look()
    assert site.pull(f"manifests/{pushed.digest}").status == 404


def test_where_a_tag_is_now_stays_known(site: Site, app: Image) -> None:
    """The event of a move that was read already forgets nothing; that of another move does."""
    other = site.world.push(NAME, image([b"other"]), "1", user="alice")
    assert site.pull("manifests/1").body == other.raw
    site.look()
    assert site.recall.find_manifest(RepositoryName(NAME), Tag("1"), with_bytes=True) is not None
    site.world.push(NAME, app, "1", user="alice")
    site.look()
    assert site.recall.find_manifest(RepositoryName(NAME), Tag("1"), with_bytes=True) is None


def test_what_is_remembered_of_the_forgotten_is_bounded(site: Site) -> None:
    """After very many, nothing is believed that was read before the last of them, and it begins anew."""
    name, found = RepositoryName(NAME), StoredManifest(digest_of(b"x"), "a/b", 1, b"x")
    stamp = site.recall.stamp
    for number in range(MOST_FORGOTTEN):
        site.recall.forget(name, digest_of(b"%d" % number))
    assert len(site.recall._forgotten) <= MOST_FORGOTTEN
    site.recall.keep_manifest(stamp, name, found.digest, found)
    assert site.recall.find_manifest(name, found.digest, with_bytes=True) is None
    site.recall.keep_manifest(site.recall.stamp, name, found.digest, found)
    assert site.recall.find_manifest(name, found.digest, with_bytes=True) == found
