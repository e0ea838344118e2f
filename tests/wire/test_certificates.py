"""Client certificates as the server and proxies tell of them, and who may tell."""

from __future__ import annotations

import base64
import pathlib
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509

from entrepot.wire.addresses import Addresses, Doors
from entrepot.wire.certificates import LONGEST, Format, name_in_header, name_of_peer
from entrepot.wire.messages import Request
from tests.support.certificates import Authority, uri
from tests.wire.test_addresses import PROXY, request

SPIFFE = "spiffe://acme/ci"
GOOD = {"notAfter": "Jan  1 00:00:00 2030 GMT"}
NOW = 1_800_000_000_000_000
HEADER = "x_forwarded_client_cert"


def doors(form: Format = "xfcc") -> Addresses:
    """Behind a proxy that tells of certificates."""
    return Addresses("", [PROXY], Doors({"private": "https://inner/"}, b"x-forwarded-client-cert", form))


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"subject": ((("commonName", "ci"),), (("countryName", "DE"),))}, "ci"),
        ({"subject": ((("commonName", "ci"),),), "subjectAltName": (("DNS", "h"), ("URI", SPIFFE))}, SPIFFE),
        ({"subjectAltName": (("IP Address", "10.0.0.1"), ("email", "ci@acme"))}, "ci@acme"),
        ({}, ""),
    ],
)
def test_the_server_s_own_word(certificate: dict[str, Any], expected: str) -> None:
    """As Python's ssl has it, the name that counts."""
    assert name_of_peer({**certificate, **GOOD}, NOW) == expected


def test_a_certificate_ends_on_an_open_connection() -> None:
    """However long a connection lasts, its certificate names nobody after its time."""
    held = {"subjectAltName": (("URI", SPIFFE),), **GOOD}
    end = 1_893_456_000_000_000
    assert [name_of_peer(held, end - 1), name_of_peer(held, end)] == [SPIFFE, ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"By=spiffe://me;Hash=ab;URI={SPIFFE}", SPIFFE),
        (f'By=spiffe://me;Hash=ab;Subject="CN=ci,O=A \\"B\\"; C";URI={SPIFFE}', SPIFFE),
        ("Hash=ab;DNS=build.acme;DNS=other", "build.acme"),
        ('Hash=ab;Subject="CN=ci,OU=Builds";URI=', "ci"),
        ('Hash=ab;Subject="OU=Builds"', ""),
        (f"URI=spiffe://evil,Hash=ab;URI={SPIFFE}", SPIFFE),
        (f'Subject="CN=x,URI=spiffe://evil";URI={SPIFFE}', SPIFFE),
        (f"URI={SPIFFE},", ""),
        ("Hash=ab", ""),
        ("nonsense", ""),
        ('Subject="CN=x', ""),
        ('Subject="nonsense"', ""),
        ("", ""),
        (f"URI=spiffe://{'x' * LONGEST}", ""),
    ],
)
def test_envoy_s_header(text: str, expected: str) -> None:
    """The last element counts, quoted values hide nothing, and what cannot be read names nobody."""
    assert name_in_header(text, "xfcc") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("CN=ci,OU=Builds,O=Acme", "ci"), ("O=Acme", ""), ("/O=Acme/CN=ci", ""), ("CN=spiffe://acme/ci", "")],
)
def test_a_subject(text: str, expected: str) -> None:
    """A distinguished name as nginx and Caddy write it (RFC 4514)."""
    assert name_in_header(text, "subject") == expected


def test_a_whole_certificate(tmp_path: pathlib.Path) -> None:
    """Escaped PEM of nginx, bare base64 of Traefik (a chain) and Caddy; anything else names nobody."""
    authority = Authority(tmp_path)
    named = authority.client("cn", x509.DNSName("build.acme"), uri(SPIFFE))
    bare = base64.b64encode(named.der).decode()
    for text in (quote(named.pem), bare, quote(bare), f"{bare},{bare}"):
        assert name_in_header(text, "pem") == SPIFFE
    assert name_in_header(quote(authority.client("ci").pem), "pem") == "ci"
    assert name_in_header(quote(authority.client("cn", x509.RFC822Name("ci@acme")).pem), "pem") == "ci@acme"
    for text in (bare[:-8], "-----BEGIN CERTIFICATE-----", "x", base64.b64encode(b"x").decode()):
        assert name_in_header(text, "pem") == ""


