"""Wrong passwords slow down whoever types them, and nobody else: no account is ever locked.

Counted are tries at one account from one network, tries from one address, and, of a browser in which the person has
signed in before, its own tries at that account and nothing else. Kept in memory: a restart gives a few tries more, and
is nothing that a stranger can bring about.

Spec: RFC 6749 §10.10
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from perhop.errors import SignInThrottled
from perhop.rules.networks import host_of, network_of

FORGET_SECONDS = 3600
"""After so long without a wrong password nothing is held against anybody."""

CAPACITY = 16_384
"""Counters of one kind; the one that was quiet longest makes room. Some 4 MiB for both kinds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many wrong passwords are free; each one more doubles the wait, up to `longest` seconds."""

    free: int
    longest: int

    def wait(self, failures: int) -> int:
        over = failures - self.free
        return min(2 ** min(over, 16), self.longest) if over > 0 else 0


AT_ACCOUNT = Limit(free=10, longest=60)
"""A minute at most: somebody else of the network, who has an address to themselves, gets in between."""

FROM_ADDRESS = Limit(free=20, longest=900)
"""Whoever tries many accounts from one address has a quarter of an hour to think. An office may share the address."""


@dataclass(slots=True)
class _Counter:
    failures: int = 0
    closed_until: float = 0.0
    last: float = 0.0


class _Counters:
    """Counters by a key of any length, of which a digest is kept."""

    def __init__(self, limit: Limit, capacity: int) -> None:
        self._limit = limit
        self._capacity = capacity
        self._kept: OrderedDict[bytes, _Counter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def closed_for(self, key: tuple[str, ...], *, now: float) -> float:
        found = self._kept.get(_digest(key))
        return max(0.0, found.closed_until - now) if found is not None else 0.0

    def count(self, key: tuple[str, ...], *, now: float) -> None:
        digest = _digest(key)
        found = self._kept.pop(digest, None)
        if found is None or now - found.last >= FORGET_SECONDS:
            found = _Counter()
        found.failures, found.last = found.failures + 1, now
        found.closed_until = now + self._limit.wait(found.failures)
        self._kept[digest] = found
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    def take_back(self, key: tuple[str, ...]) -> None:
        """One try less: it was none with a wrong password."""
        found = self._kept.get(_digest(key))
        if found is not None:
            found.failures, found.closed_until = max(0, found.failures - 1), 0.0

    def clear(self, key: tuple[str, ...]) -> None:
        self._kept.pop(_digest(key), None)


@dataclass(frozen=True, slots=True)
class Tried:
    """A try that was let through, and counted as a wrong one until it turns out to be none."""

    at_account: tuple[str, ...]
    from_address: tuple[str, ...] | None


class SignInThrottle:
    """Lets tries through, or says how long they have to wait. Tries that have to wait are not counted."""

    def __init__(self, clock: Callable[[], float], *, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._at_account = _Counters(AT_ACCOUNT, capacity)
        self._from_address = _Counters(FROM_ADDRESS, capacity)

    def __len__(self) -> int:
        return len(self._at_account) + len(self._from_address)

    def begin(self, email: str, *, address: str, device: str | None) -> Tried:
        """Let a try through. `device` is the browser's id, if the account has been signed in to there before.

        It counts at once, so that a hundred tries at the same time are no more than one after the other.

        Raises: SignInThrottled
        """
        now = self._clock()
        if device is not None:
            # INVARIANT: what others do elsewhere, or from the same address, does not slow a browser that is known.
            tried = Tried(("device", email, device), None)
        else:
            tried = Tried(("network", email, network_of(address) or address), (host_of(address),))
        wait = self._at_account.closed_for(tried.at_account, now=now)
        if tried.from_address is not None:
            wait = max(wait, self._from_address.closed_for(tried.from_address, now=now))
        if wait > 0:
            raise SignInThrottled(f"{wait:.0f} s are to go by after wrong passwords", retry_after=int(-(-wait // 1)))
        self._at_account.count(tried.at_account, now=now)
        if tried.from_address is not None:
            self._from_address.count(tried.from_address, now=now)
        return tried

    def was_right(self, tried: Tried) -> None:
        """The password was right: the account is clear from there, and the address has one try less.

        Not clear altogether: who has one account of their own could else begin anew with others' again and again.
        """
        self._at_account.clear(tried.at_account)
        if tried.from_address is not None:
            self._from_address.take_back(tried.from_address)


def _digest(key: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join(key).encode("utf-8", "replace")).digest()
