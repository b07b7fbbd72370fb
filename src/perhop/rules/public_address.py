"""Public addresses: where a URL that somebody else chose may lead.

Told by tables of our own. What a library calls global changes with its version, and counts addresses in that carry an
inner one: NAT64, 6to4, IPv4-compatible, site-local.

Spec: RFC 6890 §2.2
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
"""The only block of which global unicast addresses are given out. Spec: RFC 4291 §2.4."""
_SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        # Protocol assignments (Teredo and ORCHID among them), documentation, 6to4, and a sink of reverse lookups.
        ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"),
    )
)


def is_public(address: str, *, inner: Iterable[Network] = ()) -> bool:
    """True for a unicast address that anybody may have, and for those of these inner networks.

    An IPv4 address in IPv6 clothes is neither, and nor is an address with a zone, or what is no address.

    Spec: RFC 6890 §2.2
    Spec: RFC 4291 §2.5.5
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return False
    return any(found in network for network in inner) or _is_public(found)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def is_inner_host(host: str) -> bool:
    """True for `localhost`, for names below it, and for addresses that are not public, an IPv6 one in its brackets.

    No name is resolved: any other name may lead anywhere.

    Spec: RFC 6761 §6.3
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    is_address = host.startswith("[") or host.rpartition(".")[2].isdigit()
    return is_address and not is_public(host.strip("[]"))


def parse_network(text: str) -> Network:
    """A network in its own notation: an address, or a block without bits behind its prefix. Raises ValueError."""
    return ip_network(text)
