"""Bearer tokens for CNCF distribution, signed as its documentation asks: RS256, `kid` by the key's fingerprint.

RS256 with a known key is the cheapest form it can verify (no certificate chain, no elliptic curve), so the comparison
flatters it where it can.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import pathlib
import time
import uuid
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

ISSUER = SERVICE = "bench"
LIFETIME_SECONDS = 3600
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def write_certificate(folder: pathlib.Path, name: str, key: Key) -> tuple[pathlib.Path, pathlib.Path]:
    """A self-signed certificate for localhost and its key, as PEM files."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file = folder / f"{name}.crt"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = folder / f"{name}.key"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def server_certificate(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """What both servers show in the TLS rows: P-256, as public authorities issue today."""
    return write_certificate(folder, "server", ec.generate_private_key(ec.SECP256R1()))


class Minter:
    """Signs tokens that distribution accepts through `auth.token`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.bundle = write_certificate(folder, "tokens", self.key)[0]
        self.kid = fingerprint(self.key.public_key())

    def mint(self, scope: str) -> str:
        """A token for one scope (`repository:NAME:pull,push`), never the same twice."""
        now = int(time.time())
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        claims = {
            "iss": ISSUER,
            "sub": "bench",
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 60,
            "exp": now + LIFETIME_SECONDS,
            "jti": uuid.uuid4().hex,
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        header = {"typ": "JWT", "alg": "RS256", "kid": self.kid}
        signed = f"{_encode(header)}.{_encode(claims)}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """The name distribution gives a trusted key: 240 bits of its hash, base32, in groups of four."""
    plain = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(plain).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


def _encode(value: Mapping[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
