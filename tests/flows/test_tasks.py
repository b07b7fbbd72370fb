"""Tasks at the gateway: looked at per call, held against the patterns, counted exactly, and cut when they are over."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.gateway.readiness import Verdict
from perhop.gateway.tool_pins import Approval, Pinned
from perhop.journal.record import RequestFacts
from perhop.rules.revocation import RevocationKind
from perhop.rules.tool_definition import by_name, parse_definition
from tests.support.gateways import World, gateway
from tests.support.tasks import begin, token
from tests.support.upstreams import event, json_answer, legacy, modern, stream_answer

READS = {"name": "list_events", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
WRITES = {"name": "create_event", "inputSchema": {"type": "object"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


def call(tool: str = "list_events") -> tuple[dict[str, str], bytes]:
    return modern("tools/call", {"name": tool, "arguments": {}})


def seen(answer: httpx2.Response) -> tuple[int, int | None, str | None]:
    """Status, JSON-RPC code and reason."""
    error = answer.json().get("error") if answer.content else None
    return answer.status_code, error and error["code"], error and error["data"]["reason"]


OUTSIDE, SUPERSEDED = (403, -31403, "task.outside"), (403, -31403, "task.superseded")
EXPIRED, EXCEEDED = (403, -31403, "task.expired"), (429, -31429, "limit.exceeded")


async def test_a_call_within_the_task_goes_on_and_the_record_says_so(world: World) -> None:
    """Permit and outcome name the task and its purpose; so does a refusal."""
    task = await begin(world, "calendar/list_*")
    assert (await world.send(call(), token=token(world, task))).status_code == 200
    assert seen(await world.send(call("create_event"), token=token(world, task))) == OUTSIDE
    records = [each for each in await world.records(3) if each["event"].startswith("call.")]
    assert [each["task"] for each in records] == [{"id": task.id, "purpose": "plan the trip"}] * 3
    assert len(world.upstream.received) == 1


async def test_a_token_without_a_task_is_held_to_none(world: World) -> None:
    """Tasks narrow the tokens that name them; the same caller's other tokens go on as before, and are not counted."""
    task = await begin(world, "calendar/nothing", calls=0)
    assert (await world.send(call())).status_code == 200
    assert seen(await world.send(call(), token=token(world, task))) == OUTSIDE
    assert "task" not in (await world.records(3))[1]


@pytest.mark.parametrize(
    ("method", "params", "whole", "some"),
    [
        ("prompts/get", {"name": "greet"}, 200, OUTSIDE),
        ("resources/read", {"uri": "note://today"}, 200, OUTSIDE),
        ("tools/list", {}, 200, (200, None, None)),
        ("prompts/list", {}, 200, (200, None, None)),
        ("server/discover", {}, 200, (200, None, None)),
    ],
)
async def test_prompts_and_documents_need_the_whole_resource(
    world: World, method: str, params: dict[str, Any], whole: int, some: tuple[int, int | None, str | None]
) -> None:
    """Under `calendar/*` they pass, under a few tools only lists and handshakes do."""
    everything, few = await begin(world, "calendar/*"), await begin(world, "calendar/list_*", "rooms/*")
    assert (await world.send(modern(method, params), token=token(world, everything))).status_code == whole
    assert seen(await world.send(modern(method, params), token=token(world, few))) == some


async def test_a_completion_or_a_listener_reaches_no_further(world: World) -> None:
    """What a message touches beside its name counts: a completion's prompt, and each document of a listen filter."""
    few = await begin(world, "calendar/list_*")
    reference = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "n", "value": "a"}}
    listening = {"notifications": {"resourceSubscriptions": ["note://today"]}}
    for method, params in (("completion/complete", reference), ("subscriptions/listen", listening)):
        assert seen(await world.send(modern(method, params), token=token(world, few))) == OUTSIDE
    assert world.upstream.received == []


