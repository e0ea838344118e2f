"""Checking that what is named is there, and whole: beside a live server, by pages, in bounded memory; and mending it.

What a shallow check finds it reports. A deep one also reads every byte, and takes blobs whose bytes are not
what their digest says out of service (quarantine), so that nobody is served them and a new push heals them.
A repair looks for the right bytes elsewhere: in files that nothing names, then in the sources it is given. What a
repository ought to know and does not it links again, to what lies in the store or is found in the same way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from entrepot.core.heal import Remedy, find_remedy, heal
from entrepot.core.heal_manifest import Damage, find_manifest_remedy, heal_manifest, prove_manifest
from entrepot.core.judge import BlobKind, Judged, Pace, judge
from entrepot.core.orphans import Keys, Orphans, find_orphans
from entrepot.core.pages import pages
from entrepot.core.registry import Registry
from entrepot.core.relink import Lost, find_links, relink
from entrepot.domain.digests import Digest
from entrepot.domain.errors import ManifestInvalid
from entrepot.domain.manifest import parse_manifest
from entrepot.metadata import audit, integrity, repositories
from entrepot.metadata.audit import AuditedMember
from entrepot.metadata.integrity import DueBlob
from entrepot.metadata.repositories import MemberKind
from entrepot.ports.database import Tx
from entrepot.ports.source import Source

MOST_LISTED: Final = 10_000
MOST_TAGS: Final = 100
HOMES: Final = 5
ACTOR: Final = "entrepot check"

Kind = Literal["tag.dangling", "member.dangling", "manifest.incomplete", "manifest.damaged"] | BlobKind
Notice = Callable[[str, int], None]


class How(msgspec.Struct, frozen=True):
    """What to look at and what to do about it.

    `share` of the blobs and manifests is read whole: 0 none, 1 all. Of them only those are that were verified before
    `verified_before` (microseconds). `at_once` blobs are looked at together. `only` names the subjects of an earlier
    report: nothing else is looked at, changed or deleted. `sources` may have the bytes of what is broken.
    """

    share: float = 0.0
    verified_before: int | None = None
    at_once: int = 4
    is_repair: bool = False
    only: frozenset[str] | None = None
    sources: Sequence[Source] = ()

    @property
    def is_deep(self) -> bool:
        """Whether everything is read whole, unless it was a short while ago."""
        return self.share >= 1


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something named that is not there, or not as it was pushed.

    `repositories` are some of those that know it, `tags` those that cannot be pulled whole, 100 at most. `remedy` is
    where its bytes, or what it lacks, seem to be; `refusals` say why they are not to be had elsewhere.
    """

    kind: Kind
    subject: str
    problem: str
    repositories: list[str] = []
    quarantined: bool = False
    tags: list[str] = []
    remedy: str = ""
    refusals: list[str] = []


class Repaired(msgspec.Struct, frozen=True):
    """What was put right: what was wrong with it, and where its bytes, or what it lacked, were taken from."""

    subject: str
    kind: Kind
    source: str


class Report(msgspec.Struct):
    """What a check saw. `findings` and `repaired` beyond the first 10,000 are only counted.

    `found` is what is still wrong, `mended` what a repair has put right; `blobs_read` were read whole.
    """

    is_deep: bool
    tags: int = 0
    members: int = 0
    manifests: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    blobs_read: int = 0
    bytes_read: int = 0
    found: int = 0
    mended: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)
    repaired: list[Repaired] = msgspec.field(default_factory=list)
    healed: list[str] = msgspec.field(default_factory=list)
    keys: Keys | None = None
    removable: list[str] = msgspec.field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < MOST_LISTED:
            self.findings.append(finding)

    def add_repaired(self, repaired: Repaired) -> None:
        """Note what was put right."""
        self.mended += 1
        if len(self.repaired) < MOST_LISTED:
            self.repaired.append(repaired)


async def check(registry: Registry, how: How, notice: Notice) -> Report:
    """Look at everything that is named; `notice` hears of ("bytes", n) read and ("blobs", n) looked at.

    Raises Unavailable when the database cannot be reached, StorageFull when a repair finds no room.
    """
    report = Report(how.is_deep)
    await _check_manifests(registry, report, how)
    stored = registry.abilities.stored
    orphans = await find_orphans(registry, stored) if stored is not None else None
    await _Blobs(registry, report, how, (notice, orphans)).check()
    # After the bytes, so that whatever is linked again is sound by then.
    await _Rows(registry, report, how, orphans).check()
    if orphans is not None:
        if how.is_repair:
            await orphans.remove(ACTOR, how.only)
        else:
            report.removable = orphans.list_removable(MOST_LISTED)
        report.keys = orphans.keys
    return report


