"""A private certificate authority and a server certificate, made anew for each run."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "registry.test")
ADDRESSES = ("127.0.0.1", "10.77.0.1")
LIFE = datetime.timedelta(days=2)


@dataclasses.dataclass(frozen=True)
class Authority:
    """Files of one private authority; `folder` holds `ca.crt` alone, as certs.d folders want it."""

    folder: pathlib.Path
    certificate: pathlib.Path
    key: pathlib.Path

    @property
    def ca(self) -> pathlib.Path:
        """The certificate that clients have to trust."""
        return self.folder / "ca.crt"


def make_authority(folder: pathlib.Path) -> Authority:
    """Make an authority and the certificate of one server that it vouches for."""
    trusted = folder / "trusted"
    trusted.mkdir(parents=True)
    authority = Authority(trusted, folder / "server.crt", folder / "server.key")
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _sign(_draft("Private test authority", "Private test authority", ca_key, is_ca=True), ca_key)
    names = [x509.DNSName(name) for name in NAMES]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    draft = _draft("registry.test", "Private test authority", server_key, is_ca=False)
    server = _sign(draft.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False), ca_key)
    authority.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    authority.certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    authority.key.write_bytes(private_pem(server_key))
    authority.key.chmod(0o600)
    return authority


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key without a passphrase, as servers read it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _draft(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )


def _sign(draft: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return draft.sign(key, hashes.SHA256())
