"""Approvals of calls: one winner of every race, from however many processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perhop.core.approval import Approval, ApprovalState, ExactCall
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import call_digest
from perhop.storage.retention import APPROVAL_KEPT_AFTER_EXPIRY, forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import Opened

NOW = 1_790_000_000
RACERS = 50
CALL = ExactCall(
    agent="trip-planner",
    subject="user:ann",
    audience="https://auth.example.com/mcp/calendar",
    task=None,
    method="tools/call",
    params_sha256="digest-1",
    policy_version="0123456789abcdef",
)
WAITING = Approval(
    id="approval-1",
    call=CALL,
    client_id="calendar-server",
    resource="calendar",
    name="create_event",
    policies=("big", "events"),
    state=ApprovalState.WAITING,
    asked_at=NOW,
    expires_at=NOW + 900,
)
STORED = StoredApproval(WAITING, b"sealed")
DIGEST = call_digest(CALL)
YES = replace(WAITING, state=ApprovalState.APPROVED, decided_by="user:bob", decided_at=NOW + 5, why="seen")


async def ask(stores: Stores, stored: StoredApproval = STORED, *, most: int = 20, now: int = NOW) -> object:
    return await stores.approval_rows.ask(call_digest(stored.approval.call), stored, most=most, now=now)


def another(number: int) -> StoredApproval:
    """A call of the same agent that differs in its params."""
    call = replace(CALL, params_sha256=f"other-{number}")
    return StoredApproval(replace(WAITING, id=f"other-{number}", call=call), b"sealed")


async def test_an_approval_is_kept_as_it_was_asked_for(stores: Stores) -> None:
    """Every member comes back, what was sealed beside it, and so does every member of a decision."""
    assert await ask(stores) == (WAITING, True)
    assert await stores.approval_rows.get(WAITING.id) == STORED
    assert await stores.approval_rows.waiting(now=NOW) == [STORED]
    assert await stores.approval_rows.decide(YES)
    assert await stores.approval_rows.get(WAITING.id) == StoredApproval(YES, None)
    assert await stores.approval_rows.waiting(now=NOW) == []
    assert await stores.approval_rows.all() == [StoredApproval(YES, None)]
    assert await stores.approval_rows.get("no-such") is None


async def test_of_many_that_ask_for_one_call_one_waits(opened: Opened) -> None:
    """Fifty at once, from two processes: all are told of the same one."""
    both = (opened.stores, opened.other)
    asked = [ask(both[turn % 2], StoredApproval(replace(WAITING, id=f"a-{turn}"), b"sealed")) for turn in range(RACERS)]
    found = await asyncio.gather(*asked)
    assert len({approval.id for approval, _ in found}) == 1  # type: ignore[misc]  # none of them is None
    assert sum(is_new for _, is_new in found) == 1  # type: ignore[misc]  # none of them is None
    assert len(await opened.stores.approval_rows.all()) == 1


async def test_of_many_that_use_one_approval_one_gets_it(opened: Opened) -> None:
    """Fifty at once, from two processes: one, and nobody afterwards."""
    await ask(opened.stores)
    await opened.stores.approval_rows.decide(YES)
    both = (opened.stores, opened.other)
    used = await asyncio.gather(*(both[turn % 2].approval_rows.use(DIGEST, now=NOW + 6) for turn in range(RACERS)))
    assert [each for each in used if each is not None] == [replace(YES, state=ApprovalState.USED, used_at=NOW + 6)]
    assert await opened.stores.approval_rows.use(DIGEST, now=NOW + 7) is None


async def test_of_two_decisions_the_first_stands(opened: Opened) -> None:
    """Two people say yes at once: one of them is stored, and the other is told so."""
    await ask(opened.stores)
    other = replace(YES, decided_by="user:dora")
    done = await asyncio.gather(opened.stores.approval_rows.decide(YES), opened.other.approval_rows.decide(other))
    assert sorted(done) == [False, True]
    stored = await opened.stores.approval_rows.get(WAITING.id)
    assert stored is not None
    assert stored.approval == (YES, other)[done.index(True)]


async def test_a_yes_is_taken_back_or_used_and_never_both(opened: Opened) -> None:
    """A no and a use at once: whichever comes first, the other finds nothing."""
    await ask(opened.stores)
    await opened.stores.approval_rows.decide(YES)
    no = replace(YES, state=ApprovalState.DENIED)
    used, denied = await asyncio.gather(
        opened.stores.approval_rows.use(DIGEST, now=NOW + 6), opened.other.approval_rows.decide(no)
    )
    assert (used is not None) is not denied
    assert not await opened.stores.approval_rows.decide(YES)


@pytest.mark.parametrize("state", [ApprovalState.WAITING, ApprovalState.DENIED, ApprovalState.EXPIRED])
async def test_only_what_is_approved_is_used(stores: Stores, state: ApprovalState) -> None:
    """What waits, was denied or has expired lets nothing through."""
    await ask(stores)
    if state is not ApprovalState.WAITING:
        await stores.approval_rows.decide(replace(YES, state=state))
    assert await stores.approval_rows.use(DIGEST, now=NOW) is None
    assert await stores.approval_rows.use("another digest", now=NOW) is None


async def test_what_has_run_out_is_not_used_and_not_told_again(stores: Stores) -> None:
    """An approval in its last second is good, and in the next is not; the call is then asked for anew."""
    await ask(stores)
    await stores.approval_rows.decide(YES)
    fresh = StoredApproval(replace(WAITING, id="approval-2", expires_at=NOW + 2000), b"sealed")
    assert await ask(stores, fresh, now=NOW + 899) == (YES, False)
    assert await stores.approval_rows.use(DIGEST, now=NOW + 900) is None
    assert await ask(stores, fresh, now=NOW + 900) == (fresh.approval, True)


async def test_a_no_is_told_until_it_has_run_out(stores: Stores) -> None:
    """Who asks for a denied call again hears of the no, and nobody is asked."""
    await ask(stores)
    no = replace(YES, state=ApprovalState.DENIED)
    await stores.approval_rows.decide(no)
    assert await ask(stores, now=NOW + 899) == (no, False)


async def test_what_nobody_decided_expires(stores: Stores) -> None:
    """At its last moment and not before; what was sealed is dropped, and what was decided stays."""
    await ask(stores)
    await ask(stores, another(1))
    await stores.approval_rows.decide(replace(another(1).approval, state=ApprovalState.DENIED))
    assert await stores.approval_rows.expire(now=NOW + 899) == ()
    expired = replace(WAITING, state=ApprovalState.EXPIRED)
    assert await stores.approval_rows.expire(now=NOW + 900) == [expired]
    assert await stores.approval_rows.get(WAITING.id) == StoredApproval(expired, None)
    assert await stores.approval_rows.expire(now=NOW + 900) == ()


async def test_so_many_wait_and_no_more(stores: Stores) -> None:
    """At the bound nothing is stored; another agent, one that is decided, and one that has run out make room."""
    for number in range(3):
        assert await ask(stores, another(number), most=3) == (another(number).approval, True)
    assert await ask(stores, most=3) is None
    assert await ask(stores, another(2), most=3) == (another(2).approval, False)
    stranger = StoredApproval(replace(WAITING, id="s", call=replace(CALL, agent="other-agent")), b"sealed")
    assert await ask(stores, stranger, most=3) == (stranger.approval, True)
    await stores.approval_rows.decide(replace(another(0).approval, state=ApprovalState.DENIED))
    assert await ask(stores, most=3) == (WAITING, True)
    assert await ask(stores, another(4), most=3, now=NOW + 900) == (another(4).approval, True)


async def test_what_is_over_is_forgotten_after_a_month(opened: Opened) -> None:
    """Until then it can be looked at; what still waits is never forgotten, since its end is recorded first."""
    await ask(opened.stores)
    await ask(opened.stores, another(1))
    await opened.stores.approval_rows.decide(YES)
    assert await forget_expired(opened.database, now=NOW + 900 + APPROVAL_KEPT_AFTER_EXPIRY - 1) == 0
    assert await forget_expired(opened.database, now=NOW + 900 + APPROVAL_KEPT_AFTER_EXPIRY) == 1
    assert await opened.stores.approval_rows.all() == [another(1)]
