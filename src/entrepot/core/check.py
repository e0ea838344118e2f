"""Checking that what is named is there: beside a live server, by pages, in bounded memory.

What a shallow check finds it reports. A deep one also reads every byte, and takes blobs whose bytes are not
what their digest says out of service (quarantine), so that nobody is served them and a new push heals them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Literal, TypeVar

import msgspec

from entrepot.core.registry import Registry
from entrepot.domain.audit import SYSTEM
from entrepot.domain.digests import Digest, digest_of, new_hash
from entrepot.domain.errors import (
    BlobUnknown,
    Damaged,
    ManifestInvalid,
    Unavailable,
)
from entrepot.domain.events import Event
from entrepot.domain.manifest import parse_manifest
from entrepot.metadata import audit, audit_segments, blobs, events, repositories
from entrepot.metadata.audit import AuditedBlob, AuditedMember
from entrepot.ports.database import Tx
from entrepot.ports.store import ListsKeys

PAGE: Final = 500
MOST_LISTED: Final = 10_000
HOMES: Final = 5
ACTOR: Final = "entrepot check"

Kind = Literal[
    "tag.dangling",
    "member.dangling",
    "manifest.incomplete",
    "manifest.damaged",
    "blob.unlocated",
    "blob.missing",
    "blob.short",
    "blob.damaged",
    "blob.unreadable",
]
Notice = Callable[[str, int], None]
K = TypeVar("K")
R = TypeVar("R")
Query = Callable[[Tx, K, int], Coroutine[Any, Any, list[R]]]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something named that is not there, or not as it was pushed. `repositories` are some of those that know it."""

    kind: Kind
    subject: str
    problem: str
    repositories: list[str] = []
    quarantined: bool = False


class Keys(msgspec.Struct):
    """What lies in the store, by who names it: information, since bytes without a name harm nobody."""

    held: int = 0
    uploading: int = 0
    unreferenced: int = 0


class Report(msgspec.Struct):
    """What a check saw. `findings` beyond the first 10,000 are only counted."""

    is_deep: bool
    tags: int = 0
    members: int = 0
    manifests: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    found: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)
    healed: list[str] = msgspec.field(default_factory=list)
    keys: Keys | None = None

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < MOST_LISTED:
            self.findings.append(finding)


async def check(registry: Registry, *, is_deep: bool, notice: Notice) -> Report:
    """Look at everything that is named; `notice` hears of ("bytes", n) read and ("blobs", n) looked at.

    Raises Unavailable when the database cannot be reached.
    """
    report = Report(is_deep)
    await _check_tags(registry, report)
    await _check_members(registry, report)
    await _check_manifests(registry, report)
    await _check_blobs(registry, report, notice)
    if registry.abilities.keys is not None:
        report.keys = await _count_keys(registry, registry.abilities.keys)
    return report


async def total_bytes(registry: Registry) -> int:
    """How much a deep check is going to read."""
    return await registry.database.read(audit.sum_blobs)


async def _check_tags(registry: Registry, report: Report) -> None:
    async for page in _pages(registry, audit.list_tags, (0, ""), lambda tag: (tag.repository, tag.name)):
        report.tags += len(page)
        for tag in page:
            if not tag.has_manifest or not tag.has_member:
                what = "is not there" if not tag.has_manifest else "is not live in its repository"
                subject = f"{tag.repository_name}:{tag.name}"
                report.add(Finding("tag.dangling", subject, f"points at {tag.digest}, which {what}"))


async def _check_members(registry: Registry, report: Report) -> None:
    start = (0, "", "")
    async for page in _pages(registry, audit.list_members, start, lambda row: (row.repository, row.digest, row.kind)):
        report.members += len(page)
        for member in page:
            subject = f"{member.repository_name}@{member.digest}"
            if not member.has_content:
                report.add(Finding("member.dangling", subject, f"known as a {member.kind} that is not there"))
            elif missing := await _missing(registry, member):
                problem = f"needs content that its repository does not know: {', '.join(missing)}"
                report.add(Finding("manifest.incomplete", subject, problem))


