"""Tasks in a whole installation, with real processes: an agent's session, a restart, and what operators see and do."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from perhop.client import TokenSource
from perhop.errors import TokenNotGranted
from tests.support.commands import perhop
from tests.support.installations import PERHOP, SECRET, Installation, installed
from tests.support.processes import started
from tests.support.upstreams import modern, recording_upstream, sdk_upstream


@asynccontextmanager
async def serving(folder: Path, upstream: str) -> AsyncIterator[Installation]:
    """An installation beside this event loop, whose upstream takes no tokens."""
    lifetime = installed(folder, {"url": upstream, "credential": {"kind": "none"}})
    installation = await asyncio.to_thread(lifetime.__enter__)
    try:
        yield installation
    finally:
        await asyncio.to_thread(lifetime.__exit__, None, None, None)


def source(installation: Installation) -> TokenSource:
    return TokenSource(issuer=installation.issuer, client_id="agent", client_secret=SECRET)


async def test_an_agent_changes_its_task_in_the_middle_of_a_session(tmp_path: Path) -> None:
    """A tool that was allowed a second ago is refused: same session, same token, within its lifetime."""
    async with (
        sdk_upstream() as upstream,
        serving(tmp_path / "i", upstream) as installation,
        source(installation) as tokens,
    ):
        adding = await tokens.task(purpose="add up the receipts", tools=["everything/add"], limits={"calls": 50})
        held = await adding.token_for(installation.url)
        async with (
            httpx2.AsyncClient(auth=adding.auth_for(installation.url), timeout=20) as http,
            Client(streamable_http_client(installation.url, http_client=http), mode="legacy") as client,
        ):
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
            assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
            echoing = await adding.supersede(purpose="read the receipts aloud", tools=["everything/echo"])
            with pytest.raises(MCPError) as refused:
                await client.call_tool("add", {"a": 2, "b": 3})
            assert refused.value.error.code == -31403
            assert refused.value.error.data["reason"] == "task.superseded"
            assert held.expires_at > time.time()
            # The session is still good: under the new task, it can do what that one covers, and nothing else.
            http.auth = echoing.auth_for(installation.url)
            assert (await client.call_tool("echo", {"text": "tea"})).content[0].text == "tea"  # type: ignore[union-attr]  # text it is
            with pytest.raises(MCPError) as outside:
                await client.call_tool("add", {"a": 2, "b": 3})
            assert outside.value.error.data["reason"] == "task.outside"
        records = await asyncio.to_thread(installation.records)
    refusals = [each for each in records if each.get("reason", "").startswith("task.")]
    permits = [each for each in records if each["event"] == "call.permitted" and each["call"].get("name") == "add"]
    assert [each["reason"] for each in refusals] == ["task.superseded", "task.outside"]
    jti = json.loads(base64.urlsafe_b64decode(held.raw.reveal().split(".")[1] + "=="))["jti"]
    assert refusals[0]["in"]["jti"] == permits[0]["in"]["jti"] == jti
    assert refusals[0]["task"] == {"id": adding.id, "purpose": "add up the receipts"}
    sessions = {each["request"].get("session") for each in (*permits, refusals[1])}
    assert len(sessions) == 1


def a_call(tool: str = "add") -> tuple[dict[str, str], bytes]:
    return modern("tools/call", {"name": tool, "arguments": {}})


async def _many(url: str, token: str, count: int) -> Counter[int]:
    headers, body = a_call()
    async with httpx2.AsyncClient(timeout=60) as http:
        sent = (
            http.post(url, headers={**headers, "authorization": f"Bearer {token}"}, content=body) for _ in range(count)
        )
        return Counter(answer.status_code for answer in await asyncio.gather(*sent))


async def test_a_limit_holds_over_a_restart_of_the_process(tmp_path: Path) -> None:
    """Thirty of fifty before, twenty after, and not one more, whatever the process remembers."""
    async with recording_upstream() as (upstream, recording):
        async with serving(tmp_path / "i", upstream) as installation, source(installation) as tokens:
            task = await tokens.task(purpose="fifty", tools=["everything/*"], limits={"calls": 50})
            held = (await task.token_for(installation.url)).raw.reveal()
            before = await _many(installation.url, held, 30)
        ports = [int(each.rpartition(":")[2]) for each in (installation.issuer, installation.ops)]
        running = started([PERHOP, "serve"], ports=ports, folder=installation.folder)
        await asyncio.to_thread(running.__enter__)
        try:
            after = await _many(installation.url, held, 200)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
        calls = [
            each for each in recording.received if each.method == "POST" and each.message["method"] == "tools/call"
        ]
    assert before == {200: 30}
    assert after == {200: 20, 429: 180}
    assert len(calls) == 50


async def test_operators_see_and_end_tasks(tmp_path: Path) -> None:
    """List and show say who is about to do what and how far it got; a dry run counts; an ended task is over at once."""
    async with recording_upstream() as (upstream, _), serving(tmp_path / "i", upstream) as installation:
        async with source(installation) as tokens:
            task = await tokens.task(
                purpose="tidy\u2019s up", tools=["everything/add"], limits={"calls": 5, "writes": 3}
            )
            held = (await task.token_for(installation.url)).raw.reveal()
            assert await _many(installation.url, held, 2) == {200: 2}

            async def run(*words: str, code: int = 0) -> str:
                ran = await asyncio.to_thread(perhop, *words, folder=installation.folder)
                assert ran.code == code, ran.err
                return ran.out

            (listed,) = json.loads(await run("task", "list", "--json"))
            assert (listed["id"], listed["client"], listed["state"]) == (task.id, "agent", "in force")
            assert (listed["calls"], listed["writes"], listed["limits"]) == (2, 2, {"calls": 5, "writes": 3})
            assert "2 of 5" in await run("task", "list")
            shown = await run("task", "show", task.id)
            for line in ("purpose   tidy", "approved  by nobody", "state     in force", "writes    2 of 3"):
                assert line in shown
            assert json.loads(await run("task", "show", task.id, "--json")) == listed
            would: dict[str, Any] = json.loads(await run("revoke", "--task", task.id, "--dry-run", "--json"))
            assert (would["revoked"], would["known"], would["live"]) == (False, True, 1)
            assert await _many(installation.url, held, 1) == {200: 1}
            revoked: dict[str, Any] = json.loads(await run("revoke", "--task", task.id, "--json"))
            assert (revoked["revoked"], revoked["jtis"]) == (True, would["jtis"])
            assert await _many(installation.url, held, 1) == {401: 1}
            ended = json.loads(await run("task", "end", task.id, "--why", "enough", "--json"))
            assert ended == {"task": task.id, "ended": True, "live": 1}
            assert await _many(installation.url, held, 1) == {403: 1}
            assert "was over already" in await run("task", "end", task.id)
            assert json.loads(await run("task", "list", "--json")) == []
            (over,) = json.loads(await run("task", "list", "--all", "--client", "agent", "--json"))
            assert over["state"] == "ended"
            with pytest.raises(TokenNotGranted, match="invalid_authorization_details"):
                await task.token_for(installation.url, ["everything:use"])
            await run("task", "end", "unknown", code=6)
            await run("task", "show", "unknown", code=6)
            await run("revoke", "--task", task.id, "--agent", "agent", code=2)
        changes = await asyncio.to_thread(installation.records, "--event", "task.changed")
    assert [each["about"]["change"] for each in changes] == ["begun", "ended"]
    assert changes[1]["about"]["why"] == "enough"
    # Without a server, the same command works on the files.
    ran = await asyncio.to_thread(perhop, "task", "end", task.id, folder=installation.folder)
    assert "was over already" in ran.out
