"""Guessing at passwords through the door: who is locked out, who is not, and that nobody learns who is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from entrepot.core import lockouts
from entrepot.core.credentials import Holder, NewSecret, add_credential
from entrepot.core.jobs import HANDLERS
from entrepot.core.locked import list_locked, store_locks
from entrepot.core.registry import Rules
from entrepot.domain.errors import StorageFull, Unavailable
from entrepot.domain.secrets import make_secret
from entrepot.ports.database import Database, Work
from entrepot.wire.addresses import Addresses
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.world import PlainHasher, World, basic, password_of

ELSEWHERE = ("203.0.113.9", 1)


@pytest.fixture
def world() -> Iterator[World]:
    """A registry that bears three wrong passwords, thirty from everywhere."""
    with World(rules=Rules(lockout_failures=3, lockout_seconds=60)) as world:
        yield world


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that was hashed."""
    seen: list[str] = []
    verify = PlainHasher.verify

    async def counting(hasher: PlainHasher, encoded: str, password: str) -> bool:
        seen.append(password)
        return await verify(hasher, encoded, password)

    monkeypatch.setattr(PlainHasher, "verify", counting)
    return seen


def ask(world: World, name: str, password: str, client: tuple[str, int] = ("198.51.100.7", 1)) -> Answer:
    """A request with a name and a password from an address."""
    return (
        Client(world.face, world.runner)
        .with_scope(client=client)
        .request("GET", "/token", authorization=basic(name, password))
    )


def guess(world: World, name: str, times: int, client: tuple[str, int] = ("198.51.100.7", 1)) -> list[int]:
    """So many wrong passwords; the statuses."""
    return [ask(world, name, f"wrong {number}", client).status for number in range(times)]


@pytest.mark.parametrize("name", ["alice", "nobody", "robot$ci", "al\0ice", "é" * 300])
def test_guesses_are_not_heard_after_some(world: World, hashed: list[str], name: str) -> None:
    """Three wrong passwords are judged; then it is 429 with Retry-After, without a hash, whoever is named."""
    assert guess(world, name, 5) == [401, 401, 401, 429, 429]
    assert len(hashed) == 3
    answer = ask(world, name, "again")
    assert (answer.code, answer["retry-after"]) == ("TOOMANYREQUESTS", "1")
    assert answer.json["errors"][0]["detail"] == {"retry_after": 1}
    assert "try again in 1 s" in answer.json["errors"][0]["message"]


def test_locks_grow(world: World) -> None:
    """Each failure after a lock doubles the next one, up to the longest, and the right password ends it all."""
    guess(world, "alice", 3)
    waits = []
    for _ in range(8):
        wait = int(ask(world, "alice", "wrong")["retry-after"])
        waits.append(wait)
        world.clock.advance(seconds=wait)
        assert ask(world, "alice", "wrong").status == 401
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert ask(world, "alice", password_of("alice")).status == 429
    world.clock.advance(seconds=60)
    assert ask(world, "alice", password_of("alice")).status == 200
    assert guess(world, "alice", 4) == [401, 401, 401, 429]


def test_the_owner_gets_in_from_elsewhere(world: World) -> None:
    """A name that is locked from one network is not locked from another."""
    guess(world, "alice", 4)
    assert ask(world, "alice", password_of("alice")).status == 429
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200


def test_what_was_proved_lately_goes_on(world: World) -> None:
    """A pair that is known to be genuine works beside a lock: whoever guesses at its name breaks no running machine."""
    assert ask(world, "alice", password_of("alice")).status == 200
    assert guess(world, "alice", 5)[-1] == 429
    assert ask(world, "alice", password_of("alice")).status == 200


def test_what_somebody_uses_is_not_guessed_faster(world: World) -> None:
    """A password that was proved elsewhere is not heard where guesses are not, nor, in a flood, where it was."""
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200
    assert guess(world, "alice", 4)[-1] == 429
    assert ask(world, "alice", password_of("alice")).status == 429
    assert ask(world, "alice", password_of("alice"), ("192.0.2.77", 1)).status == 200
    assert [ask(world, "alice", password_of("alice"), ("192.0.2.77", 1)).status for _ in range(2)] == [200, 200]
    world.registry.policy.snapshot = replace(world.registry.policy.snapshot)
    assert ask(world, "alice", password_of("alice"), ("192.0.2.77", 1)).status == 200
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200
    assert set(guess(world, "alice", 103, ELSEWHERE)) == {401, 429}
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 429
    world.clock.advance(seconds=20)
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200


def test_a_swarm_locks_the_name_but_not_where_it_is_at_home(world: World) -> None:
    """Guesses from many networks are locked by name as well; who has logged in from a network lately is heard there."""
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200
    world.restart()
    statuses = [guess(world, "alice", 1, (f"192.0.2.{number}", 1))[0] for number in range(40)]
    assert statuses == [401] * 30 + [429] * 10
    assert ask(world, "alice", password_of("alice"), ("198.51.100.8", 1)).status == 429
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 200
    world.clock.advance(days=31)
    assert [guess(world, "alice", 1, (f"192.0.2.{number}", 1))[0] for number in range(31)][-1] == 429
    assert ask(world, "alice", password_of("alice"), ELSEWHERE).status == 429


