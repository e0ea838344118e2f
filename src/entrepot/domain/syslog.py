"""Records and roots of the audit log as syslog messages (RFC 5424)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from entrepot.domain.audit import Linked
from entrepot.domain.json import render_json

# Facility 13, "log audit".
FACILITY: Final = 13
INFORMATIONAL, WARNING = 6, 4
# The enterprise number that RFC 5612 sets aside for examples: we have none of our own.
ENTERPRISE: Final = 32473


def render_record(linked: Linked, host: str) -> bytes:
    """A record: its category is the message id, its chain the process id, its place the structured data.

    The message is JSON with every field. What was refused is a warning.
    """
    record = linked.record
    severity = INFORMATIONAL if record.is_allowed else WARNING
    place = f'[entrepot@{ENTERPRISE} chain="{linked.chain}" sequence="{linked.sequence}" hash="{linked.hash}"]'
    head = _head(severity, record.at, host, f"{linked.chain} {record.category}")
    return f"{head} {place} ".encode() + render_json(msgspec.structs.asdict(record))


def render_root(at: int, document: str, signature: str, host: str) -> bytes:
    """A signed root: with these, whoever receives them can tell whether the log was cut."""
    head = _head(INFORMATIONAL, at, host, "- root")
    return f'{head} [entrepot@{ENTERPRISE} signature="{signature}"] {document}'.encode()


def _head(severity: int, at: int, host: str, rest: str) -> str:
    time = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"<{FACILITY * 8 + severity}>1 {time} {host or '-'} entrepot {rest}"