async def _missing(registry: Registry, member: AuditedMember) -> list[str]:
    async def look(tx: Tx) -> tuple[list[str], tuple[str, bytes] | None]:
        unknown = await audit.list_unknown_children(tx, member.repository, member.digest)
        return unknown, await audit.find_raw(tx, member.digest) if unknown else None

    if member.kind != "manifest":
        return []
    unknown, stored = await registry.database.read(look)
    if stored is None:
        return []
    try:
        manifest = parse_manifest(*stored, optional=registry.rules.optional_edges)
    except ManifestInvalid:
        return unknown
    needed = {edge.digest for edge in manifest.edges if not edge.is_optional}
    return [child for child in unknown if child in needed]


async def _check_manifests(registry: Registry, report: Report) -> None:
    async for page in _pages(registry, audit.list_manifests, "", str):
        report.manifests += len(page)
        for digest in page if report.is_deep else ():
            problem = await _prove_manifest(registry, Digest(digest))
            if problem:
                report.add(Finding("manifest.damaged", digest, problem, await _homes(registry, Digest(digest))))


async def _prove_manifest(registry: Registry, digest: Digest) -> str:
    stored = await registry.database.read(lambda tx: audit.find_raw(tx, digest))
    if stored is None:
        return ""
    media_type, raw = stored
    found = digest_of(raw, digest.algorithm)
    if found != digest:
        return f"its bytes have the digest {found}"
    try:
        manifest = parse_manifest(media_type, raw, algorithm=digest.algorithm)
    except ManifestInvalid:
        # Accepted by the rules of another version: its edges cannot be told again.
        return ""
    known = await registry.database.read(lambda tx: audit.list_children(tx, digest))
    lost = [edge.digest for edge in manifest.edges if (str(edge.digest), str(edge.kind)) not in known]
    return f"the graph lacks its edges to {', '.join(lost)}" if lost else ""


async def _check_blobs(registry: Registry, report: Report, notice: Notice) -> None:
    async for page in _pages(registry, blobs.list_blobs, "", lambda row: str(row[0])):
        for digest, size, _ in page:
            report.blobs += 1
            report.blob_bytes += size
            await _check_blob(registry, report, digest, notice)
            notice("blobs", 1)


async def _check_blob(registry: Registry, report: Report, digest: Digest, notice: Notice) -> None:
    """Judge a blob as it is; one that was healed, moved or collected while it was read is judged again."""
    while blob := await registry.database.read(lambda tx: audit.find_blob(tx, digest)):
        kind, problem = await _examine(registry, digest, blob, notice if report.is_deep else None)
        if kind is None and blob.is_good:
            return
        is_certain = report.is_deep and kind != "blob.unreadable"
        if not await _settle_state(registry, digest, blob, problem if is_certain else None):
            continue
        if kind is None and is_certain:
            report.healed.append(digest)
            return
        if kind is None:
            kind, problem = "blob.damaged", "found damaged before and not served since; push its bytes again to heal it"
        homes = await _homes(registry, digest)
        report.add(Finding(kind, digest, problem, homes, quarantined=is_certain or not blob.is_good))
        return


async def _examine(
    registry: Registry, digest: Digest, blob: AuditedBlob, notice: Notice | None
) -> tuple[Kind | None, str]:
    if not blob.pieces:
        return "blob.unlocated", "nothing says where its bytes lie"
    held = sum(piece.size for piece in blob.pieces)
    if held != blob.size:
        return "blob.short", f"its locations hold {held} bytes of {blob.size}"
    return await _read(registry, digest, blob, notice)


async def _read(
    registry: Registry, digest: Digest, blob: AuditedBlob, notice: Notice | None
) -> tuple[Kind | None, str]:
    try:
        if notice is None:
            await _touch(registry, blob)
            return None, ""
        found = await _hash(registry, blob, digest.algorithm, notice)
    except Damaged as error:
        return "blob.short", f"{error.message}: {_places(blob)}"
    except BlobUnknown as error:
        return "blob.missing", f"{error.message}: {_places(blob)}"
    except Unavailable as error:
        return "blob.unreadable", f"{error.message} ({error.detail.get('reason', '')}): {_places(blob)}"
    return (None, "") if found == digest else ("blob.damaged", f"its bytes have the digest {found}: {_places(blob)}")


