"""What limits take for one place."""

from __future__ import annotations

import pytest

from entrepot.domain.networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_networks_of_addresses(address: str, network: str) -> None:
    """An IPv4 address is itself, one of IPv6 stands for its /64, and what is no address stays bounded."""
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("unix", "unix"),
    ],
)
def test_wider_networks(address: str, network: str) -> None:
    """Of as many bits as are asked for, by the version of the address that a client really has."""
    assert network_of(address, 24, 48) == network
