"""Networks that the registry answers at all: by every protocol and page, before anybody is asked who they are."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterator

import pytest

from entrepot.app import build
from entrepot.core.audit import flush_audit
from entrepot.settings import load
from entrepot.wire.addresses import Addresses, Doors
from tests.support.asgi import Client, Lifespan
from tests.support.world import World, basic, password_of

ADMIN = basic("admin", password_of("admin"))
OUTSIDE, INSIDE, DENIED = "203.0.113.9", "10.1.2.3", "10.66.0.1"
DOORS = ["/v2/", "/v2/acme/app/manifests/latest", "/token", "/api/v1/users", "/login"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a registry that answers one network, without a part of it."""
    environment = {
        "ENTREPOT_STORAGE__URL": "memory://",
        "ENTREPOT_ADMIN_PASSWORD": password_of("admin"),
        "ENTREPOT_SERVER__ALLOW_NETWORKS": "10.0.0.0/8, 127.0.0.1",
        "ENTREPOT_SERVER__DENY_NETWORKS": "10.66.0.0/16",
        "ENTREPOT_SERVER__TRUSTED_PROXIES": "127.0.0.1",
    }
    application = build(load(None, pathlib.Path(tmp_path_factory.mktemp("data")), None, environment))
    with asyncio.Runner() as runner:
        lifespan = Lifespan(application)
        assert runner.run(lifespan.start()) == {"type": "lifespan.startup.complete"}
        yield Client(application, runner)
        assert runner.run(lifespan.stop()) == {"type": "lifespan.shutdown.complete"}


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("address", [OUTSIDE, DENIED, "unknown"])
def test_who_is_outside_gets_nowhere(client: Client, path: str, address: str) -> None:
    """Nobody is asked who they are, and an administrator with the right password is refused alike."""
    outside = client.with_scope(client=("127.0.0.1", 1)).with_headers(x_forwarded_for=address)
    for headers in ({}, {"authorization": ADMIN}):
        answer = outside.request("GET", path, **headers)
        assert answer.status == 403
        assert b"does not answer requests from your network" in answer.body


@pytest.mark.parametrize("path", DOORS)
def test_who_is_inside_is_answered(client: Client, path: str) -> None:
    """From the network that is allowed everything is as ever, however the request came."""
    inside = client.with_scope(client=(INSIDE, 1)).request("GET", path, authorization=ADMIN)
    assert inside.status in {200, 404}
    forged = client.with_scope(client=(OUTSIDE, 1)).request("GET", path, x_forwarded_for=INSIDE)
    assert forged.status == 403


def test_health_is_for_everybody(client: Client) -> None:
    """Whatever watches the registry may come from anywhere."""
    assert client.with_scope(client=(OUTSIDE, 1)).request("GET", "/healthz").status == 200


def test_who_was_shut_out_is_in_the_log(world: World) -> None:
    """With the address, as a denial of `connect`."""
    world.addresses = Addresses("", [], Doors({}, denied=["198.51.100.0/24"]))
    world.restart()
    assert world.client().request("GET", "/v2/").status == 403
    world.run(flush_audit(world.registry, is_last=True))
    recorded = world.rows("select category, action, address, is_allowed from audit where category = 'denial'")
    assert recorded == [("denial", "connect", "198.51.100.7", 0)]
