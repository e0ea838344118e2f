"""The policy that a process decides over, and how it is read anew."""

from __future__ import annotations

import asyncio

from entrepot.core.policy import Policy
from entrepot.metadata.policy import bump_policy_version
from tests.support.together import Together
from tests.support.world import World


def test_many_who_find_a_new_policy_at_once_read_it_once() -> None:
    """Three see that the version has moved; each looks again in its turn, and one reads."""

    async def story(world: World) -> tuple[Policy, int]:
        database = Together(world.database, reads=3)
        policy = Policy(database, world.registry.policy.token_key)
        assert await asyncio.gather(*(policy.refresh() for _ in range(3))) == [True] * 3
        await world.database.transact(bump_policy_version)
        assert await policy.refresh()
        assert not await policy.refresh()
        return policy, database.reads

    with World() as world:
        before = world.registry.policy.snapshot
        policy, reads = world.run(story(world))
        assert policy.snapshot.version == before.version + 1
        # Three looks, a look in each turn, and the policy once; then two looks and the policy; then a look.
        assert reads == (3 + 3 + 1) + (2 + 1) + 1
