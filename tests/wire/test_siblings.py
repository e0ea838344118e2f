"""Workers beside each other: what one of them was told, no other refuses a moment later."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from entrepot.core.signing_keys import rotate
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata import accounts, grants, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from entrepot.wire.face import Face
from entrepot.wire.operations import Operations
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


def test_clocks_differ(world: World) -> None:
    """A token that was given for a password is good, though the password was chosen by a clock that is ahead."""
    world.push("priv/app", image(), "latest")
    world.clock.advance(seconds=-5)
    assert world.bearer("alice", "repository:priv/app:pull").request("GET", "/v2/priv/app/tags/list").status == 200


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


def test_a_new_key_holds_for_every_worker_at_once(world: World) -> None:
    """After a revocation, tokens by the new key are taken by a worker that has not heard of it, and the old no more."""
    world.push("priv/app", image(), "latest")
    sibling = Client(world.sibling(), world.runner)
    old = sibling.with_headers(authorization=f"Bearer {world.token('alice', 'repository:priv/app:pull')}")
    assert old.request("GET", "/v2/priv/app/tags/list").status == 200
    world.run(rotate(world.registry, world.caller("admin"), is_revoking=True))
    new = sibling.with_headers(authorization=f"Bearer {world.token('alice', 'repository:priv/app:pull')}")
    assert new.request("GET", "/v2/priv/app/tags/list").status == 200
    refused = old.request("GET", "/v2/priv/app/tags/list")
    assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
    assert 'error="invalid_token"' in refused["www-authenticate"]


def test_a_new_key_is_published_by_every_worker_at_once(world: World) -> None:
    """A verifier that was shown a token by it may ask any of them."""
    sibling = Operations(world.sibling_context(), render)
    made = world.run(rotate(world.registry, world.caller("admin"), is_revoking=True))
    answer = Client(sibling, world.runner).request("GET", "/.well-known/jwks.json")
    assert [key["kid"] for key in answer.json["keys"]] == [made.kid]


async def render() -> bytes:
    """No metrics."""
    return b""


def test_a_refresh_token_by_a_revoked_key_is_void(world: World) -> None:
    """What docker has kept since its login is worth nothing, for any worker."""
    sibling = Client(world.sibling(), world.runner)
    refresh = world.client("alice").request("GET", "/token?offline_token=1").json["refresh_token"]
    form = urlencode({"grant_type": "refresh_token", "refresh_token": refresh}).encode()
    assert sibling.request("POST", "/token", form).status == 200
    world.run(rotate(world.registry, world.caller("admin"), is_revoking=True))
    world.run(world.registry.policy.refresh())
    assert world.client().request("POST", "/token", form).status == 401


def test_a_worker_signs_by_no_key_that_another_has_revoked(world: World) -> None:
    """What it issues a moment after the revocation is taken by whoever knows of it."""
    context = world.sibling_context()
    sibling = Client(Face(context, GRAMMAR), world.runner)
    door = Door(world)
    door.send("admin", "POST", "/signing-keys", {"revoke": True})
    asking = sibling.with_headers(authorization=basic("admin", password_of("admin")))
    token = asking.request("GET", "/token?scope=repository:priv/app:pull,push").json["token"]
    pushing = world.client().with_headers(authorization=f"Bearer {token}")
    assert pushing.request("POST", "/v2/priv/app/blobs/uploads/").status == 202
