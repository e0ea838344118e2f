"""Workers beside each other: what one of them was told, no other refuses a moment later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.metadata import accounts, grants, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from tests.api.door import Door
from tests.support.asgi import Client
from tests.support.images import image
from tests.support.world import World, basic, password_of


@pytest.fixture
def world() -> Iterator[World]:
    """A registry that others may work beside."""
    with World() as world:
        yield world


def test_a_grant_holds_for_every_worker_at_once(world: World) -> None:
    """A worker that would refuse looks first whether it has missed something: in requests and in tokens."""
    world.push("priv/app", image(), "latest")
    sibling = Client(world.sibling(), world.runner)
    bob = sibling.with_headers(authorization=basic("bob", password_of("bob")))
    assert bob.request("GET", "/v2/priv/app/manifests/latest").code == "NAME_UNKNOWN"
    ask = "/token?scope=repository:priv/app:pull"
    empty = sibling.with_headers(authorization=f"Bearer {bob.request('GET', ask).json['token']}")

    world.grant("bob", "priv/app", "reader")
    assert bob.request("GET", "/v2/priv/app/manifests/latest").status == 200
    assert empty.request("GET", "/v2/priv/app/manifests/latest").status == 401

    another = Client(world.sibling(), world.runner)
    carol = another.with_headers(authorization=basic("carol", password_of("carol")))
    world.grant("carol", "pub/app", "writer")
    token = carol.request("GET", "/token?scope=repository:pub/app:push").json["token"]
    pushing = another.with_headers(authorization=f"Bearer {token}")
    assert pushing.request("POST", "/v2/pub/app/blobs/uploads/").status == 202


def test_an_account_exists_for_every_worker_at_once(world: World) -> None:
    """Tokens that one worker issued to somebody new are taken by another."""
    sibling = Client(world.sibling(), world.runner)

    async def record(tx: Tx) -> None:
        await accounts.add_account(tx, "eve", f"plain:{password_of('eve')}", is_admin=False, now=world.clock.now())
        account = await accounts.find_account(tx, "eve")
        assert account is not None
        await grants.put_role(tx, NewGrantRow(("account", account.id), "priv", "reader"), "admin", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    token = world.token("eve", "repository:priv/app:pull")
    found = sibling.with_headers(authorization=f"Bearer {token}").request("GET", "/v2/priv/app/tags/list")
    assert (found.status, found.code) == (404, "NAME_UNKNOWN")


def test_the_api_looks_again_too(world: World) -> None:
    """A namespace that one worker made is there for the API of another."""
    door = Door(world)
    stale = world.registry.policy.snapshot
    door.send("admin", "POST", "/namespaces", {"name": "fresh", "owner": "bob"})
    world.registry.policy.snapshot = stale
    assert door.send("bob", "GET", "/namespaces/fresh")["name"] == "fresh"
