"""Which addresses a URL of somebody else's choice may lead to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from perhop.rules.public_address import is_inner_host, is_public

INNER = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.31.196.1"),
    *("192.52.193.1", "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:10.0.0.1", "64:ff9b::a00:1"),
    *("64:ff9b::808:808", "64:ff9b:1::1", "100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378::1", "2001:10::1"),
    *("2001:20::1", "2001:db8::1", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "2620:4f:8000::1", "4000::1"),
    *("5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "2606:4700::1111%eth0", "fec0::1", "ff02::1"),
    *("", "localhost", "127.1", "0x7f.1", "2130706433", "010.0.0.1"),
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.89.0.1",
    "2606:4700::1111",
    "2a00::1",
]


@pytest.mark.parametrize("address", INNER)
def test_an_address_that_is_not_public(address: str) -> None:
    """What is private, shared, reserved, or carries another address, is not public, whatever libraries call it."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_anybody_may_have(address: str) -> None:
    """A global unicast address is public, right up to the edges of what is not."""
    assert is_public(address)


def test_an_inner_network_is_what_it_says_and_no_more() -> None:
    """A listed network lets its own addresses in, and no other spelling of them."""
    inner = (ip_network("10.1.0.0/16"),)
    assert is_public("10.1.2.3", inner=inner)
    assert not any(is_public(each, inner=inner) for each in ("10.2.0.1", "::ffff:10.1.2.3", "64:ff9b::a01:203"))


def test_a_host_is_inner_by_its_name_or_its_address() -> None:
    """`localhost`, what is below it, and addresses that are not public; no other name is judged."""
    assert all(map(is_inner_host, ("localhost", "a.b.localhost", "127.0.0.1", "10.0.0.1", "[::1]", "[fe80::1]")))
    outer = ("example.com", "localhost.example.com", "mylocalhost", "8.8.8.8", "[2606:4700::1111]", "10.example")
    assert not any(map(is_inner_host, outer))
