"""Limits on pulls through the door: what counts, who bears it, what is told, and workers that count together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from entrepot.app import build
from entrepot.core import organisations, plans, pull_meter, pulls, services
from entrepot.core.jobs import HANDLERS
from entrepot.core.organisations import NewOrganisation
from entrepot.core.pull_meter import PullMeter
from entrepot.core.rates import Limiter, RateRules
from entrepot.core.services import NewService
from entrepot.db.sqlite import open_database
from entrepot.domain.access import Caller, Identity
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.domain.plans import Plan
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata.plans import PlanRow
from entrepot.ports.database import Database, T, Work
from entrepot.settings import Settings
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from tests.support.asgi import Answer, Client, Lifespan, eventually
from tests.support.images import artifact, image, index
from tests.support.world import World, basic, password_of

IMAGE = image()
LATEST = "/v2/pub/app/manifests/latest"
OTHER = ("203.0.113.9", 1)
Ask = Callable[..., Answer]


@pytest.fixture
def world() -> Iterator[World]:
    """A registry with an image that everybody may pull."""
    with World() as world:
        world.push("pub/app", IMAGE, "latest")
        yield world


def give(world: World, number: int | None = 2, name: str = "free", seconds: int = 21_600, **whom: bool) -> None:
    """Make a plan; without further words it is for everybody."""
    whom = whom or {"is_for_anonymous": True, "is_for_signed_in": True}
    row = PlanRow(Plan(name, number, seconds), **whom)
    world.run(plans.put_plan(world.registry, world.caller("admin"), row))


def assign(world: World, owner: str, name: str) -> None:
    """Give somebody a plan of their own."""
    world.run(plans.assign(world.registry, world.caller("admin"), owner, name))


def asker(world: World, context: Context | None = None) -> Ask:
    """Asks for a manifest by the OCI face of a worker."""
    face = Face(context or world.context, GRAMMAR)

    def ask(user: str = "", path: str = LATEST, method: str = "GET", **headers: str) -> Answer:
        client = headers.pop("client", "198.51.100.7")
        if user:
            headers["authorization"] = basic(user, password_of(user))
        return Client(face, world.runner).with_scope(client=(client, 1)).request(method, path, **headers)

    return ask


def statuses(ask: Ask, times: int, *words: str, **headers: str) -> list[int]:
    """The statuses of so many requests."""
    return [ask(*words, **headers).status for _ in range(times)]


def told(answer: Answer) -> list[str]:
    """What an answer says of a limit."""
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "docker-ratelimit-source")
    return [answer[name] for name in names]


def test_without_plans_nothing_is_told_or_counted(world: World) -> None:
    """Where no plan is for anybody, no answer has a header of one and no row is written."""
    ask = asker(world)
    assert "ratelimit-limit" not in ask()
    give(world, is_for_signed_in=False)
    assert world.registry.policy.snapshot.plans is None
    assert statuses(ask, 4) == [200] * 4
    world.run(pulls.exchange_pulls(world.registry))
    assert world.rows("select * from pull_window") == []


def test_an_address_has_its_pulls(world: World) -> None:
    """So many images within a window that begins with the first pull, told as Docker Hub does; then 429 to its end."""
    give(world)
    ask = asker(world)
    assert told(ask()) == ["2;w=21600", "1;w=21600", "21600", "198.51.100.7"]
    world.clock.advance(seconds=600)
    assert told(ask())[1:3] == ["0;w=21600", "21000"]
    refused = ask()
    assert (refused.status, refused.code, refused["retry-after"]) == (429, "TOOMANYREQUESTS", "21000")
    assert told(refused) == ["2;w=21600", "0;w=21600", "21000", "198.51.100.7"]
    [problem] = refused.json["errors"]
    assert problem["message"] == (
        "the address 198.51.100.7, without a login, has used its 2 pulls in 6 hours (plan free): log in to have pulls "
        "of your own, or try again at 2026-09-21T20:13:20Z, in 21000 s"
    )
    assert problem["detail"]["source"] == "198.51.100.7"
    assert ask(client="203.0.113.9").status == 200
    world.clock.advance(seconds=21_000)
    assert told(ask())[1:3] == ["1;w=21600", "21600"]
    assert world.registry.lockouts.refused == {"plan.anonymous": 1}


def test_a_network_of_ipv6_is_one_address(world: World) -> None:
    """A /64 has the pulls of one address, and is told so."""
    give(world)
    ask = asker(world)
    assert [ask(client=f"2001:db8::{number}").status for number in range(3)] == [200, 200, 429]
    assert ask(client="2001:db8:0:1::")["docker-ratelimit-source"] == "2001:db8:0:1::/64"


def test_only_images_that_are_sent_count(world: World) -> None:
    """HEAD, indexes, what is said about an image, and 304 are told where somebody stands, and count for nothing."""
    give(world)
    ask = asker(world)
    both, signature = index([IMAGE]), artifact(IMAGE, "application/vnd.example.signature")
    world.push("pub/app", both, "both")
    world.push("pub/app", signature)
    free = [
        ask(method="HEAD"),
        ask(path="/v2/pub/app/manifests/both"),
        ask(path=f"/v2/pub/app/manifests/{signature.digest}"),
        ask(if_none_match=f'"{IMAGE.digest}"'),
        ask(path="/v2/pub/app/manifests/none"),
    ]
    assert [answer.status for answer in free] == [200, 200, 200, 304, 404]
    assert all(told(answer)[1:3] == ["2;w=21600", "0"] for answer in free[:4])
    assert statuses(ask, 3, path=f"/v2/pub/app/manifests/{IMAGE.digest}") == [200, 200, 429]
    after = [ask(method="HEAD"), ask(path="/v2/pub/app/manifests/both"), ask(if_none_match=f'"{IMAGE.digest}"')]
    assert [(answer.status, answer["ratelimit-remaining"]) for answer in after] == [
        (200, "0;w=21600"),
        (200, "0;w=21600"),
        (304, "0;w=21600"),
    ]


def test_an_account_has_its_pulls_from_wherever(world: World) -> None:
    """What somebody pulls with a login counts for them, over all addresses, and by password and token alike."""
    give(world)
    ask = asker(world)
    assert ask("alice", client="192.0.2.1").status == 200
    token = f"Bearer {world.token('alice', 'repository:pub/app:pull')}"
    assert told(ask(client="192.0.2.2", authorization=token)) == ["2;w=21600", "0;w=21600", "21600", "alice"]
    refused = ask("alice", client="192.0.2.3")
    assert refused.status == 429
    assert "alice has used its 2 pulls in 6 hours (plan free): ask an administrator" in refused.body.decode()
    assert statuses(ask, 1, "bob") == [200]
    assert world.registry.lockouts.refused == {"plan.identity": 1}


def test_members_have_the_plan_of_their_organisation(world: World) -> None:
    """The highest of their own and of their organisations', which each of them uses up for themselves."""
    give(world)
    give(world, 3, "team", is_for_signed_in=False)
    world.run(organisations.create_organisation(world.registry, world.caller("admin"), NewOrganisation("acme")))
    for user in ("alice", "bob"):
        world.run(organisations.put_member(world.registry, world.caller("admin"), "acme", user, "member"))
    assign(world, "acme", "team")
    ask = asker(world)
    assert [statuses(ask, 4, user) for user in ("alice", "bob")] == [[200, 200, 200, 429]] * 2
    assert statuses(ask, 3, "carol") == [200, 200, 429]
    give(world, None, "team", is_for_signed_in=False)
    assert "ratelimit-limit" not in ask("alice")


