"""Random secrets: recognised by their beginning, checked by their ending, stored as a fingerprint only.

`ent_<kind>_<30 random characters><6 characters of CRC-32>`, all base62. The checksum lets scanners of source code tell
a leaked secret from noise without asking anybody; 30 characters are 178 bits, so a fast hash is enough to store them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final, Literal

from entrepot.domain.errors import RequestInvalid

SecretKind = Literal["pat", "svc", "tmp"]
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS: Final = 30
CHECK_CHARACTERS: Final = 6
SECRET: Final = re.compile(rf"ent_(?:pat|svc|tmp)_[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECK_CHARACTERS}}}")
SHOWN_CHARACTERS: Final = 4
NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@:/+-]{0,61}[A-Za-z0-9])?")
LONGEST_NAME: Final = 63


def make_secret(kind: SecretKind) -> str:
    """A secret that nobody has seen before."""
    return _with_checksum(f"ent_{kind}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS)))


def is_secret(text: str) -> bool:
    """Whether a text is a whole secret, its checksum included; nothing is looked up."""
    return SECRET.fullmatch(text) is not None and _with_checksum(text[:-CHECK_CHARACTERS]) == text


def fingerprint(secret: str) -> str:
    """What is stored of a secret: SHA-256 in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hint_of(secret: str) -> str:
    """What people see of a secret afterwards: its beginning and its last characters."""
    return f"{secret[: secret.rindex('_') + 1]}...{secret[-SHOWN_CHARACTERS:]}"


def require_secret_name(text: str) -> str:
    """What people call a secret. Raises RequestInvalid."""
    if not NAME.fullmatch(text):
        raise RequestInvalid(
            f"the name of a secret has at most {LONGEST_NAME} letters, digits, spaces and . _ @ : / + - between them",
            field="name",
        )
    return text


def _with_checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_CHARACTERS):
        number, rest = divmod(number, len(ALPHABET))
        digits = ALPHABET[rest] + digits
    return body + digits
