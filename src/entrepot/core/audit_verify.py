"""Looking whether anybody has touched the audit log: every record, every chain, every archived part, every root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from entrepot.core.audit_archive import REMOVED, read_segment, summary_of
from entrepot.core.audit_key import fingerprint_of
from entrepot.core.audit_seal import LATE_SECONDS, document_of, problem_of_root
from entrepot.core.registry import SECOND, Registry
from entrepot.domain.audit import (
    DAY,
    Category,
    Finding,
    Head,
    Linked,
    Run,
    Runs,
    check_chain,
    problem_of,
    runs_of,
    summary_hash,
)
from entrepot.domain.errors import Unavailable
from entrepot.metadata import audit_records, audit_roots, audit_segments
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
        last = await registry.database.read(audit_segments.find_last_segment)
        report = await _Verification(registry, notice).run(known)
        if last == await registry.database.read(audit_segments.find_last_segment):
            return report
    raise Unavailable("days are being archived while this looks at them; try again in a few minutes")


class _Verification:
    """One walk over all there is."""

    def __init__(self, registry: Registry, notice: Notice) -> None:
        self._registry = registry
        self._database = registry.database
        self._notice = notice
        self._report = Report()
        self._now = registry.clock.now()
        # What a record must hash to, because a root or the end of a chain says so.
        self._heads: dict[str, dict[int, str]] = {}
        self._sealed: dict[str, int] = {}
        self._segments: dict[int, str] = {}
        self._removals: set[str] = set()
        self._runs: dict[str, list[Run]] = {}

    async def run(self, known: tuple[int, str] | None) -> Report:
        await self._look_at_roots(known)
        ends = await self._ends()
        for head in ends.values():
            self._heads.setdefault(head.chain, {})[head.sequence] = head.hash
        await self._look_at_records()
        await self._look_at_segments()
        await self._look_at_chains(ends, await self._ends())
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
        self._segments.update(root.segments)
        for chain, sequence, digest in root.heads:
            # The last one of a chain vouches for all before it.
            self._heads[chain] = {sequence: digest}
            self._sealed[chain] = sequence

    async def _ends(self) -> dict[str, Head]:
        found: dict[str, Head] = {}
        after = ""
        while page := await self._database.read(lambda tx: audit_records.list_chains(tx, after, PAGE)):  # noqa: B023
            found.update({row.head.chain: row.head for row in page})
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
        wanted = self._heads.get(each.chain, {}).get(each.sequence, each.hash)
        if not problem and wanted != each.hash:
            problem = "it is not the record that was sealed in this place"
        if problem:
            self._find(each.chain, each.sequence, each.record.at, problem)
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
        signed = self._segments.get(row.id)
        if (signed or row.sealed) and signed != summary_hash(row.new.day, row.new.digest, row.new.summary):
            self._find(SEGMENT, row.id, row.new.day * DAY, "what is known of this archived part is not what was signed")
        try:
            summary = summary_of(row)
            self._add_runs(summary.runs)
            if row.removed_at is None:
                records = await read_segment(self._registry, row)
                for each in records:
                    self._look_at_record(each)
                self._notice(len(records))
                if runs_of(records) != summary.runs:
                    self._find(
                        SEGMENT, row.id, row.new.day * DAY, "the archived records are not those that were written"
                    )
        except (Unavailable, msgspec.MsgspecError) as error:
            self._find(SEGMENT, row.id, row.new.day * DAY, str(error))

    def _look_at_removal(self, row: SegmentRow) -> None:
        if row.removed_at is None:
            return
        self._report.removed += 1
        keep = self._registry.rules.audit_keep_days
        is_long_ago = keep > 0 and row.removed_at // DAY <= self._now // DAY - keep
        if str(row.id) not in self._removals and not is_long_ago:
            self._find(SEGMENT, row.id, row.removed_at, "it was removed, and no record tells of that")

    async def _look_at_chains(self, before: dict[str, Head], after: dict[str, Head]) -> None:
        chains = sorted(before.keys() | self._runs.keys() | self._sealed.keys())
        self._report.chains = len(chains)
        for chain in chains:
            start, most = before.get(chain, Head(chain)), after.get(chain, Head(chain)).sequence
            sealed = self._sealed.get(chain, 0)
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
        unsealed = await self._database.read(lambda tx: audit_records.list_unsealed(tx, 1))
        if unsealed and self._report.sealed_at < before and unsealed[0].started_at < before:
            self._find(
                ROOT, self._report.roots, self._report.sealed_at, "nothing was sealed since: does a job process run?"
            )

    def _add_runs(self, runs: list[Run] | tuple[Run, ...]) -> None:
        for run in runs:
            self._runs.setdefault(run.chain, []).append(run)

    def _find(self, chain: str, sequence: int, at: int, problem: str) -> None:
        self._report.add(Finding(chain, sequence, at, problem))
