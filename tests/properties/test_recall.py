"""Two replicas that remember pulls, over one database that each may lose: what is not called stale is true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from entrepot.core.recall import LEASE_SECONDS, Recall
from entrepot.core.registry import Rules
from entrepot.core.tokens import GenuineCache
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import Unavailable
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from tests.support.asgi import Answer, Client
from tests.support.images import CONFIG, Image, image
from tests.support.site import AWAY_SECONDS, NAME, STALE, Network
from tests.support.world import World, basic, password_of, push_blob, put_manifest

FOR_EVER = Rules(history_days=100_000, trash_days=100_000, promise_seconds=10**10)
CONTENTS = (b"one", b"two")
IMAGES = [image([content]) for content in CONTENTS]
replicas = st.sampled_from((0, 1))
images = st.sampled_from(IMAGES)
tags = st.sampled_from(("v1", "v2"))


class Watch:
    """Seconds that only ever grow."""

    seconds = 1000.0

    def now(self) -> float:
        """The time."""
        return self.seconds


class Replica:
    """A process of its own over the database of a world, which it can be cut off from."""

    def __init__(self, world: World, watch: Watch) -> None:
        self.network = Network(world.database)
        self.recall = Recall(self.network, 1 << 20, AWAY_SECONDS, world.rules.discard_seconds, watch.now)

        async def settle() -> None:
            watch.seconds += LEASE_SECONDS + 0.01

        self.recall.settle = settle  # type: ignore[method-assign]
        registry = replace(world.registry, database=self.network, recall=self.recall)
        known = world.context
        context = Context(registry, known.limits, known.addresses, GenuineCache(), known.denials)
        header = basic("alice", password_of("alice"))
        self.client = Client(Face(context, GRAMMAR), world.runner).with_headers(authorization=header)

    def ask(self, method: str, target: str) -> Answer:
        """One request about the repository."""
        return self.client.request(method, f"/v2/{NAME}/{target}")


class Remembering(RuleBasedStateMachine):
    """What there is stands in sets; a replica may lag behind them only while it is cut off, and says so then."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(rules=FOR_EVER)
        self.world.transact(lambda tx: tx.execute("update namespace set untagged_days = 100000"))
        self.watch = Watch()
        self.replicas = [Replica(self.world, self.watch) for _ in range(2)]
        self.tags: dict[str, Image] = {}
        self.manifests: set[str] = set()
        self.blobs: set[bytes] = set()
        push_blob(self.world.client("alice"), NAME, CONFIG)
        self.blobs.add(CONFIG)

    def teardown(self) -> None:
        """Once each of them can look again, all is true."""
        try:
            for number, replica in enumerate(self.replicas):
                replica.network.is_away = False
                self.look(number)
                self.pull_all(number)
        finally:
            self.world.close()

    @invariant()
    def nobody_is_deceived(self) -> None:
        """After each step both are asked for everything, and so remember all that they may."""
        for number in range(2):
            self.pull_all(number)

    def pull_all(self, number: int) -> None:
        """Everything by each of its names."""
        for tag in ("v1", "v2"):
            self.pull_tag(number, tag)
        for pushed in IMAGES:
            self.pull_manifest(number, pushed)
        for content in (CONFIG, *CONTENTS):
            self.pull_blob(number, content)

    @rule(number=replicas, pushed=images, tag=tags)
    def push(self, number: int, pushed: Image, tag: str) -> None:
        """An image by one of them, under a tag that may move."""
        replica = self.replicas[number]
        if replica.network.is_away:
            return
        for content in pushed.blobs:
            push_blob(replica.client, NAME, content)
            self.blobs.add(content)
        assert put_manifest(replica.client, NAME, pushed, tag).status == 201
        self.manifests.add(pushed.digest)
        self.tags[tag] = pushed

    def pull_tag(self, number: int, tag: str) -> None:
        """What a tag points at."""
        pushed = self.tags.get(tag)
        self.judge(number, self.replicas[number].ask("GET", f"manifests/{tag}"), pushed.raw if pushed else None)

    def pull_manifest(self, number: int, pushed: Image) -> None:
        """A manifest by its digest."""
        answer = self.replicas[number].ask("GET", f"manifests/{pushed.digest}")
        self.judge(number, answer, pushed.raw if pushed.digest in self.manifests else None)

    def pull_blob(self, number: int, content: bytes) -> None:
        """A blob."""
        answer = self.replicas[number].ask("GET", f"blobs/{digest_of(content)}")
        self.judge(number, answer, content if content in self.blobs else None)

    def judge(self, number: int, answer: Answer, truth: bytes | None) -> None:
        """What is not called stale is true; stale and refused is only who is cut off."""
        is_cut = self.replicas[number].network.is_away
        if answer.status == 503:
            assert (is_cut, answer["retry-after"]) == (True, "5")
        elif "warning" in answer:
            assert (is_cut, answer.status, answer["warning"]) == (True, 200, STALE)
        else:
            assert (answer.body if answer.status == 200 else None) == truth
            assert answer.status in {200, 404}

    @rule(number=replicas, tag=tags)
    def delete_tag(self, number: int, tag: str) -> None:
        """The pointer goes, as soon as one of them says so."""
        if not self.replicas[number].network.is_away:
            answer = self.replicas[number].ask("DELETE", f"manifests/{tag}")
            assert answer.status == (202 if self.tags.pop(tag, None) else 404)

    @rule(number=replicas, pushed=images)
    def delete_manifest(self, number: int, pushed: Image) -> None:
        """A manifest goes with its tags."""
        if not self.replicas[number].network.is_away:
            answer = self.replicas[number].ask("DELETE", f"manifests/{pushed.digest}")
            assert answer.status == (202 if pushed.digest in self.manifests else 404)
            self.manifests.discard(pushed.digest)
            self.tags = {tag: each for tag, each in self.tags.items() if each.digest != pushed.digest}

    @rule(number=replicas, content=st.sampled_from(CONTENTS))
    def delete_blob(self, number: int, content: bytes) -> None:
        """A blob goes, unless a manifest needs it."""
        if not self.replicas[number].network.is_away:
            answer = self.replicas[number].ask("DELETE", f"blobs/{digest_of(content)}")
            if answer.status == 202:
                self.blobs.discard(content)
            else:
                assert answer.status == (405 if content in self.blobs else 404)

    @rule(number=replicas)
    def look(self, number: int) -> None:
        """A replica follows the events, if it can."""
        replica = self.replicas[number]
        try:
            self.world.run(replica.recall.look())
        except Unavailable:
            assert replica.network.is_away

    @rule(seconds=st.sampled_from((0.1, 0.3, 1.0, 40.0, AWAY_SECONDS + 1.0)))
    def pass_time(self, seconds: float) -> None:
        """Leases and what is sure of blobs run out."""
        self.watch.seconds += seconds

    @rule(number=replicas, is_cut=st.sampled_from((False, False, True)))
    def cut(self, number: int, is_cut: bool) -> None:
        """A replica loses the database, or has it back."""
        self.replicas[number].network.is_away = is_cut

    @rule(number=replicas)
    def restart(self, number: int) -> None:
        """A replica begins anew, and remembers nothing."""
        self.replicas[number] = Replica(self.world, self.watch)


Remembering.TestCase.settings = settings(max_examples=settings().max_examples // 10, stateful_step_count=25)
TestRemembering = pytest.mark.timeout(900)(Remembering.TestCase)
