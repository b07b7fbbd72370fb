"""What policy said before is found by the very same question of the very same token, and by no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perhop.core.call import Action, Call, CallKind, Target
from perhop.core.decision import Covered
from perhop.core.resource import ResourceUri
from perhop.core.task import Task, TaskLimits
from perhop.core.token import BoundToken, VerifiedToken
from perhop.gateway.asked_before import LONGEST_NAMES, AskedBefore
from perhop.policy.lasting import Lasting

POLICY = object()
PAY = Target(Action.CALL_TOOL, "pay")
TASK = Task(
    id="t", client="c", purpose="p", tools=(), limits=TaskLimits(), created_at=0, expires_at=1, approved_at=None
)
TOKEN = VerifiedToken(
    issuer="https://auth.example.com",
    jti="t",
    subject="user:ann",
    client_id="trip-planner",
    audience="https://r.example.com/mcp",
    scopes=frozenset(),
    issued_at=0,
    expires_at=300,
    agent="trip-planner",
    fingerprint="f",
)
CALL = Call(
    id="1",
    kind=CallKind.REQUEST,
    revision="2025-11-25",
    method="tools/call",
    targets=(PAY,),
    body=b"",
    headers=(),
    session="s-1",
)
USUAL: dict[str, Any] = {"target": PAY, "address": "192.0.2.1", "token": TOKEN, "task": TASK, "policy": POLICY}


def _of(
    target: Target, address: str | None, token: VerifiedToken, task: Task | None, policy: object, **call: Any
) -> tuple[Target, str | None, Covered, object]:
    bound = BoundToken(token, ResourceUri("https://r.example.com/mcp"))
    return target, address, Covered(bound, task, replace(CALL, **call)), policy


def _lasting() -> Lasting:
    return Lasting({}, "trip-planner", lambda _: ())


@pytest.mark.parametrize(
    "change",
    [
        {"target": Target(Action.CALL_TOOL, "get")},
        {"target": Target(Action.GET_PROMPT, "pay")},
        {"address": "192.0.2.2"},
        {"address": None},
        {"token": replace(TOKEN)},
        {"task": None},
        {"task": replace(TASK)},
        {"policy": object()},
        {"revision": "2026-07-28"},
        {"session": "s-2"},
        {"session": None},
    ],
    ids=[
        "tool",
        "action",
        "address",
        "no address",
        "token",
        "no task",
        "task",
        "policy",
        "revision",
        "session",
        "none",
    ],
)
def test_everything_that_makes_a_question_is_in_the_key(change: dict[str, Any]) -> None:
    """Another tool, action, address, token, task, policy, revision or session is another question."""
    asked, lasting = AskedBefore(), _lasting()
    asked.keep(*_of(**USUAL), lasting)
    assert asked.find(*_of(**USUAL)) is lasting
    assert asked.find(*_of(**{**USUAL, **change})) is None


def test_what_is_about_the_call_alone_is_not_in_the_key() -> None:
    """Another body, id or header of the same question finds what was kept: arguments are told apart by the policies."""
    asked, lasting = AskedBefore(), _lasting()
    asked.keep(*_of(**USUAL), lasting)
    assert asked.find(*_of(**USUAL, id="2", body=b"{}", headers=(("a", "b"),), arguments={"a": 1})) is lasting


def test_memory_is_bounded() -> None:
    """What is full begins anew, and a caller's long words are not kept."""
    asked = AskedBefore(most_kept=2)
    for number in range(5):
        asked.keep(*_of(**{**USUAL, "address": str(number)}), _lasting())
        assert len(asked) <= 2
    asked = AskedBefore()
    asked.keep(*_of(**USUAL, session="s" * LONGEST_NAMES), _lasting())
    assert len(asked) == 0