def test_machines_use_up_the_pulls_of_their_owner(world: World) -> None:
    """A service account of a namespace counts for its owner, and one of the registry for itself."""
    give(world)
    admin = world.caller("admin")
    for new in (NewService("ci", "pub"), NewService("ci")):
        world.run(services.add_service(world.registry, admin, new))
    numbers = dict(world.rows("select name, id from account where kind = 'service'"))
    callers = {name: Caller(Identity(number, name), None) for name, number in numbers.items()}
    payers = {name: pulls.find_payer(world.registry, caller, "192.0.2.1") for name, caller in callers.items()}
    found = {name: payer.name for name, payer in payers.items() if payer}
    assert found == {"robot$pub+ci": "alice", "robot$ci": "robot$ci"}
    payer = payers["robot$pub+ci"]
    assert payer is not None
    assert world.run(pulls.count_pull(world.registry, payer)).remaining == 1
    assert statuses(asker(world), 2, "alice") == [200, 429]


def test_whose_namespace_nobody_owns_pulls_for_themselves(world: World) -> None:
    """A service account of such a namespace, and somebody who is gone, count for themselves."""
    give(world)
    caller = Caller(Identity(4711, "robot$none+ci"), None)
    payer = pulls.find_payer(world.registry, caller, "192.0.2.1")
    assert payer is not None
    assert (payer.account, payer.name) == (4711, "robot$none+ci")


