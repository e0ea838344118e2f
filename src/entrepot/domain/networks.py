"""Where requests come from, as limits count it: one IPv4 address, or the /64 that one customer of IPv6 is given.

And lists of networks that addresses are looked for in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from entrepot.domain.errors import RequestInvalid

IPV4_PREFIX: Final = 32
IPV6_PREFIX: Final = 64
# What whoever asks their provider is given: 65,536 of those (RFC 6177).
IPV6_SITE: Final = 48
# No address is longer; what is longer is not to be held by those who remember.
LONGEST: Final = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=4096)
def network_of(address: str, ipv4: int = IPV4_PREFIX, ipv6: int = IPV6_PREFIX) -> str:
    """The network of an address, of so many bits: `192.0.2.7`, `2001:db8:1:2::/64`; what is none stands for itself.

    An IPv4 address that came in an IPv6 socket (`::ffff:192.0.2.7`) is the IPv4 address.
    """
    parsed = parse_address(address)
    if parsed is None:
        # A proxy may write `unknown` (RFC 7239); everybody it hides is one.
        return address[:LONGEST]
    prefix = ipv4 if isinstance(parsed, ipaddress.IPv4Address) else ipv6
    return str(parsed if prefix == parsed.max_prefixlen else ipaddress.ip_network((parsed, prefix), strict=False))


class Networks:
    """Addresses and networks as settings name them; texts that are none raise ValueError."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in texts]

    def holds(self, address: str) -> bool:
        """Whether one of them has the address in it; what is no address is in none."""
        # Most lists are empty, and asked at each request: to read the address would cost it a tenth of its time.
        if not self._networks:
            return False
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def require_network(text: str, field: str) -> str:
    """An address or a network as grants name it. Raises RequestInvalid with the field."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        message = f"this is no network, such as 10.0.0.0/8 or 2001:db8::/32: {error}"
        raise RequestInvalid(message, field=field, got=text[:64]) from None
    return text


def parse_address(text: str) -> Address | None:
    """An address as it is compared with networks, IPv4 in IPv6 as IPv4 (RFC 4291, section 2.5.5.2); None for none."""
    return _parse(text[:LONGEST])


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
