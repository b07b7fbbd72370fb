"""Tasks at the authorization server: begun by a client, named by tokens, superseded, and over."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.tasks import TaskRequest, Tasks
from perhop.core.task import TaskLimits, ToolPattern
from perhop.errors import JournalUnavailable, TooManyTasks
from perhop.journal.record import Record, RequestFacts
from perhop.rules.revocation import RevocationKind, revocation_digest
from tests.support.authorization_servers import (
    CALENDAR,
    NOTES,
    NOW,
    ROOMS,
    SECRET,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    naming,
    running_server,
)

RACERS = 50


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def test_a_task_is_begun_and_recorded(server: RunningServer) -> None:
    """The answer is 201 with id and lifetime, and the journal says who is about to do what, within which bounds."""
    answer = await server.begin_task()
    assert answer.status_code == 201
    assert answer.json().keys() == {"id", "expires_in"}
    assert answer.json()["expires_in"] == 600
    assert answer.headers["cache-control"] == "no-store"
    (record,) = server.records("task.changed")
    assert record["task"] == {"id": answer.json()["id"], "purpose": "plan the trip to Oslo"}
    assert record["client"] == "trip-planner"
    assert record["about"] == {
        "task": answer.json()["id"],
        "change": "begun",
        "tools": ["calendar/list_*", "rooms/*"],
        "limits": {"calls": 50, "writes": 5},
        "expires_at": NOW + 600,
        "by": "client:trip-planner",
    }


async def test_a_client_proves_itself_by_header_or_by_members(server: RunningServer) -> None:
    """Basic, secret, and assertion all do; a wrong proof, two proofs or none do not, and no task is begun."""
    members = {"purpose": "p", "tools": ["calendar/*"], "limits": {"calls": 1, "writes": 0}, "expires_in": 60}
    basic = {"authorization": "Basic " + base64.b64encode(f"basic:{SECRET}".encode()).decode()}
    posted = {"client_id": "poster", "client_secret": SECRET}
    for headers, more in ((basic, {}), ({}, posted), ({}, server.proof("trip-planner"))):
        assert (await server.http.post("/tasks", json=members | more, headers=headers)).status_code == 201
    before = len(server.records("task.changed"))
    refused: list[tuple[dict[str, str], dict[str, Any], int]] = [
        ({}, {}, 401),
        ({}, {"client_id": "trip-planner"}, 401),
        ({}, posted | {"client_secret": "x" * 40}, 401),
        (basic, posted, 400),
        ({}, {"client_id": ["poster"], "client_secret": SECRET}, 400),
    ]
    for headers, more, status in refused:
        answer = await server.http.post("/tasks", json=members | more, headers=headers)
        assert answer.status_code == status, answer.text
    assert len(server.records("task.changed")) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": None},
        {"purpose": ""},
        {"purpose": "   "},
        {"purpose": "p" * 501},
        {"purpose": "two\nlines"},
        {"purpose": 1},
        {"tools": None},
        {"tools": []},
        {"tools": "calendar/*"},
        {"tools": ["calendar"]},
        {"tools": ["calendar/"]},
        {"tools": ["/list"]},
        {"tools": [1]},
        {"tools": ["calendar/" + "x" * 504]},
        {"tools": [f"calendar/{each}" for each in range(101)]},
        {"limits": {"calls": -1}},
        {"limits": {"calls": True}},
        {"limits": {"calls": 1.0}},
        {"limits": {"calls": 1_000_000_001}},
        {"limits": {"reads": 1}},
        {"limits": [1]},
        {"expires_in": None},
        {"expires_in": 0},
        {"expires_in": 30 * 24 * 3600 + 1},
        {"expires_in": "600"},
        {"supersedes": ""},
        {"supersedes": 1},
        {"scope": "calendar:read"},
        {"subject": "user:ann"},
        {"id": "task-of-my-own"},
    ],
    ids=str,
)
async def test_what_is_said_of_a_task_is_read_strictly(server: RunningServer, changes: dict[str, Any]) -> None:
    """Another type, beyond a bound, or a member that is not known: nothing is begun."""
    assert_refused(await server.begin_task(**changes), "invalid_request")
    assert server.records("task.changed") == []


async def test_the_bounds_themselves_are_within(server: RunningServer) -> None:
    """A purpose of 500 characters, 100 patterns, a limit of a thousand million, thirty days: each is taken."""
    tools = [f"calendar/{each}" for each in range(99)] + ["calendar/" + "x" * 503]
    limits = {"calls": 1_000_000_000, "writes": 0}
    answer = await server.begin_task(purpose="p" * 500, tools=tools, limits=limits, expires_in=30 * 24 * 3600)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"purpose": 1, "purpose": 2}', b"\xff", b"{}" + b" " * 65536])
async def test_a_body_that_is_no_strict_json_object_is_refused(server: RunningServer, body: bytes) -> None:
    """Whatever else comes is answered as malformed, or as too large, never with an error of our own."""
    answer = await server.http.post("/tasks", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413)
    form = await server.http.post("/tasks", data={"purpose": "p"})
    assert_refused(form, "invalid_request")


async def test_a_task_names_what_its_client_leads_to(server: RunningServer) -> None:
    """A resource within reach, or over hops; no other, since a task grants nothing."""
    for tools in (["calendar/*"], ["rooms/*"], ["notes/*"]):
        assert (await server.begin_task(tools=tools)).status_code == 201
    for tools in (["unknown/*"], ["*/*"], ["Calendar/*"], ["calendar/*", "unknown/x"], ["perhop:records/*"]):
        assert_refused(await server.begin_task(tools=tools), "invalid_target")
    assert_refused(await server.begin_task(by="rooms-server", tools=["rooms/*"]), "invalid_target")


async def test_a_token_names_the_task_and_is_recorded_with_it(server: RunningServer) -> None:
    """The claim is the one of the request, and the record says which purpose stands behind the token."""
    task = await server.task_id()
    claims = claims_of(await server.planner_token(**naming(task)))
    assert claims["authorization_details"] == [{"type": "agent_task", "id": task}]
    (issued,) = server.records("token.issued")
    assert issued["task"] == {"id": task, "purpose": "plan the trip to Oslo"}
    without = claims_of(await server.planner_token())
    assert "authorization_details" not in without
    assert "task" not in server.records("token.issued")[-1]


async def test_exchange_carries_the_task_along(server: RunningServer) -> None:
    """In process and at the token endpoint the child is of the same task, and so is its record in the database."""
    task = await server.task_id()
    token = (await server.planner_token(**naming(task))).json()["access_token"]
    hop = await server.through_gateway(token)
    answer = await server.exchange(hop)
    child = claims_of(answer)
    for claims in (claims_in(hop), child):
        assert claims["authorization_details"] == [{"type": "agent_task", "id": task}]
    live = await server.stores.lineage.live("task", task, now=NOW)
    assert {each.audience for each in live} >= {CALENDAR, ROOMS}
    again = await server.exchange(hop, **naming(task))
    assert claims_of(again)["authorization_details"] == [{"type": "agent_task", "id": task}]
    other = await server.task_id()
    assert_refused(await server.exchange(hop, **naming(other)), "invalid_authorization_details")


async def test_an_exchange_cannot_begin_under_a_task(server: RunningServer) -> None:
    """A token without a task gives tokens without one: the server that calls on cannot choose one for the agent."""
    task = await server.task_id(by="calendar-server", tools=["rooms/*"])
    hop = await server.through_gateway((await server.planner_token()).json()["access_token"])
    assert_refused(await server.exchange(hop, **naming(task)), "invalid_authorization_details")


async def test_a_task_narrows_where_a_chain_can_go(server: RunningServer) -> None:
    """What the task does not name is no target: not for a first token, and not for an exchange along a hop."""
    task = await server.task_id(tools=["calendar/*"])
    token = (await server.planner_token(**naming(task))).json()["access_token"]
    assert_refused(await server.exchange(await server.through_gateway(token)), "invalid_request")
    assert server.last_refusal()["reason"] == "task.outside"
    assert server.last_refusal()["task"]["id"] == task
    only_rooms = await server.task_id(tools=["rooms/*"])
    assert_refused(await server.planner_token(**naming(only_rooms)), "invalid_target")
    assert server.last_refusal()["reason"] == "task.outside"


async def test_a_task_grants_nothing(server: RunningServer) -> None:
    """Naming a resource or a scope that the client does not reach is refused as without a task."""
    task = await server.task_id(tools=["notes/*", "calendar/*"])
    assert_refused(await server.planner_token(resource=NOTES, **naming(task)), "invalid_target")
    assert_refused(await server.planner_token(scope="rooms:read", **naming(task)), "invalid_scope")


async def test_only_a_task_in_force_and_ones_own_gives_tokens(server: RunningServer) -> None:
    """Unknown, another client's, malformed, ended, superseded and expired are one error, each with its reason."""
    foreign = await server.task_id(by="calendar-server", tools=["rooms/*"])
    ended, old, short = await server.task_id(), await server.task_id(), await server.task_id(expires_in=5)
    assert await server.issuer.tasks.end(ended, why="test", by="test") == 0
    await server.task_id(supersedes=old)
    server.clock.now += 5
    tries = {
        "task.outside": [naming("unknown"), naming(foreign)],
        "task.expired": [naming(ended), naming(short)],
        "task.superseded": [naming(old)],
        "request.malformed": [
            {"authorization_details": "[]"},
            {"authorization_details": json.dumps([{"type": "agent_task", "id": old}] * 2)},
            {"authorization_details": json.dumps([{"type": "mcp_call", "method": "tools/call"}])},
        ],
    }
    for reason, parameters in tries.items():
        for each in parameters:
            assert_refused(await server.planner_token(**each), "invalid_authorization_details")
            assert server.last_refusal()["reason"] == reason
    assert server.records("token.issued") == []