async def _touch(registry: Registry, blob: AuditedBlob) -> None:
    for piece in blob.pieces:
        async for _ in registry.store.read(piece.key, max(0, piece.size - 1), piece.size):
            pass


async def _hash(registry: Registry, blob: AuditedBlob, algorithm: str, notice: Notice) -> Digest:
    state = new_hash(algorithm)
    for piece in blob.pieces:
        async for chunk in registry.store.read(piece.key, 0, piece.size):
            state.update(chunk)
            notice("bytes", len(chunk))
    return Digest(f"{algorithm}:{state.hexdigest()}")


async def _settle_state(registry: Registry, digest: Digest, blob: AuditedBlob, problem: str | None) -> bool:
    """Put down what was found, if the blob is still the one that was read; whether it is.

    None for `problem` changes nothing, an empty one puts a blob back into service.
    """
    now = registry.clock.now()

    async def record(tx: Tx) -> bool:
        if await audit.find_blob(tx, digest) != blob:
            return False
        if problem and blob.is_good:
            await blobs.set_damaged(tx, digest)
            await events.add_event(tx, Event("blob.damaged", ACTOR, digest, {"problem": problem}), now, SYSTEM)
        elif problem == "" and not blob.is_good:
            await blobs.replace_locations(tx, digest, blob.pieces)
            await events.add_event(tx, Event("blob.healed", ACTOR, digest), now, SYSTEM)
        return True

    if problem is None:
        return await registry.database.read(lambda tx: audit.find_blob(tx, digest)) == blob
    return await registry.database.transact(record)


def _places(blob: AuditedBlob) -> str:
    return ", ".join(piece.key for piece in blob.pieces)


async def _homes(registry: Registry, digest: Digest) -> list[str]:
    return await registry.database.read(lambda tx: repositories.find_home(tx, digest, HOMES))


async def _count_keys(registry: Registry, store: ListsKeys) -> Keys:
    """Sort what the store holds into named, being uploaded, and named by nobody.

    Names are read before the listing and, for what seems to have none, once more after it: what a push wrote
    and named meanwhile is not counted as left over. Of a name only its hash is held in memory.
    """
    named: set[int] = set()
    async for page in _named_keys(registry):
        named.update(hash(key) for key in page)
    counts = Keys()
    nameless: set[str] = set()
    async for key in store.keys():
        counts.held += 1
        if hash(key) not in named:
            nameless.add(key)
    del named
    uploads = await _list_uploads(registry) if nameless else set()
    if nameless:
        async for page in _named_keys(registry):
            nameless.difference_update(page)
    counts.uploading = sum(_prefix(key) in uploads for key in nameless)
    counts.unreferenced = len(nameless) - counts.uploading
    return counts


def _prefix(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


async def _list_uploads(registry: Registry) -> set[str]:
    return {upload async for page in _pages(registry, audit.list_uploads, "", str) for upload in page}


async def _named_keys(registry: Registry) -> AsyncIterator[list[str]]:
    for query in (audit.list_location_keys, audit.list_segment_keys):
        async for rows in _pages(registry, query, ("", -1), lambda row: (row[0], row[1])):
            yield [row[2] for row in rows]
    async for parts in _pages(registry, audit_segments.list_segment_pieces, 0, lambda part: part[0]):
        yield [key for _, pieces in parts for key, _ in msgspec.json.decode(pieces, type=list[tuple[str, int]])]
    async for jobs in _pages(registry, audit.list_discards, 0, lambda job: job[0]):
        for _, payload in jobs:
            yield msgspec.json.decode(payload, type=list[str])


async def _pages(registry: Registry, query: Query[K, R], start: K, key: Callable[[R], K]) -> AsyncIterator[list[R]]:
    after = start

    async def look(tx: Tx) -> list[R]:
        return await query(tx, after, PAGE)

    while page := await registry.database.read(look):
        yield page
        after = key(page[-1])
