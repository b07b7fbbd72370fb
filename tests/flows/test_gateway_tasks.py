"""McpTasks through the gateway: asked about by their own principal only, and decided on as the call that opened them.

Spec: MCP 2025-11-25 tasks
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.gateways import World, an_engine, gateway
from tests.support.upstreams import Received, Scripted, event, json_answer, legacy, modern, stream_answer

Request = tuple[dict[str, str], bytes]
Speak = Callable[[str, Mapping[str, Any]], Request]

POLICIES = """
@id("all") permit (principal, action, resource);
@id("no-fail") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/fail");
@id("small") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/count")
    when { context.arguments has to && context.arguments.to > 3 };
"""


def speak_legacy(method: str, params: Mapping[str, Any]) -> Request:
    return legacy(method, params)


def speak_modern(method: str, params: Mapping[str, Any]) -> Request:
    headers, body = modern(method, params)
    return ({**headers, "mcp-name": str(params["taskId"])} if "taskId" in params else headers), body


ERAS = pytest.mark.parametrize("speak", [speak_legacy, speak_modern])


def created(speak: Speak, task: str) -> dict[str, Any]:
    """The result that opens a task."""
    if speak is speak_legacy:
        return {"task": {"taskId": task, "status": "working"}}
    return {"resultType": "task", "taskId": task, "status": "working"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(POLICIES,)) as made:
        yield made


async def open_task(world: World, speak: Speak, task: str = "t-1", *, tool: str = "add", **claims: Any) -> None:
    """Call a tool that answers with a task."""
    world.upstream.script = lambda _: json_answer(created(speak, task))
    answer = await world.send(speak("tools/call", {"name": tool, "arguments": {"to": 3}}), token=world.token(**claims))
    assert answer.status_code == 200
    world.upstream.script = lambda _: json_answer({"taskId": task, "status": "working"})
    world.upstream.received.clear()


async def ask(world: World, speak: Speak, method: str, task: str = "t-1", **claims: Any) -> httpx2.Response:
    return await world.send(speak(method, {"taskId": task}), token=world.token(**claims))


def is_unknown(answer: httpx2.Response) -> bool:
    error = answer.json()["error"]
    return (answer.status_code, error["code"], error["data"]["reason"]) == (400, -32602, "request.malformed")


@pytest.mark.parametrize(
    ("speak", "method"),
    [
        *((speak_legacy, f"tasks/{verb}") for verb in ("get", "result", "cancel")),
        *((speak_modern, f"tasks/{verb}") for verb in ("get", "update", "cancel")),
    ],
)
async def test_its_own_principal_asks_about_a_task(world: World, speak: Speak, method: str) -> None:
    """Every method about a task reaches the upstream, and is recorded as a call of the tool that opened it."""
    await open_task(world, speak)
    assert (await ask(world, speak, method, jti="renewed")).status_code == 200
    assert world.upstream.last.message["params"]["taskId"] == "t-1"
    assert world.upstream.last.header("mcp-name") == ("t-1" if speak is speak_modern else None)
    call = (await world.records(4))[-1]["call"]
    assert (call["method"], call["name"]) == (method, "add")


@ERAS
async def test_a_task_in_a_stream_is_noted(world: World, speak: Speak) -> None:
    """The answer that opens it may come as an event."""
    message = {"jsonrpc": "2.0", "id": 1, "result": created(speak, "t-9")}
    world.upstream.script = lambda _: stream_answer((event({"jsonrpc": "2.0", "method": "x"}), event(message)))
    assert (await world.send(speak("tools/call", {"name": "add"}))).status_code == 200
    world.upstream.script = lambda _: json_answer({})
    assert (await ask(world, speak, "tasks/get", "t-9")).status_code == 200


@ERAS
@pytest.mark.parametrize(
    "claims", [{"sub": "user:eve"}, {"client_id": "other-agent"}, {"tenant": "globex"}, {"agent": "other-agent"}]
)
async def test_another_principals_task_is_unknown(world: World, speak: Speak, claims: dict[str, str]) -> None:
    """It is refused as one that never was, and the upstream hears nothing of it."""
    await open_task(world, speak)
    foreign = await ask(world, speak, "tasks/cancel", **claims)
    unknown = await ask(world, speak, "tasks/cancel", "t-0", **claims)
    assert is_unknown(foreign)
    assert is_unknown(unknown)
    told = [each.json()["error"] for each in (foreign, unknown)]
    for error in told:
        del error["data"]["record"]
    assert told[0] == told[1]
    assert world.upstream.received == []
    assert [each["event"] for each in (await world.records(4))[2:]] == ["call.refused"] * 2


async def test_only_the_answer_to_a_tool_call_opens_a_task(world: World) -> None:
    """Neither another method's answer nor a message of another id does."""
    world.upstream.script = lambda _: json_answer(created(speak_legacy, "t-1"))
    await world.send(legacy("prompts/get", {"name": "p"}))
    world.upstream.script = lambda _: json_answer(created(speak_legacy, "t-2"), rpc_id=77)
    await world.send(legacy("tools/call", {"name": "add"}))
    assert is_unknown(await ask(world, speak_legacy, "tasks/get", "t-1"))
    assert is_unknown(await ask(world, speak_legacy, "tasks/get", "t-2"))