async def total_bytes(registry: Registry) -> int:
    """How much a deep check is going to read."""
    return await registry.database.read(audit.sum_blobs)


class _Rows:
    """The walk over tags and over what repositories know."""

    def __init__(self, registry: Registry, report: Report, how: How, orphans: Orphans | None) -> None:
        self._registry = registry
        self._report = report
        self._how = how
        self._sources = [*([orphans] if orphans is not None else []), *how.sources]

    async def check(self) -> None:
        """Look at each row, or at those alone that an earlier report names."""
        only = self._how.only
        if only is None or any("/" in each and ":" in each for each in only):
            await self._check_tags()
            await self._check_members()

    def _is_chosen(self, subject: str) -> bool:
        return self._how.only is None or subject in self._how.only

    async def _check_tags(self) -> None:
        start = (0, "")
        async for page in pages(self._registry, audit.list_tags, start, lambda tag: (tag.repository, tag.name)):
            for tag in page:
                subject = f"{tag.repository_name}:{tag.name}"
                if not self._is_chosen(subject):
                    continue
                self._report.tags += 1
                if not tag.has_manifest or not tag.has_member:
                    what = "is not there" if not tag.has_manifest else "is not live in its repository"
                    finding = Finding("tag.dangling", subject, f"points at {tag.digest}, which {what}", tags=[subject])
                    lost = Lost(tag.repository, tag.repository_name, (Digest(tag.digest), "manifest"))
                    remedy = await self._find(lost)
                    self._tell(finding, remedy, is_whole=remedy.is_done)

    async def _check_members(self) -> None:
        def place(row: AuditedMember) -> tuple[int, str, str]:
            return row.repository, row.digest, row.kind

        async for page in pages(self._registry, audit.list_members, (0, "", ""), place):
            for member in page:
                if self._is_chosen(f"{member.repository_name}@{member.digest}"):
                    self._report.members += 1
                    await self._check_member(member)

    async def _check_member(self, member: AuditedMember) -> None:
        kind: MemberKind = "manifest" if member.kind == "manifest" else "blob"
        subject = f"{member.repository_name}@{member.digest}"
        lost = Lost(member.repository, member.repository_name, (Digest(member.digest), kind))
        if not member.has_content:
            finding = Finding("member.dangling", subject, f"known as a {member.kind} that is not there")
            finding = msgspec.structs.replace(finding, tags=await self._list_tags(lost))
            remedy = await self._find(lost)
            self._tell(finding, remedy, is_whole=remedy.is_done)
            if not remedy.is_done:
                return
        if not (missing := await _missing(self._registry, member)):
            return
        remedy, tags = await self._find(lost), await self._list_tags(lost)
        left = await _missing(self._registry, member) if remedy.is_done else missing
        problem = f"needs content that its repository does not know: {', '.join(left or missing)}"
        self._tell(Finding("manifest.incomplete", subject, problem, tags=tags), remedy, is_whole=not left)

    async def _find(self, lost: Lost) -> Remedy:
        if self._how.is_repair:
            return await relink(self._registry, ACTOR, lost, self._sources)
        return await find_links(self._registry, lost, self._sources)

    async def _list_tags(self, lost: Lost) -> list[str]:
        digest = lost.content[0]
        look = partial(integrity.list_tags_above, repository=lost.repository, digest=digest, limit=MOST_TAGS)
        return [f"{lost.name}:{tag}" for tag in await self._registry.database.read(look)]

    def _tell(self, finding: Finding, remedy: Remedy, *, is_whole: bool) -> None:
        if is_whole:
            self._report.add_repaired(Repaired(finding.subject, finding.kind, remedy.source))
            return
        refusals = [each for each in remedy.refusals if not each.startswith(Orphans.name)]
        remedied = "" if self._how.is_repair else remedy.source
        self._report.add(msgspec.structs.replace(finding, remedy=remedied, refusals=refusals))


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


async def _check_manifests(registry: Registry, report: Report, how: How) -> None:
    async for digest in _list_manifests(registry, how.only):
        report.manifests += 1
        is_chosen = _is_chosen(how.share)
        while is_chosen and (damage := await prove_manifest(registry, digest)):
            if await _treat_manifest(registry, report, how, damage):
                break


async def _list_manifests(registry: Registry, only: frozenset[str] | None) -> AsyncIterator[Digest]:
    if only is None:
        async for page in pages(registry, audit.list_manifests, "", str):
            for digest in page:
                yield Digest(digest)
        return
    for digest in _list_digests(only):
        if await registry.database.read(partial(audit.find_raw, digest=digest)) is not None:
            yield Digest(digest)


