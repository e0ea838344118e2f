"""A world whose registry remembers pulls, over a database that can be away."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from entrepot.core.recall import LEASE_SECONDS, Recall
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.ports.database import Database, Work
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from tests.support.asgi import Answer
from tests.support.images import Image
from tests.support.world import World

T = TypeVar("T")
NAME = "priv/app"
AWAY_SECONDS = 3600
STALE = '110 - "Response is Stale"'


class Network:
    """The port Database over another one: counts its reads, and can be away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_away = False
        self.reads = 0

    def read(self, work: Work[T]) -> Awaitable[T]:
        self.reads += 1
        return self._unless_away(work, self._database.read)

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        return self._unless_away(work, self._database.transact)

    async def _unless_away(self, work: Work[T], run: Any) -> T:
        if self.is_away:
            raise Unavailable("the database cannot be reached now")
        value: T = await run(work)
        return value

    async def close(self) -> None:
        await self._database.close()


class Site:
    """A world whose registry remembers pulls, and a clock of its own for that."""

    def __init__(self, world: World, *, most_bytes: int = 1 << 20, away_seconds: float = AWAY_SECONDS) -> None:
        self.world = world
        self.seconds = 1000.0
        assert isinstance(world.registry.database, Network)
        self.network = world.registry.database
        self.recall = Recall(
            self.network, most_bytes, away_seconds, world.registry.rules.discard_seconds, lambda: self.seconds
        )
        world.registry = replace(world.registry, recall=self.recall)
        context = world.context
        world.context = Context(world.registry, context.limits, context.addresses, context.genuine, context.denials)
        world.face = Face(world.context, GRAMMAR)
        self.look()

    def look(self) -> None:
        """Follow the events."""
        self.world.run(self.recall.look())

    def pull(self, target: str, method: str = "GET", user: str = "alice") -> Answer:
        """One request for something of the repository."""
        return self.world.client(user).request(method, f"/v2/{NAME}/{target}")

    def reads(self, *targets: str) -> int:
        """How often the database was asked while all of these were pulled."""
        before = self.network.reads
        for target in targets:
            assert self.pull(target).status == 200
        return self.network.reads - before

    def go_away(self) -> None:
        """The database cannot be reached any more, and this has been noticed."""
        self.network.is_away = True
        with pytest.raises(Unavailable):
            self.look()
        self.seconds += LEASE_SECONDS + 0.1


def blobs_of(pushed: Image) -> list[str]:
    """Where the blobs of an image are pulled from."""
    return [f"blobs/{digest_of(content)}" for content in pushed.blobs]
