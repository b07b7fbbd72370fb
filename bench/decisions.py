"""What a decision costs among few policies and among many: `python -m bench.decisions [ROUNDS]`. Run by hand.

Ten policies about each tool; sets of 10 to 10,000 policies, asked in turn within each round, so that whatever else the
machine does falls on all alike. Prints medians, and each set's cost as a multiple of the smallest's.
"""

from __future__ import annotations

import statistics
import sys
import time

from perhop.core.call import Action, Target
from perhop.core.decision import Allow, Question
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from tests.support.policies import NOON_ISH, REGISTRY

ROUNDS = 15
OF_A_TOOL = 10
ASKED = 2_000
SIZES = (10, 100, 1_000, 10_000)


def _policies(tool: int) -> str:
    head = f'principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/tool-{tool}"'
    permit = f'@id("permit-{tool}") permit ({head}) when {{ context.token.hop <= 3 }};\n'
    forbids = (
        f'@id("forbid-{tool}-{number}") forbid ({head})\n'
        f"when {{ context.arguments has amount && context.arguments.amount > {1000 + number} }};\n"
        for number in range(OF_A_TOOL - 1)
    )
    return permit + "".join(forbids)


def _question(tool: int) -> Question:
    return Question(
        target=Target(Action.CALL_TOOL, f"tool-{tool}"),
        agent="trip-planner",
        server="calendar",
        subject="user:ann",
        client_id="trip-planner",
        actors=(),
        scopes=frozenset({"calendar:read"}),
        hop=1,
        now=NOON_ISH,
        arguments={"amount": 5},
        tenant="acme",
        ip="192.0.2.7",
        revision="2025-11-25",
    )


def main(rounds: int) -> None:
    """Ask every set in each round, its tools in turn; the first round only warms up."""
    engines, questions = [], []
    for size in SIZES:
        tools = range(size // OF_A_TOOL)
        engines.append(PolicyEngine(parse_policies({"all.cedar": "".join(map(_policies, tools))}), REGISTRY))
        questions.append([_question(each) for each in tools])
    seen: list[list[float]] = [[] for _ in SIZES]
    for turn in range(rounds + 1):
        for engine, asked, times in zip(engines, questions, seen, strict=True):
            began = time.perf_counter()
            for number in range(ASKED):
                assert isinstance(engine.decide(asked[number % len(asked)]), Allow)
            if turn:
                times.append((time.perf_counter() - began) / ASKED)
    ratios = [statistics.median(a / b for a, b in zip(times, seen[0], strict=True)) for times in seen]
    for size, times, ratio in zip(SIZES, seen, ratios, strict=True):
        sys.stdout.write(f"{size:>6} policies  {1e6 * statistics.median(times):7.1f} us a decision  {ratio:5.2f}x\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