def test_a_network_is_locked_for_all_names(world: World) -> None:
    """One password for ever new names from one network is not heard after thirty; other networks are."""
    statuses = [ask(world, f"user{number}", "Summer2026!").status for number in range(35)]
    assert statuses == [401] * 30 + [429] * 5
    assert ask(world, "bob", password_of("bob")).status == 429
    assert ask(world, "bob", password_of("bob"), ELSEWHERE).status == 200


def test_a_network_of_ipv6_is_one_place(world: World) -> None:
    """Addresses within one /64 get the tries of one, and another /64 has its own."""
    found = [guess(world, "alice", 1, (f"2001:db8::{number}", 1))[0] for number in range(1, 6)]
    assert found == [401, 401, 401, 429, 429]
    assert guess(world, "alice", 1, ("2001:db8:0:1::1", 1)) == [401]


def test_names_that_are_the_same_elsewhere_count_as_one(world: World) -> None:
    """Capitals, spaces and other widths of letters, which a directory does not tell apart, give no more tries."""
    assert [ask(world, name, "wrong").status for name in ("alice", "Alice", " alice", "\uff41lice")] == [
        401,
        401,
        401,
        429,
    ]


def test_a_forwarded_address_gives_no_more_tries(world: World) -> None:
    """X-Forwarded-For of whoever is no trusted proxy changes nothing; behind one, its last entry is who is counted."""
    client = Client(world.face, world.runner).with_headers(authorization=basic("alice", "wrong"))
    told = [client.request("GET", "/token", x_forwarded_for=f"192.0.2.{number}").status for number in range(4)]
    assert told == [401, 401, 401, 429]
    world.addresses = Addresses("", ["198.51.100.7"])
    world.restart()
    behind = Client(world.face, world.runner).with_headers(authorization=basic("bob", "wrong"))
    told = [
        behind.request("GET", "/token", x_forwarded_for=f"192.0.2.{number}, 203.0.113.5").status for number in range(4)
    ]
    assert told == [401, 401, 401, 429]


def test_wrong_secrets_count_by_network_and_right_ones_pass(world: World, hashed: list[str]) -> None:
    """A wrong token or secret counts for its network; a right one is heard whatever was sent before it."""
    made = world.run(add_credential(world.registry, world.caller("alice"), Holder("alice", "user"), NewSecret("ci")))
    right, wrong = made.secret, [make_secret("pat") for _ in range(32)]
    assert ask(world, "alice", right).status == 200
    statuses = [ask(world, f"user{number}", wrong[number]).status for number in range(31)]
    bearer = world.client().request("GET", "/v2/", authorization=f"Bearer {wrong[31]}")
    assert (statuses[:30], statuses[30], bearer.status) == ([401] * 30, 429, 429)
    assert len(hashed) == 30
    world.restart()
    assert ask(world, "alice", right).status == 200
    assert ask(world, "alice", right, ELSEWHERE).status == 200


def test_workers_count_together(world: World) -> None:
    """Tries spread over workers are no more tries than with one."""
    faces = [world.face, world.sibling(), world.sibling()]
    clients = [Client(face, world.runner).with_headers(authorization=basic("alice", "wrong")) for face in faces]
    assert [clients[number % 3].request("GET", "/token").status for number in range(6)] == [401] * 3 + [429] * 3


def test_clocks_of_replicas_differ(world: World) -> None:
    """What another replica, whose clock is ahead, has counted a moment ago is no lock while it is borne."""
    assert guess(world, "alice", 2) == [401, 401]
    world.clock.advance(seconds=-5)
    assert ask(world, "alice", password_of("alice")).status == 200


def test_many_at_once_get_no_more_tries(world: World, hashed: list[str]) -> None:
    """A try is counted before it is judged, so that a crowd of them has three as well."""

    async def crowd() -> list[int]:
        client = Client(world.face, world.runner)
        tries = [client.exchange("GET", "/token", authorization=basic("alice", f"no {number}")) for number in range(20)]
        return [answer.status for answer in await asyncio.gather(*tries)]

    assert sorted(world.run(crowd())) == [401] * 3 + [429] * 17
    assert len(hashed) == 3


def test_what_is_no_guess_does_not_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that could not be judged is not held against anybody."""

    async def away(hasher: PlainHasher, encoded: str, password: str) -> bool:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(PlainHasher, "verify", away)
        assert [ask(world, "alice", "wrong").status for _ in range(5)] == [503] * 5
    assert world.rows("select * from attempt") == []
    assert ask(world, "alice", password_of("alice")).status == 200


class Full:
    """The database when nothing can be written."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner

    def read(self, work: Work[Any]) -> Awaitable[Any]:
        return self._inner.read(work)

    async def transact(self, work: Work[Any], **how: bool) -> Any:
        raise StorageFull("full")

    async def close(self) -> None:
        await self._inner.close()


