"""Byte ranges (RFC 9110, section 14) and the chunk ranges of uploads."""

from __future__ import annotations

import re
from typing import Final

from entrepot.domain.errors import RequestInvalid

# `\s*+` gives nothing back: two runs of blanks around digits that may be none would be tried in all ways to share them.
RANGE: Final = re.compile(r"bytes\s*=\s*+(\d{0,18})\s*+-\s*+(\d{0,18})", re.ASCII)
CHUNK: Final = re.compile(r"(?:bytes\s+)?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?", re.ASCII)


class Unsatisfiable(Exception):
    """A range that the content cannot satisfy; it becomes a 416 at the edge."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of the one range asked for, `stop` excluded; None to send everything.

    Several ranges and units other than bytes are answered whole, which RFC 9110 section 14.2 allows.
    Raises Unsatisfiable.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = int(match[2])
        if length == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - length), size
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if start >= size or (match[2] and last < start):
        raise Unsatisfiable
    return start, min(last + 1, size)


def parse_chunk_range(header: str) -> tuple[int, int]:
    """(start, stop) of a Content-Range of an upload, `stop` excluded.

    Source: distribution-spec, "Pushing a blob in chunks"; the form of RFC 9110 with unit and length is
    understood too. Raises RequestInvalid.
    """
    match = CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise RequestInvalid("Content-Range of a chunk is written first-last, both inclusive", got=header[:80])
    return int(match[1]), int(match[2]) + 1


def render_received(end: int) -> str:
    """The Range header of an upload that has received `end` bytes; nothing yet is written 0-0, as clients expect."""
    return f"0-{max(0, end - 1)}"