async def test_lists_hide_what_the_task_does_not_cover(world: World) -> None:
    """Tools by their patterns; prompts and documents altogether, unless the task has the whole resource."""
    items = {
        "tools": [{"name": "list_events"}, {"name": "create_event"}],
        "prompts": [{"name": "greet"}],
        "resources": [{"uri": "note://today", "name": "today"}],
    }
    world.upstream.script = lambda _: json_answer(items)
    for tools, shown in ((("calendar/list_*",), (1, 0, 0)), (("calendar/*",), (2, 1, 1))):
        task = await begin(world, *tools)
        result = (await world.send(modern("tools/list"), token=token(world, task))).json()["result"]
        assert tuple(len(result[each]) for each in items) == shown


async def test_a_resource_that_the_task_does_not_name_is_outside(world: World) -> None:
    """Not even a handshake: a token of ours for it was never issued."""
    task = await begin(world, "rooms/*")
    for request in (call(), modern("server/discover"), legacy("ping")):
        assert seen(await world.send(request, token=token(world, task))) == OUTSIDE


@pytest.mark.parametrize(
    "claims", [{"client_id": "mallory", "agent": "mallory", "sub": "mallory"}, {"agent": "mallory"}]
)
async def test_another_agents_task_is_outside(world: World, claims: dict[str, str]) -> None:
    """A task is good for the agent that began it, whoever presents."""
    task = await begin(world)
    assert seen(await world.send(call(), token=token(world, task, **claims))) == OUTSIDE
    assert seen(await world.send(call(), token=token(world, "unknown"))) == OUTSIDE


async def test_once_approved_a_task_is_for_its_person_only(world: World) -> None:
    """From that moment on the tokens of anybody else under it are refused, the client's own too."""
    task = await begin(world)
    own = token(world, task, sub="trip-planner")
    assert (await world.send(call(), token=own)).status_code == 200
    await world.tasks.approve(task, subject="user:ann", request=RequestFacts())
    for other in (own, token(world, task, sub="user:bob")):
        assert seen(await world.send(call(), token=other)) == OUTSIDE
    assert (await world.send(call(), token=token(world, task, sub="user:ann"))).status_code == 200


async def test_a_superseded_task_is_refused_at_once_and_says_so(world: World) -> None:
    """The reason is the task, not the revocation that comes with it; the new task's tokens pass."""
    old = await begin(world)
    held = token(world, old)
    assert (await world.send(call(), token=held)).status_code == 200
    new = await begin(world, "calendar/create_event", supersedes=old.id)
    assert seen(await world.send(call(), token=held)) == SUPERSEDED
    assert seen(await world.send(modern("server/discover"), token=held)) == SUPERSEDED
    assert seen(await world.send(call(), token=token(world, new))) == OUTSIDE
    assert (await world.send(call("create_event"), token=token(world, new))).status_code == 200


async def test_a_task_is_over_with_its_time(world: World) -> None:
    """The token would be good for longer; an ended task is refused with the same reason."""
    task, ended = await begin(world, expires_in=30), await begin(world)
    held = token(world, task)
    await world.tasks.end(ended.id, why="test", by="test")
    assert seen(await world.send(call(), token=token(world, ended))) == EXPIRED
    world.clock.ahead += 30
    assert seen(await world.send(call(), token=held)) == EXPIRED


async def test_a_revoked_token_of_a_live_task_is_revoked(world: World) -> None:
    """A revocation by task ends the tokens so far, and the task goes on: 401, and a new token passes."""
    task = await begin(world)
    held = token(world, task)
    world.revoke(RevocationKind.TASK, task.id)
    answer = await world.send(call(), token=held)
    assert (answer.status_code, (await world.records(1))[-1]["reason"]) == (401, "token.revoked")
    world.clock.ahead += 1
    assert (await world.send(call(), token=token(world, task))).status_code == 200


async def test_a_notification_outside_its_task_gets_no_body(world: World) -> None:
    """As every refused notification: 403 and nothing else."""
    task = await begin(world)
    await world.tasks.end(task.id, why="test", by="test")
    body = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    headers, _ = legacy("ping")
    answer = await world.send((headers, body), token=token(world, task))
    assert (answer.status_code, answer.content) == (403, b"")


