"""Letters, addresses of people, and the codes that letters carry."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

import msgspec

from entrepot.domain.errors import CodeInvalid, RequestInvalid
from entrepot.domain.totp import LETTERS, fold_code, make_letters

Purpose = Literal["register", "invite", "verify", "reset"]
# Addresses as HTML forms take them (WHATWG, "valid e-mail address"): no quotes, no comments, ASCII alone; and of these
# what stands in a header as it is: dots between words alone (RFC 5322), and nothing that is read as an encoded word
# (RFC 2047).
LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
WORD: Final = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
ADDRESS: Final = re.compile(rf"{WORD}(?:[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{0,62}}{WORD})?@{LABEL}(?:\.{LABEL})*")
# What the pattern, which is part of the document of the API, cannot say without looking ahead.
UNFIT: Final = ("..", "=?")
LONGEST_ADDRESS: Final = 254
SELECTOR_CHARACTERS: Final = 10
SECRET_CHARACTERS: Final = 24


class Letter(msgspec.Struct, frozen=True):
    """A mail to one person, as plain text."""

    to: str
    subject: str
    text: str


class MailCode(msgspec.Struct, frozen=True):
    """A code in its two halves: the selector finds its row, the secret (119 bits) proves who read the mail."""

    selector: str
    secret: str

    @property
    def text(self) -> str:
        """The code as people copy it."""
        return f"{self.selector}-{self.secret}"

    @property
    def hash(self) -> str:
        """What is stored of the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def parse_address(text: str, field: str = "email") -> str:
    """An address that a mail can be sent to. Raises RequestInvalid."""
    is_unfit = any(each in text for each in UNFIT)
    if len(text) > LONGEST_ADDRESS or is_unfit or not ADDRESS.fullmatch(text):
        raise RequestInvalid("this is no e-mail address, such as alice@example.com", field=field)
    return text


def fold_address(text: str) -> str:
    """The one spelling by which addresses are compared."""
    return text.lower()


def domain_of(address: str) -> str:
    """What stands behind the @, in small letters."""
    return address.rpartition("@")[2].lower()


def make_mail_code(selector: str = "") -> MailCode:
    """A code that nobody has seen before, perhaps under a selector that is there already."""
    return MailCode(selector or make_letters(SELECTOR_CHARACTERS), make_letters(SECRET_CHARACTERS))


def parse_mail_code(text: str) -> MailCode:
    """A code as somebody typed it. Raises CodeInvalid."""
    folded = fold_code(text.strip())
    if len(folded) != SELECTOR_CHARACTERS + SECRET_CHARACTERS or not set(folded) <= set(LETTERS):
        raise wrong_code()
    return MailCode(folded[:SELECTOR_CHARACTERS], folded[SELECTOR_CHARACTERS:])


def wrong_code() -> CodeInvalid:
    """The one answer to every code that is not good."""
    return CodeInvalid("this code is wrong, was used, or has expired; ask for another one", field="code")
