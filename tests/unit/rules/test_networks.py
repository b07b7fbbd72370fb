"""Networks of addresses."""

from __future__ import annotations

import pytest

from perhop.rules.networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("many", None),
        ("", None),
        ("203.0.113.77:80", None),
    ],
)
def test_the_network_of_an_address(address: str, network: str | None) -> None:
    """A /24 or a /48, one spelling for each, and none of what is no address."""
    assert network_of(address) == network