# --- counting ---------------------------------------------------------------------------------------------------------


async def test_of_a_thousand_calls_at_once_exactly_fifty_reach_the_upstream(world: World) -> None:
    """However many come in parallel, the limit is exact; the others hear 429, and nothing was exchanged for them.

    On a machine that has no time for a thousand some wait for the database too long, and hear 503: no call goes on.
    """
    task = await begin(world, calls=50)
    held = token(world, task)
    async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=100)) as http:
        headers, body = call()
        headers = {**headers, "authorization": f"Bearer {held}"}
        answers = await asyncio.gather(*(http.post(world.url, headers=headers, content=body) for _ in range(1_000)))
    counted = Counter(map(seen, answers))
    assert counted.pop((200, None, None)) == 50
    assert EXCEEDED in counted
    assert set(counted) <= {EXCEEDED, (503, -31503, "journal.unavailable")}
    assert len(world.upstream.received) == 50
    assert len(world.exchanger.permits) == 50
    refused = next(each for each in answers if each.status_code == 429)
    assert "retry-after" not in refused.headers


async def test_what_was_counted_stays_counted_over_a_restart(world: World) -> None:
    """Thirty before and twenty after: what is read at the start is what the database holds, and it is exact again."""
    task = await begin(world, calls=50)
    held = token(world, task)
    before = await asyncio.gather(*(world.send(call(), token=held) for _ in range(30)))
    await world.tasks.load()
    after = await asyncio.gather(*(world.send(call(), token=held) for _ in range(40)))
    assert Counter(each.status_code for each in before) == {200: 30}
    assert Counter(map(seen, after)) == {(200, None, None): 20, EXCEEDED: 20}
    assert len(world.upstream.received) == 50


async def test_memory_that_knows_nothing_lets_no_call_through(world: World) -> None:
    """The database decides: a memory that has forgotten every count changes nothing."""
    task = await begin(world, calls=2)
    for _ in range(2):
        assert (await world.send(call(), token=token(world, task))).status_code == 200
    world.tasks._used.clear()
    assert seen(await world.send(call(), token=token(world, task))) == EXCEEDED


async def test_a_call_is_never_given_back(world: World) -> None:
    """It counts although the upstream failed or was not asked at all; a call that is refused before does not."""
    task = await begin(world, "calendar/*", calls=3)
    world.upstream.script = lambda _: json_answer({}, status=500)
    await world.send(call(), token=token(world, task))
    world.gate.readiness.verdict = Verdict.OPEN
    assert (await world.send(call(), token=token(world, task))).status_code == 503
    assert (await world.send(call(), token=token(world, task, scope=""))).status_code == 403
    world.gate.readiness.verdict = Verdict.ENFORCES
    world.upstream.script = lambda _: json_answer({"ok": True})
    assert (await world.send(call(), token=token(world, task))).status_code == 200
    assert seen(await world.send(call(), token=token(world, task))) == EXCEEDED


async def test_a_permit_that_rests_on_a_limit_lets_no_more_through_than_it(world: World) -> None:
    """The agent's own word is enough for the permit, because it is held to it: exactly so many calls, then none."""
    world.take_policies(
        '@id("budget") permit (principal, action, resource)'
        " when { context has task && context.task has max_writes && context.task.max_writes <= 2 };"
    )
    stated = await begin(world, "calendar/*", writes=2)
    answers = await asyncio.gather(*(world.send(call(), token=token(world, stated)) for _ in range(8)))
    assert Counter(map(seen, answers)) == {(200, None, None): 2, EXCEEDED: 6}
    for other in (await begin(world, "calendar/*", writes=3), await begin(world, "calendar/*", calls=1)):
        assert seen(await world.send(call(), token=token(world, other))) == (403, -31403, "policy.denied")
    assert seen(await world.send(call())) == (403, -31403, "policy.denied")
    assert len(world.upstream.received) == 2