async def test_of_fifty_that_supersede_at_once_one_wins(server: RunningServer) -> None:
    """One gets a task, the others hear that there is nothing to supersede; one revocation is in the feed."""
    old = await server.task_id()
    answers = await asyncio.gather(*(server.begin_task(supersedes=old) for _ in range(RACERS)))
    won = [each for each in answers if each.status_code == 201]
    assert len(won) == 1
    for lost in (each for each in answers if each is not won[0]):
        assert_refused(lost, "invalid_authorization_details")
    changes = [each["about"]["change"] for each in server.records("task.changed")]
    assert sorted(changes) == ["begun", "begun", "superseded"]
    told = await server.stores.revocation_rows.after(0, now=NOW)
    assert [each.digest for each in told] == [revocation_digest(old)]


async def test_nobody_else_supersedes(server: RunningServer) -> None:
    """Another client's task, or one that is not there: refused alike, and the task goes on."""
    old = await server.task_id()
    for supersedes in (old, "unknown"):
        answer = await server.begin_task(by="calendar-server", tools=["rooms/*"], supersedes=supersedes)
        assert_refused(answer, "invalid_authorization_details")
        assert server.last_refusal()["reason"] == "task.outside"
    assert (await server.planner_token(**naming(old))).status_code == 200


async def test_a_superseded_task_takes_its_tokens_along(server: RunningServer) -> None:
    """Neither an exchange nor a new token is had under it; the record names the live tokens that ended."""
    old = await server.task_id()
    token = (await server.planner_token(**naming(old))).json()["access_token"]
    hop = await server.through_gateway(token)
    new = await server.task_id(supersedes=old)
    assert_refused(await server.exchange(hop), "invalid_request")
    assert server.last_refusal()["reason"] == "task.superseded"
    (revoked,) = server.records("revocation")
    assert revoked["about"]["kind"] == "task"
    assert sorted(revoked["about"]["tokens"]) == sorted([claims_in(token)["jti"], claims_in(hop)["jti"]])
    assert (await server.planner_token(**naming(new))).status_code == 200