def test_a_full_disk_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes room again can log in for it; guesses are counted by each process alone."""
    with World(wrap_database=Full, rules=Rules(lockout_failures=3)) as world:
        assert ask(world, "alice", password_of("alice")).status == 200
        assert guess(world, "bob", 5) == [401, 401, 401, 429, 429]
        monkeypatch.setattr("entrepot.core.lockouts.MOST_HELD", 1)
        assert guess(world, "carol", 1) == [401]
        assert len(world.registry.lockouts.alone) == 3


def test_a_full_disk_locks_out_nobody_who_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right passwords are no failures there either: neither those that were proved, nor those that were known."""
    with World(wrap_database=Full, rules=Rules(lockout_failures=3, lockout_seconds=60)) as world:
        for _ in range(5):
            world.registry.policy.snapshot = replace(world.registry.policy.snapshot)
            assert ask(world, "alice", password_of("alice")).status == 200
        known = [ask(world, "alice", password_of("alice"), (f"192.0.2.{number}", 1)).status for number in range(40)]
        assert known == [200] * 40
        assert guess(world, "alice", 5) == [401, 401, 401, 429, 429]


def test_what_a_process_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks, refusals and news of a flood are forgotten or left out beyond a number, and never pile up."""
    monkeypatch.setattr(lockouts, "MOST_HELD", 2)
    monkeypatch.setattr(lockouts, "MOST_NEWS", 2)
    held = lockouts.Lockouts()
    for name in ("a", "b", "c"):
        held.hold(name, 10, 0)
        held.count_refusal(name, 0)
        held.tell(lockouts.Lock(name, "", 10, 1))
    assert [held.find(name, 0) for name in ("a", "b", "c")] == [0, 0, 10]
    assert [lock.name for lock in held.take()] == ["a", "b"]
    assert held.take() == []


def test_it_can_be_off() -> None:
    """Without a limit everything is judged, and nothing is written."""
    with World(rules=Rules(lockout_failures=0)) as world:
        assert guess(world, "alice", 30) == [401] * 30
        assert world.client().request("GET", "/v2/", authorization=f"Bearer {make_secret('pat')}").status == 401
        assert world.rows("select * from attempt") == []


def test_a_lock_is_told_of_those_who_are_there(world: World) -> None:
    """One event for a name that somebody has, with the network; none for another; and no name is in any row."""
    for name in ("alice", "nobody", "al\0ice"):
        guess(world, name, 4)
    world.run(store_locks(world.registry))
    world.run(store_locks(world.registry))
    [(actor, subject, detail)] = world.rows("select actor, subject, detail from event where kind = 'user.locked'")
    assert (actor, subject, json.loads(detail)["address"]) == ("anonymous", "alice", "198.51.100.7")
    assert "alice" not in str(world.rows("select * from attempt"))
    assert world.registry.lockouts.refused == {"lockout": 3}
    assert list(world.run(list_locked(world.registry, ["alice", "bob"]))) == ["alice"]
    assert world.run(list_locked(world.registry, [])) == {}


def test_a_lock_is_told_however_the_name_was_typed(world: World) -> None:
    """What counts as one name is told as one: under the name that somebody has, in one event."""
    assert [ask(world, name, "wrong").status for name in ("ALICE", " alice", "\uff21lice")] == [401] * 3
    world.clock.advance(seconds=1)
    assert ask(world, "Alice", "wrong").status == 401
    world.run(store_locks(world.registry))
    assert world.rows("select subject from event where kind = 'user.locked'") == [("alice",)]


def test_old_failures_are_forgotten_by_a_job(world: World) -> None:
    """Rows of failures go after the longest lock and an hour, those of places after a month."""
    guess(world, "alice", 3)
    ask(world, "bob", password_of("bob"))
    world.run(HANDLERS["attempt.expire"](world.registry, ""))
    assert (len(world.rows("select * from attempt")), len(world.rows("select * from familiar"))) == (3, 1)
    world.clock.advance(seconds=2 * 3600)
    world.run(HANDLERS["attempt.expire"](world.registry, ""))
    assert world.rows("select * from attempt") == []
    world.clock.advance(days=31)
    world.run(HANDLERS["attempt.expire"](world.registry, ""))
    assert world.rows("select * from familiar") == []


def test_a_lock_tells_nothing_of_what_is_hidden(world: World) -> None:
    """Whoever is not heard gets the same answer for a hidden repository of an open namespace as for none."""
    world.push("pub/secret", image(), "v1")
    world.push("pub/app", image(), "v1")
    world.set_visibility("pub/secret", "private")
    guess(world, "nobody", 4)
    answers = [
        Client(world.face, world.runner)
        .with_scope(client=("198.51.100.7", 1))
        .request("GET", f"/v2/pub/{name}/manifests/v1", authorization=basic("nobody", "wrong"))
        for name in ("secret", "app", "nothere")
    ]
    assert {(answer.status, answer.code, answer.body) for answer in answers} == {
        (429, "TOOMANYREQUESTS", answers[0].body)
    }
