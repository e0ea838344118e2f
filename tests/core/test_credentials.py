"""What becomes of secrets over time: last use, the end of a login password, and being forgotten."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.core import credentials, jobs, uses
from entrepot.core.credentials import FORGET_BATCH, KEPT_DAYS, MOST_LIVE, Holder, NewSecret
from entrepot.core.identify import authenticate
from entrepot.core.registry import DAY, SECOND
from entrepot.core.tokens import GenuineCache
from entrepot.core.uses import BATCH, FLUSH_SECONDS, flush_uses
from entrepot.domain.access import ANONYMOUS
from entrepot.domain.errors import Conflict, InsufficientScope, Unauthenticated
from entrepot.metadata.credentials import NewCredentialRow, add_credential
from entrepot.ports.database import Tx
from tests.support.machines import ROBOT, add_robot, add_secret, add_token, by_basic, by_bearer, revoke
from tests.support.world import World, basic


@pytest.fixture
def world(world: World) -> World:
    """With a robot."""
    add_robot(world)
    return world


def used_at(world: World) -> list[int | None]:
    """When each secret was used last, in seconds from now."""
    rows = world.rows("select used_at from credential order by id")
    return [None if at is None else (at - world.clock.now()) // SECOND for (at,) in rows]


def flush(world: World, *, is_last: bool = False) -> int:
    """One look of the process that serves."""
    return world.run(flush_uses(world.registry, is_last=is_last))


def test_the_last_use_is_written_now_and_then(world: World) -> None:
    """Never by a request; at most once a minute; by secrets and by tokens of theirs; and once more at the end."""
    made, idle = add_secret(world), add_secret(world, name="idle")
    del idle
    assert flush(world) == 0
    client = by_basic(world, made)
    token = client.request("GET", "/token").json["token"]
    assert used_at(world) == [None, None]
    assert flush(world) == 1
    assert used_at(world) == [0, None]
    world.clock.advance(seconds=FLUSH_SECONDS - 1)
    for header in (f"Bearer {token}", f"Bearer {token}", f"Bearer {made.secret}"):
        world.client().request("GET", "/v2/", authorization=header)
    assert flush(world) == 0
    world.clock.advance(seconds=1)
    assert flush(world) == 1
    assert used_at(world) == [-FLUSH_SECONDS, None]
    client.request("GET", "/v2/")
    assert flush(world) == 0
    assert flush(world, is_last=True) == 1
    assert used_at(world) == [0, None]


def test_a_password_is_no_secret_that_was_used(world: World) -> None:
    """Whoever logs in by a password leaves no trace in the list of secrets."""
    world.client("alice").request("GET", "/v2/")
    assert world.registry.uses.at == {}


def test_many_uses_are_written_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction does not hold everybody else up."""
    monkeypatch.setattr(uses, "BATCH", 1)
    assert BATCH > 100
    for made in (add_secret(world), add_secret(world, name="two")):
        by_bearer(world, made).request("GET", "/v2/")
    assert flush(world) == 2
    assert used_at(world) == [0, 0]


