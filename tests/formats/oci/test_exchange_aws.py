"""AWS principals: a signed request to STS for a token of the registry, with moto as STS and signatures by botocore."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from entrepot.authn.outside import HttpOutside
from entrepot.core.registry import SECOND, Rules
from entrepot.domain.federation import Issuer, Rule
from entrepot.metadata import federation, policy
from entrepot.ports.database import Tx
from tests.formats.oci.test_exchange import FORM, access_of, problem_of
from tests.support.asgi import Answer
from tests.support.sts import ACCOUNT, ROLE, LocalSts
from tests.support.world import World

AWS = "urn:entrepot:grant-type:aws-caller-identity"
SERVER = "registry.test"


@pytest.fixture(scope="module")
def sts() -> Iterator[LocalSts]:
    """STS for the tests of this file."""
    with LocalSts() as sts:
        yield sts


@pytest.fixture
def world(sts: LocalSts) -> Iterator[World]:
    """A registry that lets the role `ci` act as alice, within `pub`."""
    outside = HttpOutside(is_private_allowed=True)
    with World(rules=Rules(private_addresses=True), outside=outside) as world:
        # Signatures are made at the time of this machine.
        world.clock.time = int(time.time()) * SECOND

        async def record(tx: Tx) -> None:
            await federation.add_issuer(tx, Issuer(0, "aws", "aws", sts.url, (SERVER,), ("us-east-1", "eu-west-1")))
            found = await federation.find_issuer(tx, "aws")
            assert found is not None
            rule = Rule(0, "aws", "ci", {"arn": (ROLE,)}, world.ids["alice"], "alice", ("repository:pub/*:pull,push",))
            await federation.put_rule(tx, found.id, rule)
            await policy.bump_policy_version(tx)

        world.transact(record)
        yield world
        world.run(outside.close())


def exchange(world: World, request: str, **more: str) -> Answer:
    """The exchange."""
    body = urlencode({"grant_type": AWS, "signed_request": request, **more}).encode()
    return world.client().request("POST", "/token", body, content_type=FORM)


def test_a_role_gets_a_token(world: World, sts: LocalSts) -> None:
    """A session of the role is the role, in each region that is allowed; the token lasts 15 minutes."""
    for region in ("us-east-1", "eu-west-1"):
        answer = exchange(world, sts.sign(SERVER, region))
        assert access_of(world, answer) == ["repository:pub/*:pull,push"]
        assert answer.json["expires_in"] == 900
    narrow = exchange(
        world,
        sts.sign(SERVER, "us-east-1", headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}),
        scope="repository:pub/app:pull",
    )
    assert access_of(world, narrow) == ["repository:pub/app:pull"]
    rows = world.rows("select subject, detail from event where kind = 'token.exchanged'")
    assert {row[0] for row in rows} == {"aws"}
    assert ROLE in rows[0][1]
    assert world.registry.trust.counts == {("aws", "exchanged"): 3}


def test_a_request_counts_once(world: World, sts: LocalSts) -> None:
    """The second time it is not even forwarded."""
    request = sts.sign(SERVER)
    assert exchange(world, request).status == 200
    answer = exchange(world, request)
    assert (answer.status, problem_of(answer)) == (401, "replay")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"server": "elsewhere.test"}, "audience"),
        ({"region": "us-west-2"}, "region"),
        ({"url": "http://127.0.0.1:1"}, "host"),
        ({"url": "http://evil.example"}, "host"),
    ],
)
def test_requests_for_others_are_refused(world: World, sts: LocalSts, change: dict[str, Any], problem: str) -> None:
    """Signed for another server, another region, or to be sent to another host: none is forwarded."""
    answer = exchange(world, sts.sign(**{"server": SERVER, **change}))
    assert (answer.status, problem_of(answer)) == (401, problem)
    assert world.registry.trust.counts == {("aws", problem): 1}


def test_old_requests_are_refused(world: World, sts: LocalSts) -> None:
    """Five minutes after it was signed, a request is over; one of the future is none."""
    request = sts.sign(SERVER)
    for seconds in (400, -800):
        world.clock.advance(seconds=seconds)
        assert problem_of(exchange(world, request)) == "expired"


def test_another_principal_gets_nothing(world: World, sts: LocalSts) -> None:
    """Who is genuine and fits no rule gets 403, and whoever is disabled nothing at all."""
    world.transact(
        lambda tx: tx.execute("update federation_rule set conditions = $1", f'{{"account":["9{ACCOUNT[1:]}"]}}')
    )
    answer = exchange(world, sts.sign(SERVER))
    assert (answer.status, problem_of(answer)) == (403, "rule")
    world.transact(lambda tx: tx.execute("update issuer set is_enabled = 0"))
    assert problem_of(exchange(world, sts.sign(SERVER))) == "issuer"
    assert world.registry.trust.counts[("unknown", "issuer")] == 1


def test_sts_that_is_away(world: World, sts: LocalSts) -> None:
    """503, and the request has been used up by the attempt."""
    gone = "http://127.0.0.1:1"
    world.transact(lambda tx: tx.execute("update issuer set url = $1", gone))
    request = sts.sign(SERVER, url=gone)
    answer = exchange(world, request)
    assert (answer.status, problem_of(answer)) == (503, "away")
    assert problem_of(exchange(world, request)) == "replay"


def test_a_request_must_be_sent(world: World) -> None:
    """Without the field, or with nonsense in it."""
    assert exchange(world, "").json["errors"][0]["detail"]["field"] == "signed_request"
    assert problem_of(exchange(world, "nonsense")) == "malformed"
