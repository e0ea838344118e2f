"""Keys of tokens for tests, and a verifier that knows nothing of ours but the published JWK Set."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from entrepot.core.keyring import Key, Keyring
from entrepot.core.signing_keys import make_key
from entrepot.core.tokens import Parties
from tests.support.clock import START

TOKEN_KEY = b"k" * 32
PARTIES = Parties("https://registry.test", "registry.test", 7, "alice")


def new_key(signs_from: int = START, token_key: bytes = TOKEN_KEY) -> Key:
    """A key as a process holds it."""
    return Key(make_key(START, signs_from), token_key)


def ring_of(*keys: Key) -> Keyring:
    """What a process holds that knows these keys."""
    return Keyring(keys)


def decode(text: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(content: bytes) -> str:
    """The way back."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def fingerprint(key: object) -> str:
    """The name that CNCF distribution gives a trusted key: 240 bits of its hash, base32, in groups of four."""
    assert isinstance(key, ec.EllipticCurvePublicKey)
    plain = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return ":".join(re.findall("....", base64.b32encode(hashlib.sha256(plain).digest()[:30]).decode()))


def verify_by_jwks(jwks: bytes, token: str) -> dict[str, Any]:
    """The claims of a token, as another service reads them (RFC 7515, section 5.2; RFC 7518, section 3.4).

    Raises InvalidSignature, and KeyError for a key that is not published.
    """
    header, payload, signature = token.split(".")
    keys = {key["kid"]: key for key in json.loads(jwks)["keys"]}
    said = json.loads(decode(header))
    key = keys[said["kid"]]
    assert (said["alg"], key["alg"], key["kty"], key["crv"], key["use"]) == ("ES256", "ES256", "EC", "P-256", "sig")
    x, y = (int.from_bytes(decode(key[name]), "big") for name in "xy")
    raw = decode(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), f"{header}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    claims: dict[str, Any] = json.loads(decode(payload))
    return claims
