"""Random pushes, moves, deletes, mounts, clean-ups and restarts: the registry never differs from its model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from entrepot.core.jobs import run_due, schedule_recurring
from entrepot.core.namespaces import MOST_UNTAGGED_DAYS
from entrepot.core.registry import Rules
from entrepot.domain.digests import Digest, digest_of
from tests.support.asgi import DISCONNECT
from tests.support.faults import require_no_lost_bytes, require_whole
from tests.support.images import CONFIG, Image, image, index
from tests.support.world import World, put_manifest

REPOSITORIES = ("priv/a", "pub/b")
CONTENTS = (b"", b"one", bytes(range(256)))
FOR_EVER = Rules(history_days=100_000, trash_days=100_000, promise_seconds=10**10)
repositories = st.sampled_from(REPOSITORIES)
contents = st.sampled_from((CONFIG, *CONTENTS))
tags = st.sampled_from(("v1", "v2"))
layer_lists = st.lists(st.sampled_from(CONTENTS), max_size=2)


@dataclass
class Known:
    """What a repository should hold."""

    is_there: bool = False
    blobs: set[bytes] = field(default_factory=set)
    manifests: dict[Digest, Image] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    ever: dict[Digest, Image] = field(default_factory=dict)


class Registry(RuleBasedStateMachine):
    """Two owners' worth of requests against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        # What time and the collector take away is the story of test_collect.py.
        self.world = World(rules=FOR_EVER)
        self.world.keep_untagged(MOST_UNTAGGED_DAYS)
        self.client = self.world.client("alice")
        self.known = {name: Known() for name in REPOSITORIES}

    def teardown(self) -> None:
        """After the last step everything is compared, and nothing was left behind."""
        try:
            self.compare()
            require_no_lost_bytes(self.world)
        finally:
            self.world.close()

    def note_blob(self, name: str, content: bytes) -> None:
        """A blob is known from now on."""
        self.known[name].is_there = True
        self.known[name].blobs.add(content)

    @rule(name=repositories, content=contents)
    def push_blob(self, name: str, content: bytes) -> None:
        """A whole blob in one request."""
        target = f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}"
        assert self.client.request("POST", target, content).status == 201
        self.note_blob(name, content)

    @rule(name=repositories, content=contents, cuts=st.lists(st.integers(0, 300), max_size=3), is_closing=st.booleans())
    def push_chunks(self, name: str, content: bytes, cuts: list[int], is_closing: bool) -> None:
        """The same in chunks."""
        location = self.client.request("POST", f"/v2/{name}/blobs/uploads/")["location"]
        places = [0, *sorted(min(cut, len(content)) for cut in cuts)]
        for start, stop in itertools.pairwise(places):
            assert self.client.request("PATCH", location, content[start:stop]).status == 202
        rest = content[places[-1] :]
        if not is_closing:
            assert self.client.request("PATCH", location, [rest]).status == 202
            rest = b""
        assert self.client.request("PUT", f"{location}?digest={digest_of(content)}", rest).status == 201
        self.note_blob(name, content)

    @rule(name=repositories, content=contents, is_cancelled=st.booleans())
    def abandon_upload(self, name: str, content: bytes, is_cancelled: bool) -> None:
        """An upload that breaks off, with a wrong digest in between, and is cancelled or forgotten."""
        location = self.client.request("POST", f"/v2/{name}/blobs/uploads/")["location"]
        assert self.client.request("PATCH", location, content).status == 202
        assert self.client.request("PATCH", location, [b"more", DISCONNECT]).status == 400
        assert self.client.request("PUT", f"{location}?digest={digest_of(b'other')}", b"").status == 400
        if is_cancelled:
            assert self.client.request("DELETE", location).status == 204

    @rule(name=repositories, source=st.sampled_from((*REPOSITORIES, "")), content=contents)
    def mount(self, name: str, source: str, content: bytes) -> None:
        """A mount works exactly where the source knows the blob; without a source, where anybody does."""
        query = f"?mount={digest_of(content)}" + (f"&from={source}" if source else "")
        answer = self.client.request("POST", f"/v2/{name}/blobs/uploads/{query}")
        homes = [source] if source else REPOSITORIES
        is_there = any(content in self.known[home].blobs for home in homes)
        assert answer.status == (201 if is_there else 202)
        if is_there:
            self.note_blob(name, content)

    @rule(name=repositories, layers=layer_lists, tag=tags)
    def push_all(self, name: str, layers: list[bytes], tag: str) -> None:
        """An image with what it needs, as clients push it."""
        for content in (CONFIG, *layers):
            self.push_blob(name, content)
        self.push_image(name, layers, tag, is_by_digest=False)

    @rule(name=repositories, layers=layer_lists, tag=tags, is_by_digest=st.booleans())
    def push_image(self, name: str, layers: list[bytes], tag: str, is_by_digest: bool) -> None:
        """A manifest is taken exactly where all that it needs is known."""
        pushed = image(layers)
        reference = f"{pushed.digest}?tag={tag}" if is_by_digest else tag
        answer = put_manifest(self.client, name, pushed, reference)
        if {CONFIG, *layers} <= self.known[name].blobs:
            assert answer.status == 201
            self.note_manifest(name, pushed, tag)
        else:
            assert answer.code == "MANIFEST_BLOB_UNKNOWN"

    def note_manifest(self, name: str, pushed: Image, *tagged: str) -> None:
        """A manifest is known from now on."""
        known = self.known[name]
        known.is_there = True
        known.manifests[pushed.digest] = known.ever[pushed.digest] = pushed
        known.tags.update(dict.fromkeys(tagged, pushed.digest))

    @rule(name=repositories, data=st.data())
    def push_index_with_subject(self, name: str, data: st.DataObject) -> None:
        """An index over what was ever pushed, attached to some of it, by digest alone."""
        ever = list(self.known[name].ever.values())
        children = data.draw(st.lists(st.sampled_from(ever), max_size=2)) if ever else []
        lists = index(children, subject=ever[0].describe()) if ever else index(children)
        assert put_manifest(self.client, name, lists, lists.digest).status == 201
        self.note_manifest(name, lists)

    @rule(name=repositories, tag=tags)
    def delete_tag(self, name: str, tag: str) -> None:
        """The pointer goes, the manifest stays."""
        answer = self.client.request("DELETE", f"/v2/{name}/manifests/{tag}")
        assert answer.status == (202 if self.known[name].tags.pop(tag, None) else 404)

    @rule(name=repositories, data=st.data())
    def delete_manifest(self, name: str, data: st.DataObject) -> None:
        """Its tags go with it; again, it is not there."""
        known = self.known[name]
        if not known.ever:
            return
        digest = data.draw(st.sampled_from(sorted(known.ever)))
        answer = self.client.request("DELETE", f"/v2/{name}/manifests/{digest}")
        assert answer.status == (202 if known.manifests.pop(digest, None) else 404)
        known.tags = {tag: target for tag, target in known.tags.items() if target != digest}

    @rule(name=repositories, content=contents)
    def delete_blob(self, name: str, content: bytes) -> None:
        """Refused while a live manifest of the repository needs it."""
        known = self.known[name]
        answer = self.client.request("DELETE", f"/v2/{name}/blobs/{digest_of(content)}")
        if content not in known.blobs:
            assert answer.status == 404
        elif any(content in each.blobs for each in known.manifests.values()):
            assert answer.status == 405
        else:
            assert answer.status == 202
            known.blobs.remove(content)

    @rule(seconds=st.sampled_from((30, 61, 90_000)))
    def clean_up(self, seconds: int) -> None:
        """Time passes and the worker works."""
        self.world.clock.advance(seconds=seconds)
        self.world.run(schedule_recurring(self.world.registry))
        for _ in range(2):
            self.world.run(run_due(self.world.registry, "worker"))

    @rule()
    def restart(self) -> None:
        """The process dies and another one starts over the same data."""
        self.world.restart()
        self.client = self.world.client("alice")

    @invariant()
    def no_name_dangles(self) -> None:
        """Whatever happened."""
        require_whole(self.world)

    @rule()
    def compare(self) -> None:
        """Every answer is the model's."""
        for name, known in self.known.items():
            listed = self.client.request("GET", f"/v2/{name}/tags/list")
            assert (listed.json["tags"] if listed.status == 200 else None) == (
                sorted(known.tags) if known.is_there else None
            )
            for tag, digest in known.tags.items():
                assert self.client.request("GET", f"/v2/{name}/manifests/{tag}").body == known.ever[digest].raw
            for digest, pushed in known.ever.items():
                answer = self.client.request("GET", f"/v2/{name}/manifests/{digest}")
                assert (answer.body if answer.status == 200 else None) == (
                    pushed.raw if digest in known.manifests else None
                )
            for content in (CONFIG, *CONTENTS):
                answer = self.client.request("GET", f"/v2/{name}/blobs/{digest_of(content)}")
                assert (answer.body if answer.status == 200 else None) == (content if content in known.blobs else None)


Registry.TestCase.settings = settings(max_examples=settings().max_examples // 10, stateful_step_count=40)
TestRegistry = pytest.mark.timeout(900)(Registry.TestCase)  # finding the shortest story takes its time
