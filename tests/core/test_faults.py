"""Each call of a port fails in turn; whatever fails, no name dangles and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from entrepot.core.jobs import run_due
from entrepot.core.registry import Rules
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import EntrepotError
from entrepot.metadata import blobs
from tests.support.asgi import Answer
from tests.support.faults import (
    FaultyDatabase,
    FaultyStore,
    Mode,
    Saboteur,
    require_no_lost_bytes,
    require_whole,
)
from tests.support.images import CONFIG, LAYER, image
from tests.support.world import World

FIRST, SECOND, HEALED = b"first" * 9, b"second" * 9, b"to be healed"
IMAGE = image([FIRST, LAYER])
NEWER = image([FIRST], annotations={"version": "2"})
Body = bytes | None


class Story:
    """Requests in order, with what each target may answer afterwards; a failed change may have happened or not."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client("alice")
        self.allowed: dict[str, set[Body]] = {}

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; a cancelled one has no answer."""
        try:
            return self.client.request(method, target, body, **headers)
        except asyncio.CancelledError:
            return Answer(0, (), b"")

    def change(self, answer: Answer, after: dict[str, Body]) -> None:
        """Note what a change makes of targets, if it was acknowledged, or may have made of them, if not."""
        for target, body in after.items():
            before = self.allowed.get(target, {None})
            self.allowed[target] = {body} if 200 <= answer.status < 300 else before | {body}

    def push_whole(self, repository: str, content: bytes) -> None:
        """POST with a digest."""
        answer = self.send("POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(content)}", content)
        self.change(answer, {blob_of(repository, content): content})

    def push_chunks(self, repository: str, chunks: list[bytes], closing: bytes = b"") -> None:
        """POST, PATCH as often as there are chunks, PUT."""
        content = b"".join([*chunks, closing])
        location = self.send("POST", f"/v2/{repository}/blobs/uploads/")["location"]
        for chunk in chunks:
            self.send("PATCH", location, chunk)
        answer = self.send("PUT", f"{location}?digest={digest_of(content)}", closing)
        self.change(answer, {blob_of(repository, content): content})

    def mount(self, repository: str, source: str, content: bytes) -> None:
        """POST with a mount; only a 201 has mounted."""
        query = f"?mount={digest_of(content)}&from={source}"
        answer = self.send("POST", f"/v2/{repository}/blobs/uploads/{query}")
        if answer.status != 202:
            self.change(answer, {blob_of(repository, content): content})

    def put(self, reference: str, raw: bytes, *tags: str) -> None:
        """PUT a manifest."""
        query = "?" + "&".join(f"tag={tag}" for tag in tags) if tags else ""
        answer = self.send("PUT", f"/v2/priv/app/manifests/{reference}{query}", raw)
        digest = digest_of(raw)
        self.change(answer, {f"/v2/priv/app/manifests/{name}": raw for name in {reference, digest, *tags}})

    def delete(self, target: str, *gone: str) -> None:
        """DELETE something, and whatever goes with it."""
        self.change(self.send("DELETE", target), dict.fromkeys((target, *gone)))

    def run_jobs(self) -> None:
        """Let time pass and the worker work."""
        self.world.clock.advance(seconds=120)
        with suppress(EntrepotError, asyncio.CancelledError):
            self.world.run(run_due(self.world.registry, "worker"))

    def require_kept(self) -> None:
        """Every target answers what was acknowledged last, or what a failure left open."""
        client = self.world.client("alice")
        for target, allowed in self.allowed.items():
            answer = client.request("GET", target)
            assert answer.status in {200, 404}, answer
            assert (answer.body if answer.status == 200 else None) in allowed, target


def blob_of(repository: str, content: bytes) -> str:
    """Where a blob is pulled from."""
    return f"/v2/{repository}/blobs/{digest_of(content)}"


def tell(story: Story) -> None:
    """Everything that a client can do to a registry."""
    manifests = "/v2/priv/app/manifests"
    story.push_whole("priv/app", CONFIG)
    story.push_whole("priv/app", HEALED)
    story.push_chunks("priv/app", [FIRST])
    story.push_chunks("priv/app", [SECOND[:9], SECOND[9:]])
    story.push_chunks("priv/other", [SECOND[:7]], SECOND[7:])
    story.push_chunks("pub/base", [], LAYER)
    story.mount("priv/app", "pub/base", LAYER)
    story.put("v1", IMAGE.raw)
    story.put("v1", NEWER.raw)
    story.put(IMAGE.digest, IMAGE.raw, "a", "b")
    story.world.transact(lambda tx: blobs.set_damaged(tx, digest_of(HEALED)))
    story.allowed[blob_of("priv/app", HEALED)] = {None, HEALED}
    story.push_chunks("priv/app", [HEALED])
    story.delete(f"{manifests}/a")
    story.delete(f"{manifests}/{NEWER.digest}", f"{manifests}/v1")
    story.delete(blob_of("priv/app", SECOND))
    location = story.send("POST", "/v2/priv/app/blobs/uploads/")["location"]
    story.send("PATCH", location, b"left behind")
    story.send("DELETE", location)
    story.run_jobs()


def sabotaged(saboteur: Saboteur) -> World:
    """A world whose ports a saboteur sits in."""
    return World(
        # Logging in is not what is sabotaged here.
        rules=Rules(lockout_failures=0),
        wrap_store=lambda store: FaultyStore(store, saboteur),
        wrap_database=lambda database: FaultyDatabase(database, saboteur),
    )


def test_without_a_fault_everything_is_acknowledged() -> None:
    """The story as it should go: one answer allowed for each target, no bytes left over, every port used."""
    saboteur = Saboteur()
    with sabotaged(saboteur) as world:
        story = Story(world)
        tell(story)
        story.allowed[blob_of("priv/app", HEALED)] -= {None}
        assert all(len(allowed) == 1 for allowed in story.allowed.values()), story.allowed
        story.require_kept()
        require_whole(world)
        require_no_lost_bytes(world)
    assert set(saboteur.calls) == {"transact", "write", "settle", "join", "delete"}


@pytest.mark.parametrize("mode", ["before", "after", "full", "cancelled"])
def test_each_port_call_fails_in_turn(mode: Mode) -> None:
    """At once, after a restart, and after the worker has cleaned up: names lead to bytes, and what was said holds."""
    saboteur = Saboteur(mode)
    while not saboteur.is_done:
        saboteur.at, saboteur.calls = saboteur.at + 1, []
        with sabotaged(saboteur) as world:
            story = Story(world)
            tell(story)
            require_whole(world)
            story.require_kept()
            world.restart()
            for _ in range(3):
                story.run_jobs()
            require_whole(world)
            story.require_kept()
            if mode == "full":  # the others leave open whether bytes were named: then they stay
                require_no_lost_bytes(world)
    assert saboteur.at > 50
