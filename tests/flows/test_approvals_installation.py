"""Approvals in a whole installation, with real processes: an agent's session, and people who decide at a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from perhop.client import TokenSource
from tests.support.commands import Ran, perhop
from tests.support.installations import PERHOP, SECRET, Installation, installed
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import started
from tests.support.upstreams import sdk_upstream

POLICY = """\
@id("echo") permit (principal, action, resource) when { !(resource has name && resource.name == "add") };
@id("adding-is-asked") @approval("owner") @reason("sums go to the books")
permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"everything/add");
"""
PASSWORD = THE_SCAN.note("a-password-of-bob-that-is-long-enough", Kind.PASSWORD)
SUM = {"a": 2, "b": 3}


@asynccontextmanager
async def serving(folder: Path, upstream: str) -> AsyncIterator[Installation]:
    """An installation beside this event loop, whose team has two people."""
    lifetime = installed(
        folder, {"url": upstream, "credential": {"kind": "none"}}, policy=POLICY, members=("bob@example.com",)
    )
    installation = await asyncio.to_thread(lifetime.__enter__)
    try:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        for email in ("bob@example.com", "mallory@example.com"):
            await run(installation, "account", "add", email, "--password-file", "password")
        yield installation
    finally:
        await asyncio.to_thread(lifetime.__exit__, None, None, None)


async def run(installation: Installation, *words: str) -> Ran:
    return await asyncio.to_thread(perhop, *words, "--json", folder=installation.folder)


async def decide(installation: Installation, approval: str, *words: str, email: str = "bob@example.com") -> Ran:
    return await run(installation, "approval", "decide", approval, "--as", email, "--password-file", "password", *words)


@asynccontextmanager
async def session(installation: Installation, mode: Literal["legacy", "auto"]) -> AsyncIterator[Client]:
    async with (
        TokenSource(issuer=installation.issuer, client_id="agent", client_secret=SECRET) as tokens,
        httpx2.AsyncClient(auth=tokens.auth_for(installation.url), timeout=20) as http,
        Client(streamable_http_client(installation.url, http_client=http), mode=mode) as client,
    ):
        yield client


async def refused(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(MCPError) as error:
        await client.call_tool("add", arguments)
    assert error.value.error.code == -31403
    told: dict[str, Any] = error.value.error.data
    return told


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_agent_repeats_its_call_after_the_yes(tmp_path: Path, mode: Literal["legacy", "auto"]) -> None:
    """The official SDK's client hears what to do, keeps its session, and its call passes once after the yes."""
    async with sdk_upstream() as upstream, serving(tmp_path / "i", upstream) as installation:
        async with session(installation, mode) as client:
            told = await refused(client, SUM)
            assert told["reason"] == "approval.required"
            (row,) = (await run(installation, "approval", "list")).json
            assert (row["id"], row["agent"], row["name"]) == (told["approval"], "agent", "add")
            assert "params" not in row
            shown = (await run(installation, "approval", "show", row["id"])).json
            assert shown["params"] == {"name": "add", "arguments": SUM}
            done = await decide(installation, row["id"], "--approve", "--why", "the books are open")
            assert (done.code, done.json["state"]) == (0, "approved")
            assert (await refused(client, {"a": 2, "b": 4}))["approval"] != row["id"]
            assert (await client.call_tool("add", SUM)).structured_content == {"result": 5}
            assert (await refused(client, SUM))["approval"] != row["id"]
        shown = (await run(installation, "approval", "show", row["id"])).json
        assert (shown["state"], shown["decided_by"], shown["why"]) == ("used", "bob@example.com", "the books are open")
        assert shown["params"] is None
        records = await asyncio.to_thread(installation.records)
    permitted = [each for each in records if each.get("decision", {}).get("approval") == row["id"]]
    assert [each["event"] for each in permitted] == ["call.refused", "call.permitted"]
    (approved,) = [each for each in records if each.get("about", {}).get("change") == "approved"]
    assert approved["about"]["by"].startswith("operator:")
    assert approved["about"]["approver"].startswith("user:")


async def test_who_may_not_decide_at_a_terminal(tmp_path: Path) -> None:
    """Not without the password, not from outside the team, not twice, and not without saying which."""
    async with sdk_upstream() as upstream, serving(tmp_path / "i", upstream) as installation:
        async with session(installation, "legacy") as client:
            approval = (await refused(client, SUM))["approval"]
        (installation.folder / "wrong").write_text("another-password-that-is-long", encoding="utf-8")
        wrong = await run(
            installation,
            "approval",
            "decide",
            approval,
            "--as",
            "bob@example.com",
            "--password-file",
            "wrong",
            "--approve",
        )
        stranger = await decide(installation, approval, "--approve", email="mallory@example.com")
        nobody = await decide(installation, approval, "--approve", email="nobody@example.com")
        neither = await decide(installation, approval)
        unknown = await decide(installation, "no-such", "--approve")
        assert [each.code for each in (wrong, stranger, nobody, neither, unknown)] == [3, 3, 3, 2, 6]
        assert "not of `testers`" in stranger.err
        denied = await decide(installation, approval, "--deny", "--why", "not this month")
        again = await decide(installation, approval, "--approve")
        assert (denied.json["state"], again.code) == ("denied", 1)
        people = await asyncio.to_thread(perhop, "approval", "show", approval, folder=installation.folder)
        assert "not this month" in people.out
        table = await asyncio.to_thread(perhop, "approval", "list", "--all", folder=installation.folder)
        assert approval in table.out
        assert approval not in (await asyncio.to_thread(perhop, "approval", "list", folder=installation.folder)).out


async def test_an_approval_survives_a_restart(tmp_path: Path) -> None:
    """Asked for under one process, approved while none runs, and used up once under the next."""
    async with sdk_upstream() as upstream, serving(tmp_path / "i", upstream) as installation:
        async with session(installation, "legacy") as client:
            approval = (await refused(client, SUM))["approval"]
        installation.process.ask_to_stop()
        await asyncio.to_thread(installation.process.process.wait, 20)
        assert (await decide(installation, approval, "--approve")).code == 0
        ports = [int(each.rpartition(":")[2]) for each in (installation.issuer, installation.ops)]
        lifetime = started([PERHOP, "serve"], ports=ports, folder=installation.folder)
        await asyncio.to_thread(lifetime.__enter__)
        try:
            async with session(installation, "legacy") as client:
                assert (await client.call_tool("add", SUM)).structured_content == {"result": 5}
                assert (await refused(client, SUM))["approval"] != approval
        finally:
            await asyncio.to_thread(lifetime.__exit__, None, None, None)


async def test_what_waits_is_shown_to_nobody_without_the_key(tmp_path: Path) -> None:
    """The database alone does not say what a call says."""
    async with sdk_upstream() as upstream, serving(tmp_path / "i", upstream) as installation:
        async with session(installation, "legacy") as client:
            approval = (await refused(client, SUM))["approval"]
        key = installation.folder / "keys" / "journal.pem"
        key.rename(key.with_name("elsewhere"))
        shown = (await run(installation, "approval", "show", approval)).json
        assert (shown["state"], shown["params"]) == ("waiting", None)
        key.with_name("elsewhere").rename(key)
        assert json.dumps(SUM)[1:-1] not in (installation.folder / "perhop.db").read_bytes().decode("latin-1")
