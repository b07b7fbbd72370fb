"""Rates: so many a minute and as many at once, in bounded memory, whatever the clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.rules.rates import WINDOW, Buckets, source_of

NOW = 1_800_000_000.0


def _taken(buckets: Buckets, key: str, *, per_minute: int, now: float, times: int) -> int:
    return sum(buckets.take(key, per_minute=per_minute, now=now) == 0 for _ in range(times))


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 600, 6_000])
def test_as_many_as_the_limit_pass_at_once_and_no_more(per_minute: int) -> None:
    """The first so many pass, the next one waits as long as one takes to come back, and passes then."""
    buckets = Buckets()
    assert _taken(buckets, "a", per_minute=per_minute, now=NOW, times=per_minute + 5) == per_minute
    wait = buckets.take("a", per_minute=per_minute, now=NOW)
    assert wait == pytest.approx(WINDOW / per_minute, abs=1e-5)
    assert buckets.take("a", per_minute=per_minute, now=NOW + wait) == 0
    assert buckets.take("a", per_minute=per_minute, now=NOW + wait) > 0


def test_keys_do_not_share() -> None:
    """What one has used up is there for another."""
    buckets = Buckets()
    assert _taken(buckets, "a", per_minute=3, now=NOW, times=9) == 3
    assert _taken(buckets, "b", per_minute=3, now=NOW, times=9) == 3


def test_asking_in_vain_costs_nothing() -> None:
    """Whoever is refused and goes on asking is let in as soon as one who waited."""
    eager, patient = Buckets(), Buckets()
    for each in (eager, patient):
        _taken(each, "a", per_minute=60, now=NOW, times=60)
    for step in range(9):
        assert eager.take("a", per_minute=60, now=NOW + step / 10) > 0
    assert eager.take("a", per_minute=60, now=NOW + 1) == 0
    assert patient.take("a", per_minute=60, now=NOW + 1) == 0


def test_a_clock_that_is_set_back_keeps_nobody_out_for_long() -> None:
    """After an hour's step back the next one passes within what one takes to come back."""
    buckets = Buckets()
    _taken(buckets, "a", per_minute=60, now=NOW, times=60)
    assert buckets.take("a", per_minute=60, now=NOW - 3600) <= 1.0
    assert buckets.take("a", per_minute=60, now=NOW - 3598) == 0


def test_a_new_limit_counts_at_once() -> None:
    """A limit that is raised lets more in, one that is lowered fewer."""
    buckets = Buckets()
    _taken(buckets, "a", per_minute=10, now=NOW, times=10)
    assert buckets.take("a", per_minute=20, now=NOW) == 0
    assert 0 < buckets.take("a", per_minute=1, now=NOW) <= WINDOW


def test_memory_has_an_end() -> None:
    """Beyond the bound the key that was quiet for longest is forgotten, and the others are not."""
    buckets = Buckets(max_keys=100)
    for number in range(100):
        buckets.take(str(number), per_minute=1, now=NOW)
    assert len(buckets) == 100
    buckets.take("one more", per_minute=1, now=NOW)
    assert len(buckets) == 100
    assert buckets.take("99", per_minute=1, now=NOW) > 0
    assert buckets.take("0", per_minute=1, now=NOW) == 0


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=60), st.integers(min_value=1, max_value=20))
def test_no_minute_has_more_than_twice_the_limit(steps: list[float], per_minute: int) -> None:
    """However requests are spread, what passes in any minute is at most what was there and what came back."""
    buckets, now, passed = Buckets(), NOW, []
    for step in steps:
        now += step
        if buckets.take("a", per_minute=per_minute, now=now) == 0:
            passed.append(now)
    for first in passed:
        assert sum(first <= each < first + WINDOW for each in passed) <= 2 * per_minute


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_a_source_is_an_address_or_a_network_of_one_subscriber(address: str, source: str) -> None:
    """Of IPv6 the /64, since whoever has one address of it has all; IPv4 stays itself, however it is written."""
    assert source_of(address) == source
