"""Client certificates as the server or a proxy in front tells of them: to the one name in each that counts.

Sources: Python's `SSLSocket.getpeercert`; Envoy "x-forwarded-client-cert"; nginx `$ssl_client_escaped_cert` and
`$ssl_client_s_dn` (RFC 4514); Traefik "PassTLSClientCert"; Caddy `{tls_client_certificate_der_base64}`.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from entrepot.domain.certificates import Names, choose_name

Format = Literal["xfcc", "pem", "subject"]
LONGEST: Final = 16 << 10
# What the library raises for certificates beside ValueError is of no common kind.
UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
PEM: Final = "-----BEGIN CERTIFICATE-----"
# A list of elements by commas, each of pairs by semicolons; values may stand in quotes.
PAIR: Final = re.compile(r"\s*([A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\",;]*))\s*([,;]|$)")


def name_of_peer(certificate: Mapping[str, Any], now: int) -> str:
    """The name in what `getpeercert` says of a certificate that has been judged, while it holds (microseconds)."""
    if now >= _end(certificate["notAfter"]):
        return ""
    alternative: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    uris, hosts, mailboxes = (
        tuple(value for kind, value in alternative if kind == wanted) for wanted in ("URI", "DNS", "email")
    )
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    common = tuple(value for part in subject for key, value in part if key == "commonName")
    return choose_name(Names(uris, hosts, mailboxes, common))


@lru_cache(maxsize=1024)
def _end(not_after: str) -> int:
    return ssl.cert_time_to_seconds(not_after) * 1_000_000


@lru_cache(maxsize=1024)
def name_in_header(text: str, form: Format) -> str:
    """The name that a proxy's header gives; "" where it gives none, or nothing that can be read."""
    if not text or len(text) > LONGEST:
        return ""
    try:
        return {"xfcc": _from_elements, "pem": _from_certificate, "subject": _from_subject}[form](text)
    except UNREADABLE:
        return ""


def _from_elements(text: str) -> str:
    found: dict[str, tuple[str, ...]] = {}
    position, end = 0, ""
    while position < len(text) or end:
        pair = PAIR.match(text, position)
        if pair is None:
            raise ValueError("not a list of elements")
        key, quoted, plain, end = pair.groups()
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found[key.lower()] = (*found.get(key.lower(), ()), *((value,) if value else ()))
        position = pair.end()
        if end == ",":
            # Each proxy adds one behind: the last is what the nearest one, which is trusted, saw itself.
            found = {}
    uris, hosts, subject = (found.get(key, ()) for key in ("uri", "dns", "subject"))
    if uris or hosts or not subject:
        return choose_name(Names(uris, hosts))
    return _from_subject(subject[0])


def _from_certificate(text: str) -> str:
    text = unquote(text).strip()
    if text.startswith(PEM):
        certificate = x509.load_pem_x509_certificate(text.encode())
    else:
        # Of a chain, the client's own is the first.
        certificate = x509.load_der_x509_certificate(base64.b64decode(text.partition(",")[0], validate=True))
    common = _common(certificate.subject)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return choose_name(Names(common=common))
    return choose_name(
        Names(
            tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            tuple(names.get_values_for_type(x509.DNSName)),
            tuple(names.get_values_for_type(x509.RFC822Name)),
            common,
        )
    )


def _from_subject(text: str) -> str:
    return choose_name(Names(common=_common(x509.Name.from_rfc4514_string(text))))


def _common(subject: x509.Name) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME))