async def test_the_feed_tells_of_the_end_for_as_long_as_a_token_could_live(server: RunningServer) -> None:
    """The entry names the task's digest and refuses every `iat`: none can be issued under it any more."""
    old = await server.task_id()
    await server.task_id(supersedes=old)
    (row,) = await server.stores.revocation_rows.after(0, now=NOW)
    assert row.kind == RevocationKind.TASK.value
    assert row.not_before == row.expires_at >= NOW + 900
    assert server.issuer.revocations.covers(RevocationKind.TASK, old, issued_at=NOW + 900)


async def test_a_token_is_not_issued_when_its_task_ends_meanwhile(server: RunningServer) -> None:
    """The task is looked at again after the token was recorded, so that one of the two sees the other."""
    task = await server.task_id()
    records = server.stores.token_records

    class Ending:
        async def add(self, record: Any) -> None:
            await records.add(record)
            await server.issuer.tasks.end(task, why="between", by="test")

    stores = server.issuer.stores
    server.change(stores=replace(stores, token_records=Ending()))
    assert_refused(await server.planner_token(**naming(task)), "invalid_authorization_details")
    assert server.records("token.issued") == []


async def test_what_stood_stands_after_a_restart(server: RunningServer) -> None:
    """What the database holds is in force again: the superseded as superseded, the counted as counted."""
    old = await server.task_id()
    new = await server.task_id(supersedes=old, limits={"calls": 1, "writes": 0})
    task = server.issuer.tasks.find(new)
    assert task is not None
    await server.issuer.tasks.count(task, is_write=False)
    await server.issuer.tasks.load()
    assert server.issuer.tasks.find(new) == task
    assert_refused(await server.planner_token(**naming(old)), "invalid_authorization_details")
    assert server.last_refusal()["reason"] == "task.superseded"
    server.issuer.tasks.forget()
    assert server.issuer.tasks.find(new) is not None
    server.clock.now += 600 + 900 + 120
    server.issuer.tasks.forget()
    assert server.issuer.tasks.find(new) is None


