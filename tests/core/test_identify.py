"""Tokens, the cache of what was found genuine, and what a process makes sure of when it starts."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.core.identify import authenticate
from entrepot.core.start import FirstAdministrator, Ready, prepare
from entrepot.core.tokens import GenuineCache, Parties, ceiling_of, new_claims, sign
from entrepot.domain.access import ADMITS, Caller, Scope
from entrepot.domain.errors import Unauthenticated
from entrepot.metadata import accounts, policy
from entrepot.ports.database import Tx
from tests.support.clock import START
from tests.support.keys import PARTIES
from tests.support.world import PlainHasher, World, basic


def test_a_ceiling_is_the_union_of_its_scopes() -> None:
    """By the name that a scope stands for; words that mean nothing admit nothing."""
    scopes = [Scope("repository", "app", ("pull",)), Scope("repository", "library/app", ("push", "fly"))]
    found = ceiling_of(new_claims(PARTIES, START, 60, "access", scopes).access)
    assert found == {"library/app": ADMITS["pull"] | ADMITS["push"]}


def test_the_cache_forgets_with_time_and_with_each_policy() -> None:
    """What was kept holds until its end, and in its epoch."""
    cache, first, second = GenuineCache(), object(), object()
    assert cache.find(b"a", first, 0) is None
    cache.put(b"a", first, "kept", 10)
    assert (cache.find(b"a", first, 9), cache.find(b"a", first, 10), cache.find(b"b", first, 0)) == ("kept", None, None)
    assert cache.find(b"a", second, 0) is None
    assert cache.find(b"a", first, 0) is None


def test_the_cache_takes_nothing_from_an_epoch_that_has_passed() -> None:
    """A password that was being checked while it was changed is not remembered."""
    cache, first, second = GenuineCache(), object(), object()
    cache.find(b"a", first, 0)
    cache.find(b"b", second, 0)
    cache.put(b"a", first, "stale", 10)
    assert cache.find(b"a", second, 0) is None


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full, the older half goes."""
    monkeypatch.setattr(GenuineCache, "LIMIT", 4)
    cache, epoch = GenuineCache(), object()
    cache.find(b"", epoch, 0)
    for number in range(5):
        cache.put(b"%d" % number, epoch, number, 10)
    assert [cache.find(b"%d" % number, epoch, 0) for number in (4, 3, 2, 1, 0)] == [4, 3, 2, None, None]


def test_what_is_asked_for_stays_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is shown with each of very many tokens is not proved again, also long after its time."""
    monkeypatch.setattr(GenuineCache, "LIMIT", 4)
    cache, epoch = GenuineCache(), object()
    cache.find(b"", epoch, 0)
    cache.put(b"password", epoch, "alice", 10)
    for number in range(99):
        cache.put(b"token %d" % number, epoch, number, 10)
        found = (cache.find(b"password", epoch, 9), cache.find_past(b"password", epoch, 9))
        assert (found, cache.find(b"password", epoch, 10)) == (("alice", "alice"), None)
    assert len(cache._entries) + len(cache._older) <= 4
    assert (cache.find_past(b"password", object(), 0), cache.find_past(b"token 0", epoch, 0)) == (None, None)


def test_a_password_changed_while_it_is_checked_is_not_remembered(world: World) -> None:
    """The old one is good for the request that came before the change, and for none after it."""
    started, changed = asyncio.Event(), asyncio.Event()

    class Slow(PlainHasher):
        """Takes until the password has been changed."""

        async def verify(self, encoded: str, password: str) -> bool:
            started.set()
            await changed.wait()
            return await super().verify(encoded, password)

    held = world.registry
    registry = type(held)(world.database, world.store, world.clock, Slow(), held.policy, world.rules)
    header = basic("bob", "bob-password").encode()

    async def record(tx: Tx) -> None:
        await accounts.set_password(tx, world.ids["bob"], "plain:new", world.clock.now())
        await policy.bump_policy_version(tx)

    async def race() -> Caller:
        early = asyncio.ensure_future(authenticate(registry, world.context.genuine, header))
        await started.wait()
        await world.database.transact(record)
        await registry.policy.refresh()
        await authenticate(registry, world.context.genuine, None)
        world.context.genuine.find(b"", registry.policy.snapshot, 0)
        changed.set()
        return await early

    caller = world.run(race())
    assert caller.identity is not None
    assert caller.identity.name == "bob"
    with pytest.raises(Unauthenticated):
        world.run(authenticate(registry, world.context.genuine, header))


def test_a_token_may_hold_names_of_an_older_grammar(world: World) -> None:
    """What a token was given for and is no name any more covers nothing, and is no error."""
    scopes = [Scope("repository", "UPPER/case", ("pull",)), Scope("repository", "pub/app", ("pull",))]
    now = world.clock.now()
    claims = new_claims(Parties("http://registry.test", "registry.test"), now, 60, "access", scopes)
    token = sign(world.registry.policy.keys.get_signer(now), claims)
    caller = world.run(authenticate(world.registry, GenuineCache(), f"Bearer {token}".encode()))
    assert caller.ceiling == {"UPPER/case": ADMITS["pull"], "pub/app": ADMITS["pull"]}


def start(world: World, configured: str, generated: str = "generated") -> Ready:
    """What a further process makes sure of."""
    first = FirstAdministrator(configured, generated)
    return world.run(prepare(world.database, world.clock, PlainHasher(), first))


@pytest.mark.parametrize(("configured", "expected"), [("", "generated"), ("set", "set")])
def test_the_first_start(world: World, configured: str, expected: str) -> None:
    """An administrator with the password that was set, else a generated one that is told once; and `library`."""
    world.transact(lambda tx: _forget(tx, 'delete from "grant"', "delete from namespace", "delete from account"))
    ready = start(world, configured)
    assert ready.generated_password == ("" if configured else "generated")
    rows = world.rows("select name, password_hash, is_admin from account")
    assert [tuple(row) for row in rows] == [("admin", f"plain:{expected}", 1)]
    assert [row[0] for row in world.rows("select name from namespace")] == ["library"]
    assert start(world, "other") == Ready(ready.token_key, "")


@pytest.mark.parametrize("table", ["instance", "signing_key"])
def test_a_missing_key_is_made_without_touching_users(world: World, table: str) -> None:
    """Only what is missing is made."""
    before = world.rows("select name, password_hash from account")
    world.transact(lambda tx: _forget(tx, f"delete from {table}"))
    ready = start(world, "other")
    assert ready.generated_password == ""
    assert len(ready.token_key) == 32
    assert world.rows("select count(*) from signing_key") == [(1,)]
    assert world.rows("select name, password_hash from account") == before


def test_several_processes_start_at_once(world: World) -> None:
    """They agree on one key of each kind, and one of them tells the password."""
    world.transact(
        lambda tx: _forget(
            tx,
            'delete from "grant"',
            "delete from namespace",
            "delete from account",
            "delete from instance",
            "delete from signing_key",
        )
    )

    async def race() -> list[Ready]:
        first = FirstAdministrator("", "generated")
        return await asyncio.gather(
            *(prepare(world.database, world.clock, PlainHasher(), first) for _ in range(3)),
        )

    found = world.run(race())
    assert len({ready.token_key for ready in found}) == 1
    assert world.rows("select count(*) from signing_key") == [(1,)]
    assert sorted(ready.generated_password for ready in found) == ["", "", "generated"]


async def _forget(tx: Tx, *statements: str) -> None:
    for statement in statements:
        await tx.execute(statement)
