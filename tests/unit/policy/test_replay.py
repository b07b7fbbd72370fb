"""Recorded decisions asked of a draft: same, changed, or undecidable, and never a guess."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from perhop.core.call import Action, Target
from perhop.policy.outcome import Outcome
from perhop.policy.recorded import Recorded, Unknown
from perhop.policy.replay import Now, Replay
from tests.support.policies import PERMIT_ALL, a_question, an_engine

PAY = (
    '@id("pay") permit (principal, action, resource == MCP::Tool::"bank/pay")'
    " when { context.arguments has amount && context.arguments.amount <= 500 };\n"
)
NIGHT = '@id("night") forbid (principal, action, resource) when { context.request.hour < 6 };\n'
ASKING = '@id("asking") @approval("owner") permit (principal, action, resource in MCP::Server::"calendar");\n'
NEVER = '@id("never") forbid (principal, action, resource == MCP::Tool::"bank/pay");\n'
ALL = None


def asked(*policies: str, known: frozenset[str] | None = ALL, **changes: Any) -> Now | Unknown:
    """What a draft of these policies makes of the planner's question, but for what is changed."""
    recorded = Recorded(question=a_question(**changes), outcome=Outcome.PERMIT, known=known)
    return Replay(an_engine(*policies)).ask(recorded)


def test_a_draft_that_reads_what_is_recorded_decides() -> None:
    """It permits or refuses, and by which policies."""
    assert asked(PERMIT_ALL, NIGHT) == Now(Outcome.PERMIT, ("all",))
    assert asked(PERMIT_ALL, NIGHT, now=1785283200) == Now(Outcome.DENY, ("night",))
    assert asked(NIGHT) == Now(Outcome.DENY, ())


def test_a_draft_that_reads_an_argument_that_was_not_recorded_is_undecidable() -> None:
    """The argument is named; a draft whose policies about this tool read none decides."""
    found = asked(PERMIT_ALL, PAY, server="bank", name="pay", known=frozenset({"other"}))
    assert found == Unknown("the draft reads the argument `amount`, not recorded")
    assert asked(PERMIT_ALL, PAY, server="bank", name="other", known=frozenset()) == Now(Outcome.PERMIT, ("all",))


@pytest.mark.parametrize("limit", ["max_calls", "max_writes"])
def test_a_draft_that_reads_the_limits_of_a_task_is_undecidable(limit: str) -> None:
    """A record names the task, and says neither what it is held to nor whether a person approved it."""
    held = f"context has task && context.task has {limit} && context.task.{limit} <= 5"
    budget = f'@id("budget") permit (principal, action, resource in MCP::Server::"bank") when {{ {held} }};'
    found = asked(PERMIT_ALL, budget, server="bank", name="pay")
    assert found == Unknown("the draft reads `context.task`, which is not recorded")
    assert asked(PERMIT_ALL, budget, server="rooms") == Now(Outcome.PERMIT, ("all",))


def test_a_recorded_argument_decides() -> None:
    """What is known to have been there, or not to have been, is enough; a value that policy could not read refuses."""
    known = frozenset({"amount"})
    pay = {"server": "bank", "name": "pay", "known": known}
    assert asked(PAY, arguments={"amount": 500}, **pay) == Now(Outcome.PERMIT, ("pay",))
    assert asked(PAY, arguments={"amount": 501}, **pay) == Now(Outcome.DENY, ())
    assert asked(PAY, arguments={}, **pay) == Now(Outcome.DENY, ())
    assert asked(PAY, arguments={"amount": None}, **pay) == Now(Outcome.DENY, ("pay",))


def test_a_call_without_arguments_decides() -> None:
    """It is known that there were none."""
    assert asked(PAY, server="bank", name="pay", known=ALL) == Now(Outcome.DENY, ())


@pytest.mark.parametrize("policies", [(PERMIT_ALL, PAY, NEVER), (NIGHT,)])
def test_what_no_arguments_could_permit_is_refused(policies: tuple[str, ...]) -> None:
    """A forbid that reads none, or no permit at all, decides without them."""
    found = asked(*policies, server="bank", name="pay", known=frozenset())
    assert found == Now(Outcome.DENY, ("never",) if NEVER in policies else ())


