"""The header of the PROXY protocol: who the client is, where the header ends, and whatever is no header."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.proxy import LONGEST, SIGNATURE, Client, MalformedError, crc32c, find_end, parse_header

PEER = ("10.0.0.1", 5)
FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.9") + struct.pack("!HH", 40000, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 40000, 443)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") * 2 + struct.pack("!HH", 40000, 443)


def binary(body: bytes = FOUR, command: int = 0x21, family: int = 0x11) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def checked(body: bytes, change: int = 0) -> bytes:
    """The same with a checksum, right or not."""
    header = binary(body + b"\x03\x00\x04" + bytes(4))
    return header[:-4] + struct.pack("!I", crc32c(header) ^ change)


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.9 40000 443\r\n", ("192.0.2.7", 40000)),
        (b"PROXY TCP6 2001:DB8::7 ::1 40000 443\r\n", ("2001:db8::7", 40000)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", None),
        (binary(), ("192.0.2.7", 40000)),
        (binary(SIX, family=0x21), ("2001:db8::7", 40000)),
        (binary(MAPPED, family=0x21), ("192.0.2.7", 40000)),
        (binary(FOUR + b"\x04\x00\x02xx\x05\x00\x00"), ("192.0.2.7", 40000)),
        (checked(FOUR), ("192.0.2.7", 40000)),
        (binary(b"", command=0x20, family=0), PEER),
        (binary(FOUR, command=0x20), PEER),
        (binary(b"junk", family=0), None),
        (binary(b"", family=0x51), None),
        (binary(FOUR, family=0x12), None),
        (binary(bytes(216), family=0x31), None),
    ],
)
def test_who_the_client_is(header: bytes, client: Client) -> None:
    """By both versions; a proxy that speaks for itself is the client, and what it does not name is nobody."""
    assert find_end(header) == find_end(header + b"\r\nGET / HTTP/1.1\r\n") == len(header)
    assert [find_end(header[:length]) for length in range(len(header))] == [None] * len(header)
    assert parse_header(header, PEER) == client


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.7 10.0.0.9 040000 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.9 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.9 -1 443\r\n",
        b"PROXY TCP4 192.0.2.7  10.0.0.9 1 443\r\n",
        b"PROXY TCP4 192.0.2.700 10.0.0.9 1 443\r\n",
        b"PROXY TCP4 ::1 ::1 1 443\r\n",
        b"PROXY TCP6 10.0.0.1 ::1 1 443\r\n",
        b"PROXY TCP6 ::1 10.0.0.1 1 443\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.9 1 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY \r\n",
        binary(command=0x11),
        binary(command=0x22),
        binary(FOUR[:-1]),
        binary(FOUR, family=0x21),
        binary(FOUR + b"\x04"),
        binary(FOUR + b"\x04\x00\x03xx"),
        checked(FOUR, change=1),
        binary(FOUR + b"\x03\x00\x01x"),
    ],
)
def test_headers_that_are_none(header: bytes) -> None:
    """A whole header that does not keep to the protocol is refused, never guessed at."""
    assert find_end(header) == len(header)
    with pytest.raises(MalformedError):
        parse_header(header, PEER)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXX",
        b"\r\n\r\nPROXY",
        b"PROXY TCP4 " + b"1" * 96,
        SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST),
    ],
)
def test_connections_that_begin_otherwise(data: bytes) -> None:
    """Requests, TLS and endless lines are seen for what they are at once."""
    with pytest.raises(MalformedError):
        find_end(data)


def test_the_checksum() -> None:
    """The value that RFC 3720 gives for 32 zero bytes."""
    assert crc32c(bytes(32)) == 0x8A9136AA


@given(st.one_of(st.binary(max_size=600), st.builds(binary, st.binary(max_size=300), st.integers(0, 255))))
def test_nonsense_is_refused_and_nothing_else_happens(data: bytes) -> None:
    """Whatever arrives is a header, the beginning of one, or refused; and a header ends within what is there."""
    try:
        end = find_end(data)
        if end is not None:
            assert 0 < end <= min(len(data), LONGEST)
            parse_header(data[:end], PEER)
    except MalformedError:
        pass


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50))
def test_what_is_written_is_read(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rest: bytes
) -> None:
    """Any address and port come out of both versions as they went in, whatever follows."""
    version, packed = address.version, address.packed
    line = f"PROXY TCP{version} {address} {address} {port} 443\r\n".encode()
    body = packed * 2 + struct.pack("!HH", port, 443)
    for header in (line, binary(body, family=0x11 if version == 4 else 0x21)):
        end = find_end(header + rest)
        assert end == len(header)
        plain = getattr(address, "ipv4_mapped", None) or address
        assert parse_header(header, None) == (str(plain), port)
