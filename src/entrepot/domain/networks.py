"""Where requests come from, as limits count it: one IPv4 address, or the /64 that one customer of IPv6 is given."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

IPV6_PREFIX: Final = 64


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The network of an address: `192.0.2.7`, `2001:db8:1:2::/64`; what is no address stands for itself.

    An IPv4 address that came in an IPv6 socket (`::ffff:192.0.2.7`) is the IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # A proxy may write `unknown` (RFC 7239); everybody it hides is one.
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