def _list_digests(only: frozenset[str]) -> list[str]:
    # Repositories and keys have slashes.
    return sorted(each for each in only if ":" in each and "/" not in each)


async def _treat_manifest(registry: Registry, report: Report, how: How, damage: Damage) -> bool:
    """Mend a manifest, or tell of it; False where somebody has changed it meanwhile."""
    if how.is_repair:
        remedy = await heal_manifest(registry, ACTOR, damage, how.sources)
        if remedy.source:
            if remedy.is_done:
                report.add_repaired(Repaired(damage.digest, "manifest.damaged", remedy.source))
            return remedy.is_done
    else:
        remedy, _ = await find_manifest_remedy(registry, damage, how.sources)
    tags = await registry.database.read(lambda tx: integrity.list_broken_tags(tx, damage.digest, MOST_TAGS))
    whole = Finding(
        "manifest.damaged", damage.digest, damage.problem, await _homes(registry, damage.digest, "manifest")
    )
    refusals = list(remedy.refusals)
    report.add(msgspec.structs.replace(whole, tags=tags, remedy=remedy.source, refusals=refusals))
    return True


def _is_chosen(share: float) -> bool:
    return share >= 1 or random.random() < share  # noqa: S311 - which ones are looked at is no secret


class _Blobs:
    """The walk over all blobs, several at once; memory is that of a page."""

    def __init__(self, registry: Registry, report: Report, how: How, rest: tuple[Notice, Orphans | None]) -> None:
        self._registry = registry
        self._report = report
        self._how = how
        self._notice, orphans = rest
        self._sources = [*([orphans] if orphans is not None else []), *how.sources]
        self._verified: list[Digest] = []

    async def check(self) -> None:
        """Look at each blob, and mend what is broken if that is wanted."""
        if self._how.only is not None:
            await self._check_page([DueBlob(Digest(each), 0, 0) for each in _list_digests(self._how.only)])
            return
        async for page in pages(self._registry, integrity.list_blobs_by_digest, "", lambda row: str(row.digest)):
            await self._check_page(page)

    async def _check_page(self, page: list[DueBlob]) -> None:
        turns = iter(page)
        workers = [asyncio.ensure_future(self._take_turns(turns)) for _ in range(self._how.at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await self._note_verified()

    async def _take_turns(self, turns: Iterator[DueBlob]) -> None:
        for blob in turns:
            await self._check_blob(blob)
            self._notice("blobs", 1)

    async def _check_blob(self, blob: DueBlob) -> None:
        report, how = self._report, self._how
        is_due = how.verified_before is None or blob.verified_at < how.verified_before
        pace: Pace | None = self._pace if is_due and _is_chosen(how.share) else None
        while judged := await judge(self._registry, blob.digest, ACTOR, pace):
            if judged.kind is None or await self._treat(blob.digest, judged.kind, judged):
                break
        if judged is None:
            return
        report.blobs += 1
        report.blob_bytes += judged.blob.size
        report.blobs_read += pace is not None
        if judged.kind is None and pace is not None:
            self._verified.append(blob.digest)
        if judged.is_revived:
            report.healed.append(blob.digest)

    async def _treat(self, digest: Digest, kind: Kind, judged: Judged) -> bool:
        """Mend what is broken, or tell of it; False where somebody has changed it meanwhile: it is judged again."""
        remedy = Remedy()
        if self._how.is_repair:
            remedy = await heal(self._registry, (digest, ACTOR), judged.blob, self._sources)
            if remedy.source:
                if remedy.is_done:
                    self._report.add_repaired(Repaired(digest, kind, remedy.source))
                return remedy.is_done
        elif self._sources:
            remedy = await find_remedy(self._registry, digest, judged.blob, self._sources)
        tags = await self._registry.database.read(lambda tx: integrity.list_broken_tags(tx, digest, MOST_TAGS))
        homes = await _homes(self._registry, digest)
        # That no file without a name has them is the usual case.
        refusals = [each for each in remedy.refusals if not each.startswith(Orphans.name)]
        self._report.add(Finding(kind, digest, judged.problem, homes, judged.is_aside, tags, remedy.source, refusals))
        return True

    async def _pace(self, amount: int) -> None:
        self._report.bytes_read += amount
        self._notice("bytes", amount)

    async def _note_verified(self) -> None:
        # So that a check that was broken off goes on where it was, and the scrub does not read the same again.
        verified, self._verified = self._verified, []
        if verified:
            now = self._registry.clock.now()
            await self._registry.database.transact(lambda tx: integrity.set_verified(tx, verified, now))


async def _homes(registry: Registry, digest: Digest, kind: MemberKind = "blob") -> list[str]:
    return await registry.database.read(lambda tx: repositories.find_home(tx, digest, HOMES, kind))