def test_ended_secrets_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 days after they expired or were revoked, by a job that comes back; those that hold stay."""
    monkeypatch.setattr(credentials, "FORGET_BATCH", 1)
    assert FORGET_BATCH > 100
    add_secret(world, name="expires", days=1)
    revoke(world, add_secret(world, name="revoked"))
    add_secret(world, name="stays")
    names = "select name from credential order by id"

    def run_job() -> list[tuple[object, ...]]:
        world.transact(lambda tx: jobs.jobs.add_job(tx, jobs.FORGET, "", {}, world.clock.now()))
        assert [outcome.error for outcome in world.run(jobs.run_due(world.registry, "worker"))] == [""]
        return [tuple(row) for row in world.rows(names)]

    world.clock.advance(seconds=KEPT_DAYS * DAY // SECOND)
    assert run_job() == [("expires",), ("revoked",), ("stays",)]
    world.clock.advance(seconds=2 * DAY // SECOND)
    assert run_job() == [("stays",)]


def test_an_account_has_a_bounded_number_of_secrets(world: World) -> None:
    """Of those that hold; revoking one makes room."""
    most = MOST_LIVE["pat"]

    async def fill(tx: Tx) -> None:
        for number in range(most - 1):
            new = NewCredentialRow(world.ids["bob"], "pat", f"n{number}", f"f{number}", "", (), "bob", None)
            await add_credential(tx, new, world.clock.now())

    world.transact(fill)
    last = add_token(world, "bob")
    with pytest.raises(Conflict):
        add_token(world, "bob", name="one too many")
    revoke(world, last)
    assert add_token(world, "bob", name="in its place").row.name == "in its place"


def test_nobody_has_no_login_password(world: World) -> None:
    """The verb itself refuses whoever has not proved an account."""
    with pytest.raises(InsufficientScope):
        world.run(credentials.add_login_password(world.registry, ANONYMOUS, 60))


def test_a_crowd_is_proved_once(world: World) -> None:
    """A cold start with one robot's secret costs one read, and the secret stays genuine for those who come later."""
    made = add_secret(world)
    header, cache = basic(ROBOT, made.secret).encode(), GenuineCache()
    reads: list[int] = []
    original = world.registry.database.read

    async def crowd() -> set[int]:
        found = await asyncio.gather(*(authenticate(world.registry, cache, header) for _ in range(50)))
        return {caller.credential for caller in found}

    def counted(work: object) -> object:
        reads.append(1)
        return original(work)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.registry.database), "read", lambda _, work: counted(work))
        cache.find(b"", world.registry.policy.snapshot, 0)
        assert world.run(crowd()) == {made.row.id}
    assert len(reads) == 1


def test_a_secret_of_its_own_account_is_no_way_to_last_longer(world: World) -> None:
    """Made with a secret that ends, another one of the same account ends with it; of other accounts, it need not."""
    token = add_token(world, "alice", "admin", days=2)
    caller = world.run(authenticate(world.registry, GenuineCache(), f"Bearer {token.secret}".encode()))
    own, robot = Holder("alice", "user"), Holder(ROBOT, "service")

    def until(holder: Holder, name: str, days: int | None) -> int | None:
        new = NewSecret(name, (), days)
        made = world.run(credentials.add_credential(world.registry, caller, holder, new))
        return None if made.row.expires_at is None else (made.row.expires_at - world.clock.now()) // DAY

    assert [until(own, "a", None), until(own, "b", 9), until(own, "c", 1)] == [2, 2, 1]
    assert [until(robot, "a", None), until(robot, "b", 9)] == [None, 9]


def test_a_secret_that_was_just_revoked_makes_no_other(world: World) -> None:
    """Although its request was let in a moment before, by a worker that did not know yet."""
    token = add_token(world, "alice", "admin")
    caller = world.run(authenticate(world.registry, GenuineCache(), f"Bearer {token.secret}".encode()))
    revoke(world, token)
    for work in (
        credentials.add_credential(world.registry, caller, Holder("alice", "user"), NewSecret("a")),
        credentials.add_login_password(world.registry, caller, 60),
    ):
        with pytest.raises(InsufficientScope):
            world.run(work)


def test_a_login_password_ends_with_the_password(world: World) -> None:
    """Whoever changes a password ends the login passwords that were made with it."""
    made = world.run(credentials.add_login_password(world.registry, world.caller("bob"), 3600))
    header = basic("bob", made.secret).encode()
    assert world.run(authenticate(world.registry, GenuineCache(), header)).credential == made.row.id
    world.clock.advance(seconds=1)

    async def change(tx: Tx) -> None:
        await tx.execute("update account set credentials_since = $1 where name = 'bob'", world.clock.now())

    world.transact(change)
    with pytest.raises(Unauthenticated, match="revoked"):
        world.run(authenticate(world.registry, GenuineCache(), header))
