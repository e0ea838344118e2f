"""What limits take for one place."""

from __future__ import annotations

import pytest

from entrepot.domain.networks import Networks, network_of


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


@pytest.mark.parametrize(
    ("address", "is_held"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::7", True),
        ("11.1.2.3", False),
        ("2001:db9::7", False),
        ("unknown", False),
        ("", False),
        ("10.1.2.3%eth0", True),
        ("10.1.2.3" + "0" * 1000, False),
    ],
)
def test_lists_of_networks(address: str, is_held: bool) -> None:
    """An address is held by its network, however it came; what is no address is held by none."""
    assert Networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]).holds(address) is is_held
    assert not Networks([]).holds(address)
