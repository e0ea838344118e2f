"""Records of who did what, how they are linked into chains, and what tells that somebody has touched them."""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from entrepot.domain.json import render_json

DAY: Final = 86_400_000_000
VERSION: Final = 1
OTHERS: Final = "(others)"
STARTED: Final = "chain.started"
REGISTRY: Final = "registry"
# What is about a repository, a namespace or a tag, and so for whoever owns the namespace to read.
RESOURCES: Final = (
    "manifest",
    "blob",
    "tag",
    "repository",
    "namespace",
    "grant",
    "pull",
    "push",
    "delete",
    "policy",
    "scan",
)
PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9$+._@-]{1,128}")


class Category(StrEnum):
    """Why something was recorded."""

    CHANGE = "change"
    SIGN_IN = "sign-in"
    DENIAL = "denial"
    TOKEN = "token"  # noqa: S105 - the name of a category, not a secret
    PULL = "pull"
    AUDIT = "audit"


COUNTED: Final = frozenset({Category.PULL, Category.TOKEN})

# There may be tens of thousands of these in a second. None can be part of a cycle: without `gc`, nobody looks for one,
# for which whoever pulls meanwhile would have to wait.


class By(msgspec.Struct, frozen=True, gc=False):
    """Whose doing something was, beside the name: account id (0 for nobody), address, and how they proved who they are.

    `method` is empty for anonymous.
    """

    account: int = 0
    address: str = ""
    method: str = ""


NOBODY: Final = By()
# What the registry does by itself: its jobs, and what it follows from elsewhere.
SYSTEM: Final = By(method="system")
# How somebody is known by a code that was mailed or handed over to them, and by nothing else.
CODE: Final = "code"


class Record(msgspec.Struct, frozen=True, gc=False):
    """Something that was done, tried or counted. Times are microseconds since 1970; `detail` is JSON, without secrets.

    Equal ones are one record: `count` of them, the first and the last.
    """

    at: int
    category: str
    action: str
    actor: str
    account: int
    subject: str
    address: str
    method: str
    is_allowed: bool
    reasons: tuple[str, ...]
    count: int
    first_at: int
    last_at: int
    detail: str = "{}"

    @property
    def day(self) -> int:
        """The day since 1970 (UTC) under which it is looked for."""
        return self.at // DAY

    @property
    def namespace(self) -> str:
        """The namespace that it is about, whose owners may read it; empty where it is about something else."""
        is_resource = self.category in COUNTED or self.action.partition(".")[0] in RESOURCES
        return namespace_of(self.subject) if is_resource and ":" not in self.subject.partition("/")[0] else ""


class Linked(msgspec.Struct, frozen=True):
    """A record in its place: the chain, where in it (from 1), the hash of the one before and its own; and its id.

    `is_filed` is False where it is stored under another day or namespace than its own.
    """

    id: int
    record: Record
    chain: str
    sequence: int
    previous: str
    hash: str
    is_filed: bool = True

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in listings: (day, id), the newest last."""
        return self.record.day, self.id


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of a chain."""

    chain: str
    sequence: int = 0
    hash: str = ""


class Heads:
    """What roots say of one chain, in their order: forty bytes each, for there may be one of every minute of years."""

    def __init__(self) -> None:
        self._sequences = array("q")
        self._digests = bytearray()

    @property
    def last(self) -> int:
        """How far the chain is signed; 0 if it is not."""
        return self._sequences[-1] if self._sequences else 0

    def add(self, sequence: int, digest: str) -> bool:
        """What one more root says; False if it does not go on from what those before it have said."""
        if sequence <= self.last:
            return sequence == self.last and not self.is_other(sequence, digest)
        self._sequences.append(sequence)
        self._digests += _digest_of(digest)
        return True

    def is_other(self, sequence: int, digest: str) -> bool:
        """Whether a root names this place, with another hash."""
        at = bisect_left(self._sequences, sequence)
        is_named = at < len(self._sequences) and self._sequences[at] == sequence
        return is_named and self._digests[at * 32 : at * 32 + 32] != _digest_of(digest)


def _digest_of(text: str) -> bytes:
    # A root may say anything, if somebody else has signed it.
    return hashlib.sha256(text.encode()).digest()


