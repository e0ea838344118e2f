"""Where requests come from, as limits count it: one IPv4 address, or the /64 that one customer of IPv6 is given."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

IPV4_PREFIX: Final = 32
IPV6_PREFIX: Final = 64
# What whoever asks their provider is given: 65,536 of those (RFC 6177).
IPV6_SITE: Final = 48


@lru_cache(maxsize=4096)
def network_of(address: str, ipv4: int = IPV4_PREFIX, ipv6: int = IPV6_PREFIX) -> str:
    """The network of an address, of so many bits: `192.0.2.7`, `2001:db8:1:2::/64`; what is none stands for itself.

    An IPv4 address that came in an IPv6 socket (`::ffff:192.0.2.7`) is the IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # A proxy may write `unknown` (RFC 7239); everybody it hides is one.
        return address[:64]
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    prefix = ipv4 if isinstance(parsed, ipaddress.IPv4Address) else ipv6
    return str(parsed if prefix == parsed.max_prefixlen else ipaddress.ip_network((parsed, prefix), strict=False))


class Networks:
    """Addresses and networks as somebody wrote them down."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in texts]

    def holds(self, address: str) -> bool:
        """Whether an address lies in one of them."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