@ERAS
async def test_a_task_is_decided_on_as_its_call(world: World, speak: Speak) -> None:
    """Scope and policy are asked about the tool, with the arguments of the call, each time anew."""
    await open_task(world, speak, tool="count")
    assert (await ask(world, speak, "tasks/get")).status_code == 200
    narrowed = await ask(world, speak, "tasks/get", scope="calendar:read")
    assert narrowed.status_code == 403
    assert 'error="insufficient_scope"' in narrowed.headers["www-authenticate"]
    world.replace_gate(policy=an_engine(world.gate.resource, POLICIES.replace("> 3", "> 2")))
    refused = await ask(world, speak, "tasks/get")
    assert (refused.status_code, refused.json()["error"]["data"]["reason"]) == (403, "policy.denied")


async def test_a_list_of_tasks_shows_its_own(world: World) -> None:
    """Those of others are taken out, whatever the server thinks; in a batch of answers, too."""
    await open_task(world, speak_legacy, "mine")
    await open_task(world, speak_legacy, "hers", sub="user:eve")
    listed = [{"taskId": each, "status": "working"} for each in ("mine", "hers", "unknown")]
    world.upstream.script = lambda _: json_answer({"tasks": [*listed, {"status": "x"}, "y"], "nextCursor": "c"})
    result = (await world.send(legacy("tasks/list"))).json()["result"]
    assert result == {"tasks": listed[:1], "nextCursor": "c"}
    result = (await world.send(legacy("tasks/list"), token=world.token(sub="user:eve"))).json()["result"]
    assert [each["taskId"] for each in result["tasks"]] == ["hers"]


@pytest.mark.parametrize("method", ["notifications/tasks/status", "notifications/tasks"])
async def test_news_of_a_task_reaches_its_own_principal_only(world: World, method: str) -> None:
    """On any stream; where an event is left out its id is not, so that the stream is resumed behind it."""
    await open_task(world, speak_legacy, "mine")
    await open_task(world, speak_legacy, "hers", sub="user:eve")

    def news(task: object) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "method": method, "params": {"taskId": task, "status": "completed"}}

    events = (
        event(news("hers"), event_id="e-1"),
        event(news("mine")),
        event(news(["mine"])),
        event({"jsonrpc": "2.0", "method": method}),
        event([news("hers"), {"jsonrpc": "2.0", "method": "x"}, news("mine")]),
    )
    world.upstream.script = lambda _: stream_answer(events)
    headers = {**world.bearer(), "accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
    lines = (await world.http.get(world.url, headers=headers)).text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert data == [news("mine"), [{"jsonrpc": "2.0", "method": "x"}, news("mine")]]
    assert len([line for line in lines if line.startswith("id: ")]) == 1


async def test_a_large_event_about_a_task_does_not_pass_unread(world: World) -> None:
    """What is too large to be read could be about anybody's."""
    message = {"jsonrpc": "2.0", "method": "notifications/tasks", "params": {"taskId": "t", "result": "x" * 2**20}}
    escaped = json.dumps(message).replace("notifications/", "notifications\\/")
    world.upstream.script = lambda _: stream_answer((event(message), f"data: {escaped}\n\n".encode()))
    answer = await world.send(modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
    assert "xxxx" not in answer.text
    assert "upstream.unavailable" in answer.text


async def test_a_listen_filter_is_judged_by_each_of_its_tasks(world: World) -> None:
    """A foreign one refuses the whole subscription."""
    await open_task(world, speak_modern, "mine")
    await open_task(world, speak_modern, "hers", sub="user:eve")
    world.upstream.script = lambda _: json_answer({})
    for tasks, status in ((["mine"], 200), (["mine", "hers"], 400), (["nobody's"], 400)):
        answer = await world.send(modern("subscriptions/listen", {"notifications": {"taskIds": tasks}}))
        assert answer.status_code == status


async def test_the_header_names_the_task(world: World) -> None:
    """Under the extension `Mcp-Name` is the task's id: missing or another one is a mismatch."""
    await open_task(world, speak_modern)
    headers, body = speak_modern("tasks/get", {"taskId": "t-1"})
    for changed in ({**headers, "mcp-name": "t-2"}, {k: v for k, v in headers.items() if k != "mcp-name"}):
        answer = await world.send((changed, body))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_the_answers_of_a_task_pass(world: World) -> None:
    """`tasks/result` may stream, ask the client back, and end with the result of the call."""
    await open_task(world, speak_legacy)

    def script(received: Received) -> Scripted:
        if received.message.get("method") == "tasks/result":
            asked = {"jsonrpc": "2.0", "id": "ask-1", "method": "elicitation/create", "params": {}}
            return stream_answer((event(asked), event({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})))
        return Scripted(202, {}, ())

    world.upstream.script = script
    assert "elicitation/create" in (await ask(world, speak_legacy, "tasks/result")).text
    headers, _ = legacy("x")
    body = json.dumps({"jsonrpc": "2.0", "id": "ask-1", "result": {"action": "accept"}}).encode()
    assert (await world.send((headers, body))).status_code == 202
