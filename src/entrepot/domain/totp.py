"""One-time codes of an authenticator: RFC 6238 over RFC 4226, SHA-1, six digits, thirty seconds.

Twelve lines of HMAC, because what a library does not tell is which step a code belongs to, and only that keeps a code
from being used twice.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b32encode
from typing import Final
from urllib.parse import quote, urlencode

STEP_SECONDS: Final = 30
DIGITS: Final = 6
# A phone's clock may be half a minute off (RFC 6238, section 5.2).
DRIFT_STEPS: Final = 1
SECRET_BYTES: Final = 20
CODE: Final = re.compile(r"[0-9]{6}")
# No letters or digits that look alike: people copy these from paper.
LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
RECOVERY_CODES: Final = 10
RECOVERY_CHARACTERS: Final = 16
GROUP: Final = 4


def make_totp_secret() -> bytes:
    """A secret of 160 bits, as RFC 4226 recommends."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226, section 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    start = mac[-1] & 0x0F
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(secret: bytes, code: str, now_seconds: int, last_step: int) -> int | None:
    """The step that a code is of, if it is about now and newer than the last one used; None for a wrong code."""
    present, found = now_seconds // STEP_SECONDS, None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        # All are compared, and each in constant time.
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > last_step:
            found = step
    return found


def render_base32(secret: bytes) -> str:
    """The secret as people type it into an authenticator that cannot see."""
    return b32encode(secret).decode().rstrip("=")


def provisioning_uri(issuer: str, name: str, secret: bytes) -> str:
    """What the picture for an authenticator holds (Key Uri Format)."""
    label = quote(f"{issuer}:{name}", safe=":")
    query = urlencode({"secret": render_base32(secret), "issuer": issuer, "digits": DIGITS, "period": STEP_SECONDS})
    return f"otpauth://totp/{label}?{query}"


def make_letters(length: int) -> str:
    """Random characters that people can read out."""
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def make_recovery_codes() -> list[str]:
    """Ten codes of 79 bits, in groups, for when the authenticator is lost."""
    return [_grouped(make_letters(RECOVERY_CHARACTERS)) for _ in range(RECOVERY_CODES)]


def fold_code(text: str) -> str:
    """A code as it is compared: without the spaces and dashes that people put between."""
    return text.replace(" ", "").replace("-", "").lower()


def _grouped(text: str) -> str:
    return "-".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))