def test_who_is_exempt_is_not_counted(world: World) -> None:
    """Addresses that `rate.exempt` names pull as much as they like, and are told nothing."""
    give(world)
    registry = replace(world.registry, pulls=PullMeter(["198.51.100.0/24"]))
    ask = asker(world, replace(world.context, registry=registry))
    assert statuses(ask, 3) == [200] * 3
    assert "ratelimit-limit" not in ask("alice")
    assert statuses(ask, 3, client="192.0.2.1") == [200, 200, 429]


def test_a_plan_is_told_in_the_place_of_a_rate(world: World) -> None:
    """Manifests tell of pulls, all else of requests; what a rate refuses tells of the rate and is no pull."""
    give(world)
    limiter = Limiter(RateRules(address_per_minute=2))
    ask = asker(world, replace(world.context, limiter=limiter))
    assert told(ask(path="/v2/pub/app/tags/list"))[0] == "2;w=60"
    assert told(ask()) == ["2;w=21600", "1;w=21600", "21600", "198.51.100.7"]
    refused = ask()
    assert (refused.status, told(refused)[0], refused["docker-ratelimit-source"]) == (429, "2;w=60", "")
    assert told(asker(world)(method="HEAD"))[1] == "1;w=21600"


def test_a_plan_that_changes_holds_at_once(world: World) -> None:
    """What was pulled stays counted under a larger, a smaller and a shorter plan."""
    give(world)
    ask = asker(world)
    assert statuses(ask, 3) == [200, 200, 429]
    give(world, 3)
    assert statuses(ask, 2) == [200, 429]
    give(world, 1)
    assert told(ask(method="HEAD"))[:2] == ["1;w=21600", "0;w=21600"]
    world.clock.advance(seconds=60)
    give(world, 1, seconds=60)
    assert statuses(ask, 2) == [200, 429]
    assert ask()["retry-after"] == "60"
    give(world, 0, seconds=90)
    assert statuses(ask, 1, client="192.0.2.9") == [429]


def test_workers_count_together(world: World) -> None:
    """Who has used a plan up with one worker is refused by another that had never heard of them."""
    give(world, 3)
    first, second = asker(world), asker(world, world.sibling_context())
    assert statuses(first, 2) == [200, 200]
    world.run(pulls.exchange_pulls(world.registry))
    assert statuses(second, 2) == [200, 429]


def test_what_others_let_through_is_heard_within_a_second(world: World) -> None:
    """A worker goes by what it has heard for a second, then asks again: so much may two let through too many."""
    give(world, 3)
    other = world.sibling_context()
    first, second = asker(world), asker(world, other)
    assert statuses(first, 1) + statuses(second, 1) == [200, 200]
    for registry in (world.registry, other.registry):
        world.run(pulls.exchange_pulls(registry))
    # All know of both, or will.
    assert statuses(second, 1) == [200]
    assert statuses(first, 2) == [200, 200]
    for registry in (world.registry, other.registry):
        world.run(pulls.exchange_pulls(registry))
    assert [statuses(ask, 1) for ask in (first, second)] == [[429], [429]]
    assert world.rows("select key, pulls from pull_window") == [("address 198.51.100.7", 5)]


def test_counts_outlive_a_restart(world: World) -> None:
    """What was exchanged is there for a process that has just begun, until the window is over."""
    give(world)
    assert statuses(asker(world), 2) == [200, 200]
    world.run(pulls.exchange_pulls(world.registry))
    world.restart()
    assert statuses(asker(world), 1) == [429]
    world.clock.advance(seconds=21_601)
    world.run(HANDLERS["attempt.expire"](world.registry, ""))
    assert world.rows("select * from pull_window") == []
    assert statuses(asker(world), 1) == [200]


