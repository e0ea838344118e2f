"""Looking whether anybody has touched the audit log: every record, every chain, every archived part, every root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from entrepot.core.audit_archive import REMOVED, Summary, is_whole, read_segment, summary_of
from entrepot.core.audit_key import fingerprint_of
from entrepot.core.audit_seal import LATE_SECONDS, document_of, problem_of_root
from entrepot.core.registry import SECOND, Registry
from entrepot.domain.audit import (
    DAY,
    Category,
    Finding,
    Head,
    Heads,
    Linked,
    Run,
    Runs,
    check_chain,
    problem_of,
    summary_hash,
)
from entrepot.domain.errors import Unavailable
from entrepot.metadata import audit_records, audit_roots, audit_segments
from entrepot.metadata.audit_records import ChainRow
from entrepot.metadata.audit_roots import RootRow
from entrepot.metadata.audit_segments import SegmentRow

PAGE: Final = 1_000
MOST_FINDINGS: Final = 100
MOST_TRIES: Final = 3
# How long sealing may be behind before somebody should look.
STALE_SECONDS: Final = 600
ROOT: Final = "root"
SEGMENT: Final = "segment"

Notice = Callable[[int], None]


class Report(msgspec.Struct):
    """What was looked at and what was found. `keys` are fingerprints of the keys that signed roots, in their order."""

    records: int = 0
    chains: int = 0
    segments: int = 0
    removed: int = 0
    roots: int = 0
    sealed_at: int = 0
    last_root: str = ""
    keys: list[str] = []
    found: int = 0
    findings: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """One more finding; of very many the first are told."""
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)


async def verify(registry: Registry, notice: Notice = lambda _: None, known: tuple[int, str] | None = None) -> Report:
    """Look at everything, beside a live registry. `known` is the (number, hash) of a root that was kept elsewhere.

    Raises Unavailable.
    """
    for _ in range(MOST_TRIES):
        last = await registry.database.read(audit_segments.find_last_change)
        report = await _Verification(registry, notice).run(known)
        if last == await registry.database.read(audit_segments.find_last_change):
            return report
    raise Unavailable("days are being archived or removed while this looks at them; try again in a few minutes")


class _Verification:
    """One walk over all there is."""

    def __init__(self, registry: Registry, notice: Notice) -> None:
        self._registry = registry
        self._database = registry.database
        self._notice = notice
        self._report = Report()
        self._now = registry.clock.now()
        # What is signed, by all roots: an older one is not made void by signing another in its place.
        self._heads: dict[str, Heads] = {}
        self._segments: dict[int, tuple[int, str]] = {}
        self._ends: dict[str, Head] = {}
        self._unsealed_at = self._now
        self._removals: set[str] = set()
        self._runs: dict[str, list[Run]] = {}

    async def run(self, known: tuple[int, str] | None) -> Report:
        # Before the roots: what is sealed meanwhile is in one of them.
        rows = await self._read_chains()
        await self._look_at_roots(known)
        for row in rows:
            self._look_at_end(row)
        await self._look_at_records()
        await self._look_at_segments()
        await self._look_at_chains({row.head.chain: row.head for row in await self._read_chains()})
        await self._look_at_late_ones()
        return self._report

    async def _look_at_roots(self, known: tuple[int, str] | None) -> None:
        before: RootRow | None = None
        while page := await self._database.read(
            lambda tx: audit_roots.list_roots(tx, before.number if before else 0, PAGE)  # noqa: B023
        ):
            for row in page:
                self._look_at_root(row, before, known)
                before = row
            await asyncio.sleep(0)
        if before is not None:
            self._report.sealed_at, self._report.last_root = before.at, before.hash
        if known is not None and (before is None or before.number < known[0]):
            self._find(ROOT, known[0], 0, "the root that was kept elsewhere is gone, with all that came after it")

    def _look_at_root(self, row: RootRow, before: RootRow | None, known: tuple[int, str] | None) -> None:
        self._report.roots += 1
        problem = problem_of_root(row, before)
        if not problem and known and known[0] == row.number and known[1] != row.hash:
            problem = "it is not the root that was kept elsewhere"
        if problem:
            self._find(ROOT, row.number, row.at, problem)
            return
        print_of_key = fingerprint_of(row.key)
        if not self._report.keys or self._report.keys[-1] != print_of_key:
            self._report.keys.append(print_of_key)
        root = document_of(row)
        for segment, digest in root.segments:
            if self._segments.setdefault(segment, (row.at, digest))[1] != digest:
                self._find(SEGMENT, segment, row.at, "an older root says something else of this archived part")
        for chain, sequence, digest in root.heads:
            if not self._heads.setdefault(chain, Heads()).add(sequence, digest):
                self._find(chain, sequence, row.at, "an older root says something else of this chain")

    def _look_at_end(self, row: ChainRow) -> None:
        head = self._ends[row.head.chain] = row.head
        if self._is_other_than_sealed(head):
            self._find(head.chain, head.sequence, 0, "the end that is known of the chain is not the one sealed")
        if row.sealed > self._sealed_of(head.chain):
            self._find(head.chain, row.sealed, 0, "no root has what is said to be sealed of the chain")

    def _sealed_of(self, chain: str) -> int:
        return self._heads[chain].last if chain in self._heads else 0

    def _is_other_than_sealed(self, head: Head) -> bool:
        return head.chain in self._heads and self._heads[head.chain].is_other(head.sequence, head.hash)

    async def _read_chains(self) -> list[ChainRow]:
        found: list[ChainRow] = []
        after = ""
        while page := await self._database.read(lambda tx: audit_records.list_chains(tx, after, PAGE)):  # noqa: B023
            found += page
            after = page[-1].head.chain
        return found

    async def _look_at_records(self) -> None:
        runs, after = Runs(), ("", 0)
        while page := await self._database.read(lambda tx: audit_records.list_links(tx, after, PAGE)):  # noqa: B023
            for each in page:
                self._look_at_record(each)
                runs.add(each)
            after = page[-1].chain, page[-1].sequence
            self._notice(len(page))
            # Pulls beside this go on.
            await asyncio.sleep(0)
        self._add_runs(runs.runs)

    def _look_at_record(self, each: Linked) -> None:
        self._report.records += 1
        problem = problem_of(each)
        head = Head(each.chain, each.sequence, each.hash)
        end = self._ends.get(each.chain, head)
        if not problem and self._is_other_than_sealed(head):
            problem = "it is not the record that was sealed in this place"
        elif not problem and end.sequence == each.sequence and end.hash != each.hash:
            problem = "it is not the record that its chain ends with"
        if problem:
            self._find(each.chain, each.sequence, each.record.at, problem)
        if each.sequence > self._sealed_of(each.chain):
            self._unsealed_at = min(self._unsealed_at, each.record.at)
        if (each.record.category, each.record.action) == (Category.AUDIT, REMOVED):
            self._removals.add(each.record.subject)

    async def _look_at_segments(self) -> None:
        after, rows = 0, list[SegmentRow]()
        while page := await self._database.read(lambda tx: audit_segments.list_all_segments(tx, after, PAGE)):  # noqa: B023
            rows += page
            after = page[-1].id
        for row in rows:
            await self._look_at_segment(row)
        for missing in sorted(self._segments.keys() - {row.id for row in rows}):
            self._find(SEGMENT, missing, 0, "an archived part of the log is gone, with what was known of it")
        # After all were read: the record of a removal may be archived itself.
        for row in rows:
            self._look_at_removal(row)

    async def _look_at_segment(self, row: SegmentRow) -> None:
        self._report.segments += 1
        _, signed = self._segments.get(row.id, (0, ""))
        # One that was sealed since the roots were read is signed by a later one.
        is_signed = signed or 0 < row.sealed <= self._report.roots
        if is_signed and signed != summary_hash(row.new.day, row.new.digest, row.new.summary):
            self._find(SEGMENT, row.id, row.new.day * DAY, "what is known of this archived part is not what was signed")
        try:
            summary = summary_of(row)
            self._add_runs(summary.runs)
            if row.removed_at is None:
                await self._look_at_archived(row)
            else:
                self._look_at_removed(summary)
        except (Unavailable, msgspec.MsgspecError) as error:
            self._find(SEGMENT, row.id, row.new.day * DAY, str(error))

    async def _look_at_archived(self, row: SegmentRow) -> None:
        records = await read_segment(self._registry, row)
        for each in records:
            self._look_at_record(each)
        self._notice(len(records))
        if not is_whole(row, records):
            self._find(SEGMENT, row.id, row.new.day * DAY, "the archived records are not those that were written")

    def _look_at_removed(self, summary: Summary) -> None:
        for run in summary.runs:
            if self._is_other_than_sealed(Head(run.chain, run.last, run.hash)):
                self._find(run.chain, run.last, 0, "the removed records up to here are not those that were sealed")

    def _look_at_removal(self, row: SegmentRow) -> None:
        if row.removed_at is None:
            return
        self._report.removed += 1
        if problem := self._problem_of_removal(row, row.removed_at):
            self._find(SEGMENT, row.id, row.removed_at, problem)

    def _problem_of_removal(self, row: SegmentRow, removed_at: int) -> str:
        # Anybody with access to the database can write when it was removed, and a record that tells of it: what cannot
        # be made is a signed summary, which has the day.
        keep, day = self._registry.rules.audit_keep_days, removed_at // DAY
        if row.id not in self._segments:
            return "it was removed, and no root holds what was known of it"
        signed_at, _ = self._segments[row.id]
        if not signed_at <= removed_at <= self._registry.clock.now() + STALE_SECONDS * SECOND:
            return "it was removed at a time at which it cannot have been"
        if not keep or row.new.day + keep >= day:
            return "it was removed before its time: audit.keep_days had not passed"
        # The record of a removal has its time too.
        is_long_ago = day <= self._now // DAY - keep
        return "" if is_long_ago or str(row.id) in self._removals else "it was removed, and no record tells of that"

    async def _look_at_chains(self, after: dict[str, Head]) -> None:
        before = self._ends
        chains = sorted(before.keys() | self._runs.keys() | self._heads.keys())
        self._report.chains = len(chains)
        for chain in chains:
            start, most = before.get(chain, Head(chain)), after.get(chain, Head(chain)).sequence
            sealed = self._sealed_of(chain)
            if most < sealed:
                self._find(chain, most + 1, 0, "the end of the chain was set back behind what is sealed")
                most = sealed
            head = Head(chain, max(start.sequence, sealed))
            for finding in check_chain(head, most, self._runs.get(chain, [])):
                self._report.add(finding)

    async def _look_at_late_ones(self) -> None:
        before = self._now - STALE_SECONDS * SECOND
        late = await self._database.read(
            lambda tx: audit_records.count_unlinked(tx, self._now - 6 * LATE_SECONDS * SECOND, PAGE)
        )
        if late:
            self._find("", 0, before, f"{late} records have no chain yet: does a server or a job process run?")
        if self._unsealed_at < before and self._report.sealed_at < before:
            self._find(
                ROOT, self._report.roots, self._report.sealed_at, "nothing was sealed since: does a job process run?"
            )

    def _add_runs(self, runs: list[Run] | tuple[Run, ...]) -> None:
        for run in runs:
            self._runs.setdefault(run.chain, []).append(run)

    def _find(self, chain: str, sequence: int, at: int, problem: str) -> None:
        self._report.add(Finding(chain, sequence, at, problem))
