"""The audit log: `/audit/…`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from entrepot.api.request import InPath, Names, OfNamespace, TheCaller, TheRegistry
from entrepot.api.types import Answer, parse_time, time_of
from entrepot.core import audit_read, audit_seal, audit_verify
from entrepot.core.accounts import require_admin
from entrepot.core.audit_key import fingerprint_of
from entrepot.domain.audit import Category, Filter, Linked, Record
from entrepot.domain.errors import RequestInvalid, Unknown
from entrepot.domain.names import parse_namespace_name

MOST_DIGITS: Final = 18
Actor = Annotated[str, QueryParameter(name="actor", max_length=255, description="Who did it, by name.")]
Kind = Annotated[
    str, QueryParameter(name="kind", max_length=64, description="What was done, such as `grant.given` or `pull`.")
]
Kinds = Annotated[
    str,
    QueryParameter(
        name="category", max_length=16, description="One of change, sign-in, denial, token, pull and audit."
    ),
]
Subject = Annotated[
    str, QueryParameter(name="subject", max_length=384, description="How what it is about begins, such as `acme/`.")
]
Address = Annotated[str, QueryParameter(name="address", max_length=64, description="From which address.")]
Allowed = Annotated[
    bool | None, QueryParameter(name="allowed", required=False, description="Only what was allowed, or what was not.")
]
Since = Annotated[
    str, QueryParameter(name="since", max_length=40, description="Not before this time (RFC 3339, with its zone).")
]
Until = Annotated[
    str, QueryParameter(name="until", max_length=40, description="Before this time (RFC 3339, with its zone).")
]
TheWanted = NamedDependency[Filter]
RootNumber = Annotated[
    int, QueryParameter(name="root", ge=0, le=2**53 - 1, description="The number of a root that was kept elsewhere.")
]
RootHash = Annotated[str, QueryParameter(name="hash", max_length=64, description="The hash of that root.")]


class AuditRecord(Answer, frozen=True):
    """Who did what: equal things within seconds, and pulls within a minute, are one record with a count.

    `chain`, `sequence`, `previous` and `hash` are its place among all records of one process.
    """

    id: int
    at: datetime
    category: str
    kind: str
    actor: str
    account: int
    subject: str
    address: str
    method: str
    allowed: bool
    reasons: list[str]
    count: int
    first_at: datetime
    last_at: datetime
    detail: dict[str, Any]
    chain: str
    sequence: int
    previous: str
    hash: str


class AuditRecords(Answer, frozen=True):
    """A page of records, the newest first. It may be short, or empty, and still have a next one."""

    records: list[AuditRecord]


class AuditRoot(Answer, frozen=True):
    """A signed root: the signature is over `hash`, which is the SHA-256 of `document`. Keep it elsewhere."""

    number: int
    at: datetime
    hash: str
    document: str
    key: str
    fingerprint: str
    signature: str


class AuditFinding(Answer, frozen=True):
    """Something that is not as it was written: in which chain (or `root`, or `segment`), and at which sequence."""

    chain: str
    sequence: int
    at: datetime | None
    problem: str


class AuditReport(Answer, frozen=True):
    """What was looked at and what was found. `keys` are the fingerprints of the keys that signed roots."""

    records: int
    chains: int
    segments: int
    removed: int
    roots: int
    sealed_at: datetime | None
    last_root: str
    keys: list[str]
    found: int
    findings: list[AuditFinding]


def record_of(linked: Linked) -> AuditRecord:
    """A record as the API shows it."""
    record = linked.record
    try:
        detail = msgspec.json.decode(record.detail, type=dict[str, Any])
    except msgspec.MsgspecError:
        # Somebody has changed it: it is shown all the same, and `verify` finds it.
        detail = {"unreadable": record.detail}
    return AuditRecord(
        linked.id,
        time_of(record.at),
        record.category,
        record.action,
        record.actor,
        record.account,
        record.subject,
        record.address,
        record.method or _no_method(record),
        record.is_allowed,
        list(record.reasons),
        record.count,
        time_of(record.first_at),
        time_of(record.last_at),
        detail,
        linked.chain,
        linked.sequence,
        linked.previous,
        linked.hash,
    )


def provide_wanted(
    actor: Actor = "", kind: Kind = "", category: Kinds = "", subject: Subject = "", address: Address = ""
) -> Filter:
    """Who, what and where is asked for."""
    if category and category not in set(Category):
        known = sorted(Category)
        raise RequestInvalid(f"a category is {', '.join(known)}, not {category!r}", field="category", known=known)
    return Filter(actor=actor, action=kind, category=category, subject=subject, address=address)


def provide_within(
    since: Since = "", until: Until = "", allowed: Allowed = None, namespace: OfNamespace = ""
) -> Filter:
    """When, and in which namespace."""
    times = parse_time("since", since), parse_time("until", until)
    home = parse_namespace_name(namespace) if namespace else ""
    return Filter(since=times[0], until=times[1], is_allowed=allowed, namespace=home)


def _no_method(record: Record) -> str:
    # Pulls and tokens are counted by account, whatever they were proved with.
    return "counted" if record.account else "anonymous"


async def list_page(
    registry: TheRegistry, caller: TheCaller, names: Names, wanted: TheWanted, within: TheWanted
) -> Response[AuditRecords]:
    """Records, the newest first: for administrators, and of one namespace for its owners."""
    times: dict[str, Any] = {"since": within.since, "until": within.until}
    both = msgspec.structs.replace(wanted, **times, is_allowed=within.is_allowed, namespace=within.namespace)
    span = audit_read.Span(_parse_place(names.after), names.limit)
    found, following = await audit_read.list_records(registry, caller, both, span)
    last = None if following is None else f"{following[0]}.{following[1]}"
    return names.answer(AuditRecords([record_of(each) for each in found]), last)


async def get(registry: TheRegistry, caller: TheCaller, record: InPath) -> AuditRecord:
    """One record that is still in the database."""
    number = int(record) if record.isascii() and record.isdecimal() and len(record) <= MOST_DIGITS else 0
    return record_of(await audit_read.get_record(registry, caller, number))


async def get_root(registry: TheRegistry, caller: TheCaller) -> AuditRoot:
    """The newest signed root, to be kept where nobody who can write to the database can write."""
    require_admin(caller, registry.policy.snapshot)
    row = await audit_seal.get_last_root(registry)
    if row is None:
        raise Unknown("nothing has been sealed yet: the job process does so each minute")
    return AuditRoot(
        row.number, time_of(row.at), row.hash, row.document, row.key, fingerprint_of(row.key), row.signature
    )


async def verify(registry: TheRegistry, caller: TheCaller, root: RootNumber = 0, digest: RootHash = "") -> AuditReport:
    """Look whether anybody has touched the log, and whether a root that was kept elsewhere is in it."""
    known = (root, digest) if root else None
    return report_of(await audit_read.verify_log(registry, caller, known))


def report_of(report: audit_verify.Report) -> AuditReport:
    """A report as the API shows it."""
    findings = [
        AuditFinding(each.chain, each.sequence, time_of(each.at) if each.at else None, each.problem)
        for each in report.findings
    ]
    return AuditReport(
        report.records,
        report.chains,
        report.segments,
        report.removed,
        report.roots,
        time_of(report.sealed_at) if report.sealed_at else None,
        report.last_root,
        report.keys,
        report.found,
        findings,
    )


def _parse_place(text: str) -> tuple[int, int]:
    if not text:
        return audit_read.NEWEST
    day, _, number = text.partition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) <= MOST_DIGITS for part in (day, number)):
        raise RequestInvalid("last is what the Link of the page before carries, such as 20717.4711", field="last")
    return min(int(day), audit_read.NEWEST[0]), int(number)
