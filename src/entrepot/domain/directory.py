"""People and groups as a directory (LDAP, Active Directory) knows them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from entrepot.domain.errors import RequestInvalid

# Where an account or a membership comes from, as rows have it; else `local`.
LDAP: Final = "ldap"
LONGEST_GROUP: Final = 512
CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
# RFC 4514: a special character stands behind a backslash, or as two hexadecimal digits for each octet.
ESCAPED: Final = re.compile(r"(?:\\[0-9a-fA-F]{2})+|\\.", re.DOTALL)
SPECIAL: Final = ',+"\\<>;='


class Group(msgspec.Struct, frozen=True):
    """A group: its distinguished name, and its plain name (`cn`), empty where unknown."""

    distinguished_name: str
    name: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """Under what a team may name it."""
        return frozenset(group_key(text) for text in (self.distinguished_name, self.name) if text)


class Person(msgspec.Struct, frozen=True):
    """An entry of the directory. `name` is in small letters; `id` is what the directory never gives to somebody else.

    A disabled one is there and may not log in.
    """

    name: str
    distinguished_name: str
    email: str = ""
    groups: tuple[Group, ...] = ()
    id: str = ""
    is_disabled: bool = False


def parse_group(text: str) -> str:
    """A group as people name it, by distinguished or by plain name. Raises RequestInvalid."""
    name = text.strip()
    if not name or len(name) > LONGEST_GROUP or CONTROL.search(name):
        raise RequestInvalid(
            f"a group is a distinguished name or a plain one, of 1 to {LONGEST_GROUP} characters", field="group"
        )
    return name


def group_key(text: str) -> str:
    """One spelling for all those of a name: directories ignore case, and spaces around `,` and `=`."""
    parts, last = [], 0
    for match in ESCAPED.finditer(text):
        parts += [text[last : match.start()], _escape(_unescape(match[0]))]
        last = match.end()
    plain = "".join([*parts, text[last:]])
    return re.sub(r"\s*([,+=])\s*", r"\1", plain).strip().casefold()


def _unescape(escaped: str) -> str:
    if not re.fullmatch(r"(?:\\[0-9a-fA-F]{2})+", escaped):
        return escaped[1:]
    return bytes.fromhex(escaped.replace("\\", "")).decode("utf-8", "replace")


def _escape(text: str) -> str:
    return "".join(f"\\{ord(character):02x}" if character in SPECIAL else character for character in text)
