"""What the records of a token's calls share: kept for such calls, and never said of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perhop.core.call import Action, Call, CallBinding, CallKind, Target
from perhop.core.decision import Allow, Permit
from perhop.core.resource import DataPlane, Resource, ResourceUri
from perhop.core.secret import Secret
from perhop.core.token import BoundToken, HopToken, MintedToken, NoCredential, SenderKey
from perhop.gateway.kept_facts import MAX_KEPT, request_facts
from perhop.gateway.kept_records import LONGEST_NAME
from perhop.gateway.trail import Trail
from perhop.journal.record import CallFacts, RequestFacts, ResultFacts, TaskFacts
from tests.support.a_hop import DRAFT as HOP_DRAFT
from tests.support.a_hop import TOKEN

DRAFT = replace(HOP_DRAFT, hop=2, parent_jti="in-1")
CALENDAR = Resource(
    name="calendar", uri=ResourceUri("https://calendar.example.com/mcp"), owner="travel-team", scopes={}, tenant="acme"
)
FACTS = CallFacts(id="call-1", method="tools/call", name="list_events", revision="2026-07-28", arguments_mac="bWFj")
ALLOW = Allow(("calendar-readers",), "v1")
BINDING = CallBinding(method="tools/call", name="list_events", arguments_sha256="a", params_sha256="p")

LIKE: Mapping[str, Any] = {
    "caller": TOKEN,
    "draft": DRAFT,
    "resource": CALENDAR,
    "request": request_facts("192.0.2.1", "agent/1", None),
    "task": TaskFacts(id="task-1", purpose="plan it"),
    "facts": FACTS,
    "allow": ALLOW,
    "approval": None,
}

OTHERS: Mapping[str, Mapping[str, Any]] = {
    "another token": {"caller": replace(TOKEN, jti="in-2", fingerprint="e" * 64)},
    "another subject": {"caller": replace(TOKEN, subject="user:bob")},
    "a token bound to a key": {"caller": replace(TOKEN, sender=SenderKey("thumbprint"))},
    "another hop token": {"draft": replace(DRAFT, jti="out-2")},
    "another hop token of one id": {"draft": replace(DRAFT, expires_at=1_790_000_059)},
    "another transaction": {"draft": replace(DRAFT, txn="txn-2")},
    "a token for this call": {"draft": replace(DRAFT, jti="out-3", call=BINDING)},
    "no hop token": {"draft": None},
    "another resource": {"resource": replace(CALENDAR, name="mail")},
    "another owner": {"resource": replace(CALENDAR, owner="mail-team")},
    "another tenant": {"resource": replace(CALENDAR, tenant=None)},
    "another data plane": {
        "resource": replace(CALENDAR, data_plane=DataPlane.FORWARD_AUTH),
        "facts": FACTS._replace(data_plane="forward_auth"),
    },
    "another address": {"request": request_facts("192.0.2.2", "agent/1", None)},
    "another program": {"request": request_facts("192.0.2.1", "agent/2", None)},
    "a session": {"request": request_facts("192.0.2.1", "agent/1", "s")},
    "another key that was proved": {"request": RequestFacts(ip="192.0.2.1", user_agent="agent/1", sender_key="k")},
    "no task": {"task": None},
    "another task": {"task": TaskFacts(id="task-2", purpose="plan it")},
    "another purpose": {"task": TaskFacts(id="task-1", purpose="plan it anew")},
    "another method": {"facts": FACTS._replace(method="prompts/get")},
    "another tool": {"facts": FACTS._replace(name="delete_events")},
    "no tool": {"facts": FACTS._replace(name=None)},
    "another revision": {"facts": FACTS._replace(revision="2025-11-25")},
    "recorded arguments": {"facts": FACTS._replace(arguments={"day": "2026-09-21"})},
    "no arguments": {"facts": FACTS._replace(arguments_mac=None)},
    "another policy": {"allow": Allow(("calendar-writers",), "v1")},
    "another version": {"allow": Allow(("calendar-readers",), "v2")},
    "an approval": {"approval": "approval-1"},
}


def permitted(said: Mapping[str, Any], *, is_plain: bool = False) -> Trail:
    """The trail of a permitted call; a plain one knows of nothing that was kept."""
    caller, draft, facts = said["caller"], said["draft"], said["facts"]
    call = Call(
        id=facts.id,
        kind=CallKind.REQUEST,
        revision=facts.revision,
        method=facts.method,
        targets=(Target(Action.CALL_TOOL, facts.name or ""),),
        body=b"{}",
        headers=(),
    )
    bound = BoundToken(caller, CALENDAR.uri)
    permit = Permit(bound, None, said["resource"], call, said["allow"], approval=said["approval"])
    asked = (facts.id, 10.0, "POST", said["resource"], said["request"], caller, said["task"], call, facts)
    if is_plain:
        return Trail(*asked, permit, draft)
    onward = HopToken(MintedToken(Secret("raw"), draft)) if draft is not None else NoCredential()
    return Trail(*asked).permitted(permit, onward)


def records(trail: Trail) -> list[Any]:
    """Both records of the call, and that of one of which there is more to say; without what was kept beside them."""
    ends = (
        trail.end_record(status=200, error=None, now=10.25),
        trail.end_record(status=502, error="cut", now=9.0),
        trail.end_record(status=500, error="internal", now=11.0, detail="KeyError"),
    )
    return [each._replace(alike=None) for each in (trail.permit_record(), *ends)]


@pytest.mark.parametrize("other", OTHERS)
def test_no_record_says_what_was_kept_of_another_call(other: str) -> None:
    """Whichever came first, a call that differs in anything has records of its own, and so has the next one."""
    different = {**LIKE, **OTHERS[other]}
    for said in (LIKE, different, LIKE, different, LIKE):
        assert records(permitted(said)) == records(permitted(said, is_plain=True))
    assert records(permitted(different)) != records(permitted(LIKE))


def test_calls_that_are_alike_share_what_is_written_of_them() -> None:
    """What differs is the call's id, the MAC of its arguments and how it ended."""
    said = {**LIKE, "caller": replace(TOKEN, fingerprint="d" * 64)}
    first, second = permitted(said), permitted({**said, "facts": FACTS._replace(id="call-2", arguments_mac="bWFk")})
    assert first.permit_record().alike is second.permit_record().alike is not None
    ended = second.end_record(status=200, error=None, now=10.5)
    assert ended.alike is first.end_record(status=404, error=None, now=10.0).alike is not None
    assert ended.call == FACTS._replace(id="call-2", arguments_mac="bWFk")
    assert ended.result == ResultFacts(status=200, duration_ms=500)


@pytest.mark.parametrize("other", ["a token for this call", "recorded arguments", "an approval"])
def test_what_is_one_calls_is_not_kept(other: str) -> None:
    """There will be no second call like it."""
    trail = permitted({**LIKE, **OTHERS[other]})
    assert trail.kept is None
    assert trail.permit_record().alike is None


def test_only_so_many_are_kept() -> None:
    """The oldest is forgotten, and kept anew when it comes again."""
    first = permitted(LIKE).kept
    assert first is permitted(LIKE).kept is not None
    for number in range(MAX_KEPT):
        permitted({**LIKE, "facts": FACTS._replace(name=f"tool-{number}")})
    assert permitted(LIKE).kept is not first


def test_nothing_is_kept_of_names_that_a_caller_made_long() -> None:
    """Who chooses the name chooses what is kept of it, and so how much memory that takes."""
    for length, is_kept in ((LONGEST_NAME, True), (LONGEST_NAME + 1, False)):
        trail = permitted({**LIKE, "facts": FACTS._replace(name="n" * length)})
        assert (trail.kept is not None) is is_kept
