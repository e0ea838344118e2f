"""Issuers asked over HTTP: what is kept for how long, and whom this never asks."""

from __future__ import annotations

import asyncio
import json
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from entrepot.authn._issuers import LARGEST_ANSWER, Issuers, _Resolver
from entrepot.authn._keys import read_keys
from entrepot.authn.outside import HttpOutside
from entrepot.domain.aws import ReadyRequest
from entrepot.domain.errors import EntrepotError, Unauthenticated, Unavailable, Unmet
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import parse_token
from tests.support.issuer import DISCOVERY, EC, ED, KEYS, RSA, LocalIssuer, public_keys, sign


class Held:
    """The adapter on a loop, with a clock that a test moves."""

    def __init__(self, issuer: LocalIssuer, *, is_private_allowed: bool = True) -> None:
        self.runner = asyncio.Runner()
        self.now = 1000.0
        self.outside = Issuers(is_private_allowed=is_private_allowed, seconds=lambda: self.now)
        self.local = issuer
        self.issuer = Issuer(1, "local", "oidc", issuer.url, ("registry.test",))

    def prove(self, token: str, issuer: Issuer | None = None) -> str:
        """Why a token is refused, nothing if it is proved."""
        try:
            self.runner.run(self.outside.prove(issuer or self.issuer, parse_token(token)))
        except EntrepotError as error:
            return error.message
        return ""

    def asked(self) -> int:
        """How often the keys were asked for since the last time."""
        count = self.local.asked.count(KEYS)
        self.local.asked.clear()
        return count


@pytest.fixture
def local() -> Iterator[LocalIssuer]:
    """An issuer on this machine."""
    with LocalIssuer() as issuer:
        yield issuer


@pytest.fixture
def held(local: LocalIssuer) -> Iterator[Held]:
    """The adapter, which may ask it."""
    held = Held(local)
    yield held
    held.runner.run(held.outside.close())
    held.runner.run(held.outside.close())
    held.runner.close()


def test_keys_are_kept(held: Held, local: LocalIssuer) -> None:
    """For ten minutes nobody is asked again, and afterwards once."""
    for _ in range(3):
        assert held.prove(local.token()) == ""
    assert held.asked() == 1
    held.now += 601
    assert held.prove(local.token()) == ""
    assert held.asked() == 1


def test_a_new_key_is_looked_for_once_a_minute(held: Held, local: LocalIssuer) -> None:
    """A token by a key that the issuer has just begun to use works within a minute."""
    local.answers[KEYS] = public_keys(RSA)
    assert held.prove(local.token()) == ""
    local.answers[KEYS] = public_keys(RSA, EC)
    assert "no key of the id" in held.prove(local.token(EC))
    assert held.asked() == 1
    held.now += 60
    assert held.prove(local.token(EC)) == ""
    assert held.asked() == 1


