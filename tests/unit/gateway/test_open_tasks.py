"""Open tasks: a task is its opener's, and memory of them has bounds."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import McpTaskUnknown
from perhop.gateway.open_tasks import (
    MAX_ID_LENGTH,
    MAX_OCTETS,
    MAX_OCTETS_OF_ALL,
    MAX_PRINCIPALS,
    MAX_TASKS,
    Opening,
    OpenTasks,
    task_opened_by,
)
from perhop.rules.session_seal import Principal

CALL = Opening("add", {"a": 1}, 10)


def principal(agent: str = "planner", **other: Any) -> Principal:
    usual = {"issuer": "https://i", "subject": "user:ann", "audience": "https://r", "tenant": None}
    return Principal(**{**usual, "agent": agent, **other})


@pytest.mark.parametrize(
    "other",
    [{"issuer": "https://j"}, {"subject": "user:bob"}, {"agent": "x"}, {"audience": "https://q"}, {"tenant": "t"}],
)
def test_a_task_is_its_principals(other: dict[str, str]) -> None:
    """Nobody else knows it, and who does not differs in nothing from who asks for no task at all."""
    tasks = OpenTasks()
    tasks.opened(principal(), "t", CALL)
    assert tasks.opening_of(principal(), "t") is CALL
    assert tasks.is_of(principal(), "t")
    stranger = principal(**other)
    assert not tasks.is_of(stranger, "t")
    with pytest.raises(McpTaskUnknown) as foreign:
        tasks.opening_of(stranger, "t")
    with pytest.raises(McpTaskUnknown) as unknown:
        tasks.opening_of(stranger, "u")
    assert foreign.value.description == unknown.value.description


def test_an_id_stays_with_whoever_had_it_first() -> None:
    """A server that gives one id to two callers gives it to the first."""
    tasks = OpenTasks()
    tasks.opened(principal(), "t", CALL)
    tasks.opened(principal("mallory"), "t", Opening("drop", {}, 2))
    assert tasks.opening_of(principal(), "t") is CALL
    assert not tasks.is_of(principal("mallory"), "t")


def test_a_task_stands_for_the_call_that_opened_it() -> None:
    """The same principal's newer call wins."""
    tasks = OpenTasks()
    tasks.opened(principal(), "t", CALL)
    newer = Opening("list", {"day": "monday"}, 20)
    tasks.opened(principal(), "t", newer)
    target = tasks.opening_of(principal(), "t").target
    assert (target.name, target.arguments) == ("list", {"day": "monday"})


def test_tasks_are_forgotten_at_a_bound() -> None:
    """The oldest of one principal goes first, and nobody else's."""
    tasks = OpenTasks()
    tasks.opened(principal("other"), "mine", CALL)
    for number in range(MAX_TASKS + 1):
        tasks.opened(principal(), f"t{number}", CALL)
    assert not tasks.is_of(principal(), "t0")
    assert tasks.is_of(principal(), "t1")
    assert tasks.is_of(principal("other"), "mine")


def test_arguments_are_kept_within_a_bound() -> None:
    """Large calls push out the same principal's older ones; one alone is always kept."""
    tasks = OpenTasks()
    tasks.opened(principal(), "a", Opening("add", {}, MAX_OCTETS))
    assert tasks.is_of(principal(), "a")
    tasks.opened(principal(), "b", Opening("add", {}, 1))
    assert not tasks.is_of(principal(), "a")
    assert tasks.is_of(principal(), "b")


def test_principals_are_forgotten_at_a_bound() -> None:
    """Whoever has not asked for longest; asking counts as use."""
    tasks = OpenTasks()
    for number in range(MAX_PRINCIPALS):
        tasks.opened(principal(f"p{number}"), f"t{number}", CALL)
    tasks.opening_of(principal("p0"), "t0")
    tasks.opened(principal("one more"), "t", CALL)
    assert tasks.is_of(principal("p0"), "t0")
    assert not tasks.is_of(principal("p1"), "t1")


def test_all_arguments_together_are_bounded() -> None:
    """Many callers with large calls push out who has not asked for longest."""
    tasks = OpenTasks()
    for number in range(MAX_OCTETS_OF_ALL // MAX_OCTETS + 1):
        tasks.opened(principal(f"p{number}"), f"t{number}", Opening("add", {}, MAX_OCTETS))
    assert not tasks.is_of(principal("p0"), "t0")
    assert tasks.is_of(principal("p1"), "t1")


@pytest.mark.parametrize("task", ["", "x" * (MAX_ID_LENGTH + 1)])
def test_an_odd_id_is_not_kept(task: str) -> None:
    """Neither an empty one nor one of any length."""
    tasks = OpenTasks()
    tasks.opened(principal(), task, CALL)
    assert not tasks.is_of(principal(), task)


@pytest.mark.parametrize(
    ("result", "task"),
    [
        ({"task": {"taskId": "t", "status": "working"}}, "t"),
        ({"resultType": "task", "taskId": "t"}, "t"),
        ({"resultType": "complete", "taskId": "t"}, None),
        ({"content": [], "structuredContent": {"task": {"taskId": "t"}}}, None),
        ({"task": "t"}, None),
        ({"task": {}}, None),
        (None, None),
    ],
)
def test_a_task_is_found_in_the_answer(result: Any, task: str | None) -> None:
    """In the form of either revision, and nowhere else."""
    assert task_opened_by({"jsonrpc": "2.0", "id": 1, "result": result}) == task


def test_no_task_is_found_in_what_is_no_answer() -> None:
    """Errors, notifications and other things."""
    for message in ({"error": {"code": 1}}, {"method": "x", "params": {"task": {"taskId": "t"}}}, [], None, "t"):
        assert task_opened_by(message) is None
