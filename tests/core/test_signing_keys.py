"""The keys of tokens: rotated in time, published before they sign, kept as long as they are needed, revoked at once."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from entrepot.core import signing_keys
from entrepot.core.registry import DAY, SECOND, Registry, Rules
from entrepot.core.signing_keys import EARLY_DAYS, PUBLISHED_SECONDS, KeyView, State, keep_keys, make_key, rotate
from entrepot.core.tokens import Parties, new_claims, sign, verify
from entrepot.domain.access import ANONYMOUS
from entrepot.domain.errors import Denied, Unauthenticated
from tests.support.clock import START
from tests.support.keys import fingerprint, verify_by_jwks
from tests.support.world import World

DAYS = 30


def keys_of(world: World) -> list[KeyView]:
    """What an administrator sees."""
    return world.run(signing_keys.list_keys(world.registry, world.caller("admin")))


def states(world: World) -> list[State]:
    """The states of the keys, the newest first."""
    return [key.state for key in keys_of(world)]


def keep(world: World, *, days: float = 0, seconds: float = 0) -> list[State]:
    """Let time pass and do what the job does."""
    world.clock.advance(days=days, seconds=seconds)
    world.run(keep_keys(world.registry))
    return states(world)


def turn(world: World, *, is_revoking: bool = False) -> KeyView:
    """Rotate as the administrator."""
    return world.run(rotate(world.registry, world.caller("admin"), is_revoking=is_revoking))


def token(registry: Registry, seconds: int = 900) -> str:
    """A token as this process signs it now."""
    now = registry.clock.now()
    claims = new_claims(Parties("http://registry.test", "registry.test"), now, seconds, "access", [])
    return sign(registry.policy.keys.get_signer(now), claims)


def is_good(registry: Registry, given: str) -> bool:
    """Whether this process takes a token, its time left aside."""
    try:
        verify(registry.policy.keys, given, START, "access")
    except Unauthenticated as error:
        return "not valid yet" in error.message
    return True


def events(world: World) -> list[tuple[str, str, str]]:
    """(kind, actor, subject) of what happened to keys."""
    rows = world.rows("select kind, actor, subject from event where kind like 'key.%' order by id")
    return [tuple(row) for row in rows]


def test_a_key_is_named_by_what_others_look_for() -> None:
    """The fingerprint of distribution's library, in the JWK Set and for the certificate alike."""
    row = make_key(START, START)
    certificate = x509.load_pem_x509_certificate(row.certificate.encode())
    public = certificate.public_key()
    assert row.kid == fingerprint(public)
    assert json.loads(row.public_key)["kid"] == row.kid
    private = serialization.load_pem_private_key(row.private_key.encode(), None)
    assert private.public_key() == public
    certificate.verify_directly_issued_by(certificate)
    assert int(certificate.not_valid_before_utc.timestamp()) == START // SECOND - 3600


def test_the_next_key_is_published_before_it_signs(world: World) -> None:
    """A week before its time, by every process; it signs when the first has signed for its days."""
    first = world.registry.policy.keys.get_signer(START)
    assert keep(world) == ["signing"]
    assert keep(world, days=DAYS - EARLY_DAYS, seconds=-1) == ["signing"]
    assert keep(world, seconds=1) == ["waiting", "signing"]
    assert keep(world) == ["waiting", "signing"]
    assert world.registry.policy.keys.jwks.count(b'"kid"') == 2
    world.clock.advance(days=EARLY_DAYS, seconds=-1)
    assert world.registry.policy.keys.get_signer(world.clock.now()) is first
    world.clock.advance(seconds=1)
    assert states(world) == ["signing", "retired"]
    assert world.registry.policy.keys.get_signer(world.clock.now()) is not first


@pytest.mark.parametrize(("days", "hours"), [(1, 6), (4, 24), (28, 168), (400, 168)])
def test_the_time_of_publication_follows_the_days(days: int, hours: int) -> None:
    """A quarter of the time that a key signs, a week at most."""
    with World(rules=Rules(key_days=days)) as world:
        assert keep(world, days=days, seconds=-hours * 3600 - 1) == ["signing"]
        assert keep(world, seconds=1) == ["waiting", "signing"]
        assert keys_of(world)[0].signs_from == world.clock.now() + hours * 3600 * SECOND


def test_a_key_is_kept_as_long_as_its_tokens(world: World) -> None:
    """The last refresh token by it holds for its days; then it is forgotten, and only then."""
    refresh = token(world.registry, seconds=90 * 86_400)
    keep(world, days=DAYS)
    assert "waiting" in states(world)
    signs_from = keys_of(world)[0].signs_from
    last = signs_from + 90 * DAY + PUBLISHED_SECONDS * SECOND
    world.clock.advance(seconds=(last - world.clock.now()) / SECOND)
    assert "retired" in keep(world)
    assert is_good(world.registry, refresh)
    verify_by_jwks(world.registry.policy.keys.jwks, refresh)
    assert keep(world, seconds=1)[-1] != "retired"
    assert not is_good(world.registry, refresh)
    assert [kind for kind, _, _ in events(world)] == ["key.made", "key.made", "key.removed"]
    assert {actor for _, actor, _ in events(world)} == {"registry"}