def test_those_who_ask_at_once_wait_for_one_answer(held: Held, local: LocalIssuer) -> None:
    """Fifty tokens before anything is known become one question; who gives up waiting takes nothing from others."""
    local.hold.clear()

    async def crowd() -> list[Any]:
        tasks = [asyncio.ensure_future(held.outside.prove(held.issuer, parse_token(local.token()))) for _ in range(50)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        local.hold.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = held.runner.run(crowd())
    assert isinstance(first, asyncio.CancelledError)
    assert others == [None] * 49
    assert held.asked() == 1


def test_stopping_waits_for_nobody(held: Held, local: LocalIssuer) -> None:
    """Whoever closes while an issuer is being asked does not wait for its answer."""
    local.hold.clear()

    async def stop() -> Any:
        asking = asyncio.ensure_future(held.outside.prove(held.issuer, parse_token(local.token())))
        await asyncio.sleep(0)
        await held.outside.close()
        return await asyncio.gather(asking, return_exceptions=True)

    (ended,) = held.runner.run(stop())
    assert isinstance(ended, asyncio.CancelledError)


def test_an_issuer_may_be_away_for_a_day(held: Held, local: LocalIssuer) -> None:
    """Kept keys go on proving tokens, a key that is not known is 503, and after a day all are, with the age."""
    assert held.prove(local.token()) == ""
    local.status = 503
    held.now += 3600
    assert held.prove(local.token()) == ""
    held.now += 61
    assert "cannot be asked for its keys: it answers with status 503" in held.prove(sign(local.claims(), kid="new"))
    held.now += 86_400
    assert held.prove(local.token()).endswith("the keys that are kept are 25 hours old")
    local.status = 200
    held.now += 10
    assert held.prove(local.token()) == ""


def test_an_issuer_that_fails_is_left_alone_for_a_while(held: Held, local: LocalIssuer) -> None:
    """Within ten seconds of a failure the answer is the same, without asking."""
    local.answers[KEYS] = b"no JSON"
    for _ in range(3):
        assert "its keys cannot be read" in held.prove(local.token())
    assert held.asked() == 1
    held.now += 10
    local.answers[KEYS] = public_keys(RSA)
    assert held.prove(local.token()) == ""


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (DISCOVERY, b"[]", "no JSON object"),
        (DISCOVERY, b"\xff", "no JSON object"),
        (DISCOVERY, b"[" * 100_000, "no JSON object"),
        (DISCOVERY, {"issuer": "https://other.example"}, "of another issuer"),
        (DISCOVERY, {"jwks_uri": "https://keys.example/"}, "at another host"),
        (DISCOVERY, {"jwks_uri": "file:///etc/passwd"}, "at another host"),
        (DISCOVERY, {"jwks_uri": "http://["}, "at another host"),
        (DISCOVERY, None, "status 404"),
        (DISCOVERY, b"x" * (LARGEST_ANSWER + 1), "larger than"),
        (KEYS, {"keys": {}}, "keys is not a list"),
        (KEYS, {"keys": [1]}, "keys is not a list"),
        (KEYS, {"keys": [{}] * 101}, "keys is not a list"),
        (KEYS, {}, "not a JSON object with keys"),
    ],
)
def test_answers_that_are_none(held: Held, local: LocalIssuer, path: str, content: Any, reason: str) -> None:
    """What is no discovery document, or no list of keys, is 503 with what is wrong with it."""
    if isinstance(content, dict) and path == DISCOVERY:
        content = {**local.answers[DISCOVERY], **content}
    local.answers[path] = content
    assert reason in held.prove(local.token())


def test_redirects_are_not_followed(held: Held, local: LocalIssuer) -> None:
    """An issuer cannot send us elsewhere."""
    local.status, local.headers = 302, {"location": local.url + KEYS}
    assert "status 302" in held.prove(local.token())
    assert local.asked == [DISCOVERY]