async def test_the_metadata_says_what_requests_may_name(server: RunningServer) -> None:
    """The one type of authorization details, and where tasks are begun."""
    metadata = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_details_types_supported"] == ["agent_task"]
    assert metadata["perhop_tasks_endpoint"] == f"{server.issuer.url}/tasks"


async def test_a_name_without_proof_begins_no_end_of_tasks(server: RunningServer) -> None:
    """In the name of a public client anybody can begin tasks: a hundred in ten minutes that nobody has approved."""
    for _ in range(100):
        assert (await server.begin_task(by="desk-app", tools=["calendar/*"])).status_code == 201
    assert_refused(await server.begin_task(by="desk-app", tools=["calendar/*"]), "temporarily_unavailable", status=429)
    assert (await server.begin_task()).status_code == 201
    server.clock.now += 600
    assert (await server.begin_task(by="desk-app", tools=["calendar/*"])).status_code == 201


async def test_what_is_begun_at_once_is_counted_together(server: RunningServer) -> None:
    """A request whose task is not recorded yet counts for the others; one that fails leaves its place."""
    issuer, client = server.issuer, server.issuer.registry.clients["desk-app"]
    asked = TaskRequest(
        purpose="plan the trip", tools=(ToolPattern("calendar", "*"),), limits=TaskLimits(), expires_in=600
    )

    async def begin(tasks: Tasks, number: int) -> str:
        try:
            return (await tasks.begin(asked, client, task_id=f"t-{number}", request=RequestFacts())).id
        except (TooManyTasks, JournalUnavailable) as fact:
            return fact.reason

    def tasks(journal: Any, **bounds: int) -> Tasks:
        return Tasks(
            rows=server.stores.task_rows, journal=journal, revoker=issuer.revoker, clock=server.clock, **bounds
        )

    unproved, bounded = tasks(issuer.journal), tasks(issuer.journal, most=7)
    begun = await asyncio.gather(*(begin(unproved, number) for number in range(110)))
    assert begun.count(TooManyTasks.reason) == 10
    begun = await asyncio.gather(*(begin(bounded, 1000 + number) for number in range(10)))
    assert begun.count(TooManyTasks.reason) == 3
    failing = tasks(_FullJournal(), most=7)
    for _ in range(2):
        tried = await asyncio.gather(*(begin(failing, number) for number in range(7)))
        assert tried == [JournalUnavailable.reason] * 7


class _FullJournal:
    """Takes nothing."""

    async def append(self, _: Record) -> int:
        await asyncio.sleep(0)
        raise JournalUnavailable("the disk is full")


async def test_no_client_fills_the_memory(server: RunningServer) -> None:
    """A client that proves itself has a bound as well, and its tasks that are over for long do not count."""
    issuer = server.issuer
    parts = {"journal": issuer.journal, "revoker": issuer.revoker, "clock": server.clock}
    server.change(tasks=Tasks(rows=server.stores.task_rows, most=3, **parts))
    for _ in range(3):
        await server.task_id(expires_in=60)
    assert_refused(await server.begin_task(), "temporarily_unavailable", status=429)
    assert server.last_refusal()["reason"] == "limit.exceeded"
    assert (await server.begin_task(by="calendar-server", tools=["rooms/*"])).status_code == 201
    server.clock.now += 60 + 900 + 120
    server.issuer.tasks.forget()
    assert (await server.begin_task()).status_code == 201


async def test_policy_sees_the_task_when_a_token_is_asked_for(server: RunningServer) -> None:
    """A forbid may ask whether there is a task at all; the purpose is not there before a person has approved it."""
    server.forbid(
        '@id("task-first") forbid (principal, action == MCP::Action::"issue", resource) unless {context has task};'
    )
    assert_refused(await server.planner_token(), "invalid_target")
    task = await server.task_id()
    assert (await server.planner_token(**naming(task))).status_code == 200
    server.forbid(
        '@id("approved") forbid (principal, action in [MCP::Action::"issue", MCP::Action::"exchange"], resource)'
        ' unless {context has task && context.task has purpose && context.task.purpose like "plan*"};'
    )
    assert_refused(await server.planner_token(**naming(task)), "invalid_target")
