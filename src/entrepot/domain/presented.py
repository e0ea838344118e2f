"""A JWT as somebody shows it (RFC 7519): taken apart, and nothing in it believed yet."""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from typing import Any, Final

import msgspec

from entrepot.domain.errors import Unauthenticated

LONGEST_TOKEN: Final = 16_384
LONGEST_KEY_ID: Final = 255
FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Signatures of keys that anybody may know. What is made with a shared secret, or with nothing, is nobody's.
ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})


class Presented(msgspec.Struct, frozen=True):
    """A token's parts. `key_id` is "" where it names none."""

    token: str
    algorithm: str
    key_id: str
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        """Who it says that it is of; "" for what is nobody's name."""
        value = self.claims.get("iss")
        # No database is asked for a NUL.
        return value if isinstance(value, str) and "\0" not in value else ""

    def fingerprint(self, issuer: int) -> str:
        """How it is known again: by its id, else by what is signed.

        Not by the signature: with ECDSA, anybody can make a second one of the first.
        """
        named = self.claims.get("jti")
        text = f"id\0{named}" if isinstance(named, str) and named else f"body\0{self.token.rpartition('.')[0]}"
        return hashlib.sha256(f"{issuer}\0{text}".encode()).hexdigest()


def parse_token(token: str) -> Presented:
    """The parts of a token. Raises Unauthenticated for what is none, and for algorithms that prove nothing."""
    match = FORM.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
    if match is None:
        raise Unauthenticated(f"this is no signed JWT of at most {LONGEST_TOKEN} characters", problem="malformed")
    header, claims = _object(match[1]), _object(match[2])
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated(
            f"tokens are signed by {', '.join(sorted(ALGORITHMS))}, and this one says {str(algorithm)[:20]}",
            problem="algorithm",
        )
    if not isinstance(key_id, str) or len(key_id) > LONGEST_KEY_ID:
        raise Unauthenticated("the token's key id is no text", problem="malformed")
    return Presented(token, algorithm, key_id, claims)


def _object(part: str) -> dict[str, Any]:
    text = part.replace("-", "+").replace("_", "/")
    try:
        return msgspec.json.decode(a2b_base64(text + "=" * (-len(text) % 4)), type=dict[str, Any])
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise Unauthenticated("the token's parts are not JSON objects", problem="malformed") from None
