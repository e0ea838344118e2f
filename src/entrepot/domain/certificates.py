"""What a client certificate calls its holder: one name out of those that it has."""

from __future__ import annotations

import re
from typing import Final

import msgspec

LONGEST: Final = 512
URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")
HOST: Final = re.compile(r"[A-Za-z0-9*._-]+")
MAILBOX: Final = re.compile(r"[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9._-]+")
COMMON: Final = re.compile(r"[^\x00-\x1f\x7f:@/]+")


class Names(msgspec.Struct, frozen=True):
    """The names in a certificate: the alternative ones by kind, and the common names of its subject."""

    uris: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()
    common: tuple[str, ...] = ()


def choose_name(names: Names) -> str:
    """The first URI, else the first host, else the first mailbox, else the only common name; "" for none that will do.

    A common name counts only where there is no other, and must not look like one of another kind: authorities often
    let people choose it.
    """
    for pattern, found in ((URI, names.uris), (HOST, names.hosts), (MAILBOX, names.mailboxes)):
        if found:
            return _if_like(pattern, found[0])
    return _if_like(COMMON, names.common[0]) if len(names.common) == 1 else ""


def is_name(text: str) -> bool:
    """Whether a certificate can have this name."""
    return any(_if_like(pattern, text) for pattern in (URI, HOST, MAILBOX, COMMON))


def _if_like(pattern: re.Pattern[str], name: str) -> str:
    return name if len(name) <= LONGEST and pattern.fullmatch(name) else ""
