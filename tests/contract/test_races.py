"""Verbs that race each other, over every engine: what must never happen does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from entrepot.core.audit import flush_audit
from entrepot.core.audit_log import AuditLog
from entrepot.core.audit_verify import verify
from entrepot.core.check import How, Report, check
from entrepot.core.collect import collect_batch
from entrepot.core.delete import delete_blob, delete_manifest
from entrepot.core.policy import Policy
from entrepot.core.push import ManifestPush, push_manifest
from entrepot.core.registry import Registry, Rules
from entrepot.core.start import FirstAdministrator, prepare
from entrepot.core.trash import restore
from entrepot.core.upload import (
    Chunk,
    append_chunk,
    cancel_upload,
    finish_upload,
    get_progress,
    push_blob,
    start_upload,
)
from entrepot.domain.access import Caller, Identity
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.errors import EntrepotError, OutOfOrder
from entrepot.domain.names import Tag
from entrepot.metadata import accounts, manifests, repositories
from entrepot.ports.database import Tx
from entrepot.storage.memory import MemoryStore
from tests.contract.engines import Held
from tests.contract.rows import APP
from tests.support.clock import FrozenClock
from tests.support.images import Image, image, index
from tests.support.world import PlainHasher

ROUNDS = 12


class Racers:
    """A registry over one engine, with an administrator to act."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.store = MemoryStore()
        self.registry, self.caller = held.run(self._open())

    async def _open(self) -> tuple[Registry, Caller]:
        database, clock, hasher = self.held.database, FrozenClock(), PlainHasher()
        ready = await prepare(database, clock, hasher, FirstAdministrator("password", ""))
        policy = Policy(database, ready.token_key)
        await policy.refresh()
        registry = Registry(database, self.store, clock, hasher, policy, Rules())
        admin = await database.read(lambda tx: accounts.find_account(tx, "admin"))
        assert admin is not None
        return registry, Caller(Identity(admin.id, admin.name), None)

    async def push(self, pushed: Image, *tags: str, expected: frozenset[str] | None = None) -> object:
        """Push a manifest alone."""
        names = tuple(Tag(tag) for tag in tags)
        push = ManifestPush(APP, pushed.media_type, pushed.raw, names, expected=expected)
        return await push_manifest(self.registry, self.caller, push)

    async def push_content(self, *contents: bytes) -> None:
        """Push blobs."""
        for content in contents:
            await push_blob(self.registry, self.caller, APP, digest_of(content), chunks(content))

    async def drain(self) -> None:
        """Collect until nothing is left to look at."""
        while (await collect_batch(self.registry, 20))[0]:
            pass

    def race(self, *verbs: Any) -> list[object]:
        """Run verbs at once; what each answered or was refused with. Anything but a refusal is raised."""

        async def gather() -> list[object]:
            return list(await asyncio.gather(*verbs, return_exceptions=True))

        answers = self.held.run(gather())
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, EntrepotError):
                raise answer
        return answers


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    """A body."""
    yield content


@pytest.fixture
def racers(held: Held) -> Racers:
    """A registry over one engine."""
    return Racers(held)


async def finish(racers: Racers, upload: str, digest: Digest) -> None:
    """End an upload with what it has."""
    await finish_upload(racers.registry, racers.caller, (APP, upload), digest, None)


async def cancel(racers: Racers, upload: str, digest: Digest) -> None:
    """End an upload for nothing."""
    del digest
    await cancel_upload(racers.registry, racers.caller, APP, upload)


def is_refused(answer: object) -> bool:
    """Whether a verb was refused."""
    return isinstance(answer, EntrepotError)


def test_a_manifest_never_loses_a_layer_to_a_delete(racers: Racers) -> None:
    """Where a push names a blob that is deleted at that moment, one of the two is refused."""
    for number in range(ROUNDS):
        layer = f"layer {number}".encode()
        pushed = image([layer])
        racers.held.run(racers.push_content(*pushed.blobs))
        answers = racers.race(
            racers.push(pushed, f"t{number}"),
            delete_blob(racers.registry, racers.caller, APP, digest_of(layer)),
        )
        assert [is_refused(answer) for answer in answers].count(True) == 1, answers


