"""The key that roots of the audit log are signed by. It is not in the database: who may change rows cannot sign."""

from __future__ import annotations

import hashlib
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from entrepot.domain.errors import Unavailable


def new_key() -> bytes:
    """A new private key (P-256) as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class AuditKey:
    """Signs by a private key that is read when it is first needed. Without `load` it is made up and forgotten."""

    def __init__(self, load: Callable[[], bytes] = new_key) -> None:
        self._load = load

    def sign(self, content: str) -> str:
        """The signature of a text: ECDSA over SHA-256, DER in base64. Raises Unavailable without a key."""
        return _text(self._private.sign(content.encode(), ec.ECDSA(hashes.SHA256())))

    @cached_property
    def public(self) -> str:
        """The public half as base64 of its DER form. Raises Unavailable."""
        return _text(
            self._private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @cached_property
    def _private(self) -> ec.EllipticCurvePrivateKey:
        try:
            loaded = serialization.load_pem_private_key(self._load(), None)
        except (ValueError, TypeError, OSError) as error:
            raise Unavailable(
                "the key of the audit log cannot be read: look at audit.key_file", reason=str(error)
            ) from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise Unavailable("the key of the audit log must be an EC key (P-256): look at audit.key_file")
        return loaded


def is_signed(public: str, content: str, signature: str) -> bool:
    """Whether the holder of this public key signed this text."""
    try:
        key = serialization.load_der_public_key(a2b_base64(public))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(a2b_base64(signature), content.encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, Base64Error):
        return False
    return True


def fingerprint_of(public: str) -> str:
    """SHA-256 (hex) of a public key, by which people compare it."""
    return hashlib.sha256(public.encode()).hexdigest()


def _text(content: bytes) -> str:
    return b2a_base64(content, newline=False).decode()