def test_a_strange_certificate_names_nobody(tmp_path: pathlib.Path) -> None:
    """One that cannot be read to its end: another version, an extension twice, an alternative name of no known kind."""
    named = Authority(tmp_path).client("ci", x509.DNSName("build.acme")).der
    version, basic, alternative = b"\xa0\x03\x02\x01\x02", b"\x55\x1d\x13", b"\x82\x0abuild.acme"
    for old, new in (
        (version, b"\xa0\x03\x02\x01\x05"),
        (basic, b"\x55\x1d\x11"),
        (alternative, b"\xa3" + alternative[1:]),
    ):
        assert named.count(old) == 1
        assert name_in_header(base64.b64encode(named.replace(old, new)).decode(), "pem") == ""


def sent(*values: str, peer: str = PROXY, **scope: object) -> Request:
    """A request with the header as often as there are values."""
    made = request(peer)
    made.scope["headers"] = [(b"x-forwarded-client-cert", value.encode()) for value in values]
    made.scope.update({f"entrepot.{name}": value for name, value in scope.items()})
    return made


def test_only_a_trusted_proxy_tells() -> None:
    """From a stranger the header is nothing, twice it is nothing, and where none is asked for it is nothing."""
    told = f"URI={SPIFFE}"
    assert doors().certificate(sent(told), NOW) == SPIFFE
    assert doors().certificate(sent(told, peer="198.51.100.7"), NOW) == ""
    assert doors().certificate(sent(told, told), NOW) == ""
    assert doors().certificate(sent(), NOW) == ""
    assert Addresses("", [PROXY]).certificate(sent(told), NOW) == ""


def test_a_proxy_s_own_certificate_is_not_its_clients_() -> None:
    """On a connection with a certificate it counts, unless a trusted proxy speaks for others there."""
    own = {"subjectAltName": (("URI", "spiffe://edge/proxy"),), **GOOD}
    assert doors().certificate(sent(certificate=own), NOW) == ""
    assert doors().certificate(sent(f"URI={SPIFFE}", certificate=own), NOW) == SPIFFE
    assert (
        doors().certificate(sent(f"URI={SPIFFE}", certificate=own, peer="198.51.100.7"), NOW) == "spiffe://edge/proxy"
    )


def test_a_proxy_that_tells_nothing_lends_nobody_its_certificate() -> None:
    """Where no header is asked for, who comes by a trusted proxy shows none; a client without a proxy shows theirs."""
    own = {"subjectAltName": (("URI", "spiffe://edge/proxy"),), **GOOD}
    behind = Addresses("", [PROXY])
    assert behind.certificate(sent(certificate=own), NOW) == ""
    assert behind.certificate(sent(certificate=own, peer="198.51.100.7"), NOW) == "spiffe://edge/proxy"


def test_where_a_request_came_from() -> None:
    """Address, time, certificate and listener; without a word about it, the main listener."""
    origin = doors().origin(sent(f"URI={SPIFFE}", listener="private"), 5)
    assert (origin.address, origin.now, origin.client, origin.listener) == (PROXY, 5, SPIFFE, "private")
    assert doors().origin(sent(), 5).listener == "main"


def test_each_listener_has_its_public_address() -> None:
    """The main listener's leads to the main listener only: another one is known by its own, else by the request."""
    addresses = Addresses("https://outer/", [], Doors({"private": "https://inner/"}))
    found = []
    for name in ("main", "private", "third"):
        asked = request(host="asked")
        asked.scope["entrepot.listener"] = name
        found.append(addresses.base(asked))
    assert found == ["https://outer", "https://inner", "http://asked"]
