"""Secrets that must be read back: sealed by a key that is made of the registry's own, each for one purpose.

AES-256-GCM with a random nonce; the purpose is part of the key and of what is authenticated, so that what was sealed
for one thing opens nothing else.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12


def seal(key: bytes, purpose: str, text: str) -> str:
    """A text that only this registry can read; "" stays what it is."""
    if not text:
        return ""
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(key, purpose).encrypt(nonce, text.encode(), purpose.encode())
    return urlsafe_b64encode(nonce + sealed).decode()


def unseal(key: bytes, purpose: str, sealed: str) -> str | None:
    """The text again; None for what this registry has not sealed for that purpose."""
    if not sealed:
        return ""
    try:
        content = urlsafe_b64decode(sealed.encode("ascii"))
        return _cipher(key, purpose).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], purpose.encode()).decode()
    except (Base64Error, InvalidTag, ValueError):
        return None


def _cipher(key: bytes, purpose: str) -> AESGCM:
    return AESGCM(hmac.digest(key, b"seal " + purpose.encode(), "sha256"))
