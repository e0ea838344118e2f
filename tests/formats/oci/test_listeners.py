"""A namespace that answers only on certain listeners: elsewhere it is as if it were not there, for everybody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from entrepot.api.face import ApiFace
from entrepot.core.audit import flush_audit
from entrepot.core.policy import Policy
from entrepot.core.rates import Limiter, RateRules
from entrepot.domain.grants import Conditions
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata import grants, namespaces, policy, services
from entrepot.metadata.accounts import Faceless, add_faceless
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from entrepot.wire.face import Face
from entrepot.wire.messages import Application
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.world import World, push_blob

CERTIFICATE = {"subjectAltName": (("URI", "spiffe://acme/ci"),), "notAfter": "Jan  1 00:00:00 2050 GMT"}
IMAGE = image((b"layer",))


@pytest.fixture
def world() -> Iterator[World]:
    """`priv` and `pub` hold an image and answer on `private` only; `else` is an ordinary namespace of alice's."""
    with World() as made:
        made.transact(lambda tx: namespaces.add_namespace(tx, "else", made.ids["alice"], "private", 1))
        for repository in ("priv/app", "pub/app", "else/app"):
            made.push(repository, IMAGE, "v1")
        restrict(made, "priv", "private")
        restrict(made, "pub", "private")
        yield made


def restrict(world: World, name: str, *listeners: str) -> None:
    """Let a namespace answer on these listeners only."""

    async def change(tx: Tx) -> None:
        await namespaces.set_listeners(tx, name, listeners)
        await policy.bump_policy_version(tx)

    world.transact(change)


def at(client: Client, listener: str) -> Client:
    """The same client, coming by a listener."""
    return client.with_scope(**{"entrepot.listener": listener})


def shown(answer: Answer, name: str) -> tuple[int, str, str]:
    """What a client sees, with the names of namespaces taken out."""
    body = answer.body.decode().replace(name, "NAME")
    return answer.status, body, answer["www-authenticate"].replace(name, "NAME")


REQUESTS = [
    ("GET", "/manifests/v1"),
    ("HEAD", "/manifests/v1"),
    ("GET", f"/manifests/{IMAGE.digest}"),
    ("GET", f"/blobs/{IMAGE.digest}"),
    ("GET", "/tags/list"),
    ("GET", f"/referrers/{IMAGE.digest}"),
    ("POST", "/blobs/uploads/"),
    ("DELETE", "/manifests/v1"),
]


@pytest.mark.parametrize("user", ["", "bob", "carol", "alice"])
@pytest.mark.parametrize("name", ["priv", "pub"])
def test_it_is_as_if_it_were_not_there(world: World, user: str, name: str) -> None:
    """Strangers, readers and the owner get on the main listener, byte for byte, what a missing name gets a stranger."""
    stranger = user and "bob"
    for method, path in REQUESTS:
        here = world.client(user).request(method, f"/v2/{name}/app{path}")
        missing = world.client(stranger).request(method, f"/v2/nowhere/app{path}")
        assert shown(here, name) == shown(missing, "nowhere"), (method, path)


def test_administrators_are_no_exception(world: World) -> None:
    """Who administers everything is told as little as anybody, and everything on the right listener."""
    admin = world.client("admin")
    assert admin.request("GET", "/v2/priv/app/manifests/v1").code == "NAME_UNKNOWN"
    assert admin.request("POST", "/v2/priv/app/blobs/uploads/").code == "DENIED"
    assert at(admin, "private").request("GET", "/v2/priv/app/manifests/v1").status == 200
    assert at(world.client("carol"), "private").request("GET", "/v2/priv/app/manifests/v1").status == 200
    assert at(world.client("alice"), "private").request("POST", "/v2/priv/app/blobs/uploads/").status == 202
    assert at(world.client(), "private").request("GET", "/v2/pub/app/manifests/v1").status == 200
    assert at(world.client(), "third").request("GET", "/v2/pub/app/manifests/v1").status == 401


@pytest.mark.parametrize("user", ["admin", "alice"])
def test_the_catalogue_leaves_it_out(world: World, user: str) -> None:
    """Elsewhere only what answers there is listed, however much somebody may read."""
    client = world.client(user)
    assert client.request("GET", "/v2/_catalog").json["repositories"] == ["else/app"]
    assert at(client, "private").request("GET", "/v2/_catalog").json["repositories"] == [
        "else/app",
        "priv/app",
        "pub/app",
    ]


@pytest.mark.parametrize(("scope", "user"), [("pub", ""), ("pub", "bob"), ("priv", "alice")])
def test_tokens_are_judged_at_each_door(world: World, scope: str, user: str) -> None:
    """One that was asked for on the right listener opens nothing elsewhere; elsewhere none is to be had."""
    wanted = f"/token?service=registry.test&scope=repository:{scope}/app:pull"
    target = f"/v2/{scope}/app/manifests/v1"
    good = at(world.client(user), "private").request("GET", wanted).json["token"]
    bad = world.client(user).request("GET", wanted).json["token"]
    with_good = world.client().with_headers(authorization=f"Bearer {good}")
    with_bad = world.client().with_headers(authorization=f"Bearer {bad}")
    assert at(with_good, "private").request("GET", target).status == 200
    assert with_good.request("GET", target).status == (404 if user else 401)
    assert at(with_bad, "private").request("GET", target).status == 401


