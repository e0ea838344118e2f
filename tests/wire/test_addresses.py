"""Under which address clients see the registry, and where requests come from."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.wire.addresses import Addresses
from entrepot.wire.messages import Message, Request

PROXY = "10.0.0.1"


async def nothing() -> Message:
    """A body that nobody reads."""
    return {"type": "http.disconnect"}


def request(peer: str | None = "198.51.100.7", scheme: str = "http", **headers: str) -> Request:
    """A request from a peer with headers."""
    scope: dict[str, Any] = {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "scheme": scheme,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": (peer, 1) if peer is not None else None,
    }
    return Request(scope, nothing)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example", "http://registry.example"),
        ("registry.example:5000", "http://registry.example:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("[::1]", "http://[::1]"),
        ("", "http://localhost"),
        ('evil"realm', "http://localhost"),
        ("a\r\nset-cookie: x", "http://localhost"),
        ("a/b", "http://localhost"),
        ("user@host", "http://localhost"),
        ("host:port", "http://localhost"),
        ("a" * 254, "http://localhost"),
        ("a,b", "http://localhost"),
        ("é.example", "http://localhost"),
    ],
)
def test_the_host_header_is_only_believed_if_it_is_one(host: str, expected: str) -> None:
    """What is no host name never reaches a challenge."""
    assert Addresses("", []).base(request(host=host)) == expected


def test_the_scheme_is_the_connections() -> None:
    """A TLS connection has https addresses; a strange scheme has not."""
    assert Addresses("", []).base(request(scheme="https", host="a")) == "https://a"
    assert Addresses("", []).base(request(scheme="ws", host="a")) == "http://a"


def test_a_configured_address_wins() -> None:
    """Whatever the request says."""
    addresses = Addresses("https://registry.example/", ["0.0.0.0/0"])
    assert addresses.base(request(host="other", x_forwarded_host="evil")) == "https://registry.example"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (PROXY, "https://public.example"),
        ("10.0.0.2", "http://inner"),
        ("not an address", "http://inner"),
        ("", "http://inner"),
        (None, "http://inner"),
    ],
)
def test_forwarded_headers_count_from_trusted_proxies_only(peer: str | None, expected: str) -> None:
    """Scheme and host as the first hop saw them, if a trusted proxy says so."""
    forwarded = {"x_forwarded_proto": "https, http", "x_forwarded_host": "public.example, inner"}
    assert Addresses("", [PROXY]).base(request(peer, host="inner", **forwarded)) == expected


def test_a_proxy_that_says_nothing_changes_nothing() -> None:
    """Missing and hostile forwarded headers fall back."""
    addresses = Addresses("", ["10.0.0.0/8"])
    assert addresses.base(request(PROXY, host="inner")) == "http://inner"
    assert addresses.base(request(PROXY, host="inner", x_forwarded_host='"')) == "http://localhost"
    assert addresses.base(request(PROXY, host="inner", x_forwarded_proto="gopher")) == "http://inner"


@pytest.mark.parametrize(
    ("peer", "hops", "expected"),
    [
        ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
        (PROXY, "203.0.113.1", "203.0.113.1"),
        (PROXY, "198.51.100.9, 203.0.113.1", "203.0.113.1"),
        (PROXY, "203.0.113.1, 10.0.0.2", "203.0.113.1"),
        (PROXY, "203.0.113.1, ::ffff:10.0.0.2", "203.0.113.1"),
        (PROXY, "", PROXY),
        (PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXY, "203.0.113.1, unknown", "unknown"),
        (PROXY, "203.0.113.1:40000", "203.0.113.1"),
        (PROXY, "203.0.113.1, 10.0.0.2:5", "203.0.113.1"),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, "[2001:db8::1]", "2001:db8::1"),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, "a" * 100_000, "a" * 64),
        (PROXY, ",, 203.0.113.1, ,10.0.0.2,", "203.0.113.1"),
        (PROXY, " , ", PROXY),
    ],
)
def test_the_client_is_the_last_hop_that_no_trusted_proxy_wrote(peer: str, hops: str, expected: str) -> None:
    """Read from the right, so that nobody can claim to be somebody else."""
    assert Addresses("", ["10.0.0.0/8"]).client(request(peer, x_forwarded_for=hops)) == expected


def test_a_long_header_costs_no_more_than_what_counts_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stranger's nothing is read, of a trusted proxy's no more than the hops up to the one that counts."""
    read: list[str] = []

    class Hop:
        def fullmatch(self, hop: str) -> None:
            read.append(hop)

    monkeypatch.setattr("entrepot.wire.addresses.HOP", Hop())
    told = Addresses("", ["10.0.0.0/8"])
    assert told.client(request(x_forwarded_for="192.0.2.1," * 9999)) == "198.51.100.7"
    assert read == []
    assert told.client(request(PROXY, x_forwarded_for="192.0.2.1," * 9999 + "203.0.113.1, 10.0.0.2")) == "203.0.113.1"
    assert read == ["10.0.0.2", "203.0.113.1"]


def test_without_proxies_the_client_is_the_peer() -> None:
    """No header is looked at."""
    assert Addresses("", []).client(request("198.51.100.7", x_forwarded_for="203.0.113.1")) == "198.51.100.7"
