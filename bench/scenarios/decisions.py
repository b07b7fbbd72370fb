"""What a decision costs among few policies and among many. By hand: `python -m bench.scenarios.decisions [quick|full]`.

Ten policies about each tool, which add two arguments up, so that Cedar is asked each time. Two sets besides: one whose
policies hold an argument against constants, so that a decision is kept for all values between two of them, and one
that reads nothing of a single call. Sets are asked in turn within each round, their tools in turn, no two questions
alike in time and arguments. `first_decision_us` is the first question about a tool, for which the policies are looked
through. Beside them: Cedar itself over the whole set, with entities and policies parsed before. In CPU time of one
process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.measured import Measured, Size, in_rounds
from bench.processes import SUBJECT_CORE, pinned
from perhop.core.call import Action
from perhop.core.decision import Allow, Question
from perhop.policy.engine import PolicyEngine, evaluate
from perhop.policy.policy_set import PolicySet, parse_policies
from perhop.policy.slices import handle_of
from perhop.policy.vocabulary import context
from tests.support.policies import NOON_ISH, REGISTRY, a_question

NAME = "decisions"
OF_A_TOOL = 10
SIZES = {Size.QUICK: (10, 1_000), Size.FULL: (1, 10, 100, 1_000, 10_000)}
"""Cedar reads ten thousand policies for ten seconds: not in the quick form."""
WHOLE_SIZES = {Size.QUICK: (10,), Size.FULL: (10, 1_000)}
COMPARED = "1000 policies, arguments held against constants"
CONTEXT_FREE = "1000 policies, no context read"
CONDITIONS = {
    "adds": "context.arguments has amount && context.arguments has fee"
    " && context.arguments.amount + context.arguments.fee > {0}",
    "compares": "context.arguments has amount && context.arguments.amount > {0}",
    "reads nothing": "principal has none && 0 > {0}",
}
"""What the policies of a set ask of a call."""
ROUNDS = {Size.QUICK: 3, Size.FULL: 7}
ASKED = {Size.QUICK: 300, Size.FULL: 1_500}
_FIRST = 10


@dataclass(frozen=True, slots=True)
class _Set:
    """Policies, made anew for every first question; the questions that are asked of them, in turn."""

    setup: str
    build: Callable[[], PolicyEngine]
    questions: Sequence[Question]
    tools: int
    is_whole: bool = False


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """Every set in each round, in one process of its own on the subjects' core."""
    tell(f"{ROUNDS[size]} rounds of {ASKED[size]} questions to each set")
    command = [*pinned(SUBJECT_CORE), sys.executable, "-m", "bench.scenarios.decisions", size.value, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sets = _sets(size)
    return [
        each
        for subject, rounds in json.loads(done.stdout).items()
        for each in in_rounds(NAME, subject, sets[subject].setup, rounds)
    ]


def policies_about(tool: int, *, count: int = OF_A_TOOL, condition: str = "adds") -> str:
    """A permit about one tool, and forbids up to so many policies, each with a condition that is not met."""
    head = f'principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/tool-{tool}"'
    permit = f'@id("permit-{tool}") permit ({head})' + (
        " when { context.token.hop <= 3 };\n" if condition != "reads nothing" else ";\n"
    )
    when = CONDITIONS[condition]
    forbids = (
        f'@id("forbid-{tool}-{number}") forbid ({head}) when {{ {when.format(2000 + number)} }};\n'
        for number in range(count - 1)
    )
    return permit + "".join(forbids)


def _sets(form: Size) -> Mapping[str, _Set]:
    found = {}
    for size in SIZES[form]:
        found[_counted(size)] = _a_set(
            size, f"perhop; {min(size, OF_A_TOOL)} about each tool, which add two arguments up"
        )
    found[COMPARED] = _a_set(1_000, "perhop; 10 about each tool, which hold an argument against constants", "compares")
    found[CONTEXT_FREE] = _a_set(1_000, "perhop; 10 about each tool, which read nothing of a call", "reads nothing")
    for size in WHOLE_SIZES[form]:
        setup = "cedarpy alone: all policies in one handle, entities parsed before"
        found[f"cedar alone, {_counted(size)}"] = replace(_a_set(size, setup), is_whole=True)
    return found


def _counted(size: int) -> str:
    return f"{size} {'policy' if size == 1 else 'policies'}"


def _a_set(size: int, setup: str, condition: str = "adds") -> _Set:
    tools = max(1, size // OF_A_TOOL)
    text = "".join(policies_about(tool, count=min(size, OF_A_TOOL), condition=condition) for tool in range(tools))
    return _Set(
        setup=setup,
        build=lambda: PolicyEngine(_parsed(text), REGISTRY),
        questions=[_question(number % tools, number) for number in range(1_000)],
        tools=tools,
    )


@cache
def _parsed(text: str) -> PolicySet:
    return parse_policies({"all.cedar": text})


def _question(tool: int, number: int) -> Question:
    return a_question(
        Action.CALL_TOOL,
        f"tool-{tool}",
        agent="trip-planner",
        subject="user:ann",
        now=NOON_ISH + number // 4,
        arguments={"amount": number % 997, "fee": number % 89},
    )


def _run(size: Size) -> dict[str, list[dict[str, float]]]:
    asking = {subject: _asker(each) for subject, each in _sets(size).items()}
    seen: dict[str, list[dict[str, float]]] = {subject: [] for subject in asking}
    for turn in range(ROUNDS[size] + 1):
        for subject, ask in asking.items():
            figures = ask(ASKED[size])
            if turn:  # the first only warms up
                seen[subject].append(figures)
    return seen


def _asker(each: _Set) -> Callable[[int], dict[str, float]]:
    engine, questions = each.build(), each.questions
    if each.is_whole:
        whole = handle_of(policy.tree for policy in engine.policy_set.policies)

        def decide_by_all(question: Question) -> bool:
            case = engine.case(question)
            return evaluate(case, whole, context(question, question.arguments)).allowed

        return lambda count: {"decision_us": _timed(decide_by_all, questions, count)}

    def is_allowed(question: Question) -> bool:
        return isinstance(engine.decide(question), Allow)

    def ask(count: int) -> dict[str, float]:
        # Another engine by the same policies knows no tool yet.
        fresh = PolicyEngine(engine.policy_set, engine.registry)
        first = min(each.tools, _FIRST)
        return {
            "decision_us": _timed(is_allowed, questions, count),
            "first_decision_us": _timed(lambda asked: isinstance(fresh.decide(asked), Allow), questions[:first], first),
        }

    return ask


def _timed(decide: Callable[[Question], bool], questions: Sequence[Question], count: int) -> float:
    began = time.process_time()
    for number in range(count):
        if not decide(questions[number % len(questions)]):
            raise AssertionError("a question was not allowed")
    return 1e6 * (time.process_time() - began) / count


if __name__ == "__main__":
    words = sys.argv[1:]
    found = _run(Size(words[0]) if words else Size.QUICK)
    if "--json" in words:
        json.dump(found, sys.stdout)
    else:
        for name, rounds in found.items():
            shown = (f"{each.figure} {each.median:9.1f}" for each in in_rounds(NAME, name, "", rounds))
            print(f"{name:<32} {'  '.join(shown)}")