def test_nothing_is_mounted_from_it(world: World) -> None:
    """Who names it as the source elsewhere gets an upload, as with a source that is not there."""
    digest = push_blob(at(world.client("alice"), "private"), "priv/app", b"secret")
    target = f"/v2/else/app/blobs/uploads/?mount={digest}&from=priv/app"
    assert world.client("alice").request("POST", target).status == 202
    assert at(world.client("alice"), "private").request("POST", target).status == 201


def test_a_grant_may_be_for_one_listener(world: World) -> None:
    """It holds where requests come in by it, and nowhere else."""
    conditions = Conditions(listeners=("private",))
    row = NewGrantRow(("account", world.ids["bob"]), "else/app", "reader", conditions=conditions)

    async def give(tx: Tx) -> None:
        await grants.add_grant(tx, row, "admin", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(give)
    bob = world.client("bob")
    assert at(bob, "private").request("GET", "/v2/else/app/manifests/v1").status == 200
    assert bob.request("GET", "/v2/else/app/manifests/v1").status == 404


def robot(world: World, *, is_disabled: bool = False) -> None:
    """A service account with a certificate, which reads `else`."""

    async def make(tx: Tx) -> None:
        if await services.find_service(tx, "robot$ci") is None:
            number = await add_faceless(tx, Faceless("robot$ci", "service", None), 1)
            await grants.put_role(tx, NewGrantRow(("account", number), "else", "reader"), "admin", 1)
        row = await services.find_service(tx, "robot$ci")
        assert row is not None
        await services.set_service(tx, replace(row, certificate="spiffe://acme/ci", is_disabled=is_disabled))
        await policy.bump_policy_version(tx)

    world.transact(make)


def test_a_certificate_alone_is_a_service_account(world: World) -> None:
    """Without further credentials; it pulls and gets tokens, none that outlives them, until it is disabled."""
    robot(world)
    client = world.client().with_scope(**{"entrepot.certificate": CERTIFICATE})
    assert client.request("GET", "/v2/").status == 200
    assert client.request("GET", "/v2/else/app/manifests/v1").status == 200
    assert client.request("GET", "/v2/none/app/manifests/v1").status == 404
    told = client.request("GET", "/token?service=registry.test&scope=repository:else/app:pull&offline_token=true").json
    assert "refresh_token" not in told
    bearer = world.client().with_headers(authorization=f"Bearer {told['token']}")
    assert bearer.request("GET", "/v2/else/app/manifests/v1").status == 200
    carol = world.client("carol").with_scope(**{"entrepot.certificate": CERTIFICATE})
    assert carol.request("GET", "/v2/else/app/manifests/v1").status == 404
    robot(world, is_disabled=True)
    assert client.request("GET", "/v2/").status == 401
    unknown = {**CERTIFICATE, "subjectAltName": (("URI", "spiffe://acme/other"),)}
    assert world.client().with_scope(**{"entrepot.certificate": unknown}).request("GET", "/v2/").status == 401


def asked(
    face: Application, world: World, address: str = "198.51.100.7", path: str = "/v2/else/app/manifests/v1"
) -> int:
    """The status of a request by the certificate."""
    scope = {"entrepot.certificate": CERTIFICATE, "client": (address, 1)}
    return Client(face, world.runner).with_scope(**scope).request("GET", path).status


def test_a_certificate_s_account_has_its_requests_from_wherever(world: World) -> None:
    """It is counted as the account that it stands for, by both faces, and not as somebody without an account."""
    robot(world)
    context = dataclasses.replace(world.context, limiter=Limiter(RateRules(identity_per_minute=2)))
    oci, api = Face(context, GRAMMAR), ApiFace(context)
    assert [asked(oci, world), asked(api, world, path="/api/v1/whoami")] == [200, 200]
    assert [asked(oci, world, "192.0.2.1"), asked(api, world, "192.0.2.2", "/api/v1/whoami")] == [429, 429]
    context = dataclasses.replace(world.context, limiter=Limiter(RateRules(anonymous_per_minute=1)))
    assert [asked(Face(context, GRAMMAR), world) for _ in range(3)] == [200] * 3


def test_a_certificate_signs_in(world: World) -> None:
    """Once for each network and a while, by either face, with its address and its method; what it does has both."""
    robot(world)
    api = ApiFace(world.context)
    for _ in range(3):
        assert asked(world.face, world) == asked(api, world, path="/api/v1/whoami") == 200
    world.clock.advance(seconds=60)
    assert [asked(world.face, world), asked(world.face, world, "192.0.2.1")] == [200, 200]
    world.clock.advance(seconds=300)
    assert asked(world.face, world) == 200
    client = world.client().with_scope(**{"entrepot.certificate": CERTIFICATE})
    assert client.request("POST", "/v2/else/app/blobs/uploads/").status == 403
    world.run(flush_audit(world.registry, is_last=True))
    found = world.rows("select category, action, actor, address, method, count from audit where method = 'certificate'")
    assert sorted(found) == [
        ("denial", "push", "robot$ci", "198.51.100.7", "certificate", 1),
        ("sign-in", "sign-in", "robot$ci", "192.0.2.1", "certificate", 1),
        ("sign-in", "sign-in", "robot$ci", "198.51.100.7", "certificate", 2),
    ]


def test_without_such_rules_nobody_looks_where_requests_come_from(world: World) -> None:
    """The policy says whether some namespace or grant looks at the request: a pull pays only then."""
    assert isinstance(world.registry.policy, Policy)
    assert world.registry.policy.snapshot.has_conditions
    restrict(world, "priv")
    restrict(world, "pub")
    assert not world.registry.policy.snapshot.has_conditions
