"""A local server of the stateless era behind the gateway: one process, and nobody hears what is for another."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perhop.core.secret import Secret
from perhop.gateway.upstream.conversation import MAX_PENDING
from perhop.gateway.upstream.interface import Condition
from perhop.rules.mcp_methods import Era
from tests.support.gateways import World, gateway
from tests.support.processes import await_end_of, is_running
from tests.support.stdio_upstreams import (
    ask,
    calling,
    gateway_before,
    messages_of,
    pids,
    run_by,
    say,
    small_server,
    text_of,
    until_up,
)
from tests.support.upstreams import legacy, modern


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_before(tmp_path, small_server("modern", answer_timeout=2)) as made:
        yield made


async def test_a_call_is_answered_in_json_and_recorded(world: World) -> None:
    """An answer that comes alone is JSON under the caller's id, and the call has its two records."""
    answer = await ask(world, calling("echo", rpc_id="mine", text="hello"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    (message,) = messages_of(answer)
    assert (message["id"], text_of(answer)) == ("mine", "hello")
    permitted, ended = await world.records(2)
    assert (permitted["event"], permitted["call"]["name"], permitted.get("out")) == ("call.permitted", "echo", None)
    assert ended["result"]["status"] == 200


async def test_progress_comes_as_a_stream_before_the_answer(world: World) -> None:
    """A call with progress is answered by a stream that ends with the answer, under the caller's own token."""
    answer = await ask(world, calling("count", token="mine", to=2, text="x"))
    assert answer.headers["content-type"] == "text/event-stream"
    first, second, last = messages_of(answer)
    assert [first["params"]["progressToken"], second["params"]["progressToken"], last["id"]] == ["mine", "mine", 1]


async def test_two_callers_with_the_same_ids_hear_their_own_only(world: World) -> None:
    """Of calls with equal ids and progress tokens, at the same time, each caller gets what is its own."""
    texts = [f"secret-{number}" for number in range(20)]
    calls = [calling("count", rpc_id=1, token=1, to=5, text=text) for text in texts]
    answers = await asyncio.gather(*(ask(world, call, sub=f"user:{n}") for n, call in enumerate(calls)))
    for text, answer in zip(texts, answers, strict=True):
        *steps, last = messages_of(answer)
        assert [step["params"]["message"] for step in steps] == [text] * 5
        assert {step["params"]["progressToken"] for step in steps} == {1}
        assert (last["id"], text_of(answer)) == (1, text)


async def test_nobody_speaks_to_another_by_a_token_that_a_server_reads_as_a_number(world: World) -> None:
    """JavaScript writes 7.0 as 7, which is a label of ours: a token of another type does not reach the server."""
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ask(world, calling("wait_for", cancelled=1, token="mine"), sub="user:waiting"))
        for number in range(20):
            answer = await ask(world, calling("count", token=float(number), to=1, text="for you"), sub="user:loud")
            assert len(messages_of(answer)) == 1
        await cut_off(world, calling("wait", token=7, text="x"))
    assert len(messages_of(waiting.result())) == 1


async def test_what_carries_no_label_of_a_call_is_heard_by_nobody(world: World) -> None:
    """Notifications, answers and requests that name no call of ours reach neither another caller nor this one."""
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ask(world, calling("wait_for", cancelled=1, token=5), sub="user:waiting"))
        alone = group.create_task(ask(world, calling("shout", token=6, text="secret"), sub="user:loud"))
        assert len(messages_of(await alone)) == 1
        await cut_off(world, calling("wait", token=7, text="x"))
    assert len(messages_of(waiting.result())) == 1


async def cut_off(world: World, request: tuple[dict[str, str], bytes]) -> None:
    """Make a call, and go away when its answer has begun."""
    headers = {**request[0], **world.bearer(scope="all", sub="user:gone")}
    async with world.http.stream("POST", world.url, headers=headers, content=request[1]) as response:
        async for _ in response.aiter_bytes():
            return


async def test_going_away_cancels_at_the_server(world: World) -> None:
    """A caller who leaves cancels its own call, and no other."""
    async with asyncio.TaskGroup() as group:
        told = group.create_task(say(world, "wait_for", cancelled=1))
        await cut_off(world, calling("wait", token=1, text="x"))
    assert told.result() == "1"
    assert await say(world, "cancelled") == "1"


