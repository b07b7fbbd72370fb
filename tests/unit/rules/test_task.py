"""Tasks: how one is named, what it covers, and when it is over."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import Action, Target
from perhop.core.task import Task, TaskLimits, TaskUse, ToolPattern
from perhop.errors import DetailsMalformed, LimitExceeded, TaskExpired, TaskOutside, TaskSuperseded
from perhop.rules.task import (
    check_client,
    check_covered,
    check_in_force,
    check_limits,
    check_subject,
    is_covered,
    parse_task_named,
)

TASK = Task(
    id="task-1",
    client="trip-planner",
    purpose="plan the trip to Oslo",
    tools=(ToolPattern("calendar", "list_*"), ToolPattern("rooms", "*")),
    limits=TaskLimits(calls=3, writes=1),
    created_at=1_000,
    expires_at=2_000,
)


def test_a_request_names_one_task_by_its_id() -> None:
    """The list with one object of type and id is a task's name; an absent parameter is none."""
    assert parse_task_named('[{"type": "agent_task", "id": "t"}]') == "t"
    assert parse_task_named(None) is None


@pytest.mark.parametrize(
    "details",
    [
        [],
        {},
        None,
        {"type": "agent_task", "id": "t"},
        [{"type": "agent_task"}],
        [{"type": "agent_task", "id": ""}],
        [{"type": "agent_task", "id": 1}],
        [{"type": "agent_task", "id": "t" * 257}],
        [{"type": "agent_task", "id": "t", "actions": ["read"]}],
        [{"type": "agent_task", "id": "t", "locations": ["https://rooms.example.com"]}],
        [{"type": "agent_task", "id": "t"}, {"type": "agent_task", "id": "u"}],
        [{"type": "agent_task", "id": "t"}, {"type": "agent_task", "id": "t"}],
        [{"type": "mcp_call", "method": "tools/call"}],
        [{"type": "payment", "id": "t"}],
    ],
    ids=str,
)
def test_anything_else_names_no_task(details: object) -> None:
    """Two tasks, another type, a member more: refused, never read in part."""
    with pytest.raises(DetailsMalformed):
        parse_task_named(json.dumps(details))


@pytest.mark.parametrize("text", ["", "t", "[", '[{"type":"agent_task","id":"a","id":"b"}]', "[" * 40, " " * 2049])
def test_what_is_no_strict_json_names_no_task(text: str) -> None:
    """One text has one meaning: duplicate members, depth and size are refused as at every door."""
    with pytest.raises(DetailsMalformed):
        parse_task_named(text)


@pytest.mark.parametrize(
    ("resource", "target", "covered"),
    [
        ("calendar", Target(Action.CALL_TOOL, "list_events"), True),
        ("calendar", Target(Action.CALL_TOOL, "list_"), True),
        ("calendar", Target(Action.CALL_TOOL, "create_event"), False),
        ("calendar", Target(Action.CALL_TOOL, "a_list_events"), False),
        ("calendar", Target(Action.CALL_TOOL, "LIST_events"), False),
        ("calendar", Target(Action.GET_PROMPT, "list_events"), False),
        ("calendar", Target(Action.READ_RESOURCE, "list_events"), False),
        ("calendar", Target(Action.LIST), True),
        ("rooms", Target(Action.CALL_TOOL, "book_room"), True),
        ("rooms", Target(Action.GET_PROMPT, "greet"), True),
        ("rooms", Target(Action.READ_RESOURCE, "note://today"), True),
        ("notes", Target(Action.LIST), False),
        ("notes", Target(Action.CALL_TOOL, "list_events"), False),
    ],
    ids=str,
)
def test_what_a_task_covers(resource: str, target: Target, covered: bool) -> None:
    """A tool needs a pattern that matches it whole; prompts and documents the whole resource, lists any pattern."""
    assert is_covered(TASK, resource, target) is covered


@pytest.mark.parametrize("glob", ["list_?vents", "list_[e]vents", "list_event", "list_events*s", "*list"])
def test_the_star_is_the_only_wildcard(glob: str) -> None:
    """A question mark or brackets stand for themselves, and a pattern matches the whole name."""
    task = replace(TASK, tools=(ToolPattern("calendar", glob),))
    assert not is_covered(task, "calendar", Target(Action.CALL_TOOL, "list_events"))


def test_each_target_of_a_call_must_be_covered() -> None:
    """One part that is outside takes the whole call out; what touches nothing passes, but only where the task is."""
    inside, outside = Target(Action.CALL_TOOL, "list_events"), Target(Action.CALL_TOOL, "create_event")
    check_covered(TASK, "calendar", [inside, Target(Action.LIST)])
    check_covered(TASK, "calendar", [])
    for resource, targets in (("calendar", [inside, outside]), ("notes", [])):
        with pytest.raises(TaskOutside):
            check_covered(TASK, resource, targets)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_narrower_task_covers_no_more(glob: str, tool: str) -> None:
    """Whatever a pattern matches, the whole resource covers too."""
    target = Target(Action.CALL_TOOL, tool)
    narrow = replace(TASK, tools=(ToolPattern("rooms", glob),))
    assert not is_covered(narrow, "rooms", target) or is_covered(TASK, "rooms", target)


def test_a_task_is_in_force_until_its_last_second() -> None:
    """At exactly `expires_at` it is over; superseded comes first as a reason, then ended, then expired."""
    check_in_force(TASK, now=1_999)
    with pytest.raises(TaskExpired):
        check_in_force(TASK, now=2_000)
    with pytest.raises(TaskExpired):
        check_in_force(replace(TASK, ended_at=1_500), now=1_500)
    with pytest.raises(TaskSuperseded):
        check_in_force(replace(TASK, superseded_by="task-2", ended_at=1_500), now=2_000)


def test_a_task_is_its_clients_and_once_approved_its_persons() -> None:
    """Another client is refused always; another subject, the client itself included, once a person has approved."""
    check_client(TASK, "trip-planner")
    check_subject(TASK, "trip-planner")
    check_subject(TASK, "user:bob")
    anns = replace(TASK, subject="user:ann", approved_at=1_100)
    check_subject(anns, "user:ann")
    for subject in ("user:bob", "trip-planner", "user:an"):
        with pytest.raises(TaskOutside):
            check_subject(anns, subject)
    with pytest.raises(TaskOutside):
        check_client(TASK, "mallory")


@pytest.mark.parametrize(
    ("used", "is_write", "passes"),
    [
        (TaskUse(2, 1), False, True),
        (TaskUse(3, 0), False, False),
        (TaskUse(0, 0), True, True),
        (TaskUse(1, 1), True, False),
        (TaskUse(3, 1), True, False),
    ],
)
def test_limits_hold_at_the_bound(used: TaskUse, is_write: bool, passes: bool) -> None:
    """The last call that is allowed passes, and the next does not; reads are not held to the limit of writes."""
    if passes:
        check_limits(TASK, used, is_write=is_write)
    else:
        with pytest.raises(LimitExceeded):
            check_limits(TASK, used, is_write=is_write)


def test_without_a_limit_nothing_is_exceeded() -> None:
    """A limit that is not there holds nothing; zero holds everything."""
    check_limits(replace(TASK, limits=TaskLimits()), TaskUse(10**9, 10**9), is_write=True)
    with pytest.raises(LimitExceeded):
        check_limits(replace(TASK, limits=TaskLimits(calls=0)), TaskUse(), is_write=False)
