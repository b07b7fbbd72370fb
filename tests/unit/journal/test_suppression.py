"""Floods of refusals are counted instead of recorded, by address and reason."""

from __future__ import annotations

from perhop.journal.suppression import MANY, MAX_KEYS, RECORDED_A_SECOND, RefusalCounter

NOW = 1_790_000_000.5


def _offer(counter: RefusalCounter, times: int, *, now: float = NOW, address: str = "a", reason: str = "r") -> int:
    return sum(counter.admit(address, reason, now=now) for _ in range(times))


def test_the_tenth_is_recorded_and_the_eleventh_counted() -> None:
    """Ten a second of one address and reason stand alone; what comes beyond is one count."""
    counter = RefusalCounter()
    assert _offer(counter, RECORDED_A_SECOND) == RECORDED_A_SECOND
    assert _offer(counter, 1) == 0
    assert _offer(counter, 4, now=NOW + 0.4) == 0
    (found,) = counter.drain(now=NOW + 1)
    assert (found.address, found.reason, found.count) == ("a", "r", 5)
    assert (found.first, found.last) == (NOW, NOW + 0.4)


def test_addresses_and_reasons_are_counted_apart() -> None:
    """One caller's flood takes nothing from another, nor from another reason."""
    counter = RefusalCounter()
    _offer(counter, 50)
    assert _offer(counter, 1, address="b") == 1
    assert _offer(counter, 1, reason="s") == 1


def test_the_next_second_starts_anew_and_keeps_the_count() -> None:
    """After the second turned, ten stand alone again, and what was counted before is not lost."""
    counter = RefusalCounter()
    _offer(counter, 15)
    assert _offer(counter, 12, now=NOW + 1) == RECORDED_A_SECOND
    assert [each.count for each in counter.drain(now=NOW + 2)] == [7]


def test_a_running_second_is_not_drained() -> None:
    """A count is written when its second is over, or when everything is closed."""
    counter = RefusalCounter()
    _offer(counter, 15)
    assert counter.drain(now=NOW) == []
    assert [each.count for each in counter.drain(now=None)] == [5]
    assert counter.is_idle


def test_nothing_is_written_for_a_few() -> None:
    """Callers who stayed below the bound leave no counted record, and no memory."""
    counter = RefusalCounter()
    _offer(counter, 3)
    assert not counter.is_idle
    assert counter.drain(now=NOW + 1) == []
    assert counter.is_idle


def test_a_flood_from_many_addresses_is_bounded() -> None:
    """Beyond the table's size all addresses share one count, so that memory has a bound."""
    counter = RefusalCounter()
    for number in range(MAX_KEYS):
        assert _offer(counter, 1, address=f"a{number}") == 1
    admitted = sum(_offer(counter, 1, address=f"b{number}") for number in range(100))
    assert admitted == RECORDED_A_SECOND
    assert [(each.address, each.count) for each in counter.drain(now=None)] == [(MANY, 90)]