def test_an_index_never_loses_a_child_to_a_delete(racers: Racers) -> None:
    """Where an index is pushed while a child is deleted, what is left is what one order of the two gives."""
    for number in range(ROUNDS):
        child = image([f"layer {number}".encode()])
        racers.held.run(racers.push_content(*child.blobs))
        racers.held.run(racers.push(child))
        whole = index([child])
        racers.race(racers.push(whole), delete_manifest(racers.registry, racers.caller, APP, child.digest))

        async def look(tx: Tx, whole: Image = whole, child: Image = child) -> tuple[bool, bool]:
            known = await repositories.find_repository_id(tx, APP)
            assert known is not None
            found = await manifests.find_manifest(tx, APP, whole.digest)
            return found is not None, await repositories.has_member(tx, known, child.digest, "manifest")

        # A sparse index is allowed by default: the index is there in either order, the child in none.
        assert racers.held.read(look) == (True, False)


def test_what_is_restored_is_whole(racers: Racers) -> None:
    """An index comes back with children and layers, also where one is deleted at that moment: then one is refused."""
    for number in range(ROUNDS):
        layer = f"layer {number}".encode()
        child = image([layer])
        whole = index([child])
        racers.held.run(racers.push_content(*child.blobs))
        racers.held.run(racers.push(child))
        racers.held.run(racers.push(whole, "all"))
        for each in (whole, child):
            racers.held.run(delete_manifest(racers.registry, racers.caller, APP, each.digest))
        if number % 2:
            racers.held.run(delete_blob(racers.registry, racers.caller, APP, digest_of(layer)))
        restoring = restore(racers.registry, racers.caller, APP, whole.digest)
        racers.race(restoring, delete_blob(racers.registry, racers.caller, APP, digest_of(layer)))
        live = {row[0] for row in racers.held.rows("select digest from member where deleted_at is null")}
        parts = {str(child.digest), *(str(digest_of(content)) for content in child.blobs)}
        assert whole.digest not in live or parts <= live
        assert number % 2 == 0 or whole.digest in live


def test_what_is_not_known_any_more_is_linked_again(racers: Racers) -> None:
    """A check names the tag that breaks, its repair mends it, and a collection meanwhile takes nothing away."""
    pushed = image([b"layer"])
    racers.held.run(racers.push_content(*pushed.blobs))
    racers.held.run(racers.push(pushed, "v1"))

    def look(*, is_repair: bool) -> Coroutine[Any, Any, Report]:
        return check(racers.registry, How(is_repair=is_repair), lambda what, amount: None)

    for lost in (pushed.digest, digest_of(b"layer")):
        racers.held.execute("delete from member where digest = $1", lost)
        (finding,) = racers.held.run(look(is_repair=False)).findings
        assert (finding.remedy, finding.tags) == ("this store", [f"{APP}:v1"])
        report, _ = racers.race(look(is_repair=True), racers.drain())
        assert isinstance(report, Report)
        assert (report.found, report.mended) == (0, 1)
        assert racers.held.run(look(is_repair=False)).findings == []


def test_a_guarded_tag_has_one_winner(racers: Racers) -> None:
    """Of many that push a new tag only where there is none, one succeeds and the others are told."""
    images = [image([f"layer {number}".encode()]) for number in range(ROUNDS)]
    racers.held.run(racers.push_content(*{content for each in images for content in each.blobs}))
    answers = racers.race(*(racers.push(each, "latest", expected=frozenset({""})) for each in images))
    assert [is_refused(answer) for answer in answers].count(False) == 1


def test_a_crowd_makes_one_repository(racers: Racers) -> None:
    """Many first pushes to a repository that is not there all succeed, and make it and its namespace once."""
    contents = [f"content {number}".encode() for number in range(ROUNDS)]
    answers = racers.race(*(racers.push_content(content) for content in [*contents, *contents]))
    assert answers == [None] * 2 * ROUNDS
    kinds = [row[0] for row in racers.held.rows("select kind from event")]
    assert (kinds.count("repository.created"), kinds.count("namespace.created")) == (1, 1)
    assert racers.held.rows("select count(*) from blob") == [(ROUNDS,)]