async def test_calls_that_were_cancelled_do_not_pile_up(world: World) -> None:
    """More calls than may be pending are cancelled and never answered, and the next one is taken."""
    headers, body = calling("wait", token=1, text="x")
    for _ in range(MAX_PENDING + 1):
        reply = await world.way.send("POST", tuple(headers.items()), body)
        await reply.close()
    assert await say(world, "wait_for", cancelled=MAX_PENDING + 1) == str(MAX_PENDING + 1)


async def test_calls_that_are_not_answered_are_bounded(tmp_path: Path) -> None:
    """Beyond so many calls that the server has not answered further ones are refused, until one is given up."""
    headers, body = calling("stay_silent")
    async with gateway_before(tmp_path, small_server("modern")) as world:
        calls = [asyncio.create_task(world.way.send("POST", tuple(headers.items()), body)) for _ in range(MAX_PENDING)]
        await asyncio.sleep(0)
        assert (await ask(world, calling("echo", text="x"))).status_code == 503
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        assert await say(world, "echo", text="x") == "x"
        for each in calls:
            each.cancel()
        await asyncio.wait(calls)


async def test_nobody_cancels_by_an_id(world: World) -> None:
    """A cancelling notification names an id as others may have it too: it is taken, and goes nowhere."""
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    headers = {**modern("tools/list")[0], "mcp-method": "notifications/cancelled"}
    assert (await ask(world, (headers, json.dumps(body).encode()))).status_code == 202
    assert await say(world, "cancelled") == "0"
    assert await say(world, "heard") == "server/discover"


async def test_a_subscription_is_a_stream_of_its_own(world: World) -> None:
    """Two callers listen under the same id; each hears changes under that id once, and leaving ends one of them."""
    wanted = {"notifications": {"resourceSubscriptions": ["file:///a"]}}
    headers, body = modern("subscriptions/listen", wanted, rpc_id="s")

    async def listen(who: str, has_begun: asyncio.Event, count: int) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        bearer = world.bearer(scope="all", sub=who)
        async with world.http.stream("POST", world.url, headers={**headers, **bearer}, content=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    heard.append(json.loads(line[6:]))
                    has_begun.set()
                if len(heard) == count:
                    break
        return heard

    begun = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        one = group.create_task(listen("user:one", begun[0], 2))
        two = group.create_task(listen("user:two", begun[1], 3))
        await begun[0].wait()
        await begun[1].wait()
        await say(world, "change", text="file:///a")
        assert await say(world, "wait_for", cancelled=1) == "1"
        await say(world, "change", text="file:///b")
    for heard, uris in ((one.result(), ["file:///a"]), (two.result(), ["file:///a", "file:///b"])):
        assert {message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] for message in heard} == {"s"}
        assert heard[0]["method"] == "notifications/subscriptions/acknowledged"
        assert [message["params"]["uri"] for message in heard[1:]] == uris


async def test_errors_have_the_status_that_a_modern_server_gives_them(world: World) -> None:
    """An unknown method of the server is 404, wrong parameters are 400, with the server's own error."""
    answer = await ask(world, calling("no_such_tool"))
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "unknown tool")
    answer = await ask(world, modern("prompts/list"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_a_handshake_is_told_what_the_server_speaks(world: World) -> None:
    """A server without handshakes refuses one, names its revision, and has neither streams nor sessions."""
    assert world.way.eras == {Era.MODERN}
    answer = await ask(world, legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, -32022)
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2025-11-25"}
    for method in ("GET", "DELETE"):
        answer = await world.http.request(method, world.url, headers=world.bearer(scope="all"))
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert len(pids(world)) == 1


async def test_a_server_that_crashes_is_started_again(world: World) -> None:
    """What was under way is refused as unavailable; a moment later another process answers."""
    before = int(await say(world, "pid"))
    answer = await ask(world, calling("crash"))
    assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (503, "upstream.unavailable")
    assert world.way.state.condition is Condition.FAILED
    assert (await ask(world, calling("echo", text="x"))).status_code == 503
    await until_up(world)
    assert world.way.state.condition is Condition.UP
    assert int(await say(world, "pid")) != before


async def test_a_server_that_hangs_is_ended(world: World) -> None:
    """A call that ran out of time without a sign of life ends the process, and another one answers."""
    hanging = int(await say(world, "pid"))
    os.kill(hanging, signal.SIGSTOP)
    answer = await ask(world, calling("echo"))
    assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (503, "upstream.unavailable")
    await asyncio.to_thread(await_end_of, [hanging])
    await until_up(world, without=[hanging])
    assert int(await say(world, "pid")) != hanging


async def test_a_slow_call_does_not_end_a_server_that_lives(world: World) -> None:
    """Calls that run out of time are cancelled and refused; the process is asked for a sign of life, and goes on."""
    before = await say(world, "pid")
    slow = await asyncio.gather(*(ask(world, calling("stay_silent")) for _ in range(3)))
    assert [answer.status_code for answer in slow] == [503] * 3
    assert await say(world, "wait_for", cancelled=3) == "3"
    await say(world, "wait_for", discoveries=2)
    assert await say(world, "pid") == before


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("write_garbage", "after garbage"),
        ("write_much", "after a huge line"),
        ("write_many", "after many values"),
    ],
)
async def test_what_is_no_message_is_left_out(world: World, tool: str, text: str) -> None:
    """Garbage and lines beyond the bounds harm nobody: the answer after them arrives."""
    assert await say(world, tool) == text


