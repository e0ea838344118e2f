"""Secrets at the door of container clients, and attempts to get more out of them than is in them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlencode

import pytest

from entrepot.core import services
from entrepot.core.denials import DenialLog
from entrepot.core.registry import SECOND, Rules
from entrepot.core.services import ServiceChange
from entrepot.core.tokens import Claims, GenuineCache, verify
from entrepot.domain.secrets import make_secret
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata import accounts, policy
from entrepot.ports.database import Database, Tx, Work
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.machines import ROBOT, add_robot, add_secret, add_token, by_basic, by_bearer, revoke
from tests.support.world import PlainHasher, World, basic

T = TypeVar("T")
MANIFEST = "/v2/priv/app/manifests/v1"
UPLOADS = "/v2/priv/app/blobs/uploads/"
PULL = "scope=repository:priv/app:pull"
DAY_SECONDS = 86_400


@pytest.fixture
def world(world: World) -> World:
    """With an image in `priv/app`, and a robot that may write in `priv`."""
    world.push("priv/app", image(), "v1", user="alice")
    add_robot(world)
    return world


def claims_of(world: World, answer: Answer) -> Claims:
    """What the token in an answer says."""
    assert answer.status == 200, answer
    return verify(world.registry.policy.keys, answer.json["token"], world.clock.now(), "access")


def by_token(world: World, client: Client, query: str = PULL) -> Client:
    """A client with an access token that another one asked for."""
    token = client.request("GET", f"/token?{query}").json["token"]
    return world.client().with_headers(authorization=f"Bearer {token}")


def test_a_robot_logs_in_every_way(world: World) -> None:
    """By Basic and by Bearer on requests, and for tokens by both spellings of the token service."""
    made = add_secret(world)
    for client in (by_basic(world, made), by_bearer(world, made), by_token(world, by_basic(world, made))):
        assert client.request("GET", "/v2/").status == 200
        assert client.request("GET", MANIFEST).status == 200
    assert by_basic(world, made).request("POST", UPLOADS).status == 202
    form = {"grant_type": "password", "username": ROBOT, "password": made.secret, "scope": "repository:priv/app:pull"}
    for _ in range(2):
        answer = world.client().request("POST", "/token", urlencode(form).encode())
        assert claims_of(world, answer).cid == made.row.id


def test_several_secrets_are_good_at_once(world: World) -> None:
    """A rotation needs no moment in which nobody can log in: the old one goes when the new one is everywhere."""
    old, new = add_secret(world), add_secret(world, name="two")
    assert {by_basic(world, made).request("GET", MANIFEST).status for made in (old, new)} == {200}
    revoke(world, old)
    assert by_basic(world, old).request("GET", MANIFEST).status == 401
    assert by_basic(world, new).request("GET", MANIFEST).status == 200


def test_a_revoked_secret_opens_nothing(world: World) -> None:
    """Neither it nor a token that was asked for with it, from the next request on."""
    made = add_secret(world)
    clients = [by_basic(world, made), by_bearer(world, made), by_token(world, by_basic(world, made))]
    assert [client.request("GET", MANIFEST).status for client in clients] == [200] * 3
    revoke(world, made)
    assert [client.request("GET", MANIFEST).status for client in clients] == [401] * 3
    assert [client.request("GET", f"/token?{PULL}").status for client in clients] == [401] * 3


def test_an_expired_secret_opens_nothing(world: World) -> None:
    """Nor does what was asked for with it hold a second longer, whatever the cache remembers."""
    made = add_secret(world, days=1)
    world.clock.advance(seconds=DAY_SECONDS - 100)
    answer = by_basic(world, made).request("GET", f"/token?{PULL}")
    assert answer.json["expires_in"] == 100
    assert claims_of(world, answer).exp * SECOND == made.row.expires_at
    clients = [by_basic(world, made), by_bearer(world, made), by_token(world, by_basic(world, made))]
    assert [client.request("GET", MANIFEST).status for client in clients] == [200] * 3
    world.clock.advance(seconds=100)
    assert [client.request("GET", MANIFEST).status for client in clients] == [401] * 3


def test_tokens_do_not_prolong_each_other(world: World) -> None:
    """A token that is asked for with a token ends when that one does."""
    first = by_token(world, world.client("alice"))
    world.clock.advance(seconds=600)
    answer = first.request("GET", f"/token?{PULL}")
    assert answer.json["expires_in"] == 300


def test_a_disabled_robot_is_out_and_comes_back(world: World) -> None:
    """Secrets and tokens open nothing while it is disabled, and the secrets do again afterwards."""
    made = add_secret(world)
    clients = [by_basic(world, made), by_bearer(world, made), by_token(world, by_basic(world, made))]
    for is_disabled, status in ((True, 401), (False, 200)):
        change = ServiceChange(is_disabled=is_disabled)
        world.run(services.change_service(world.registry, world.caller("alice"), ROBOT, change))
        assert [client.request("GET", MANIFEST).status for client in clients] == [status] * 3


def test_a_removed_robot_is_gone(world: World) -> None:
    """With its roles, its secrets and the tokens that it had."""
    made = add_secret(world)
    token = by_token(world, by_basic(world, made))
    world.run(services.remove_service(world.registry, world.caller("alice"), ROBOT))
    for client in (by_basic(world, made), by_bearer(world, made), token):
        assert client.request("GET", MANIFEST).status == 401
    assert world.rows("select count(*) from credential") == [(0,)]
    assert world.rows("select count(*) from \"grant\" where resource = 'priv' and role = 'writer'") == [(0,)]


@pytest.mark.parametrize("name", ["alice", "admin", "robot$ci", "nobody", "", "alice\0"])
def test_a_secret_belongs_to_its_account(world: World, name: str) -> None:
    """Under the name of somebody else, or of nobody, it is a wrong password."""
    made = add_secret(world)
    header = basic(name, made.secret)
    answer = world.client().request("GET", "/token", authorization=header)
    assert (answer.status, answer.json["errors"][0]["message"]) == (401, "wrong user name or password")


def test_a_secret_is_not_a_password(world: World) -> None:
    """A robot has no password: neither an empty one, nor one that somebody put into its row."""
    for secret in ("", "plain:", "x"):
        assert world.client().request("GET", "/v2/", authorization=basic(ROBOT, secret)).status == 401

    async def record(tx: Tx) -> None:
        await accounts.set_password(tx, world.ids[ROBOT], "plain:x", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert world.client().request("GET", "/v2/", authorization=basic(ROBOT, "x")).status == 401


def test_scopes_are_a_ceiling(world: World) -> None:
    """A secret for pulling does not push, whatever the robot may do, by itself and by way of `/token`."""
    made = add_secret(world, "repository:priv/*:pull")
    for client in (by_basic(world, made), by_bearer(world, made)):
        assert client.request("GET", MANIFEST).status == 200
        refused = client.request("POST", UPLOADS)
        assert refused.status == 401
        assert 'error="insufficient_scope"' in refused["www-authenticate"]
        answer = client.request("GET", "/token?scope=repository:priv/app:pull,push,delete&scope=registry:catalog:*")
        assert [(each.name, each.actions) for each in claims_of(world, answer).access] == [("priv/app", ("pull",))]
        assert client.request("GET", "/v2/_catalog").status == 401
    assert by_token(world, by_basic(world, made), PULL + ",push").request("POST", UPLOADS).status == 401


def test_scopes_give_nothing(world: World) -> None:
    """What the account itself may not do, no scope of a secret allows."""
    token = add_token(world, "bob", "admin", "repository:priv/app:pull,push")
    for client in (by_basic(world, token), by_bearer(world, token)):
        assert client.request("GET", MANIFEST).code == "NAME_UNKNOWN"
        assert claims_of(world, client.request("GET", f"/token?{PULL}")).access == ()


def test_a_token_of_a_token_is_no_wider(world: World) -> None:
    """Asked with an access token, `/token` gives no more than that one has, and keeps whose it is."""
    made = add_secret(world)
    narrow = by_token(world, by_basic(world, made))
    claims = claims_of(world, narrow.request("GET", "/token?scope=repository:priv/app:pull,push"))
    assert [each.actions for each in claims.access] == [("pull",)]
    assert claims.cid == made.row.id


def test_no_refresh_token_for_a_secret(world: World) -> None:
    """A secret can be shown again; what outlives its revocation is never made of it."""
    made = add_secret(world)
    assert "refresh_token" not in by_basic(world, made).request("GET", "/token?offline_token=true").json
    form = {"grant_type": "password", "username": ROBOT, "password": made.secret, "access_type": "offline"}
    assert "refresh_token" not in world.client().request("POST", "/token", urlencode(form).encode()).json


def test_a_personal_token_instead_of_a_password(world: World) -> None:
    """It does what its owner may, and lists the catalogue; an absent ending is none."""
    token = add_token(world, "alice")
    client = by_basic(world, token)
    assert client.request("GET", MANIFEST).status == 200
    assert client.request("POST", UPLOADS).status == 202
    assert client.request("GET", "/v2/_catalog").json == {"repositories": ["priv/app"]}
    assert client.request("GET", f"/token?{PULL}").json["expires_in"] == 900


def test_a_password_change_leaves_tokens_alone(world: World) -> None:
    """Builds go on; a token has an ending of its own."""
    token = add_token(world, "alice")
    world.clock.advance(seconds=1)

    async def record(tx: Tx) -> None:
        await accounts.set_password(tx, world.ids["alice"], "plain:new", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert by_basic(world, token).request("GET", MANIFEST).status == 200


def test_tokens_of_secrets_hold_a_day_at_most() -> None:
    """However long tokens hold otherwise: revocations are remembered for a day."""
    with World(rules=Rules(token_seconds=7 * DAY_SECONDS)) as world:
        add_robot(world)
        made = add_secret(world)
        assert by_basic(world, made).request("GET", "/token").json["expires_in"] == DAY_SECONDS
        assert world.client("alice").request("GET", "/token").json["expires_in"] == 7 * DAY_SECONDS


def test_another_worker_refuses_when_it_has_looked(world: World) -> None:
    """A worker that had found a token genuine refuses it once it sees the new policy."""
    made = add_secret(world)
    registry = world.run(world._registry(world.database))
    sibling = Client(
        Face(Context(registry, world.limits, world.addresses, GenuineCache(), DenialLog(b"")), GRAMMAR), world.runner
    )
    headers = [basic(ROBOT, made.secret), by_token(world, by_basic(world, made)).headers["authorization"]]
    assert [sibling.request("GET", MANIFEST, authorization=header).status for header in headers] == [200, 200]
    revoke(world, made)
    world.run(registry.policy.refresh())
    assert [sibling.request("GET", MANIFEST, authorization=header).status for header in headers] == [401, 401]


class CountingHasher(PlainHasher):
    """Counts how many passwords are checked."""

    checked = 0

    async def verify(self, encoded: str, password: str) -> bool:
        self.checked += 1
        return await super().verify(encoded, password)


class CountingDatabase:
    """Counts how often it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0

    def read(self, work: Work[T]) -> Awaitable[T]:
        self.reads += 1
        return self._database.read(work)

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        return self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()


