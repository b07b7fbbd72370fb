"""What policies see of a task: its id, its limits, whether a person approved it, and its purpose only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.core.call import Action
from perhop.core.decision import Allow, Deny
from perhop.core.task import Task, TaskLimits
from perhop.errors import PolicyError
from perhop.policy.explain import explain
from perhop.policy.vocabulary import context
from tests.support.policies import PERMIT_ALL, a_question, an_engine

TASK = Task(
    id="task-1",
    client="trip-planner",
    purpose="plan the trip to Oslo",
    tools=(),
    limits=TaskLimits(),
    created_at=0,
    expires_at=1,
)
APPROVED = replace(TASK, subject="user:7f3a", approved_at=0)
BY_PURPOSE = """
@id("by-purpose")
permit (principal, action, resource)
when { context has task && context.task has purpose && context.task.purpose like "*Oslo*" };
"""


def test_the_purpose_is_there_only_if_a_person_approved_it() -> None:
    """What an agent says of itself permits nothing: the attribute is not there at all."""
    assert context(a_question(task=TASK), {})["task"] == {"id": "task-1", "approved": False}
    assert context(a_question(task=APPROVED), {})["task"] == {
        "id": "task-1",
        "approved": True,
        "purpose": "plan the trip to Oslo",
    }
    assert "task" not in context(a_question(), {})


ON_A_BUDGET = """
@id("on-a-budget")
permit (principal, action, resource)
when { context has task && context.task has max_writes && context.task.max_writes <= 5 };
"""


@pytest.mark.parametrize("task", [TASK, APPROVED])
def test_limits_are_there_where_the_task_has_them(task: Task) -> None:
    """Approved or not: the gateway counts them, so nobody needs to be believed. A limit that is none is not there."""
    told = context(a_question(task=replace(task, limits=TaskLimits(calls=9, writes=0))), {})["task"]
    assert (told["max_calls"], told["max_writes"]) == (9, 0)
    for limits in (TaskLimits(), TaskLimits(calls=9), TaskLimits(writes=0)):
        told = context(a_question(task=replace(task, limits=limits)), {})["task"]
        assert ("max_calls" in told, "max_writes" in told) == (limits.calls is not None, limits.writes is not None)


def test_a_permit_may_rest_on_a_limit() -> None:
    """A task that is held to little passes; one that is held to more, or to nothing, and no task at all do not."""
    engine = an_engine(ON_A_BUDGET)
    small = a_question(task=replace(TASK, limits=TaskLimits(writes=5)))
    assert engine.decide(small) == Allow(("on-a-budget",), engine.version)
    assert engine.may_permit(small)
    for task in (replace(TASK, limits=TaskLimits(writes=6)), replace(TASK, limits=TaskLimits(calls=1)), TASK, None):
        decision = engine.decide(a_question(task=task))
        assert decision == Deny((), engine.version, detail="no policy permits it")


@pytest.mark.parametrize("action", [Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE])
def test_a_permit_reads_an_approved_purpose(action: Action) -> None:
    """Permitted under the approved task; without approval, without a task, or for another purpose it is not."""
    engine = an_engine(BY_PURPOSE)
    assert engine.decide(a_question(action, task=APPROVED)) == Allow(("by-purpose",), engine.version)
    for task in (TASK, None, replace(APPROVED, purpose="plan the trip to Rome")):
        assert isinstance(engine.decide(a_question(action, task=task)), Deny)


def test_a_forbid_may_ask_for_a_task_at_all() -> None:
    """`unless { context has task }`: what has none is refused, what has one passes, approved or not."""
    rule = '@id("task-first") forbid (principal, action, resource) unless { context has task };'
    engine = an_engine(PERMIT_ALL, rule)
    assert isinstance(engine.decide(a_question(task=TASK)), Allow)
    assert engine.decide(a_question()) == Deny(("task-first",), engine.version)
    assert not engine.may_permit(a_question())


@pytest.mark.parametrize(
    "condition",
    [
        'context.task.purpose like "*"',
        'context has task && context.task.purpose == "x"',
        "context.task.approved",
        "context has task && context.task.approved == 1",
        'context has task && context.task.tools == "x"',
        "context has task && context.task.max_writes <= 5",
        'context has task && context.task has max_calls && context.task.max_calls == "5"',
    ],
)
def test_a_read_that_is_not_asked_for_first_is_refused_at_load(condition: str) -> None:
    """Task, purpose and limits are optional, and there is nothing else: the schema says so when policies are read."""
    with pytest.raises(PolicyError):
        an_engine(f'@id("p") permit (principal, action, resource) when {{ {condition} }};')


def test_an_explanation_says_what_the_task_lacks() -> None:
    """The nearest permit names the condition that does not hold."""
    found = explain(an_engine(BY_PURPOSE), a_question(task=TASK))
    assert not found.allowed
    assert any("purpose" in each for each in found.near[0].needs)