async def test_an_answer_of_several_megabytes_arrives(world: World) -> None:
    """A table in a text is one value, whatever it holds."""
    assert await say(world, "repeat", text="1,2,3\n", times=1_000_000) == "1,2,3\n" * 1_000_000


async def test_what_the_server_complains_is_logged_as_one_harmless_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its stderr is in our log, escaped, under the name of the resource."""
    with caplog.at_level(logging.INFO, "perhop.upstream"):
        await say(world, "complain", text="it is cold")
        async with asyncio.timeout(5):
            while not any("it is cold" in record.getMessage() for record in caplog.records):
                await asyncio.sleep(0.01)
    (logged,) = [record.getMessage() for record in caplog.records if "it is cold" in record.getMessage()]
    assert logged.startswith("`calendar` says: it is cold\\x1b[2J\\rof \\u2028")
    assert logged.isprintable()


async def test_a_server_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the variables that it is given and a few harmless ones, and no other of ours."""
    monkeypatch.setenv("A_SECRET_OF_OURS", "x")
    upstream = small_server("modern", environment={"KEY": Secret("value")})
    async with gateway_before(tmp_path, upstream) as world:
        seen = json.loads(await say(world, "environment"))
    assert (seen.pop("KEY"), seen.pop("PATH")) == ("value", os.environ["PATH"])
    assert set(seen) <= {"LC_CTYPE"}  # which Python sets itself


async def test_stopping_the_gateway_leaves_no_process(tmp_path: Path) -> None:
    """A server that neither sees the end of its input nor minds SIGTERM ends, and so does what it has started."""
    async with gateway_before(tmp_path, small_server("modern", "--deaf")) as world:
        child = int(await say(world, "start_child"))
        running = [*pids(world), child]
        assert all(is_running(pid) for pid in running)
    assert not any(is_running(pid) for pid in running)


async def test_a_command_that_cannot_be_started_makes_calls_unavailable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the program every call is 503, the way says why, and the pauses between the tries grow."""
    tries = [f"started again in {seconds} s" for seconds in (1, 2)]
    async with gateway(tmp_path, upstream=run_by("/no/such/program")) as world, asyncio.timeout(20):
        assert (await world.send(calling("get_event"))).status_code == 503
        while not all(any(each in record.getMessage() for record in caplog.records) for each in tries):
            await asyncio.sleep(0.02)
        assert world.way.state.condition is Condition.FAILED
        assert world.way.state.problem == "cannot start `/no/such/program`: No such file or directory"


async def test_a_server_that_stops_reading_holds_nobody_up(world: World) -> None:
    """Once it has been sent more than it takes, further calls are refused at once."""
    stopped = int(await say(world, "pid"))
    os.kill(stopped, signal.SIGSTOP)
    text = "x" * 900_000
    answers = await asyncio.gather(*(ask(world, calling("echo", text=text)) for _ in range(15)))
    assert {answer.status_code for answer in answers} == {503}
    os.kill(stopped, signal.SIGCONT)