def cost(world: World, name: str, secret: str) -> tuple[int, int, int, bytes]:
    """(status, reads, passwords checked, body) of an attempt to log in."""
    hasher, database = CountingHasher(), CountingDatabase(world.database)
    registry = replace(world.registry, hasher=hasher, database=database)
    face = Face(Context(registry, world.limits, world.addresses, GenuineCache(), DenialLog(b"")), GRAMMAR)
    answer = Client(face, world.runner).request("GET", "/token", authorization=basic(name, secret))
    return answer.status, database.reads, hasher.checked, answer.body


def test_a_wrong_secret_tells_nothing(world: World) -> None:
    """Wrong secrets and passwords cost one read and one password, and answer alike, whoever is named."""
    other = add_token(world, "bob").secret
    attempts = [
        (name, secret)
        for name in (ROBOT, "alice", "nobody", "robot$priv+none")
        for secret in (make_secret("svc"), make_secret("pat"), other, "wrong-password")
    ]
    costs = {cost(world, name, secret) for name, secret in attempts}
    assert len(costs) == 1, costs
    assert next(iter(costs))[:3] == (401, 1, 1)


def test_a_right_secret_costs_no_password(world: World) -> None:
    """One indexed read, and no slow hash; a revoked one costs no more, so that a forgotten build harms nobody."""
    made = add_secret(world)
    assert cost(world, ROBOT, made.secret)[:3] == (200, 1, 0)
    revoke(world, made)
    assert cost(world, ROBOT, made.secret)[:3] == (401, 1, 0)


def test_an_unknown_secret_alone_is_a_foreign_token(world: World) -> None:
    """As a bearer token, a secret that nobody made is refused as any other token is."""
    answer = world.client().request("GET", "/v2/", authorization=f"Bearer {make_secret('pat')}")
    assert (answer.status, answer.json["errors"][0]["message"]) == (401, "this token was not made by this registry")
