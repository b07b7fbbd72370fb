"""McpTasks: an id is no credential, and good for nobody but who has opened the task."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from tests.attacks.row import PASSES_GATEWAY, Door, Row, Seen
from tests.attacks.servers import answering
from tests.attacks.tries import refused, tried
from tests.attacks.world import ARGUMENT, World, a_call, a_request, with_token
from tests.support.doors import Wire
from tests.support.leaks.secrets import Kind
from tests.support.upstreams import event, json_answer, legacy, stream_answer

PARAMS = refused("request.malformed", "400 -32602")
ONLY = "behind a guard tasks are the server's own, and it is the server that knows who has opened them"

ANN = {"sub": "user:ann", "scope": "scripted:use"}
OTHERS: Mapping[str, Mapping[str, str]] = {
    "another subject": {"sub": "user:bob"},
    "another agent": {"agent": "mallory"},
    "another tenant": {"tenant": "beta"},
}


def _legacy(method: str, params: Mapping[str, Any] | None = None) -> Wire:
    headers, body = legacy(method, params)
    return Wire(headers=tuple(headers.items()), body=body)


def _modern(method: str, task: str) -> Wire:
    return a_request(method, {"taskId": task}, mcp_name=task)


async def _opened(world: World, task: str, wire: Wire, result: Mapping[str, Any], **claims: str) -> None:
    """A call of a good caller that the server answers with a task."""
    entrance = world.entrance(Door.GATEWAY, "scripted")
    with answering(world.scripted, json_answer(result)):
        token = world.forge(entrance.audience, **{**ANN, **claims})
        seen = await world.knock(entrance, with_token(wire, token))
    assert seen.outcome == PASSES_GATEWAY.outcome
    world.leaks.note(task, Kind.SESSION)


async def _opened_in_both(world: World, mark: str) -> tuple[str, str]:
    """A task of 2025-11-25 and one of the extension."""
    handshakes, extensions = f"task-of-a-handshake-{mark}", f"task-of-the-extension-{mark}"
    call = a_call("list_events", {"day": ARGUMENT})
    old = _legacy("tools/call", {"name": "list_events", "arguments": {"day": ARGUMENT}, "task": {}})
    await _opened(world, handshakes, old, {"task": {"taskId": handshakes, "status": "working"}})
    await _opened(world, extensions, call, {"resultType": "task", "taskId": extensions, "status": "working"})
    return handshakes, extensions


async def _foreign(world: World) -> dict[str, Seen]:
    """Every method about a task, under good tokens that are not its opener's, and ids that nobody has opened."""
    handshakes, extensions = await _opened_in_both(world, "3f91c2aa")
    entrance = world.entrance(Door.GATEWAY, "scripted")
    listening = a_request("subscriptions/listen", {"notifications": {"taskIds": [extensions]}})
    wires = {f"old {verb}": _legacy(f"tasks/{verb}", {"taskId": handshakes}) for verb in ("get", "result", "cancel")}
    wires |= {f"new {verb}": _modern(f"tasks/{verb}", extensions) for verb in ("get", "update", "cancel")}
    wires |= {"one of the other revision": _modern("tasks/get", handshakes), "listening": listening}
    sights: dict[str, Seen] = {}
    for whose, claims in OTHERS.items():
        for name, wire in wires.items():
            token = world.forge(entrance.audience, **{**ANN, **claims})
            sights[f"{name}, {whose}"] = await world.knock(entrance, with_token(wire, token))
    for name, task in {"guessed": "1", "another case": extensions.upper(), "cut": extensions[:-1]}.items():
        token = world.forge(entrance.audience, **ANN)
        sights[name] = await world.knock(entrance, with_token(_modern("tasks/get", task), token))
    answers = {str(_told(each)) for each in sights.values()}
    assert len(answers) == 1, "a foreign task is told from one that never was"
    return sights


def _told(seen: Seen) -> Any:
    assert seen.answer is not None
    error = dict(seen.answer.message["error"])
    return {**error, "data": {**error["data"], "record": None}}


async def _after_the_scope(world: World) -> Seen:
    """A task goes on only as long as its opener may still call the tool."""
    _, extensions = await _opened_in_both(world, "77b0d1ce")
    entrance = world.entrance(Door.GATEWAY, "scripted")
    token = world.forge(entrance.audience, sub="user:ann", scope="")
    return await world.knock(entrance, with_token(_modern("tasks/get", extensions), token))


async def _shown(world: World) -> dict[str, Seen]:
    """A server that knows no callers lists everybody's tasks, and tells everybody of each."""
    hers, _ = await _opened_in_both(world, "c04e8812")
    entrance = world.entrance(Door.GATEWAY, "scripted")
    token = world.forge(entrance.audience, sub="user:bob", scope="scripted:use")
    item = {"taskId": hers, "status": "completed"}
    news = {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": item}
    stream = dataclasses.replace(_legacy("tasks/list"), method="GET", body=b"")
    tries = {
        "list": (_legacy("tasks/list"), json_answer({"tasks": [item]})),
        "list in another answer": (a_call("list_events", {"day": ARGUMENT}), json_answer({"tasks": [item]})),
        "news": (stream, stream_answer((event(news), event({**news, "method": "notifications/tasks"})))),
        "news in a batch": (stream, stream_answer((event([news, news]),))),
    }
    sights = {}
    for name, (wire, answer) in tries.items():
        with answering(world.scripted, answer):
            sights[name] = seen = await asyncio.wait_for(world.knock(entrance, with_token(wire, token)), 10)
        assert seen.answer is not None
        assert hers.encode() not in seen.answer.body
    return sights


ROWS: tuple[Row, ...] = (
    tried(
        "foreign-task",
        "another principal's task, or one that nobody has opened",
        "MCP 2025-11-25 tasks; SEP-2663; CVE-2026-52870",
        Door.GATEWAY,
        _foreign,
        PARAMS,
        only=ONLY,
    ),
    tried(
        "task-after-its-scope",
        "one's own task, when the call that opened it would be refused",
        "SEP-2663; RFC 6750 §3.1",
        Door.GATEWAY,
        _after_the_scope,
        refused("scope.insufficient", "403 insufficient_scope"),
        only=ONLY,
    ),
    tried(
        "foreign-task-shown",
        "a server that lists, or tells of, everybody's tasks",
        "MCP 2025-11-25 tasks",
        Door.GATEWAY,
        _shown,
        PASSES_GATEWAY,
        only=ONLY,
    ),
)
