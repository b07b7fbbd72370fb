"""Attempts: a way that is well says so by less, and never says less than the full rule."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hypothesis import example, given
from hypothesis import strategies as st

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.attempts import Attempts, Patience
from perhop.gateway.upstream.circuit import Attempt, Circuit
from perhop.gateway.upstream.interface import Condition, StateKeeper, UpstreamReply

STEPS = st.sampled_from(["answered", "answered", "answered for", "failed", "abandoned", "begun", "later", "a while"])


class _FullRule:
    """What attempts come to, every step taken each time, and every call told from every other."""

    def __init__(self, now: list[float]) -> None:
        self.circuit = Circuit(failures=2, seconds=5, clock=lambda: now[0])
        self.keeper = StateKeeper(lambda: now[0])

    def end(self, attempt: Attempt, how: str) -> None:
        match how:
            case "answered":
                self.circuit.reached(attempt)
                self.keeper.become(Condition.UP)
            case "answered for" | "failed":
                self.circuit.failed(attempt)
                self.keeper.become(Condition.FAILED, "answered for with 503" if how == "answered for" else "failed")
            case _:
                self.circuit.abandoned(attempt)


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""


async def _close() -> None:
    return None


def _end(attempts: Attempts, attempt: Attempt, how: str) -> None:
    match how:
        case "answered" | "answered for":
            status = 200 if how == "answered" else 503
            attempts.answered(attempt, UpstreamReply(status=status, headers=(), chunks=_none(), close=_close))
        case "failed":
            attempts.failed(attempt, "failed")
        case _:
            attempts.abandoned(attempt)


LATE = [("begun", 0), ("begun", 0), ("begun", 0), ("failed", 0), ("failed", 0), ("a while", 0), ("begun", 0)]
"""One call is still under way when the circuit has opened, and another one tries."""
AGAIN = [("begun", 0), ("begun", 0), ("failed", 0), ("failed", 0), ("a while", 0), ("begun", 0)]


@example(steps=[*LATE, ("answered", 0), ("answered", 0), *AGAIN])
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 3)), max_size=40))
def test_a_way_that_is_well_is_as_the_full_rule_says(steps: list[tuple[str, int]]) -> None:
    """However calls begin, overlap and end, they are let through and told of as if nothing were kept."""
    now = [100.0]
    attempts = Attempts(Patience(circuit_failures=2, circuit_seconds=5), clock=lambda: now[0], monotonic=lambda: now[0])
    full = _FullRule(now)
    running: list[tuple[Attempt, Attempt]] = []
    for step, place in steps:
        now[0] += 6 if step == "a while" else 1
        if step in ("later", "a while"):
            continue
        if step == "begun" or not running:
            found: list[Attempt | str] = []
            for admit in (attempts.admit, full.circuit.admit):
                try:
                    found.append(admit())
                except UpstreamUnavailable as refusal:
                    found.append(f"{refusal.detail} {refusal.retry_after}")
            if isinstance(found[0], Attempt) and isinstance(found[1], Attempt):
                running.append((found[0], found[1]))
            else:
                assert found[0] == found[1]
        else:
            ours, theirs = running.pop(place % len(running))
            _end(attempts, ours, step)
            full.end(theirs, step)
        assert attempts.state == full.keeper.state