def test_a_draft_that_wants_an_approval_is_told_from_one_that_permits() -> None:
    """A third answer, by all permits that are satisfied; a forbid beside them still refuses."""
    assert asked(PERMIT_ALL, ASKING) == Now(Outcome.APPROVAL, ("all", "asking"))
    assert asked(PERMIT_ALL, ASKING, NIGHT, now=1785283200) == Now(Outcome.DENY, ("night",))
    assert asked(PERMIT_ALL, ASKING, server="rooms") == Now(Outcome.PERMIT, ("all",))


def test_what_only_looked_after_a_call_is_not_asked_for_an_approval() -> None:
    """Of one question and its answer, the McpTask's own methods pass where the call itself would wait."""
    replay = Replay(an_engine(PERMIT_ALL, ASKING))
    opened = Recorded(question=a_question(), outcome=Outcome.APPROVAL, known=ALL)
    after = replace(opened, outcome=Outcome.PERMIT, asks_anew=False)
    for _ in range(2):
        assert replay.ask(opened) == Now(Outcome.APPROVAL, ("all", "asking"))
        assert replay.ask(after) == Now(Outcome.PERMIT, ("all", "asking"))


def test_answers_are_remembered_by_the_facts_that_the_draft_reads() -> None:
    """Of one agent and tool, another hour is another question, and another hop is the same."""
    replay = Replay(an_engine(PERMIT_ALL, NIGHT, PAY))
    day = Recorded(question=a_question(), outcome=Outcome.PERMIT, known=ALL)
    assert replay.ask(day) is replay.ask(replace(day, question=a_question(hop=5, ip="192.0.2.9", now=1785331801)))
    assert replay.ask(replace(day, question=a_question(now=1785283200))) == Now(Outcome.DENY, ("night",))
    one, true = ({"server": "bank", "name": "pay", "arguments": {"amount": each}} for each in (1, True))
    assert replay.ask(replace(day, question=a_question(**one))) == Now(Outcome.PERMIT, ("all", "pay"))
    assert replay.ask(replace(day, question=a_question(**true))) == Now(Outcome.DENY, ("pay",))


@pytest.mark.parametrize(
    ("condition", "alike"),
    [
        ('resource.name like "create_*"', True),
        ('context.token.client_id == "x"', True),
        ("context.token has tenant", False),
        ("context has subject", False),
        ("context.request.time > 0", False),
        ("context.token.hop > 1", False),
        ("context.arguments has x", False),
    ],
)
def test_one_record_stands_for_its_kind_only_where_nothing_else_is_read(condition: str, alike: bool) -> None:
    """What differs from record to record of one kind must not be read."""
    text = f'@id("x") forbid (principal, action == MCP::Action::"call_tool", resource) when {{ {condition} }};'
    replay = Replay(an_engine(PERMIT_ALL, text))
    target = Target(Action.CALL_TOOL, "create_event")
    assert replay.reads_of_a_kind_only("trip-planner", "calendar", target) is alike


def test_a_remembered_answer_is_the_engines_own() -> None:
    """For questions that differ in everything, the replay says what the engine says."""
    chance = random.Random(7)
    engine = an_engine(
        PERMIT_ALL,
        NIGHT,
        ASKING.replace(";", " when { context.token.hop > 3 };"),
        '@id("far") forbid (principal, action, resource) when { context.token.hop > 2 && context has actor };',
        '@id("weekend") forbid (principal, action, resource) when { context.request.weekday > 5 };',
        '@id("out") forbid (principal, action, resource) unless { context.request has ip &&'
        ' context.request.ip.isInRange(ip("192.0.2.0/25")) };',
        '@id("some") forbid (principal, action, resource) when { context has subject &&'
        ' context.subject == MCP::User::"user:1" || context.token.scopes.contains("b") };',
    )
    replay = Replay(engine)
    outcomes = set()
    for _ in range(2000):
        question = a_question(
            now=1785283200 + chance.randrange(7 * 86400),
            hop=chance.randrange(1, 5),
            actors=chance.choice([(), ("a",), ("b", "a")]),
            ip=chance.choice(["", "192.0.2.7", "192.0.2.200"]),
            subject=chance.choice([None, "user:1", "user:2"]),
            scopes=frozenset(chance.choice(["a", "b", "a b"]).split()),
        )
        decision = engine.decide(question)
        found = replay.ask(Recorded(question=question, outcome=Outcome.PERMIT, known=frozenset()))
        assert found == Now(Outcome.of(decision), decision.policies)
        outcomes.add(decision.policies)
    assert len(outcomes) > 5
