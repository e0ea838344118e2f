"""The header that a proxy of connections sends first, and who it says the client is: pure functions.

Source: HAProxy, "The PROXY protocol, versions 1 and 2".
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
PREAMBLE: Final = b"PROXY "
LONGEST_LINE: Final = 107
FIXED: Final = 16
# The specification allows 64 KiB of further fields; what proxies send is far below this.
LONGEST: Final = 4096
LINE: Final = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
LARGEST_PORT: Final = 65535
VERSION: Final = 2
LOCAL, PROXY = 0, 1
STREAM: Final = 1
INTERNET, INTERNET_6, UNIX = 1, 2, 3
# Bytes of the addresses and ports of each family.
SIZES: Final = {INTERNET: 12, INTERNET_6: 36, UNIX: 216}
CRC32C: Final = 0x03
POLYNOMIAL: Final = 0x82F63B78

# (address, port), None for a client that the proxy does not name.
Client = tuple[str, int] | None


class MalformedError(Exception):
    """These bytes do not begin with a header of this protocol."""


def find_end(data: bytes) -> int | None:
    """How many of the first bytes of a connection are the header, None if all of them are and more is to come.

    Raises MalformedError as soon as they cannot become one.
    """
    if SIGNATURE.startswith(data[: len(SIGNATURE)]):
        return _find_binary_end(data)
    if not PREAMBLE.startswith(data[: len(PREAMBLE)]):
        raise MalformedError("no header of the PROXY protocol")
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0 and len(data) >= LONGEST_LINE:
        raise MalformedError("the first line does not end")
    return end + 2 if end >= 0 else None


def parse_header(header: bytes, peer: Client) -> Client:
    """Who the client is by a whole header; `peer` itself where the proxy speaks for itself, as in health checks.

    Raises MalformedError.
    """
    if header.startswith(PREAMBLE):
        return _parse_line(header)
    version, command = header[12] >> 4, header[12] & 15
    if version != VERSION or command not in {LOCAL, PROXY}:
        raise MalformedError("an unknown version or command")
    if command == LOCAL:
        return peer
    family, kind = header[13] >> 4, header[13] & 15
    size = SIZES.get(family)
    if size is None:
        # Unspecified, or of a family that is yet to come: to be taken as unknown.
        return None
    if len(header) < FIXED + size:
        raise MalformedError("the addresses are cut short")
    _require_fields(header, FIXED + size)
    if kind != STREAM or family == UNIX:
        return None
    width = 4 if family == INTERNET else 16
    address = ipaddress.ip_address(header[FIXED : FIXED + width])
    return _plain(address), int.from_bytes(header[FIXED + 2 * width : FIXED + 2 * width + 2])


def _find_binary_end(data: bytes) -> int | None:
    if len(data) < FIXED:
        return None
    length = FIXED + int.from_bytes(data[14:16])
    if length > LONGEST:
        raise MalformedError(f"the header is longer than {LONGEST} bytes")
    return length if len(data) >= length else None


def _parse_line(line: bytes) -> Client:
    if line == b"PROXY UNKNOWN\r\n" or line.startswith(b"PROXY UNKNOWN "):
        return None
    found = LINE.fullmatch(line)
    if found is None:
        raise MalformedError("the first line is not one of this protocol")
    version = int(found[1])
    try:
        source, target = (ipaddress.ip_address(found[number].decode()) for number in (2, 3))
    except ValueError:
        raise MalformedError("an address that is none") from None
    ports = int(found[4]), int(found[5])
    if source.version != version or target.version != version or max(ports) > LARGEST_PORT:
        raise MalformedError("an address or port that is none")
    return _plain(source), ports[0]


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    # As everywhere: an IPv4 address in IPv6 is what no rule about addresses expects (RFC 4291, section 2.5.5.2).
    return str(getattr(address, "ipv4_mapped", None) or address)


def _require_fields(header: bytes, start: int) -> None:
    """Further fields mean nothing here, but they must be whole, and a checksum among them right."""
    while start < len(header):
        end = start + 3 + int.from_bytes(header[start + 1 : start + 3])
        if start + 3 > len(header) or end > len(header):
            raise MalformedError("a field is cut short")
        if header[start] == CRC32C:
            _require_checksum(header, start + 3, end)
        start = end


def _require_checksum(header: bytes, start: int, end: int) -> None:
    blank = header[:start] + bytes(end - start) + header[end:]
    if end - start != 4 or crc32c(blank) != int.from_bytes(header[start:end]):  # noqa: PLR2004 - bytes of 32 bits
        raise MalformedError("the checksum is wrong")


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum (RFC 3720, appendix B.4); bit by bit, because hardly any proxy sends one."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value ^ 0xFFFFFFFF
