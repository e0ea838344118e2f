"""Uploading a blob: segments as they come, then one digest over all of them, then names."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import msgspec

from entrepot.core.decide import may, require
from entrepot.core.registry import SECOND, Act, Registry
from entrepot.core.repositories import open_repository
from entrepot.domain.access import ANONYMOUS, Action, Caller
from entrepot.domain.digests import Digest
from entrepot.domain.errors import (
    DigestInvalid,
    EntrepotError,
    OutOfOrder,
    StorageFull,
    TooLarge,
    TooMany,
    Unavailable,
    UploadUnknown,
)
from entrepot.domain.events import Event
from entrepot.domain.names import RepositoryName
from entrepot.metadata import blobs, events, jobs, pins, repositories, uploads
from entrepot.metadata.uploads import SegmentRow, UploadRow
from entrepot.ports.database import T, Tx, Work
from entrepot.ports.store import Buffer, Consume, Pours, Written

DISCARD = "store.discard"
JOIN = "blob.join"
# Copying more would keep all other jobs waiting for too long: what is larger stays in its pieces.
MOST_JOINED_BYTES = 4 << 30
EXPIRY_BATCH = 100


class Progress(msgspec.Struct, frozen=True):
    """An upload and what it has received so far."""

    upload: UploadRow
    segments: tuple[SegmentRow, ...]

    @property
    def end(self) -> int:
        """The offset of the next byte."""
        return self.segments[-1].start + self.segments[-1].size if self.segments else 0


class Chunk(msgspec.Struct, frozen=True):
    """A body with what its headers claim: the offset of its first byte, if they say."""

    content: Pours
    start: int | None = None


async def start_upload(registry: Registry, caller: Caller, repository: RepositoryName, algorithm: str) -> UploadRow:
    """Begin an upload whose segments are hashed with `algorithm`. Raises TooMany, Denied."""
    act = registry.act(caller)
    account = caller.identity.account if caller.identity else 0
    upload = UploadRow(secrets.token_hex(16), repository, account, algorithm)
    require(caller, act.snapshot, Action.PUSH, repository)

    limit = registry.rules.open_uploads
    # Counted beside the transaction: inside, all uploads that one account begins at once would conflict.
    if await registry.database.read(lambda tx: uploads.count_uploads(tx, account, limit)) >= limit:
        raise TooMany("this account has too many unfinished uploads; finish or cancel some", limit=limit)
    # 202 outlives this process, not the power: a client whose upload is unknown afterwards begins again.
    await registry.database.transact(lambda tx: uploads.add_upload(tx, upload, act.now), durable=False, isolated=False)
    return upload


async def get_progress(registry: Registry, repository: RepositoryName, upload: str) -> Progress:
    """How far an upload has come. Raises UploadUnknown."""
    return await registry.database.read(lambda tx: _progress(tx, repository, upload))


async def append_chunk(registry: Registry, repository: RepositoryName, upload: str, chunk: Chunk) -> Progress:
    """Receive bytes at the end of an upload; a body that breaks off leaves the upload where it was.

    Raises UploadUnknown, OutOfOrder, StorageFull.
    """
    before = await get_progress(registry, repository, upload)
    _require_order(before, chunk.start)
    written = await registry.store.write(upload, _bounded(registry, before, chunk), before.upload.algorithm)
    now = registry.clock.now()

    async def record(tx: Tx) -> Progress:
        # First, so that whoever else adds to this upload, or ends it, waits or sees it.
        await uploads.touch_upload(tx, upload, now)
        current = await _progress(tx, repository, upload)
        _require_order(current, before.end)
        if not written.size:
            return current
        piece = written.pieces[0]
        segment = SegmentRow(len(current.segments), current.end, piece.key, piece.size, written.digest)
        await uploads.add_segment(tx, upload, segment)
        return Progress(current.upload, (*current.segments, segment))

    after = await _transact(registry, record, [written], durable=False, isolated=False)
    if not written.size:
        await registry.store.delete(written.keys)
    return after


async def cancel_upload(registry: Registry, caller: Caller, repository: RepositoryName, upload: str) -> None:
    """Forget an upload and its bytes. Raises UploadUnknown."""
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        await _progress(tx, repository, upload)
        await _discard(tx, act, await uploads.remove_upload(tx, upload))

    await registry.database.transact(record)


async def finish_upload(
    registry: Registry, caller: Caller, upload: tuple[RepositoryName, str], digest: Digest, chunk: Chunk | None
) -> None:
    """Close an upload, with a last chunk or without; the blob is durable and known when this returns.

    Whoever repeats it, because the answer was lost, is told the same again for as long as the blob is promised to be
    kept. Raises UploadUnknown, OutOfOrder, DigestInvalid, StorageFull, Denied.
    """
    try:
        await _finish(registry, caller, upload, digest, chunk)
    except UploadUnknown:
        if not await _keep_again(registry, caller, upload[0], digest):
            raise
    await registry.policy.catch_up(upload[0].namespace)


async def _finish(
    registry: Registry, caller: Caller, upload: tuple[RepositoryName, str], digest: Digest, chunk: Chunk | None
) -> None:
    repository, upload_id = upload
    before = await get_progress(registry, repository, upload_id)
    mine: list[Written] = []
    try:
        if chunk is not None:
            _require_order(before, chunk.start)
            content = _bounded(registry, before, chunk)
            mine.append(await registry.store.write(upload_id, content, before.upload.algorithm))
        blob = await _assemble(registry, before, mine, digest)
        _require_match(blob, digest)
        await _settle(registry, caller, before, blob)
    except BaseException:
        await _drop(registry, mine)
        raise
    await _commit(registry, registry.act(caller), before, blob, mine)


async def _keep_again(registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest) -> bool:
    """Promise a blob anew that was pushed here a moment ago; False where it was not."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.PUSH, repository)

    async def record(tx: Tx) -> bool:
        known = await repositories.find_repository_id(tx, repository)
        if known is None or not await pins.has_pin(tx, known, digest, "upload", act.now):
            return False
        is_there = await blobs.find_state(tx, digest) == "good"
        if is_there and await repositories.has_member(tx, known, digest, "blob"):
            await _keep(tx, act, known, digest)
            return True
        return False

    return await registry.database.transact(record)


