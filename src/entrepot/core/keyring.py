"""The keys that tokens are signed and checked by, as this process knows them."""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from entrepot.domain.errors import Unavailable
from entrepot.domain.json import render_json
from entrepot.metadata.signing_keys import KeyRow

TO_URL: Final = bytes.maketrans(b"+/", b"-_")
ES256: Final = ec.ECDSA(hashes.SHA256())
HALF: Final = 32


def encode(content: bytes) -> bytes:
    """base64url without padding (RFC 7515, section 2); the library's own function does this through three others."""
    return b2a_base64(content, newline=False).rstrip(b"=").translate(TO_URL)


class Key:
    """One key. `header` is the first part of every token by it, and no other header is ever looked into."""

    def __init__(self, row: KeyRow, token_key: bytes) -> None:
        self.row = row
        self.header = encode(render_json({"alg": "ES256", "kid": row.kid, "typ": "JWT"})).decode()
        self._seal = hmac.digest(token_key, bytes.fromhex(row.secret), "sha256")

    def seal(self, content: bytes) -> bytes:
        """What only this registry can make and check: HMAC-SHA-256."""
        return hmac.digest(self._seal, content, "sha256")

    def sign(self, content: bytes) -> bytes:
        """What everybody can check who has the published half: ES256 (RFC 7518, section 3.4)."""
        r, s = decode_dss_signature(self._private.sign(content, ES256))
        return r.to_bytes(HALF, "big") + s.to_bytes(HALF, "big")

    @cached_property
    def _private(self) -> ec.EllipticCurvePrivateKey:
        # Most processes never sign, and reading a key takes longer than signing by it.
        loaded = serialization.load_pem_private_key(self.row.private_key.encode(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        return loaded


class Keyring:
    """Every key that is not revoked; replaced whole when one is made, revoked or forgotten."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._by_header = {key.header: key for key in keys}
        self._newest_first = sorted(keys, key=lambda key: (key.row.signs_from, key.row.kid), reverse=True)

    def renew(self, rows: Sequence[KeyRow], token_key: bytes) -> Keyring:
        """The same with the keys that there are now; those that stay are not read again."""
        known = {key.row: key for key in self._newest_first}
        return Keyring([known.get(row) or Key(row, token_key) for row in rows if row.revoked_at is None])

    def find(self, token: str) -> Key | None:
        """The key that a token says it is signed by."""
        return self._by_header.get(token.partition(".")[0])

    def get_signer(self, now: int) -> Key:
        """The key that signs now: the newest whose time has come. Raises Unavailable where there is none."""
        if not self._newest_first:
            raise Unavailable("there is no key to sign tokens with; make one: entrepot key rotate --revoke")
        # A clock behind that of whoever made the only key must not stop everything.
        due = (key for key in self._newest_first if key.row.signs_from <= now)
        return next(due, self._newest_first[-1])

    @property
    def jwks(self) -> bytes:
        """The published halves as a JWK Set (RFC 7517, section 5)."""
        return b'{"keys":[%s]}' % b",".join(key.row.public_key.encode() for key in self._newest_first)

    @property
    def certificates(self) -> bytes:
        """The same as a bundle of certificates, each signed by itself."""
        return "".join(key.row.certificate for key in self._newest_first).encode()