def test_a_push_never_loses_a_layer_to_the_collector(racers: Racers) -> None:
    """Where the promise of a blob has ended and it is pushed with its manifest, or named by one, at this moment.

    Either the blob stays, or the push of a manifest that needs it is refused; no manifest stands without its layers,
    and no blob without its bytes.
    """
    registry = racers.registry
    assert isinstance(registry.clock, FrozenClock)
    for number in range(ROUNDS):
        layer = f"collected layer {number}".encode()
        pushed = image([layer])
        racers.held.run(racers.push_content(*pushed.blobs))
        registry.clock.advance(days=2)
        again = racers.push_content(layer) if number % 2 else racers.push(pushed, f"v{number}")
        first = [collect_batch(registry, 1) for _ in range(3)]
        answers = racers.race(*first, racers.push(pushed, f"t{number}"), again)
        is_taken = not all(is_refused(answer) for answer in answers[3:4])
        racers.held.run(racers.drain())
        found = racers.held.rows("select digest from blob where digest = $1", digest_of(layer))
        lying = racers.held.rows("select key from location where blob = $1", digest_of(layer))
        named = racers.held.rows("select 1 from member where digest = $1 and kind = 'blob'", digest_of(layer))
        assert len(found) == len(lying), answers
        assert bool(named) == bool(found), answers
        assert found or not is_taken, answers


def test_an_upload_takes_one_of_two_chunks(racers: Racers) -> None:
    """Of many chunks that begin at the same byte at once, one is taken, whole, and the others leave nothing behind."""
    registry = racers.registry
    for number in range(ROUNDS):
        upload = racers.held.run(start_upload(registry, racers.caller, APP, "sha256")).id
        bodies = [f"{number} chunk {each}".encode() * each for each in range(1, 6)]
        answers = racers.race(*(append_chunk(registry, APP, upload, Chunk(chunks(body), 0)) for body in bodies))
        [winner] = [body for body, answer in zip(bodies, answers, strict=True) if not is_refused(answer)]
        assert {type(answer) for answer in answers if is_refused(answer)} == {OutOfOrder}
        progress = racers.held.run(get_progress(registry, APP, upload))
        assert (progress.end, len(progress.segments)) == (len(winner), 1)
        racers.held.run(finish_upload(registry, racers.caller, (APP, upload), digest_of(winner), None))
    lying = {row[0] for row in racers.held.rows("select key from location")}
    assert (len(lying), set(racers.store.content)) == (ROUNDS, lying)


@pytest.mark.parametrize("ending", [finish, cancel], ids=["finish", "cancel"])
def test_an_upload_that_ends_takes_no_chunk(racers: Racers, ending: Any) -> None:
    """A chunk that comes while its upload is finished or cancelled is a part of it or refused, and nothing is left."""
    registry = racers.registry
    for number in range(ROUNDS):
        upload = racers.held.run(start_upload(registry, racers.caller, APP, "sha256")).id
        body = f"{number} first".encode()
        racers.held.run(append_chunk(registry, APP, upload, Chunk(chunks(body), None)))
        more = append_chunk(registry, APP, upload, Chunk(chunks(b" and more"), len(body)))
        added, ended = racers.race(more, ending(racers, upload, digest_of(body)))
        if not is_refused(added) and is_refused(ended):
            # It came first, and what is there has another digest now.
            racers.held.run(finish(racers, upload, digest_of(body + b" and more")))
    assert racers.held.rows("select id from upload") == []
    assert racers.held.rows("select key from segment") == []


def test_a_record_is_linked_by_one_process(racers: Racers) -> None:
    """Where several link what changes have recorded, each record has one place, and all chains are whole."""
    processes = [replace(racers.registry, audit=AuditLog()) for _ in range(3)]
    for number in range(ROUNDS):
        pushed = image([f"layer {number}".encode()])
        racers.held.run(racers.push_content(*pushed.blobs))
        racers.race(racers.push(pushed, f"t{number}"), *(flush_audit(each) for each in processes))
        racers.race(*(flush_audit(each) for each in processes))
    assert racers.held.rows("select count(*) from audit where chain = ''") == [(0,)]
    assert racers.held.run(verify(racers.registry)).findings == []
