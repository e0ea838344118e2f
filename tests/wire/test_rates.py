"""Rate limits through the door of both faces: who is counted, what is told, and workers that count together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from entrepot.api.face import ApiFace
from entrepot.core import rates
from entrepot.core.jobs import HANDLERS
from entrepot.core.rates import Limiter, RateRules, exchange_rates
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.web.face import WebFace
from entrepot.wire.addresses import Addresses
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from tests.support.asgi import Answer, Client
from tests.support.browser import FORM
from tests.support.images import image
from tests.support.world import World, basic, password_of

OTHER = ("203.0.113.9", 1)
Ask = Callable[..., Answer]


@pytest.fixture
def world() -> Iterator[World]:
    """A registry with an image that everybody may pull."""
    with World() as world:
        world.push("pub/app", image(), "latest")
        yield world


def limited(world: World, **rules: object) -> Context:
    """What the faces of a worker are given whose requests are counted."""
    return replace(world.context, limiter=Limiter(RateRules(**rules)))  # type: ignore[arg-type]


def asker(world: World, context: Context) -> Ask:
    """Asks for a manifest by the OCI face of a worker."""
    face = Face(context, GRAMMAR)

    def ask(user: str = "", client: tuple[str, int] = ("198.51.100.7", 1), **headers: str) -> Answer:
        if user:
            headers["authorization"] = basic(user, password_of(user))
        scoped = Client(face, world.runner).with_scope(client=client)
        return scoped.request("GET", "/v2/pub/app/manifests/latest", **headers)

    return ask


def statuses(ask: Ask, times: int, *words: object, **headers: str) -> list[int]:
    """The statuses of so many requests."""
    return [ask(*words, **headers).status for _ in range(times)]


def test_an_address_has_its_requests(world: World) -> None:
    """So many a minute from an address whoever asks, told with each answer; then 429, and the next one in time."""
    ask = asker(world, limited(world, address_per_minute=3))
    first = ask()
    told = [first["ratelimit-limit"], first["ratelimit-remaining"], first["ratelimit-reset"]]
    assert (first.status, told) == (200, ["3;w=60", "2;w=60", "20"])
    assert statuses(ask, 3, "alice") == [200, 200, 429]
    refused = ask()
    assert (refused.code, refused["retry-after"], refused["ratelimit-remaining"]) == ("TOOMANYREQUESTS", "20", "0;w=60")
    [problem] = refused.json["errors"]
    assert problem["message"] == "this address may send 3 requests a minute; try again in 20 s"
    assert problem["detail"] == {"retry_after": 20, "limit": 3, "window_seconds": 60}
    assert ask("", OTHER).status == 200
    world.clock.advance(seconds=20)
    assert statuses(ask, 2) == [200, 429]
    assert world.registry.lockouts.refused == {"rate.address": 3}


def test_a_forwarded_address_is_no_other_address(world: World) -> None:
    """X-Forwarded-For counts from trusted proxies only, and then by the last entry that no such proxy wrote."""
    ask = asker(world, limited(world, address_per_minute=2))
    assert [ask(x_forwarded_for=f"192.0.2.{number}").status for number in range(3)] == [200, 200, 429]
    behind = asker(world, replace(limited(world, address_per_minute=2), addresses=Addresses("", ["198.51.100.0/24"])))
    forged = [behind(x_forwarded_for=f"192.0.2.{number}, 203.0.113.5").status for number in range(3)]
    assert forged == [200, 200, 429]
    assert behind(x_forwarded_for="203.0.113.6").status == 200


def test_a_network_of_ipv6_is_one_address(world: World) -> None:
    """A /64 has the requests of one address."""
    ask = asker(world, limited(world, address_per_minute=2))
    assert [ask("", (f"2001:db8::{number}", 1)).status for number in range(3)] == [200, 200, 429]
    assert ask("", ("2001:db8:0:1::", 1)).status == 200


def test_an_account_has_its_requests_from_wherever(world: World) -> None:
    """Those of an account are counted over its addresses; those without an account by address."""
    ask = asker(world, limited(world, identity_per_minute=2, anonymous_per_minute=1))
    assert [ask("alice", (f"192.0.2.{number}", 1)).status for number in range(3)] == [200, 200, 429]
    assert statuses(ask, 2) == [200, 429]
    assert ask("", OTHER).status == 200
    assert ask("bob")["ratelimit-limit"] == "2;w=60"
    assert world.registry.lockouts.refused == {"rate.identity": 1, "rate.anonymous": 1}


def test_the_tightest_limit_is_told(world: World) -> None:
    """Where several limits count a request, the one of which least remains is told."""
    ask = asker(world, limited(world, address_per_minute=9, identity_per_minute=5))
    assert ask("alice")["ratelimit-limit"] == "5;w=60"
    ask = asker(world, limited(world, address_per_minute=5, identity_per_minute=9))
    assert ask("alice")["ratelimit-limit"] == "5;w=60"


def test_who_is_exempt_is_not_counted(world: World) -> None:
    """Addresses of exempt networks have no limit and are told none; what is no address is not among them."""
    ask = asker(world, limited(world, address_per_minute=1, exempt=("198.51.100.0/24", "2001:db8::/32")))
    assert statuses(ask, 3, "alice") == [200] * 3
    assert "ratelimit-limit" not in ask()
    assert statuses(ask, 2, "", ("unknown", 1)) == [200, 429]


def test_wrong_credentials_are_counted_too(world: World) -> None:
    """The limit of an address holds before anything is looked at."""
    ask = asker(world, limited(world, address_per_minute=2))
    assert statuses(ask, 3, authorization="Bearer nonsense") == [401, 401, 429]


def test_the_api_is_limited_in_its_own_words(world: World) -> None:
    """The same counts at `/api/v1`, with its headers and its form of errors."""
    face = ApiFace(limited(world, address_per_minute=3, identity_per_minute=2))
    client = Client(face, world.runner).with_headers(authorization=basic("bob", password_of("bob")))
    answer = client.request("GET", "/api/v1/whoami")
    assert (answer.status, answer["ratelimit-remaining"]) == (200, "1;w=60")
    assert client.request("HEAD", "/api/v1/whoami").status == 200
    refused = [client.request("GET", "/api/v1/whoami") for _ in range(2)]
    assert [answer.json["errors"][0]["message"].partition(" may")[0] for answer in refused] == [
        "this account",
        "this address",
    ]
    assert [(answer.code, answer["retry-after"]) for answer in refused] == [
        ("TOOMANYREQUESTS", "30"),
        ("TOOMANYREQUESTS", "20"),
    ]


def test_pages_are_requests_too(world: World) -> None:
    """Of an address as all others, before any cookie is looked at, for people and for programs; not the style sheet."""
    client = Client(WebFace(limited(world, address_per_minute=2)), world.runner)
    assert [client.request("GET", "/static/style.css").status for _ in range(4)] == [200] * 4
    page = client.request("GET", "/login")
    assert (page.status, page["ratelimit-remaining"]) == (200, "1;w=60")
    assert client.request("POST", "/login/device/code", content_type=FORM).status == 200
    refused = client.request("GET", "/login", cookie="entrepot=x")
    assert (refused.status, refused["retry-after"], refused["ratelimit-remaining"]) == (429, "30", "0;w=60")
    assert "this address may send 2 requests a minute" in refused.body.decode()
    program = client.request("POST", "/login/device/code", content_type=FORM)
    assert (program.status, program.json["error"]) == (429, "temporarily_unavailable")


def test_workers_count_together(world: World) -> None:
    """What one worker has admitted near a limit the others know a second later, and then none admits more."""
    contexts = [limited(world, address_per_minute=20) for _ in range(3)]
    asks = [asker(world, context) for context in contexts]
    assert statuses(asks[0], 20) == [200] * 20
    assert statuses(asks[1], 3) == [200] * 3
    for context in contexts:
        assert context.limiter is not None
        world.run(exchange_rates(world.registry, context.limiter))
    assert statuses(asks[1], 1) == [429]
    assert asks[2]().status == 200
    assert len(world.rows("select * from rate")) == 1
    world.clock.advance(seconds=120)
    world.run(HANDLERS["attempt.expire"](world.registry, ""))
    assert world.rows("select * from rate") == []
    assert asks[1]().status == 200


def test_who_is_far_from_a_limit_costs_no_rows(world: World) -> None:
    """A crowd of strangers, each far from a limit, is not written down; later it counts with the rest."""
    context = limited(world, address_per_minute=100)
    ask, limiter = asker(world, context), context.limiter
    assert limiter is not None
    for number in range(5):
        statuses(ask, 2, "", (f"192.0.2.{number}", 1))
    world.run(exchange_rates(world.registry, limiter))
    assert world.rows("select * from rate") == []
    statuses(ask, 10, "", ("192.0.2.1", 1))
    world.run(exchange_rates(world.registry, limiter))
    [(key, ahead)] = world.rows("select key, ahead_until from rate")
    assert (key, ahead - world.clock.now()) == ("address 192.0.2.1", 12 * 600_000)
    statuses(ask, 1, "", ("192.0.2.9", 1))
    world.clock.advance(seconds=5)
    world.run(exchange_rates(world.registry, limiter))
    assert len(world.rows("select * from rate")) == 1


def test_what_is_held_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently seen are forgotten; what was learned of them is not taken up again."""
    monkeypatch.setattr(rates, "MOST_HELD", 2)
    limiter = Limiter(RateRules(address_per_minute=2))
    now = world.clock.now()
    for who in ("a", "b", "a", "c"):
        limiter.take("address", who, now)
    assert sorted(limiter.near(now)) == ["address a", "address c"]
    limiter.learn({"address b": now + 10**9})
    assert limiter.take("address", "b", now) is not None
