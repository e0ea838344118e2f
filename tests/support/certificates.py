"""An authority for tests, certificates of clients by it, and lists of those that it revokes."""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def uri(name: str) -> x509.GeneralName:
    """A URI among the alternative names."""
    return x509.UniformResourceIdentifier(name)


class Client:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, file: pathlib.Path) -> None:
        self.certificate = certificate
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.file = file
        held = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(self.pem.encode() + held)

    def join(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Let a client's context show the certificate."""
        context.load_cert_chain(self.file)
        return context


class Authority:
    """Signs certificates of clients; its own is in `file`."""

    def __init__(self, folder: pathlib.Path, name: str = "Clients") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._certificate = self._sign(self._name, self._key, (), is_authority=True)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def client(self, common: str, *names: x509.GeneralName) -> Client:
        """A certificate for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Client(self._sign(_named(common), key, names), key, self._folder / f"{common}.pem")

    def revoke(self, clients: Sequence[Client], file: pathlib.Path) -> pathlib.Path:
        """A list of revoked certificates, whose lifetime is a day."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
        for client in clients:
            entry = x509.RevokedCertificateBuilder().serial_number(client.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: Sequence[x509.GeneralName],
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