class Run(msgspec.Struct, frozen=True, array_like=True):
    """An unbroken stretch of a chain, from `first` to `last`, with the hash before it and the one at its end."""

    chain: str
    first: int
    previous: str
    last: int
    hash: str


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was written: in which chain (or root), at which sequence, of what time; and what."""

    chain: str
    sequence: int
    at: int
    problem: str


def namespace_of(subject: str) -> str:
    """The namespace that a subject lies in: `acme` of `acme`, `acme/app` and `acme/app:v1`."""
    return subject.partition("/")[0]


def new_record(
    category: Category, action: str, at: int, who: tuple[str, By] = ("", NOBODY), subject: str = ""
) -> Record:
    """A record of one thing that was allowed, done by `who` (name, and what else is known of them)."""
    actor, by = who
    return Record(
        at,
        category,
        action,
        actor,
        by.account,
        subject,
        by.address,
        by.method,
        is_allowed=True,
        reasons=(),
        count=1,
        first_at=at,
        last_at=at,
    )


def plain_name(text: str) -> str:
    """A name that somebody claimed to have, as far as it can be one: what else was typed there may be a password."""
    return text if PLAIN_NAME.fullmatch(text) else ""


def hash_of(record: Record, chain: str, sequence: int, previous: str) -> str:
    """SHA-256 (hex) over the canonical bytes: a JSON array of the version, the place and every field in order."""
    fields = [VERSION, chain, sequence, previous, *msgspec.structs.astuple(record)]
    return hashlib.sha256(render_json(fields)).hexdigest()


def link(head: Head, record: Record) -> tuple[Head, str]:
    """The chain with one more record, and the hash that was its end before."""
    sequence = head.sequence + 1
    return Head(head.chain, sequence, hash_of(record, head.chain, sequence, head.hash)), head.hash


def problem_of(linked: Linked) -> str:
    """What is wrong with a record by itself; empty if nothing is."""
    if hash_of(linked.record, linked.chain, linked.sequence, linked.previous) != linked.hash:
        return "the record is not what its hash was made of: it was changed"
    return "" if linked.is_filed else "the record is filed under another day, namespace or spelling than its own"


class Runs:
    """The stretches of chains that records make up, which come in the order of chains and sequences."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def add(self, each: Linked) -> None:
        """One more record."""
        last = self.runs[-1] if self.runs else None
        if last and (last.chain, last.last + 1, last.hash) == (each.chain, each.sequence, each.previous):
            self.runs[-1] = Run(last.chain, last.first, last.previous, each.sequence, each.hash)
        else:
            self.runs.append(Run(each.chain, each.sequence, each.previous, each.sequence, each.hash))


def runs_of(records: Iterable[Linked]) -> tuple[Run, ...]:
    """The stretches that records make up, whatever their order."""
    runs = Runs()
    for each in sorted(records, key=lambda linked: (linked.chain, linked.sequence)):
        runs.add(each)
    return tuple(runs.runs)


def summary_hash(day: int, digest: str, summary: str) -> str:
    """What a root says of an archived part of a day: which bytes, and which stretches of which chains."""
    return hashlib.sha256(render_json([VERSION, day, digest, summary])).hexdigest()


def check_chain(head: Head, most: int, runs: Sequence[Run]) -> list[Finding]:
    """What is missing, doubled or in the wrong place in a chain from 1 to its head, and not beyond `most`."""
    found: list[Finding] = []
    end = Head(head.chain)
    for run in sorted(runs, key=lambda run: (run.first, run.last)):
        if run.first > end.sequence + 1:
            found.append(_finding(head.chain, end.sequence + 1, _gone(end.sequence + 1, run.first - 1)))
        elif run.first <= end.sequence:
            found.append(_finding(head.chain, run.first, "there are two records in this place: one was put in"))
        elif run.previous != end.hash:
            found.append(_finding(head.chain, run.first, "it does not follow the record before it: one was exchanged"))
        end = Head(head.chain, max(run.last, end.sequence), run.hash)
    if end.sequence < head.sequence:
        found.append(_finding(head.chain, end.sequence + 1, _gone(end.sequence + 1, head.sequence)))
    elif end.sequence > most:
        found.append(_finding(head.chain, most + 1, "there are more records than were written"))
    return found


def _finding(chain: str, sequence: int, problem: str) -> Finding:
    return Finding(chain, sequence, 0, problem)


def _gone(first: int, last: int) -> str:
    return "the record is gone" if first == last else f"the records up to {last} are gone"


class Filter(msgspec.Struct, frozen=True):
    """Which records are asked for; empty fields do not narrow. `since` and `until` are microseconds, the latter apart.

    `subject` is a prefix.
    """

    actor: str = ""
    action: str = ""
    category: str = ""
    namespace: str = ""
    subject: str = ""
    address: str = ""
    is_allowed: bool | None = None
    since: int = 0
    until: int = 0

    def admits(self, record: Record) -> bool:
        """Whether a record is one of those."""
        wanted = (
            (self.actor, record.actor),
            (self.action, record.action),
            (self.category, record.category),
            (self.namespace, record.namespace),
            (self.address, record.address),
        )
        return (
            all(not value or value == got for value, got in wanted)
            and record.subject.startswith(self.subject)
            and self.is_allowed in {None, record.is_allowed}
            and record.at >= self.since
            and (not self.until or record.at < self.until)
        )
