"""The policy that a process decides over, and how it is read anew."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from entrepot.metadata.policy import bump_policy_version
from entrepot.ports.database import Database, Work
from tests.support.world import World

T = TypeVar("T")


class Together:
    """The reads of the port Database over another one: the first so many of them end together."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
        self._barrier = asyncio.Barrier(number)
        self._left = number
        self.reads = 0

    async def read(self, work: Work[T]) -> T:
        self.reads += 1
        value = await self._database.read(work)
        if self._left:
            self._left -= 1
            await self._barrier.wait()
        else:
            # As over a network: others go on meanwhile.
            await asyncio.sleep(0.01)
        return value


def test_many_who_find_a_new_policy_at_once_read_it_once() -> None:
    """Three see that the version has moved; each looks again in its turn, and one reads."""

    async def story(world: World) -> Together:
        policy = world.registry.policy
        await world.sqlite.transact(bump_policy_version)
        database = Together(world.sqlite, 3)
        policy._database = database  # type: ignore[assignment]
        assert await asyncio.gather(*(policy.refresh() for _ in range(3))) == [True] * 3
        assert not await policy.refresh()
        return database

    with World() as world:
        before = world.registry.policy.snapshot
        database = world.run(story(world))
        assert world.registry.policy.snapshot.version == before.version + 1
        # Three looks, a look in each turn, the policy once, and one look more.
        assert database.reads == 3 + 3 + 1 + 1
