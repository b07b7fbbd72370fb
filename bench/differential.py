"""Engine and model on many questions: `python -m bench.differential [QUESTIONS] [SEED]`. Run by hand.

A hundred thousand questions unless told, a few hundred a set of policies. Ends with 1 at the first that they answer
differently, and prints the set and the question.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from perhop.policy.engine import PolicyEngine
from tests.support.policies import REGISTRY
from tests.support.policy_model import judge, make_question, make_set
from tests.unit.policy.test_against_model import as_verdict

QUESTIONS = 100_000
OF_A_SET = 250


def main(questions: int, seed: int) -> int:
    """Compare, and say how often each outcome came up."""
    began = time.perf_counter()
    seen: Counter[str] = Counter()
    chance = random.Random(seed)
    asked = sets = 0
    while asked < questions:
        model, policies = make_set(chance, chance.randrange(1, 12))
        engine = PolicyEngine(policies, REGISTRY)
        sets += 1
        for _ in range(min(OF_A_SET, questions - asked)):
            question = make_question(chance)
            found, expected = as_verdict(engine.decide(question)), judge(model, question)
            if found != expected:
                text = "".join(each.text for each in model)
                sys.stdout.write(f"{text}\n{question}\nengine {found}\nmodel  {expected}\n")
                return 1
            asked += 1
            seen[found.outcome] += 1
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{asked} questions, {sets} sets, seed {seed}: all agree; {dict(seen)}; {seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    sys.exit(main(*given, *(QUESTIONS, 1)[len(given) :]))