def test_a_job_that_stood_still_catches_up(world: World) -> None:
    """After a year without it, the old key signs until the next one has been published."""
    assert keep(world, days=365) == ["waiting", "signing"]
    assert keep(world, days=EARLY_DAYS) == ["signing", "retired"]


def test_several_job_processes_make_one_key(world: World) -> None:
    """Whoever comes second finds that it is done."""
    world.clock.advance(days=DAYS)

    async def race() -> None:
        await asyncio.gather(*(keep_keys(world.registry) for _ in range(3)))

    world.run(race())
    assert states(world) == ["waiting", "signing"]


def test_a_registry_without_keys_gets_one(world: World) -> None:
    """The job makes it, and it signs at once because there is no other."""
    world.transact(lambda tx: tx.execute("delete from signing_key"))
    world.transact(lambda tx: tx.execute("update policy set version = version + 1"))
    assert keep(world) == ["waiting"]
    assert is_good(world.registry, token(world.registry))


def test_administrators_rotate(world: World) -> None:
    """The next key is published now and signs in two hours; asking again meanwhile makes no other."""
    made = turn(world)
    assert (made.state, made.created_at) == ("waiting", START)
    assert made.signs_from == START + PUBLISHED_SECONDS * SECOND
    assert made == keys_of(world)[0]
    assert turn(world) == made
    world.clock.advance(seconds=PUBLISHED_SECONDS)
    assert states(world) == ["signing", "retired"]
    assert turn(world).state == "waiting"
    assert [(kind, actor) for kind, actor, _ in events(world)] == [("key.made", "admin")] * 2


@pytest.mark.parametrize(("hours", "state"), [(0, "waiting"), (1, "waiting"), (2, "signing"), (50, "signing")])
def test_a_key_that_waits_is_hastened(world: World, hours: int, state: State) -> None:
    """One that the job made a week ahead signs as soon as it has been published for two hours."""
    keep(world, days=DAYS - EARLY_DAYS)
    (waiting, _) = keys_of(world)
    world.clock.advance(seconds=hours * 3600)
    turned = turn(world)
    assert (turned.kid, turned.state) == (waiting.kid, state)
    assert turned.signs_from == waiting.created_at + max(2, hours) * 3600 * SECOND
    assert keys_of(world)[0] == turned
    assert world.registry.policy.keys.get_signer(turned.signs_from).row.kid == waiting.kid
    assert events(world)[-1] == ("key.hastened", "admin", waiting.kid)


def test_revoking_voids_every_token_at_once(world: World) -> None:
    """Also those of a key that only waits; the new key signs now, and the private halves of the others are gone."""
    old = token(world.registry)
    turn(world)
    made = turn(world, is_revoking=True)
    assert (made.state, made.signs_from, made.revoked_at) == ("signing", START, None)
    assert sorted(states(world)) == ["revoked", "revoked", "signing"]
    assert not is_good(world.registry, old)
    assert is_good(world.registry, token(world.registry))
    assert world.registry.policy.keys.jwks.count(b'"kid"') == 1
    with pytest.raises(KeyError):
        verify_by_jwks(world.registry.policy.keys.jwks, old)
    assert verify_by_jwks(world.registry.policy.keys.jwks, token(world.registry))["aud"] == "registry.test"
    rows = world.rows("select distinct private_key, secret from signing_key where revoked_at is not null")
    assert [tuple(row) for row in rows] == [("", "")]
    assert [kind for kind, _, _ in events(world)] == ["key.made", "key.revoked", "key.revoked", "key.made"]


def test_the_revoked_are_forgotten_with_their_tokens(world: World) -> None:
    """They are shown as long as somebody could come with a token by them."""
    turn(world, is_revoking=True)
    assert "revoked" in keep(world, days=90, seconds=PUBLISHED_SECONDS)
    assert "revoked" not in keep(world, seconds=1)


def test_only_administrators_see_and_rotate(world: World) -> None:
    """Whoever owns a namespace does not, nor does a stranger."""
    for caller in (world.caller("alice"), ANONYMOUS):
        with pytest.raises(Denied):
            world.run(signing_keys.list_keys(world.registry, caller))
        with pytest.raises(Denied):
            world.run(rotate(world.registry, caller, is_revoking=True))
    assert states(world) == ["signing"]


def test_every_process_signs_by_the_key_whose_time_has_come(world: World) -> None:
    """Without a word between them: a second process has read the same rows, and takes what the first one signs."""
    turn(world)
    sibling = world.run(world._registry(world.database))
    for seconds in (0, PUBLISHED_SECONDS - 1, 1):
        world.clock.advance(seconds=seconds)
        for signer, reader in ((world.registry, sibling), (sibling, world.registry)):
            assert is_good(reader, token(signer))
    kids = {each.policy.keys.get_signer(world.clock.now()).row.kid for each in (world.registry, sibling)}
    assert kids == {keys_of(world)[0].kid}