async def test_only_what_needs_a_permit_counts(world: World) -> None:
    """Lists, handshakes and pings are free, also when nothing is left."""
    task = await begin(world, calls=1)
    for _ in range(3):
        for free in (modern("tools/list"), modern("server/discover"), legacy("ping"), legacy("tools/list")):
            assert (await world.send(free, token=token(world, task))).status_code == 200
    assert (await world.send(modern("prompts/get", {"name": "greet"}), token=token(world, task))).status_code == 200
    assert seen(await world.send(call(), token=token(world, task))) == EXCEEDED
    assert (await world.send(modern("tools/list"), token=token(world, task))).status_code == 200


async def test_without_an_approval_every_tool_writes(world: World) -> None:
    """What a server says of its own tools counts for nothing until the owner has approved it."""
    world.upstream.script = lambda _: json_answer({"tools": [READS, WRITES]})
    task = await begin(world, writes=1)
    assert (await world.send(modern("tools/list"), token=token(world, task))).status_code == 200
    assert (await world.send(call("list_events"), token=token(world, task))).status_code == 200
    assert seen(await world.send(call("list_events"), token=token(world, task))) == EXCEEDED
    assert (await world.send(modern("resources/read", {"uri": "a://b"}), token=token(world, task))).status_code == 200


async def test_a_tool_that_was_approved_as_read_only_does_not_write(world: World) -> None:
    """The approved definition says what a write is, whatever the server lists now."""
    pins = world.gate.catalogue._pins
    definitions = by_name(map(parse_definition, (READS, WRITES)))
    pins.take(Pinned(approval=Approval(definitions=definitions, by="operator:test", at=0), quarantined=()))
    task = await begin(world, writes=1)
    for _ in range(2):
        assert (await world.send(call("list_events"), token=token(world, task))).status_code == 200
    assert (await world.send(call("create_event"), token=token(world, task))).status_code == 200
    assert seen(await world.send(call("create_event"), token=token(world, task))) == EXCEEDED
    assert (await world.send(call("list_events"), token=token(world, task))).status_code == 200


# --- streams ----------------------------------------------------------------------------------------------------------

PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}


async def _endless() -> AsyncIterator[bytes]:
    yield event(PROGRESS)
    await asyncio.Event().wait()


@pytest.mark.parametrize("ends_by", ["superseded", "ended"])
@pytest.mark.parametrize("request_", [call(), modern("subscriptions/listen", {"notifications": {}})])
async def test_open_streams_of_a_task_that_is_over_are_cut(
    world: World, ends_by: str, request_: tuple[dict[str, str], bytes]
) -> None:
    """An answer on its way and a stream without an end get a last event with the reason, and the upstream is let go."""
    task = await begin(world)
    world.upstream.script = lambda _: stream_answer(_endless())
    headers = {**request_[0], "authorization": f"Bearer {token(world, task)}"}
    async with (
        asyncio.timeout(10),
        world.http.stream("POST", world.url, headers=headers, content=request_[1]) as answer,
    ):
        pieces = answer.aiter_text()
        assert "progress" in await anext(pieces)
        if ends_by == "superseded":
            await begin(world, supersedes=task.id)
        else:
            await world.tasks.end(task.id, why="test", by="test")
        world.gate.revoked.notify()
        last = json.loads("".join([piece async for piece in pieces]).split("data: ")[-1])
    assert last["error"]["code"] == -31401
    assert last["error"]["data"]["reason"] == {"superseded": "task.superseded", "ended": "task.expired"}[ends_by]
    await asyncio.wait_for(world.upstream.gone.wait(), 5)


async def test_a_stream_without_an_end_ends_with_its_task(world: World) -> None:
    """Also where the token would be good for longer."""
    task = await begin(world, expires_in=2)
    world.upstream.script = lambda _: stream_answer(_endless())
    headers, body = modern("subscriptions/listen", {"notifications": {}})
    headers = {**headers, "authorization": f"Bearer {token(world, task)}"}
    async with asyncio.timeout(10), world.http.stream("POST", world.url, headers=headers, content=body) as answer:
        text = "".join([piece async for piece in answer.aiter_text()])
    assert "task.expired" in text