async def push_blob(
    registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest, content: Pours
) -> None:
    """A whole blob in one request. Raises DigestInvalid, StorageFull, Denied."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.PUSH, repository)
    # While the database is away nobody is asked for bytes that could not be named, and would stay as garbage.
    await registry.database.read(lambda tx: blobs.find_state(tx, digest))
    written = await registry.store.write(secrets.token_hex(16), content, digest.algorithm)
    try:
        _require_match(written, digest)
        await registry.store.settle(written.keys)
    except BaseException:
        await _drop(registry, [written])
        raise
    await _transact(registry, lambda tx: _name(tx, act, repository, written), [written])
    await registry.policy.catch_up(repository.namespace)


async def mount_blob(
    registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest, source: RepositoryName | None
) -> bool:
    """Make a blob that the caller may pull elsewhere known here too; False where that cannot be done.

    Without `source`, any repository that the caller may pull from will do. Raises Denied.
    """
    act = registry.act(caller)
    require(caller, act.snapshot, Action.PUSH, repository)

    async def record(tx: Tx) -> bool:
        if await blobs.find_state(tx, digest) != "good":
            return False
        homes = [source] if source else await repositories.find_home(tx, digest, 100)
        for home in homes:
            if await _may_mount(tx, act, RepositoryName(home), digest):
                known = await open_repository(tx, act, repository)
                await _keep(tx, act, known, digest)
                return True
        return False

    is_mounted = await registry.database.transact(record)
    if is_mounted:
        await registry.policy.catch_up(repository.namespace)
    return is_mounted


async def _may_mount(tx: Tx, act: Act, home: RepositoryName, digest: Digest) -> bool:
    # Looked for before it is judged: what is hidden is answered no sooner than what is not there.
    known = await repositories.find_repository_id(tx, home)
    if known is None or not may(act.caller, act.snapshot, Action.PULL, home):
        return False
    return await repositories.has_member(tx, known, digest, "blob")


async def _progress(tx: Tx, repository: RepositoryName, upload: str) -> Progress:
    found = await uploads.find_upload(tx, upload, repository)
    if found is None:
        raise UploadUnknown("no such upload: it was finished, cancelled or has expired; start again", upload=upload)
    row, segments = found
    return Progress(row, tuple(segments))


def _require_order(progress: Progress, start: int | None) -> None:
    if start is not None and start != progress.end:
        raise OutOfOrder("the chunk does not begin where the upload ends", expected=progress.end, got=start)


def _bounded(registry: Registry, before: Progress, chunk: Chunk) -> Pours:
    limit = registry.rules.blob_bytes
    return _Bounded(chunk.content, limit, before.end) if limit else chunk.content


class _Bounded:
    """A stream, poured or not, that together with what has come before may not exceed a limit."""

    def __init__(self, content: Pours, limit: int, total: int) -> None:
        self._content = content
        self._limit = limit
        self._total = total

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._content:
            self._count([piece])
            yield piece

    async def pour(self, consume: Consume) -> list[bytes] | None:
        def count(pieces: Sequence[Buffer]) -> None:
            self._count(pieces)
            consume(pieces)

        rest = await self._content.pour(count)
        self._count(rest or [])
        return rest

    def _count(self, pieces: Sequence[Buffer]) -> None:
        self._total += sum(map(len, pieces))
        if self._total > self._limit:
            raise TooLarge(f"the blob is larger than the limit of {self._limit} bytes", limit=self._limit)


class _Nothing:
    """A stream without a byte."""

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


async def _assemble(registry: Registry, before: Progress, mine: list[Written], digest: Digest) -> Written:
    parts = [segment.as_written() for segment in before.segments] + [written for written in mine if written.size]
    is_whole = len(parts) == 1 and before.upload.algorithm == digest.algorithm
    if is_whole and _is_certain(registry, parts[0].keys):
        return parts[0]
    keys = [key for part in parts for key in part.keys]
    if keys:
        joined = await registry.store.join(before.upload.id, keys, digest.algorithm)
    else:
        # Not even nothing may lie nowhere; a store that joins without writing would name no place for it.
        joined = await registry.store.write(before.upload.id, _Nothing(), digest.algorithm)
    mine.append(joined)
    return joined


def _require_match(blob: Written, digest: Digest) -> None:
    if blob.digest != digest:
        raise DigestInvalid("the bytes received do not match the digest", want=digest, got=blob.digest)


def _is_certain(registry: Registry, keys: list[str]) -> bool:
    # 202 promises nothing about loss of power: what a restart lies between is read again and proved.
    forgets = registry.abilities.forgets
    return forgets is None or all(forgets.is_certain(key) for key in keys)


async def _settle(registry: Registry, caller: Caller, before: Progress, blob: Written) -> None:
    try:
        await registry.store.settle(blob.keys)
    except Unavailable:
        # After a sync that failed, a second one of the same file may succeed without the bytes (the kernel has
        # marked them clean): no retry may finish this upload. A new one writes new files.
        with suppress(EntrepotError):
            await cancel_upload(registry, caller, RepositoryName(before.upload.repository), before.upload.id)
        raise


async def _commit(registry: Registry, act: Act, before: Progress, blob: Written, mine: list[Written]) -> None:
    repository = RepositoryName(before.upload.repository)

    async def record(tx: Tx) -> None:
        current = await _progress(tx, repository, before.upload.id)
        _require_order(current, before.end)
        await _name(tx, act, repository, blob)
        left = await uploads.remove_upload(tx, before.upload.id)
        left += [key for written in mine for key in written.keys]
        await _discard(tx, act, [key for key in left if key not in blob.keys])

    await _transact(registry, record, mine)


async def _transact(registry: Registry, work: Work[T], written: list[Written], **how: bool) -> T:
    """Name what was written, or drop it where it is certain that it was not named.

    A cancelled wait or a lost connection leaves that open: then the bytes stay, as garbage at worst.
    """
    try:
        return await registry.database.transact(work, **how)
    except EntrepotError as error:
        if isinstance(error, StorageFull) or not isinstance(error, Unavailable):
            await _drop(registry, written)
        raise


async def _drop(registry: Registry, written: list[Written]) -> None:
    await registry.store.delete([key for each in written for key in each.keys])


async def _name(tx: Tx, act: Act, repository: RepositoryName, blob: Written) -> None:
    known = await open_repository(tx, act, repository)
    state = await blobs.find_state(tx, blob.digest)
    if state is None:
        await blobs.add_blob(tx, blob.digest, blob.pieces, act.now)
    elif state == "good":
        await _discard(tx, act, blob.keys)
    else:
        await _discard(tx, act, await blobs.replace_locations(tx, blob.digest, blob.pieces))
        await events.add_event(tx, Event("blob.healed", act.actor, blob.digest), act.now, act.by)
    if state != "good" and len(blob.pieces) > 1 and blob.size <= MOST_JOINED_BYTES:
        await jobs.add_job(tx, JOIN, blob.digest, blob.digest, act.now)
    await _keep(tx, act, known, blob.digest)


async def _keep(tx: Tx, act: Act, repository: int, digest: Digest) -> None:
    await repositories.put_member(tx, repository, digest, "blob", act.now)
    until = act.now + act.rules.promise_seconds * SECOND
    await pins.put_pin(tx, repository, digest, ("upload", ""), until)


async def _discard(tx: Tx, act: Act, keys: list[str]) -> None:
    # The grace lets a server that was handed the path of a file open it before the file goes.
    if keys:
        await jobs.add_job(tx, DISCARD, keys[0], keys, act.now + act.rules.discard_seconds * SECOND)


async def expire_uploads(registry: Registry) -> int:
    """Forget uploads that nobody has touched for `upload_seconds`; how many there were."""
    act = registry.act(ANONYMOUS)
    before = act.now - act.rules.upload_seconds * SECOND

    async def record(tx: Tx) -> int:
        stale = await uploads.list_stale_uploads(tx, before, EXPIRY_BATCH)
        for upload in stale:
            await _discard(tx, act, await uploads.remove_upload(tx, upload))
        return len(stale)

    total = 0
    while expired := await registry.database.transact(record):
        total += expired
    return total
