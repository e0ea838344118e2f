"""Public keys of issuers (JWKS, RFC 7517), and whether one of them made a signature (RFC 7515)."""

from __future__ import annotations

import warnings
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact

from entrepot.domain.errors import Unauthenticated, Unmet
from entrepot.domain.presented import Presented

MOST_KEYS: Final = 100
# Tokens that name no key are held against a few of those that could have made them.
MOST_TRIED: Final = 5
LONGEST_HEADER: Final = 4096
RSA_BITS: Final = range(2048, 8193)
# Of each kind of key: what it consists of, and the algorithms that fit it, whatever a token says.
PARTS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
FITTING: Final = {
    ("RSA", None): frozenset({"RS256"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}
KINDS: Final[dict[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class Key(msgspec.Struct, frozen=True):
    """One public key, its id, and what it signs with."""

    key_id: str
    algorithms: frozenset[str]
    key: Any


class KeySet(msgspec.Struct, frozen=True):
    """The keys of an issuer that tokens can be proved with."""

    keys: tuple[Key, ...]

    def has(self, key_id: str) -> bool:
        """Whether a token that names this key can be proved; one that names none is held against all."""
        return not key_id or any(key.key_id == key_id for key in self.keys)

    def require_proof(self, token: Presented) -> None:
        """Raises Unauthenticated unless one of them made the signature."""
        named = [key for key in self.keys if token.key_id in {"", key.key_id}]
        if not named:
            raise Unauthenticated("the issuer has no key of the id that the token names", problem="key")
        fitting = [key for key in named if token.algorithm in key.algorithms]
        if not fitting:
            raise Unauthenticated(f"the issuer's key is not one for {token.algorithm}", problem="algorithm")
        if not any(_proves(key, token) for key in fitting[:MOST_TRIED]):
            raise Unauthenticated("the token's signature is wrong", problem="signature")


def read_keys(content: str | bytes) -> KeySet:
    """Keys out of a JWKS; those for something else are left out. Raises ValueError."""
    try:
        entries = msgspec.json.decode(content, type=dict[str, Any])["keys"]
    except (KeyError, RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
        raise ValueError("it is not a JSON object with keys") from None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS or not all(isinstance(each, dict) for each in entries):
        raise ValueError(f"keys is not a list of at most {MOST_KEYS} keys")
    found = [_read_key(entry) for entry in entries]
    return KeySet(tuple(key for key in found if key is not None))


def require_keys(jwks: str) -> None:
    """As the port Outside has it."""
    try:
        keys = read_keys(jwks)
        is_private = any("d" in entry or "k" in entry for entry in msgspec.json.decode(jwks)["keys"])
    except ValueError as error:
        raise Unmet(f"this is no JWKS: {error}", field="jwks") from None
    if is_private:
        raise Unmet("this JWKS holds a private key or a secret: give the public ones only", field="jwks")
    if not keys.keys:
        raise Unmet("no key of this JWKS is an RSA (2048 bits), P-256 or Ed25519 key for signing", field="jwks")


def _read_key(entry: dict[str, Any]) -> Key | None:
    kind = str(entry.get("kty"))
    algorithms = FITTING.get((kind, None if kind == "RSA" else str(entry.get("crv"))), frozenset())
    if entry.get("alg") is not None:
        algorithms &= {str(entry["alg"])}
    operations = entry.get("key_ops")
    is_for_signing = entry.get("use", "sig") == "sig" and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
    if not algorithms or not is_for_signing:
        return None
    try:
        # A key that is too small is left out below; nobody needs to be warned.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            key = KINDS[kind].import_key({"kty": kind, **{part: entry[part] for part in PARTS[kind]}})
        bits = key.raw_value.key_size if isinstance(key, RSAKey) else RSA_BITS.start
    except (JoseError, KeyError, TypeError, ValueError):
        return None
    return Key(str(entry.get("kid", "")), algorithms, key) if bits in RSA_BITS else None


def _proves(key: Key, token: Presented) -> bool:
    registry = JWSRegistry(algorithms=[token.algorithm], strict_check_header=False)
    registry.max_header_length = LONGEST_HEADER
    with warnings.catch_warnings():
        # RFC 9864 has a new name for EdDSA, and issuers still say the old one.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            deserialize_compact(token.token, key.key, registry=registry)
        except (JoseError, ValueError):
            return False
    return True
