"""Approvals of calls: a yes to one call, tried for another one, by another one, twice, or got from oneself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from perhop.core.approval import Approver
from perhop.errors import OperatorError
from perhop.rules.tool_definition import by_name, parse_definition
from tests.attacks.row import PASSES_GATEWAY, Door, Expected, Seen
from tests.attacks.rows.tools import APPROVED
from tests.attacks.tries import DECIDES, tried
from tests.attacks.world import World, a_call, with_token

WAITS = "403 -31403"
PAY = {**APPROVED, "name": "pay", "inputSchema": {"type": "object"}}
ASKS_ANEW = Expected(WAITS, "approval.required", records=2)
"""The call leaves a request and a refusal, and nothing goes through."""


def _paying(amount: int, to: str = "ann") -> Mapping[str, Any]:
    return {"amount": amount, "to": to}


async def _call(world: World, arguments: Mapping[str, Any], **claims: Any) -> Seen:
    entrance = world.entrance(Door.GATEWAY, "scripted")
    token = world.forge(entrance.audience, **{"scope": "scripted:use", "sub": "user:ann", **claims})
    return await world.knock(entrance, with_token(a_call("pay", arguments), token))


def _with_pay(attempt: Callable[[World], Awaitable[Any]]) -> Callable[[World], Awaitable[Any]]:
    """The same, once the owner has approved the tool: other attacks leave the resource with pins."""

    async def tried_with_pay(world: World) -> Any:
        definitions = by_name([parse_definition(APPROVED), parse_definition(PAY)])
        await world.plane.tool_pins.approve("scripted", definitions, by="operator:team")
        return await attempt(world)

    return tried_with_pay


def _approval_in(seen: Seen) -> str:
    assert seen.answer is not None
    return str(seen.answer.message["error"]["data"]["approval"])


def _bob(world: World, *, subject: str = "user:bob", email: str = "bob@example.com", ago: int = 0) -> Approver:
    return Approver(subject=subject, email=email, signed_in_at=world.now - ago)


async def _approved(world: World, arguments: Mapping[str, Any], **claims: Any) -> str:
    """Ask for a call, and have it approved."""
    approval = _approval_in(await _call(world, arguments, **claims))
    await world.plane.approvals.decide(approval, allow=True, approver=_bob(world))
    return approval


async def _for_another_call(world: World) -> dict[str, Seen]:
    await _approved(world, _paying(10))
    sights = {
        "another amount": await _call(world, _paying(11)),
        "another payee": await _call(world, _paying(10, "mallory")),
        "one argument more": await _call(world, {**_paying(10), "note": ""}),
        "a number as text": await _call(world, {"amount": "10", "to": "ann"}),
    }
    assert (await _call(world, _paying(10))).outcome == PASSES_GATEWAY.outcome
    return sights


async def _by_another(world: World) -> dict[str, Seen]:
    await _approved(world, _paying(20))
    return {
        "another agent": await _call(world, _paying(20), client_id="mallory", agent="mallory"),
        "another person": await _call(world, _paying(20), sub="user:eve"),
        "for nobody": await _call(world, _paying(20), sub="planner"),
    }


async def _twice(world: World) -> Seen:
    await _approved(world, _paying(30))
    assert (await _call(world, _paying(30))).outcome == PASSES_GATEWAY.outcome
    return await _call(world, _paying(30))


async def _at_once(world: World) -> dict[str, Seen]:
    """Fifty at once: what is told of all of them is whether exactly one came through."""
    await _approved(world, _paying(40))
    entrance = world.entrance(Door.GATEWAY, "scripted")
    token = world.forge(entrance.audience, scope="scripted:use", sub="user:ann")
    before = entrance.passed()
    knocks = (world.knock(entrance, with_token(a_call("pay", _paying(40)), token)) for _ in range(50))
    answers = await asyncio.gather(*knocks)
    assert entrance.passed() == before + 1
    assert sorted(each.observed for each in answers) == ["200"] + [WAITS] * 49
    return {"one more": await _call(world, _paying(40))}


async def _own(world: World) -> dict[str, Seen]:
    sights = {}
    for number, (name, changes) in enumerate(
        {
            "the person for whom the agent acts": {"subject": "user:ann"},
            "somebody of another team": {"email": "eve@example.com"},
            "an address that only looks like it": {"email": "bob@example.com.example.org"},
            "signed in an hour ago": {"ago": 3600},
            "signed in tomorrow": {"ago": -86_400},
        }.items()
    ):
        arguments = _paying(100 + number)
        approval = _approval_in(await _call(world, arguments))
        try:
            await world.plane.approvals.decide(approval, allow=True, approver=_bob(world, **changes))  # type: ignore[arg-type]  # members of an approver
        except OperatorError:
            sights[name] = await _call(world, arguments)
    return sights


async def _after_a_no(world: World) -> Seen:
    approval = _approval_in(await _call(world, _paying(50)))
    await world.plane.approvals.decide(approval, allow=False, approver=_bob(world))
    try:
        await world.plane.approvals.decide(approval, allow=True, approver=_bob(world))
    except OperatorError:
        return await _call(world, _paying(50))
    raise AssertionError("a denied call was approved")


ROWS = (
    tried(
        "approval-for-another-call",
        "the approval of one call, and another call",
        "OWASP Agentic ASI09; CWE-441",
        Door.GATEWAY,
        _with_pay(_for_another_call),
        ASKS_ANEW,
        only=DECIDES,
    ),
    tried(
        "approval-of-another-caller",
        "a call that was approved for somebody else",
        "OWASP Agentic ASI09; CWE-863",
        Door.GATEWAY,
        _with_pay(_by_another),
        ASKS_ANEW,
        only=DECIDES,
    ),
    tried(
        "approval-used-twice",
        "a call that was approved once, made twice",
        "OWASP Agentic ASI09; CWE-294",
        Door.GATEWAY,
        _with_pay(_twice),
        ASKS_ANEW,
        only=DECIDES,
    ),
    tried(
        "approval-used-at-once",
        "a call that was approved once, made fifty times at once",
        "CWE-367",
        Door.GATEWAY,
        _with_pay(_at_once),
        Expected(WAITS, "approval.required"),
        only=DECIDES,
    ),
    tried(
        "approval-by-the-wrong-person",
        "an approval by oneself, by a stranger, or with an old sign-in",
        "OWASP Agentic ASI09; CWE-285",
        Door.GATEWAY,
        _with_pay(_own),
        Expected(WAITS, "approval.required"),
        only=DECIDES,
    ),
    tried(
        "approval-after-a-no",
        "a call that was denied, approved after all",
        "OWASP Agentic ASI09",
        Door.GATEWAY,
        _with_pay(_after_a_no),
        Expected(WAITS, "policy.denied"),
        only=DECIDES,
    ),
)
