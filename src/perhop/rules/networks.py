"""Networks: the part of an address that stays the same while somebody is in one place."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IPV4_PREFIX = 24
IPV6_PREFIX = 48
IPV6_HOST_PREFIX = 64


@lru_cache(maxsize=4096)
def network_of(address: str) -> str | None:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; None for what is no address.

    An IPv4 address that is written as IPv6 is an IPv4 address, and the zone of an IPv6 address does not count.

    Spec: RFC 4291 §2.5.5.2
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    prefix = IPV4_PREFIX if isinstance(found, ipaddress.IPv4Address) else IPV6_PREFIX
    return str(ipaddress.ip_network((found, prefix), strict=False))


@lru_cache(maxsize=4096)
def host_of(address: str) -> str:
    """One IPv4 address, or the /64 of an IPv6 address, which one machine may have for itself; else the text as it is.

    Spec: RFC 4291 §2.5.1
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_HOST_PREFIX), strict=False))
    return str(found)
