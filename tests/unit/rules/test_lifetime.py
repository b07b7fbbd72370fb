"""Lifetimes: how long a token is good, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.resource import Risk
from perhop.errors import BearerRefused, TokenExpired, TokenLifetimeTooLong, TokenNotYetValid
from perhop.rules.lifetime import HOP_LIFETIME, MAX_LIFETIME, Leeway, access_lifetime, check_times, child_expiry, seconds_accepted

NOW = 1_800_000_000


def check(*, iat: int = NOW, exp: int = NOW + 300, nbf: int | None = None, now: int = NOW, leeway: Leeway) -> None:
    check_times(issued_at=iat, not_before=nbf, expires_at=exp, now=now, leeway=leeway)


@pytest.mark.parametrize(("risk", "seconds"), [(Risk.LOW, 300), (Risk.MEDIUM, 300), (Risk.HIGH, 60)])
def test_access_lifetime_by_risk(risk: Risk, seconds: int) -> None:
    """Five minutes, and one at high risk."""
    assert access_lifetime(risk) == seconds


@given(st.integers(0, 10_000), st.integers(1, 10_000), st.integers(1, MAX_LIFETIME))
def test_child_never_outlives_its_parent(now: int, left: int, lifetime: int) -> None:
    """A child expires with its parent or before, within its own lifetime, and after now."""
    expiry = child_expiry(now=now, parent_expires_at=now + left, lifetime=lifetime)
    assert now < expiry <= now + min(left, lifetime)


@pytest.mark.parametrize("parent_expires_at", [NOW, NOW - 1])
def test_expired_parent_has_no_child(parent_expires_at: int) -> None:
    """At its very expiry a parent is expired: there is no leeway."""
    with pytest.raises(TokenExpired):
        child_expiry(now=NOW, parent_expires_at=parent_expires_at, lifetime=HOP_LIFETIME)


@pytest.mark.parametrize(
    ("leeway", "lifetime", "seconds"),
    [(Leeway.NONE, 300, 0), (Leeway.GUARD, 300, 60), (Leeway.GUARD, 60, 12), (Leeway.GUARD, 900, 60)],
)
def test_leeway_to_the_second(leeway: Leeway, lifetime: int, seconds: int) -> None:
    """The last second before expiry plus leeway passes, the next does not."""
    expiry = NOW + lifetime
    check(exp=expiry, now=expiry + seconds - 1, leeway=leeway)
    with pytest.raises(TokenExpired):
        check(exp=expiry, now=expiry + seconds, leeway=leeway)


@pytest.mark.parametrize("leeway", Leeway)
def test_lifetime_is_bounded(leeway: Leeway) -> None:
    """900 seconds are accepted, 901 are not, however fresh."""
    check(exp=NOW + 900, leeway=leeway)
    with pytest.raises(TokenLifetimeTooLong):
        check(exp=NOW + 901, leeway=leeway)


@pytest.mark.parametrize("leeway", Leeway)
def test_future_is_bounded(leeway: Leeway) -> None:
    """`iat` and `nbf` may be 60 seconds ahead, not 61."""
    check(iat=NOW + 60, leeway=leeway)
    check(nbf=NOW + 60, leeway=leeway)
    for refused in ({"iat": NOW + 61, "exp": NOW + 100}, {"nbf": NOW + 61}):
        with pytest.raises(TokenNotYetValid) as refusal:
            check(**refused, leeway=leeway)
        assert refusal.value.reason == "token.lifetime"


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 4000))
def test_guard_takes_whatever_the_gateway_takes(iat: int, lifetime: int, now: int) -> None:
    """The two answers differ by leeway on expiry only, and only in one direction."""

    def answer(leeway: Leeway) -> str | None:
        try:
            check(iat=iat, exp=iat + lifetime, now=now, leeway=leeway)
        except BearerRefused as refusal:
            return refusal.reason
        return None

    strict, lenient = answer(Leeway.NONE), answer(Leeway.GUARD)
    assert strict == lenient or (strict, lenient) == ("token.expired", None)


@given(
    iat=st.integers(0, 3000),
    nbf=st.none() | st.integers(0, 3000),
    exp=st.integers(0, 4000),
    now=st.integers(-100, 5000),
    leeway=st.sampled_from(Leeway),
)
def test_the_seconds_accepted_are_those_in_which_the_check_passes(
    iat: int, nbf: int | None, exp: int, now: int, leeway: Leeway
) -> None:
    """Whoever looks at the seconds only, and whoever checks the times, takes a token at the same moments."""
    seconds = seconds_accepted(issued_at=iat, not_before=nbf, expires_at=exp, leeway=leeway)
    try:
        check(iat=iat, exp=exp, nbf=nbf, now=now, leeway=leeway)
        passes = True
    except BearerRefused:
        passes = False
    assert (now in seconds) is passes