def test_what_was_pulled_in_a_window_that_is_over_is_not_told(world: World) -> None:
    """Neither alone nor as part of the window that has begun since."""
    give(world, seconds=60)
    ask = asker(world)
    assert statuses(ask, 2) == [200, 200]
    world.clock.advance(seconds=60)
    world.run(pulls.exchange_pulls(world.registry))
    assert world.rows("select * from pull_window") == []
    assert statuses(ask, 1) == [200]
    world.clock.advance(seconds=60)
    assert statuses(ask, 2) == [200, 200]
    world.run(pulls.exchange_pulls(world.registry))
    assert world.rows("select pulls from pull_window") == [(2,)]


class Deaf:
    """The port Database, which counts reads, and may have no ear for windows: as if it were away for these alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_away = False
        self.reads = 0

    async def read(self, work: Work[T]) -> T:
        self.reads += 1
        if self.is_away and "hear" in work.__qualname__:
            raise Unavailable("the database cannot be reached now")
        return await self._database.read(work)

    async def transact(self, work: Work[T], **how: bool) -> T:
        return await self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()


def test_a_pull_costs_one_read_more_a_second(world: World) -> None:
    """Without a plan for whoever pulls a pull costs what it did; with one, the first of a second asks once more."""
    database = Deaf(world.registry.database)
    ask = asker(world, replace(world.context, registry=replace(world.registry, database=database)))

    def reads(user: str = "") -> int:
        before = database.reads
        assert ask(user).status == 200
        return database.reads - before

    assert [reads() for _ in range(2)] == [1, 1]
    give(world, 9, is_for_anonymous=True)
    assert [reads() for _ in range(3)] == [2, 1, 1]
    world.clock.advance(seconds=1)
    assert [reads() for _ in range(2)] == [2, 1]
    ask("alice")
    assert reads("alice") == 1
    give(world, None, is_for_anonymous=True)
    assert reads() == 1


def test_what_a_process_knows_will_do_while_the_database_is_away(world: World) -> None:
    """Pulls go on, and are counted by each process for itself."""
    give(world)
    database = Deaf(world.registry.database)
    database.is_away = True
    registry = replace(world.registry, database=database)
    ask = asker(world, replace(world.context, registry=registry))
    assert statuses(ask, 3) == [200, 200, 429]


def test_what_is_held_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that began first are forgotten, with what was not told of them."""
    monkeypatch.setattr(pull_meter, "MOST_HELD", 2)
    give(world)
    ask = asker(world)
    for number in range(3):
        assert ask(client=f"192.0.2.{number}").status == 200
    world.run(pulls.exchange_pulls(world.registry))
    assert world.rows("select key from pull_window order by key") == [("address 192.0.2.1",), ("address 192.0.2.2",)]


def test_counts_are_told_by_the_way(settings: Settings) -> None:
    """A process tells what it has let through a moment later, and once more when it stops."""
    admin = {"authorization": basic("admin", password_of("admin"))}
    plan, kind = b'{"pulls": 9, "window_seconds": 3600, "signed_in": true}', "application/json"

    async def live() -> None:
        application = build(settings)
        lifespan, client = Lifespan(application), Client(application, runner)
        await lifespan.start()
        database = open_database(settings.database_url)
        await client.exchange("PUT", "/api/v1/plans/free", plan, content_type=kind, **admin)
        for content in IMAGE.blobs:
            target = f"/v2/acme/app/blobs/uploads/?digest={digest_of(content)}"
            assert (await client.exchange("POST", target, content, **admin)).status == 201
        manifest = "/v2/acme/app/manifests/latest"
        await client.exchange("PUT", manifest, IMAGE.raw, content_type=IMAGE.media_type, **admin)

        async def told() -> list[int]:
            return [row[0] for row in await database.read(lambda tx: tx.all("select pulls from pull_window"))]

        async def is_told() -> bool:
            return await told() == [1]

        assert (await client.exchange("GET", manifest, **admin)).status == 200
        await eventually(is_told)
        assert (await client.exchange("GET", manifest, **admin)).status == 200
        await lifespan.stop()
        assert await told() == [2]
        await database.close()

    with asyncio.Runner() as runner:
        runner.run(live())