def test_an_issuer_that_never_answers(held: Held, local: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for it ends, and says so."""
    monkeypatch.setattr("entrepot.authn._issuers.LIMIT_SECONDS", 0.05)
    local.hold.clear()
    assert "no answer within" in held.prove(local.token())


def test_nobody_listens() -> None:
    """A closed port is 503 with the reason."""
    with LocalIssuer() as gone:
        token = gone.token()
    held = Held(gone)
    assert "cannot be asked for its keys" in held.prove(token)
    held.runner.run(held.outside.close())
    held.runner.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"]
)
def test_private_addresses_are_not_asked(local: LocalIssuer, host: str) -> None:
    """Neither by number nor by a name that leads there, unless the settings allow it; and nothing over plain http."""
    held = Held(local, is_private_allowed=False)
    port = local.url.rpartition(":")[2]
    url = f"https://{host}:{port}"
    found = held.prove(local.token(iss=url), Issuer(1, "local", "oidc", url, ("registry.test",)))
    assert "private address" in found, found
    assert "over https only" in held.prove(local.token())
    assert local.asked == []
    held.runner.run(held.outside.close())
    held.runner.close()


def test_public_addresses_are() -> None:
    """An address that is for everybody passes, and so does a name, which is looked at when it is resolved."""
    resolver = _Resolver(is_private_allowed=False)
    for address in ("1.1.1.1", "2606:4700::1111", "example.com"):
        resolver.require_public(address)
    with asyncio.Runner() as runner:
        found = runner.run(_Resolver(is_private_allowed=True).resolve("127.0.0.1", 80, socket.AF_INET))
        runner.run(resolver.close())
    assert [each["host"] for each in found] == ["127.0.0.1"]


def entry(key: Any, **more: Any) -> dict[str, Any]:
    """One key as a JWKS has it."""
    return {**key.as_dict(private=False), **more}


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([entry(RSA), entry(EC), entry(ED)], 3),
        ([entry(RSA, alg="RS256", use="sig", key_ops=["verify"], x5c=["ignored"])], 1),
        ([entry(RSA, alg="RS512")], 0),
        ([entry(RSA, alg="PS256")], 0),
        ([entry(RSA, use="enc")], 0),
        ([entry(RSA, key_ops=["encrypt"])], 0),
        ([entry(RSA, key_ops=5)], 0),
        ([entry(RSA, n="AQAB")], 0),
        ([entry(RSA, n="!")], 0),
        ([entry(RSA, n=7)], 0),
        ([{"kty": "RSA", "kid": "x"}], 0),
        ([{"kty": "oct", "k": "c2VjcmV0"}, {"kty": 7}, {}], 0),
        ([entry(ECKey.generate_key("P-384"))], 0),
        ([entry(EC, x=entry(EC)["y"])], 0),
        ([entry(OKPKey.generate_key("X25519"))], 0),
    ],
)
def test_keys_that_prove_something(entries: list[dict[str, Any]], count: int) -> None:
    """RSA of 2048 bits, P-256 and Ed25519 for signing; others are left out."""
    assert len(read_keys(json.dumps({"keys": entries})).keys) == count


def test_small_keys_are_none() -> None:
    """An RSA key that can be broken proves nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = RSAKey.generate_key(1024)
    assert read_keys(json.dumps({"keys": [entry(small)]})).keys == ()


@pytest.mark.parametrize(
    ("jwks", "message"),
    [
        ("x", "no JWKS"),
        ("{}", "no JWKS"),
        (json.dumps({"keys": [RSA.as_dict(private=True)]}), "private key"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "private key or a secret"),
        (json.dumps({"keys": []}), "no key of this JWKS"),
    ],
)
def test_keys_that_cannot_be_pinned(jwks: str, message: str) -> None:
    """What is pinned must be public keys that prove something."""
    with pytest.raises(Unmet, match=message):
        HttpOutside(is_private_allowed=False).require_keys(jwks)


def test_pinned_keys_ask_nobody(held: Held, local: LocalIssuer) -> None:
    """They prove tokens of an issuer that cannot be reached."""
    held.outside.require_keys(json.dumps(public_keys(EC)))
    pinned = Issuer(1, "local", "oidc", local.url, ("registry.test",), jwks=json.dumps(public_keys(EC)))
    for _ in range(2):
        assert held.prove(local.token(EC), pinned) == ""
    assert held.prove(local.token(RSA), pinned) != ""
    assert local.asked == []


def test_sts_that_is_no_sts(held: Held, local: LocalIssuer) -> None:
    """A refusal is the signer's fault, everything else is STS being away."""
    aws = Issuer(1, "aws", "aws", local.url, ("registry.test",), ("us-east-1",))
    request = ReadyRequest(local.url + "/", {"host": "x"}, "Action=GetCallerIdentity", "f", 0)
    # The server of this test answers 501 to a POST.
    with pytest.raises(Unavailable, match="status 501"):
        held.runner.run(held.outside.forward(aws, request))
    with pytest.raises(Unavailable, match="cannot be asked"):
        held.runner.run(
            held.outside.forward(aws, ReadyRequest("http://127.0.0.1:1/", {"host": "x"}, "", "f", 0)),
        )


def test_what_it_needs_is_imported_when_it_is_asked(local: LocalIssuer) -> None:
    """The outer adapter builds the inner one once, and closes it as often as it is told to."""

    async def use() -> None:
        outside = HttpOutside(is_private_allowed=True)
        issuer = Issuer(1, "local", "oidc", local.url, ("registry.test",))
        await outside.close()
        await outside.prove(issuer, parse_token(local.token()))
        with pytest.raises(Unauthenticated):
            await outside.prove(issuer, parse_token(sign(local.claims(), kid="gone")))
        with pytest.raises(Unavailable):
            await outside.forward(issuer, ReadyRequest("http://127.0.0.1:1/", {}, "", "f", 0))
        await outside.close()
        await outside.close()

    asyncio.run(use())
