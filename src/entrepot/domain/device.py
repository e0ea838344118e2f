"""What a program that wants to log in says of itself, and the codes by which it waits (RFC 8628)."""

from __future__ import annotations

import re
import secrets
from typing import Final

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.scopes import ceiling_of_scopes

# RFC 8628, section 6.1: no vowels, so that no words come of it, and nothing that looks alike. 34 bits in ten minutes.
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
LETTERS_OF_A_CODE: Final = 8
TOKEN_BYTES: Final = 32
LONGEST_NAME: Final = 40
PLAIN: Final = re.compile(r"[^A-Za-z0-9 ._-]+")
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
CONTROL: Final = re.compile("[\x00-\x1f\x7f]+")
LONGEST_AGENT: Final = 200


def new_token() -> str:
    """A random text of 256 bits, for a cookie or a program to keep."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_token(text: str) -> bool:
    """Whether a text has the form of such a token."""
    return TOKEN.fullmatch(text) is not None


def new_user_code() -> str:
    """What a person types, such as `WDJB-MJHT`."""
    letters = "".join(secrets.choice(LETTERS) for _ in range(LETTERS_OF_A_CODE))
    return f"{letters[:4]}-{letters[4:]}"


def parse_user_code(text: str) -> str:
    """A code as it was made, whatever case, spaces and dashes a person wrote; "" for what is none."""
    letters = "".join(letter for letter in text[:LONGEST_AGENT].upper() if letter not in " -\t")
    is_code = len(letters) == LETTERS_OF_A_CODE and all(letter in LETTERS for letter in letters)
    return f"{letters[:4]}-{letters[4:]}" if is_code else ""


def parse_machine(text: str) -> str:
    """What a machine is called, as people are shown it; letters that could deceive are left out."""
    name = PLAIN.sub("-", text[:LONGEST_AGENT]).strip(" .-_")[:LONGEST_NAME].strip(" .-_")
    return name or "a machine"


def parse_agent(text: str) -> str:
    """What a client says that it is, in one line."""
    return CONTROL.sub(" ", text)[:LONGEST_AGENT]


def parse_scopes(text: str) -> tuple[str, ...]:
    """Scopes of the secret that is asked for. Raises RequestInvalid."""
    scopes = tuple(text.split())
    if "\0" in text:
        raise RequestInvalid("a scope holds a NUL", field="scope")
    ceiling_of_scopes(scopes)
    return scopes
