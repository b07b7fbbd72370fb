"""Lifetimes: how long a token is good, and when one is too young, too old or too long.

Times are seconds since the epoch.

Spec: RFC 7519 §4.1.4
Spec: RFC 7519 §4.1.5
Spec: RFC 7519 §4.1.6
"""

from __future__ import annotations

from enum import Enum, auto
from typing import assert_never

from perhop.core.resource import Risk
from perhop.errors import TokenExpired, TokenLifetimeTooLong, TokenNotYetValid

MAX_LIFETIME = 900
"""No verifier takes a token that is good for longer, whoever issued it."""
MAX_SKEW = 60
"""How far ahead of ours another clock may be."""
ACCESS_LIFETIME = 300
HIGH_RISK_LIFETIME = 60
HOP_LIFETIME = 60
CALL_LIFETIME = 30


class Leeway(Enum):
    """How long after `exp` a token still passes: not at all, or what the guard allows for clocks that differ."""

    NONE = auto()
    GUARD = auto()

    def seconds(self, lifetime: int) -> int:
        """The leeway on a token of this lifetime."""
        match self:
            case Leeway.NONE:
                return 0
            case Leeway.GUARD:
                return min(MAX_SKEW, max(lifetime, 0) // 5)
            case _:
                assert_never(self)


def access_lifetime(risk: Risk) -> int:
    """The lifetime of an access token for a resource of this risk."""
    match risk:
        case Risk.LOW | Risk.MEDIUM:
            return ACCESS_LIFETIME
        case Risk.HIGH:
            return HIGH_RISK_LIFETIME
        case _:
            assert_never(risk)


def child_expiry(*, now: int, parent_expires_at: int, lifetime: int) -> int:
    """When a token got by exchange expires: never after its parent, which must not have expired itself.

    Raises: TokenExpired
    """
    check_parent_lives(now=now, parent_expires_at=parent_expires_at)
    return min(parent_expires_at, now + lifetime)


def check_parent_lives(*, now: int, parent_expires_at: int) -> None:
    """Refuse an exchange of a token that has expired. Raises: TokenExpired."""
    if now >= parent_expires_at:
        raise TokenExpired("the subject token has expired")


def seconds_accepted(*, issued_at: int, not_before: int | None, expires_at: int, leeway: Leeway) -> range:
    """The seconds in which `check_times` lets a token of these times pass; none for one that is good for too long.

    Spec: RFC 7519 §4.1.4
    Spec: RFC 7519 §4.1.5
    """
    lifetime = expires_at - issued_at
    if lifetime > MAX_LIFETIME:
        return range(0)
    return range(max(issued_at, not_before or 0) - MAX_SKEW, expires_at + leeway.seconds(lifetime))


def check_times(*, issued_at: int, not_before: int | None, expires_at: int, now: int, leeway: Leeway) -> None:
    """Refuse a token from the future, one that is good for too long, and one that has expired.

    At exactly `exp` plus leeway it has expired.

    Spec: RFC 7519 §4.1.4
    Raises: TokenNotYetValid, TokenLifetimeTooLong, TokenExpired
    """
    if max(issued_at, not_before or 0) > now + MAX_SKEW:
        raise TokenNotYetValid("`iat` or `nbf` lies in the future")
    lifetime = expires_at - issued_at
    if lifetime > MAX_LIFETIME:
        raise TokenLifetimeTooLong(f"good for {lifetime} s, at most {MAX_LIFETIME} s are accepted")
    if now >= expires_at + leeway.seconds(lifetime):
        raise TokenExpired(f"expired {now - expires_at} s ago")
