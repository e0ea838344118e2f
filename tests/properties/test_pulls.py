"""Pulls that several workers count: nobody gets fewer than their plan gives, and only so many more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core import pulls
from entrepot.core.pull_meter import PullMeter, payer_for
from entrepot.core.registry import Registry
from entrepot.domain.errors import TooMany
from entrepot.domain.plans import SECOND, Plan
from tests.support.world import World

WORKERS = 3
WINDOW_SECONDS = 60
# What happens next: a worker (by number) lets somebody pull, or tells the others; or so many seconds go by.
PULL, TELL, WAIT = "pull", "tell", "wait"
STEPS = st.lists(
    st.tuples(st.sampled_from((PULL, PULL, PULL, TELL, WAIT)), st.integers(0, WORKERS - 1)), min_size=10, max_size=80
)


class Workers:
    """Several processes over one database, and what they have let through."""

    def __init__(self, world: World, account: int, plan: Plan) -> None:
        self.world = world
        payer = payer_for(account, "somebody", plan)
        assert payer is not None
        self.payer = payer
        self.registries = [world.run(self._registry(world)) for _ in range(WORKERS)]
        # When each worker let a pull through, and when it told of how many.
        self.admitted: list[list[int]] = [[] for _ in range(WORKERS)]
        self.told: list[list[tuple[int, int]]] = [[] for _ in range(WORKERS)]

    async def _registry(self, world: World) -> Registry:
        held = world.registry
        return Registry(held.database, held.store, held.clock, held.hasher, held.policy, held.rules, pulls=PullMeter())

    @property
    def now(self) -> int:
        """The time."""
        return self.world.clock.now()

    def pull(self, worker: int) -> bool:
        """Whether a worker lets one more pull through."""
        try:
            self.world.run(pulls.count_pull(self.registries[worker], self.payer))
        except TooMany:
            return False
        self.admitted[worker].append(self.now)
        return True

    def tell(self, worker: int) -> None:
        """A worker tells the others."""
        self.world.run(pulls.exchange_pulls(self.registries[worker]))
        self.told[worker].append((self.now, len(self.admitted[worker])))

    def known(self, worker: int) -> int:
        """How many pulls a worker must know of: its own, and what others told more than a second ago."""
        others = [
            max((count for at, count in told if at <= self.now - SECOND), default=0)
            for number, told in enumerate(self.told)
            if number != worker
        ]
        return len(self.admitted[worker]) + sum(others)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One registry for all cases: each is about somebody else."""
    with World() as world:
        yield world


@given(STEPS, st.integers(1, 12), st.integers(1, 2**31))
def test_nobody_gets_fewer_than_their_plan_gives(
    world: World, steps: list[tuple[str, int]], most: int, account: int
) -> None:
    """Whoever is refused has been let through so many times within a window, whoever counted and told what and when."""
    workers = Workers(world, account, Plan("free", most, WINDOW_SECONDS))
    world.clock.advance(seconds=10 * WINDOW_SECONDS)
    for what, number in steps:
        if what == WAIT:
            world.clock.advance(seconds=7 * (number + 1))
        elif what == TELL:
            workers.tell(number)
        elif not workers.pull(number):
            since = workers.now - WINDOW_SECONDS * SECOND
            assert sum(at > since for admitted in workers.admitted for at in admitted) >= most


@given(STEPS, st.integers(1, 12), st.integers(1, 2**31))
def test_what_was_told_a_second_ago_counts_everywhere(
    world: World, steps: list[tuple[str, int]], most: int, account: int
) -> None:
    """No worker lets a pull through that, by its own and by what others told a second before, is one too many."""
    workers = Workers(world, account, Plan("free", most, 10**6))
    world.clock.advance(seconds=2 * 10**6)
    for what, number in steps:
        if what == WAIT:
            world.clock.advance(seconds=number + 1)
        elif what == TELL:
            workers.tell(number)
        else:
            known = workers.known(number)
            assert not (workers.pull(number) and known >= most)
    assert all(len(admitted) <= most for admitted in workers.admitted)
