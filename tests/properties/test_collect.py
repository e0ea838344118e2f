"""Random pushes, moves, deletes and collections: nothing reachable is ever lost, and in the end the rest is gone."""

from __future__ import annotations

import json
from collections.abc import Collection as Some
from urllib.parse import quote

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from entrepot.api.face import ApiFace
from entrepot.core.collect import Collected, audit, collect_batch, plan
from entrepot.core.jobs import run_due
from entrepot.core.registry import SECOND, Rules
from entrepot.domain.digests import Digest, digest_of
from tests.support.asgi import Client
from tests.support.faults import require_no_lost_bytes, require_whole
from tests.support.images import CONFIG, Image, artifact, image, index
from tests.support.world import World, basic, password_of, push_blob, put_manifest

REPOSITORIES = ("priv/a", "pub/b")
CONTENTS = (b"one", b"two", b"three")
SHORT = Rules(history_days=2, history_digests=2, trash_days=1, promise_seconds=3600, grace_seconds=60)
repositories = st.sampled_from(REPOSITORIES)
tags = st.sampled_from(("v1", "v2", "v3"))
layer_lists = st.lists(st.sampled_from(CONTENTS), max_size=2)
Known = dict[Digest, Image]


class Collection(RuleBasedStateMachine):
    """What tags lead to is told by the manifests themselves, not by the tables that the collector reads."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(rules=SHORT)
        # Longer than the trash: what is attached to what was deleted would be kept by that.
        self.world.keep_untagged(10)
        self.client = self.world.client("alice")
        login = {"authorization": basic("alice", password_of("alice")), "content_type": "application/json"}
        self.api = Client(ApiFace(self.world.context), self.world.runner).with_headers(**login)
        self.tags: dict[str, dict[str, Digest]] = {name: {} for name in REPOSITORIES}
        self.ever: dict[str, Known] = {name: {} for name in REPOSITORIES}
        # What nothing but its subject has ever kept, with the time since when that is known to be gone.
        self.attached: dict[str, dict[Digest, int | None]] = {name: {} for name in REPOSITORIES}
        self.kept_else: dict[str, set[Digest]] = {name: set() for name in REPOSITORIES}

    def teardown(self) -> None:
        """Once all time is over, what is left is what tags lead to, in rows and in bytes."""
        try:
            self.end_all_time()
            self.require_exact()
        finally:
            self.world.close()

    def push(self, name: str, pushed: Image, reference: str) -> None:
        """A manifest with what it contains."""
        for content in pushed.blobs:
            push_blob(self.client, name, content)
        answer = put_manifest(self.client, name, pushed, reference)
        assert answer.status == 201, answer
        self.ever[name][pushed.digest] = pushed
        self.note_attached(name, pushed, is_tagged=reference != pushed.digest)

    def note_attached(self, name: str, pushed: Image, *, is_tagged: bool) -> None:
        """Whether a manifest that was pushed is kept by its subject alone; what an index contains is not."""
        subject = subject_of(pushed)
        alone = not (is_tagged or pushed.children) and subject and self.is_there(name, Digest(subject))
        for digest in (*(child.digest for child in pushed.children), *(() if alone else (pushed.digest,))):
            self.keep_else(name, digest)
        if pushed.digest not in self.kept_else[name]:
            self.attached[name][pushed.digest] = None

    def keep_else(self, name: str, digest: Digest) -> None:
        """Something else has kept this too, or a client has taken it away."""
        self.kept_else[name].add(digest)
        self.attached[name].pop(digest, None)

    def is_there(self, name: str, digest: Digest) -> bool:
        """Whether clients still see a manifest."""
        return self.client.request("HEAD", f"/v2/{name}/manifests/{digest}").status == 200

    @rule(name=repositories, layers=layer_lists, tag=tags)
    def push_tagged(self, name: str, layers: list[bytes], tag: str) -> None:
        """An image under a tag, which may move."""
        pushed = image(layers)
        self.push(name, pushed, tag)
        self.tags[name][tag] = pushed.digest

    @rule(name=repositories, layers=layer_lists)
    def push_untagged(self, name: str, layers: list[bytes]) -> None:
        """An image by digest alone."""
        pushed = image(layers)
        self.push(name, pushed, pushed.digest)

    @rule(name=repositories, content=st.sampled_from(CONTENTS))
    def push_loose(self, name: str, content: bytes) -> None:
        """A blob that no manifest names yet."""
        push_blob(self.client, name, content)

    @rule(name=repositories, tag=tags, data=st.data(), is_tagged=st.booleans())
    def push_index(self, name: str, tag: str, data: st.DataObject, is_tagged: bool) -> None:
        """An index over what is there, perhaps with a subject, perhaps under a tag."""
        there = [each for digest, each in self.ever[name].items() if self.is_there(name, digest)]
        children = data.draw(st.lists(st.sampled_from(there), max_size=2)) if there else []
        subject = data.draw(st.sampled_from([None, *there]))
        lists = index(children, subject=subject.describe()) if subject else index(children)
        self.push(name, lists, tag if is_tagged else lists.digest)
        if is_tagged:
            self.tags[name][tag] = lists.digest

    @rule(name=repositories, layers=layer_lists, tag=tags)
    def push_signed(self, name: str, layers: list[bytes], tag: str) -> None:
        """An image under a tag, and its signature."""
        self.push_tagged(name, layers, tag)
        signature = artifact(image(layers), "application/vnd.example.signature")
        self.push(name, signature, signature.digest)

    @rule(name=repositories, data=st.data())
    def attach(self, name: str, data: st.DataObject) -> None:
        """A signature of something that was ever there."""
        if self.ever[name]:
            subject = self.ever[name][data.draw(st.sampled_from(sorted(self.ever[name])))]
            signature = artifact(subject, "application/vnd.example.signature")
            self.push(name, signature, signature.digest)

    @rule(name=repositories, tag=tags)
    def delete_tag(self, name: str, tag: str) -> None:
        """The pointer goes."""
        known = self.tags[name].pop(tag, None)
        assert self.client.request("DELETE", f"/v2/{name}/manifests/{tag}").status == (202 if known else 404)

    @rule(name=repositories, data=st.data())
    def delete_manifest(self, name: str, data: st.DataObject) -> None:
        """A manifest goes with its tags, and so may what only an index over it kept."""
        self.delete_one_of(name, data, self.ever[name])

    @rule(name=repositories, data=st.data())
    def outlive_subject(self, name: str, data: st.DataObject) -> None:
        """A manifest goes that alone keeps what is attached to it; its trash is over, and then the grace window."""
        self.delete_one_of(name, data, {subject_of(self.ever[name][digest]) for digest in self.attached[name]})
        for seconds in (90_000, 61):
            self.pass_time(seconds)
            self.what_is_attached_goes_after_its_subject()

    def delete_one_of(self, name: str, data: st.DataObject, wanted: Some[str]) -> Digest | None:
        """Delete one that nothing under another tag needs, and say which."""
        tagged = set(self.tags[name].values())
        held = self.closure(name, tagged)
        free = [digest for digest in sorted(map(Digest, wanted)) if digest not in held or digest in tagged]
        if free:
            digest = data.draw(st.sampled_from(free))
            if any(digest in self.closure(name, {other}) for other in tagged - {digest}):
                return None
            self.client.request("DELETE", f"/v2/{name}/manifests/{digest}")
            self.keep_else(name, digest)
            self.tags[name] = {tag: target for tag, target in self.tags[name].items() if target != digest}
            return digest
        return None

    @rule(name=repositories, data=st.data(), days=st.sampled_from((0, 0.5)))
    def delete_and_restore(self, name: str, data: st.DataObject, days: float) -> None:
        """What was deleted comes back whole, whatever of it was deleted since, by itself, until its time is over."""
        digest = self.delete_one_of(name, data, self.ever[name])
        held = self.closure(name, set(self.tags[name].values()))
        for part in named(self.ever[name][digest]) if digest else []:
            if part not in held and data.draw(st.booleans()):
                kind = "manifests" if Digest(part) in self.ever[name] else "blobs"
                assert self.client.request("DELETE", f"/v2/{name}/{kind}/{part}").status in {202, 404, 405}
                self.keep_else(name, Digest(part))
        self.world.clock.advance(days=days)
        self.collect()
        self.restore_one(name, data)

    def restore_one(self, name: str, data: st.DataObject) -> None:
        """What comes back out of the trash is whole."""
        trashed = [Digest(row[0]) for row in self.world.rows(TRASHED, name) if Digest(row[0]) in self.ever[name]]
        if not trashed:
            return
        digest = data.draw(st.sampled_from(trashed))
        path = f"/api/v1/repositories/{quote(name, safe='')}/restore"
        answer = self.api.request("POST", path, json.dumps({"digest": digest}).encode())
        assert answer.status in {200, 404}, answer
        if answer.status == 200:
            self.tags[name].update(dict.fromkeys(answer.json["tags"], digest))
            self.require_pullable(name, {digest})

    @rule(name=repositories, data=st.data())
    def bring_back(self, name: str, data: st.DataObject) -> None:
        """What lies in the trash comes back, with its tags."""
        self.restore_one(name, data)

    @rule(seconds=st.sampled_from((1, 61, 4000, 90_000, 400_000)))
    def pass_time(self, seconds: int) -> None:
        """Time passes, and the collector and the jobs do what they can."""
        self.world.clock.advance(seconds=seconds)
        self.collect()
        assert self.world.run(audit(self.world.registry)) == 0, "what nothing keeps waits for nothing"

    def collect(self) -> None:
        """One round of the collector and of the jobs that it queues."""
        before, total, ended = self.reachable(), Collected(), 1
        planned = self.world.run(plan(self.world.registry, self.world.caller("admin")))
        while ended:
            ended, collected = self.world.run(collect_batch(self.world.registry, 1))
            total += collected
            # After each single step, as clients may see it.
            require_whole(self.world)
        assert self.reachable() == before
        assert (planned.collected, planned.is_whole) == (total, True)
        self.world.run(run_due(self.world.registry, "worker"))

    @rule()
    def look(self) -> None:
        """An audit finds nothing that the collector would not have found by itself."""
        self.world.run(audit(self.world.registry))

    def reachable(self) -> set[tuple[str, str]]:
        """What is there and tags lead to."""
        found: set[tuple[str, str]] = set()
        for name, known in self.tags.items():
            kept = self.closure(name, set(known.values()))
            found |= {(name, row[0]) for row in self.world.rows(MEMBERS, name) if row[0] in kept}
        return found

    def closure(self, name: str, roots: set[Digest]) -> set[str]:
        """What these keep: what they contain, and whatever names any of it as its subject, if it is there."""
        there = {row[0] for row in self.world.rows(MEMBERS, name)}
        stored = {row[0] for row in self.world.rows("select digest from manifest")}
        kept: set[str] = set()
        left: list[str] = list(roots)
        while left:
            digest = left.pop()
            if digest in kept:
                continue
            kept.add(digest)
            pushed = self.ever[name].get(Digest(digest))
            if pushed is not None and digest in there:
                left += named(pushed)
            left += [other for other, each in self.ever[name].items() if other in stored and subject_of(each) == digest]
        return kept

    @invariant()
    def nothing_reachable_is_lost(self) -> None:
        """No name dangles, and what tags lead to is there."""
        require_whole(self.world)
        for name, known in self.tags.items():
            for tag, digest in known.items():
                answer = self.client.request("GET", f"/v2/{name}/manifests/{tag}")
                assert (answer.status, answer.body) == (200, self.ever[name][digest].raw)

    @invariant()
    def what_is_attached_goes_after_its_subject(self) -> None:
        """It is there while its subject is, in the trash too, and no longer than the grace window after that."""
        now = self.world.clock.now()
        for name, attached in self.attached.items():
            there = {row[0] for row in self.world.rows(MEMBERS, name)}
            for digest, since in list(attached.items()):
                if subject_of(self.ever[name][digest]) in there:
                    assert self.is_there(name, digest), f"{digest} has gone before its subject"
                    attached[digest] = None
                elif since is None:
                    attached[digest] = now
                elif digest not in there:
                    del attached[digest]
                else:
                    assert now < since + SHORT.grace_seconds * SECOND, f"{digest} is kept without its subject"

    def end_all_time(self) -> None:
        """Every window closes, one after the other."""
        for _ in range(8):
            self.world.clock.advance(days=40)
            for _ in range(4):
                self.world.clock.advance(seconds=100)
                self.collect()

    def require_exact(self) -> None:
        """Rows and bytes are those of what tags lead to, no more and no less."""
        require_whole(self.world)
        wanted: set[tuple[str, str]] = set()
        for name, known in self.tags.items():
            there = {row[0] for row in self.world.rows(MEMBERS, name)}
            kept = self.closure(name, set(known.values()))
            # A child that was deleted, or never there, is named and not there.
            wanted |= {(name, digest) for digest in kept & there}
            assert there <= kept, f"{name} keeps what no tag leads to"
            self.require_layers(name, set(known.values()))
        digests = {digest for _, digest in wanted}
        assert {row[0] for row in self.world.rows("select digest from blob")} <= digests
        assert {row[0] for row in self.world.rows("select digest from manifest")} <= digests
        keys = {row[0] for row in self.world.rows("select key from location")}
        require_no_lost_bytes(self.world)
        assert set(self.world.store.content) == keys

    def require_pullable(self, name: str, roots: set[Digest]) -> None:
        """What these lead to is there: children of indexes, and every layer."""
        left = list(roots)
        while left:
            digest = left.pop()
            assert self.is_there(name, digest), f"{digest} did not come back"
            self.require_layers(name, {digest})
            left += [Digest(child["digest"]) for child in json.loads(self.ever[name][digest].raw).get("manifests", [])]

    def require_layers(self, name: str, roots: set[Digest]) -> None:
        """Images under tags come with every layer."""
        for digest in roots:
            for content in self.ever[name][digest].blobs:
                answer = self.client.request("GET", f"/v2/{name}/blobs/{digest_of(content)}")
                assert (answer.status, answer.body) == (200, content)


TRASHED = (
    "select p.digest from pin p join repository r on r.id = p.repository where r.name = $1 and p.reason = 'trash' "
    "order by p.digest"
)
MEMBERS = "select m.digest from member m join repository r on r.id = m.repository where r.name = $1"


def named(pushed: Image) -> list[str]:
    """What a manifest contains."""
    document = json.loads(pushed.raw)
    parts = [*document.get("layers", []), *document.get("manifests", [])]
    return [part["digest"] for part in parts] + ([document["config"]["digest"]] if "config" in document else [])


def subject_of(pushed: Image) -> str:
    """The subject of a manifest, or nothing."""
    found: str = json.loads(pushed.raw).get("subject", {}).get("digest", "")
    return found


assert CONFIG not in CONTENTS
Collection.TestCase.settings = settings(max_examples=settings().max_examples // 5, stateful_step_count=30)
TestCollection = pytest.mark.timeout(900)(Collection.TestCase)
