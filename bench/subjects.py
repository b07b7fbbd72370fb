"""Subjects that take turns: what each is, how it is asked, and the rounds in which they are measured.

In every round each subject is measured once, one after the other, so that what else the machine does in a bad minute
meets all of them. The figures of one round stand beside each other; those of two rounds do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import httpx2

from bench.load import CONNECTIONS, Ask, LoadFailed, closed_loop, open_loop, percentile
from bench.measured import Measured, in_rounds
from bench.processes import resident_bytes

RATE = 100.0
_WARM_SECONDS, _PASS_SECONDS = 75.0, 3.0
_ANSWERS, _LONGER = 10, 4
"""Fewer answers for each connection are too few, and the loop is run again, so many times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing that is measured.

    `ask` makes the request, with tokens that are good for the round; `answer` is text that every right answer holds;
    `refuses` makes a request that must be refused, where there is something to refuse. `rate` is what the open loop
    asks a second; 0 leaves it out. `patience` is how many times as long the closed loop is, for what answers only a few
    times a second. Of `once` every variant of the request is sent at most once; otherwise one that has many is asked
    for all of them before it is measured, whenever they are new, and left out if that takes too long. `often` is what
    is held against another: it has more rounds, in which only such subjects take turns, within seconds of each other.
    """

    name: str
    setup: str
    pid: int
    ask: Callable[[], Ask]
    answer: str
    refuses: Callable[[], Ask] | None = None
    rate: float = RATE
    connections: int = CONNECTIONS
    patience: int = 1
    once: bool = False
    often: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often and how long each subject is measured: seconds of a closed and of an open loop.

    Afterwards those that are measured often have `more` rounds of the closed loop.
    """

    count: int
    closed: float
    open: float
    more: int = 0


def prove(subject: Subject) -> None:
    """See that the subject does what is measured: the right answer, and a refusal of what must be refused.

    Raises: LoadFailed where it does not.
    """
    status, said = _sent(subject.ask())
    if status != 200 or subject.answer not in said:
        raise LoadFailed(f"{subject.name} answered {status}: {said[:300]}")
    if subject.refuses is not None and (status := _sent(subject.refuses())[0]) not in (401, 403):
        raise LoadFailed(f"{subject.name} answered {status} to a token that is not for it")


def in_turn(
    scenario: str,
    subjects: Sequence[Subject],
    rounds: Rounds,
    tell: Callable[[str], None],
    *,
    direct: Ask,
) -> list[Measured]:
    """Every subject in every round; `direct` is the same request to the server behind, without anybody between.

    Raises: LoadFailed where a subject gave a wrong answer.
    """
    found: dict[str, list[dict[str, float]]] = {subject.name: [] for subject in subjects}
    seen: dict[str, str] = {}
    too_slow: set[str] = set()
    for number in range(1, rounds.count + 1):
        base: dict[float, tuple[float, float]] = {}
        for subject in subjects:
            if subject.name in too_slow:
                continue
            tell(f"round {number} of {rounds.count}: {subject.name}")
            ask = subject.ask()
            if not subject.once and len(ask.values) > 1 and seen.get(subject.name) != ask.values[0]:
                if not _is_warmed(subject, ask):
                    tell(
                        f"{subject.name} is left out: it has not seen {len(ask.values)} tokens in {_WARM_SECONDS:.0f} s"
                    )
                    too_slow.add(subject.name)
                    continue
                seen[subject.name] = ask.values[0]
            figures = _closed(subject, ask, rounds.closed * subject.patience, tell)
            if subject.rate:
                if subject.rate not in base:
                    base[subject.rate] = _latencies(direct, subject.rate, rounds.open)
                alone, there = base[subject.rate], _latencies(ask, subject.rate, rounds.open)
                figures |= {"added_p50_ms": there[0] - alone[0], "added_p99_ms": there[1] - alone[1]}
            found[subject.name].append(figures | {"resident_mb": resident_bytes(subject.pid) / 2**20})
    for number in range(1, rounds.more + 1):
        for subject in (each for each in subjects if each.often):
            tell(f"further round {number} of {rounds.more}: {subject.name}")
            found[subject.name].append(_closed(subject, subject.ask(), rounds.closed * subject.patience, tell))
    measured = (each for each in subjects if each.name not in too_slow)
    return [each for one in measured for each in in_rounds(scenario, one.name, one.setup, found[one.name])]


def _closed(subject: Subject, ask: Ask, seconds: float, tell: Callable[[str], None]) -> dict[str, float]:
    found = closed_loop(ask, subject.pid, seconds=seconds, connections=subject.connections)
    if found.requests < _ANSWERS * subject.connections:
        # What is in flight at the end has cost CPU and is not counted: of few answers that is too large a part.
        tell(f"{subject.name}: {found.requests} answers in {seconds:.0f} s are too few; again, {_LONGER} times as long")
        ask = subject.ask() if subject.once else ask
        found = closed_loop(ask, subject.pid, seconds=_LONGER * seconds, connections=subject.connections)
    if subject.once and found.requests > len(ask.values):
        raise LoadFailed(f"{subject.name} sent {found.requests} requests, but had only {len(ask.values)} tokens")
    return found.figures


def _is_warmed(subject: Subject, ask: Ask) -> bool:
    """Let it see every variant once. False where that takes so long that tokens would expire."""
    asked, until = 0, time.monotonic() + _WARM_SECONDS
    while asked < len(ask.values):
        if time.monotonic() > until:
            return False
        rest = replace(ask, values=[*ask.values[asked:], *ask.values[:asked]])
        asked += closed_loop(rest, subject.pid, seconds=_PASS_SECONDS, connections=subject.connections).requests
    return True


def _latencies(ask: Ask, rate: float, seconds: float) -> tuple[float, float]:
    """Half of the requests, and 99 of 100, are answered in so many milliseconds."""
    found = open_loop(ask, rate=rate, seconds=seconds)
    return 1e3 * percentile(found, 0.5), 1e3 * percentile(found, 0.99)


def _sent(ask: Ask) -> tuple[int, str]:
    headers = dict(ask.headers) | ({"authorization": ask.values[0]} if ask.values else {})
    response = httpx2.request(ask.method, ask.url, content=ask.body, headers=headers, timeout=30)
    return response.status_code, response.text
