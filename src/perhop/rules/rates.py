"""Rates: so many in a minute for each key, and as many at once; nothing about anybody who asks for less is kept.

A bucket for each key, which runs full again evenly: all that is kept of one is how much was taken of it, and when. Time
is an argument, and the number of keys has an end: of the libraries that were looked at none has both.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache

WINDOW = 60.0
"""Seconds over which a limit is meant."""

MAX_KEYS = 16_384
"""Keys told apart at a time. Beyond it the one that was quiet for longest begins anew, full: whoever has so many
addresses is not held by a limit for each of them, and nobody else is refused for that."""

IPV6_PREFIX = 64
"""What one subscriber has to choose addresses from, at the least. Spec: RFC 6177 §2"""


_ROUNDING = 1e-6


class Buckets:
    """The buckets of one kind of key. Not thread-safe."""

    def __init__(self, *, max_keys: int = MAX_KEYS) -> None:
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._max_keys = max_keys

    def __len__(self) -> int:
        return len(self._used)

    def take(self, key: str, *, per_minute: int, now: float) -> float:
        """Take one of this key's; 0 if there was one, else the seconds until there is. `per_minute` is 1 or more."""
        before = self._used.get(key)
        used = 0.0
        if before is not None:
            used, at = before
            # A clock that was set back gives nothing back, and keeps nobody out until it is where it was.
            if now > at:
                used -= (now - at) * per_minute / WINDOW
            if used < 0.0:
                used = 0.0
            elif used > per_minute:
                used = float(per_minute)
        beyond = used + 1.0 - per_minute
        is_free = beyond < _ROUNDING
        self._used[key] = (used + 1.0 if is_free else used, now)
        if before is not None:
            self._used.move_to_end(key)
        elif len(self._used) > self._max_keys:
            self._used.popitem(last=False)
        return 0.0 if is_free else beyond * WINDOW / per_minute


@lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """Whose address it is, as far as an address says: of IPv6 the /64, of IPv4 all of it, also written as IPv6.

    What is no address is itself.

    Spec: RFC 4291 §2.5.5.2
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
        found = found.ipv4_mapped
    return str(found)
