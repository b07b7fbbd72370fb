"""The circuit to an upstream: open after failures in a row, tried by one call, closed by an answer."""

from __future__ import annotations

import pytest

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.circuit import Circuit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(failures=3, seconds=5, clock=clock)


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.failed(circuit.admit())


def test_failures_in_a_row_open_it(circuit: Circuit) -> None:
    """The third failure opens it; an answer in between starts the count anew."""
    fail(circuit, 2)
    circuit.reached(circuit.admit())
    fail(circuit, 2)
    assert circuit.is_closed
    fail(circuit, 1)
    assert not circuit.is_closed
    with pytest.raises(UpstreamUnavailable) as refusal:
        circuit.admit()
    assert refusal.value.retry_after == 5


def test_after_its_rest_one_call_tries(circuit: Circuit, clock: Clock) -> None:
    """While that one is on its way the others are told to wait; its answer closes the circuit."""
    fail(circuit, 3)
    clock.now += 4.5
    with pytest.raises(UpstreamUnavailable) as refusal:
        circuit.admit()
    assert refusal.value.retry_after == 1
    clock.now += 0.5
    trial = circuit.admit()
    with pytest.raises(UpstreamUnavailable):
        circuit.admit()
    circuit.reached(trial)
    assert circuit.is_closed
    fail(circuit, 2)
    assert circuit.is_closed


def test_a_trial_that_fails_opens_it_again(circuit: Circuit, clock: Clock) -> None:
    """The rest begins anew with the failure of the trial."""
    fail(circuit, 3)
    clock.now += 5
    circuit.failed(circuit.admit())
    clock.now += 4
    with pytest.raises(UpstreamUnavailable):
        circuit.admit()
    clock.now += 1
    circuit.reached(circuit.admit())
    assert circuit.is_closed


def test_a_trial_whose_caller_went_away_leaves_the_next_one_to_try(circuit: Circuit, clock: Clock) -> None:
    """A call that was given up says nothing of the upstream."""
    fail(circuit, 3)
    clock.now += 5
    circuit.abandoned(circuit.admit())
    circuit.reached(circuit.admit())
    assert circuit.is_closed


def test_failures_of_before_it_opened_keep_it_open_no_longer(circuit: Circuit, clock: Clock) -> None:
    """Calls that were on their way when it opened fail late, and change nothing."""
    late = circuit.admit()
    fail(circuit, 3)
    clock.now += 4
    circuit.failed(late)
    clock.now += 1
    circuit.admit()
