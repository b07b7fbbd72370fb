"""Tasks: one winner of every race, and never one call more than the limit, whoever counts at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perhop.authorization_server.store import StoredTask
from perhop.core.task import Task, TaskLimits, TaskUse, ToolPattern
from perhop.rules.revocation import RevocationKind, revocation_digest
from perhop.storage.retention import TASK_KEPT_AFTER_EXPIRY, forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import Opened
from tests.support.token_records import a_token_record

NOW = 1_790_000_000
RACERS = 50
REVOKED = (NOW + 1_000, NOW + 1_000)

TASK = Task(
    id="task-1",
    client="trip-planner",
    purpose="plan the trip to Oslo — “quietly”",
    tools=(ToolPattern("calendar", "list_*"), ToolPattern("rooms", "a/b")),
    limits=TaskLimits(calls=20, writes=5),
    created_at=NOW,
    expires_at=NOW + 600,
)


async def test_a_task_is_kept_as_it_was_said(stores: Stores) -> None:
    """What was begun is read back the same, with nothing counted; `all` leaves out what expired before."""
    unbounded = replace(TASK, id="task-2", limits=TaskLimits(), created_at=NOW + 1)
    await stores.task_rows.add(TASK)
    await stores.task_rows.add(unbounded)
    assert await stores.task_rows.all(since=NOW) == [
        StoredTask(TASK, TaskUse()),
        StoredTask(unbounded, TaskUse()),
    ]
    assert await stores.task_rows.all(since=TASK.expires_at) == []


async def test_of_many_that_supersede_one_wins(opened: Opened) -> None:
    """Fifty at once, from two processes: one successor stands, one revocation is told, and no other task was begun."""
    await opened.stores.task_rows.add(TASK)
    tries = [
        (opened.stores, opened.other)[number % 2].task_rows.supersede(
            TASK.id, replace(TASK, id=f"next-{number}", created_at=NOW + 1), revoked=REVOKED
        )
        for number in range(RACERS)
    ]
    won = [each for each in await asyncio.gather(*tries) if each is not None]
    assert len(won) == 1
    stored = {each.task.id: each.task for each in await opened.stores.task_rows.all(since=NOW)}
    assert stored.keys() == {TASK.id, won[0].successor.id}
    assert stored[TASK.id].superseded_by == won[0].successor.id
    told = await opened.stores.revocation_rows.after(0, now=NOW)
    assert [(each.kind, each.digest) for each in told] == [(RevocationKind.TASK.value, revocation_digest(TASK.id))]


@pytest.mark.parametrize(
    "changes",
    [{"client": "mallory"}, {"created_at": TASK.expires_at, "expires_at": TASK.expires_at + 60}],
    ids=["another client", "after its end"],
)
async def test_only_what_is_in_force_and_ones_own_is_superseded(stores: Stores, changes: dict[str, object]) -> None:
    """Another client, or a task that is over: nothing is begun and nothing ends."""
    await stores.task_rows.add(TASK)
    successor = replace(TASK, id="task-2", **changes)  # type: ignore[arg-type]  # members of a task
    assert await stores.task_rows.supersede(TASK.id, successor, revoked=REVOKED) is None
    assert await stores.task_rows.supersede("unknown", successor, revoked=REVOKED) is None
    assert [each.task for each in await stores.task_rows.all(since=NOW)] == [TASK]
    assert await stores.revocation_rows.after(0, now=NOW) == []


async def test_a_persons_task_stays_that_persons(stores: Stores) -> None:
    """One person can approve a task, again too; the successor is that person's before anybody has approved it."""
    rows = stores.task_rows
    await rows.add(TASK)
    approved = await rows.approve(TASK.id, subject="user:ann", now=NOW + 5)
    assert approved == replace(TASK, subject="user:ann", approved_at=NOW + 5)
    assert await rows.approve(TASK.id, subject="user:bob", now=NOW + 6) is None
    superseded = await rows.supersede(TASK.id, replace(TASK, id="task-2", created_at=NOW + 7), revoked=REVOKED)
    assert superseded is not None
    assert (superseded.successor.subject, superseded.successor.is_approved) == ("user:ann", False)
    assert await rows.approve("task-2", subject="user:bob", now=NOW + 8) is None
    assert await rows.approve(TASK.id, subject="user:ann", now=NOW + 8) is None


async def test_an_ended_task_stays_ended(stores: Stores) -> None:
    """It ends once, with its revocation; after that it is neither superseded, approved nor counted."""
    rows = stores.task_rows
    await rows.add(TASK)
    ended = await rows.end(TASK.id, now=NOW + 3, revoked=REVOKED)
    assert ended is not None
    assert ended.task == replace(TASK, ended_at=NOW + 3)
    assert ended.revocation.not_before == REVOKED[0]
    assert await rows.end(TASK.id, now=NOW + 4, revoked=REVOKED) is None
    assert await rows.supersede(TASK.id, replace(TASK, id="task-2"), revoked=REVOKED) is None
    assert await rows.approve(TASK.id, subject="user:ann", now=NOW + 4) is None
    assert await rows.count(TASK.id, is_write=False, now=NOW + 4) is None


async def test_counting_is_exact_under_contention(opened: Opened) -> None:
    """Fifty calls at once from two processes: twenty are counted, at most five as writes, and then no more."""
    await opened.stores.task_rows.add(TASK)
    tries = [
        (opened.stores, opened.other)[number % 2].task_rows.count(TASK.id, is_write=number % 3 == 0, now=NOW)
        for number in range(RACERS)
    ]
    counted = [each for each in await asyncio.gather(*tries) if each is not None]
    assert len(counted) == 20
    assert sorted(each.calls for each in counted) == list(range(1, 21))
    assert max(each.writes for each in counted) <= 5
    (stored,) = await opened.stores.task_rows.all(since=NOW)
    assert stored.used == TaskUse(20, max(each.writes for each in counted))
    assert await opened.other.task_rows.count(TASK.id, is_write=False, now=NOW) is None


async def test_writes_have_a_limit_of_their_own(stores: Stores) -> None:
    """When the writes are used up, reads go on; a write that was refused was not counted as a call either."""
    await stores.task_rows.add(TASK)
    results = [await stores.task_rows.count(TASK.id, is_write=True, now=NOW) for _ in range(6)]
    assert results[4:] == [TaskUse(5, 5), None]
    assert await stores.task_rows.count(TASK.id, is_write=False, now=NOW) == TaskUse(6, 5)


async def test_a_task_that_is_over_is_kept_for_a_while(opened: Opened) -> None:
    """Thirty days after its time it is forgotten, not a second earlier."""
    await opened.stores.task_rows.add(TASK)
    await forget_expired(opened.database, now=TASK.expires_at + TASK_KEPT_AFTER_EXPIRY - 1)
    assert len(await opened.stores.task_rows.all(since=0)) == 1
    await forget_expired(opened.database, now=TASK.expires_at + TASK_KEPT_AFTER_EXPIRY)
    assert await opened.stores.task_rows.all(since=0) == []


async def test_live_tokens_of_a_task_are_found(stores: Stores) -> None:
    """By the task that their record names, and no others."""
    for jti, task in (("a", "task-1"), ("b", "task-2"), ("c", None)):
        await stores.token_records.add(a_token_record(jti, task=task, expires_at=NOW + 300))
    assert [each.jti for each in await stores.lineage.live("task", "task-1", now=NOW)] == ["a"]
