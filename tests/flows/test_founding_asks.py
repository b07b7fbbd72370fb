"""`perhop init --upstream` beside servers that tell of their tools, that will not, and that mean harm."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perhop.founding import ask_server
from perhop.founding.told import MAX_TOLD_BYTES
from tests.support.commands import Ran, perhop
from tests.support.upstreams import (
    Received,
    RecordingUpstream,
    Scripted,
    json_answer,
    raw_answer,
    recording_upstream,
    sdk_upstream,
)

READS = {"name": "list_notes", "description": "List all notes.\nIn full.", "annotations": {"readOnlyHint": True}}
WRITES = {"name": "add_note", "description": "Write a note."}


@pytest.fixture
async def told() -> AsyncIterator[tuple[str, RecordingUpstream]]:
    """A server that answers by script; its URL and itself."""
    async with recording_upstream() as (url, upstream):
        yield url.replace("/mcp", "/notes/mcp"), upstream


async def _init(folder: Path, url: str, *words: str) -> Ran:
    return await asyncio.to_thread(perhop, "init", str(folder / "new"), "--upstream", url, *words, folder=folder)


def _lists(*tools: Any) -> Any:
    return lambda _: json_answer({"tools": list(tools)})


async def test_what_the_server_lists_becomes_scopes_and_policies(
    tmp_path: Path, told: tuple[str, RecordingUpstream]
) -> None:
    """Read-only tools are permitted, the others wait; no token went out, and both files are found good."""
    url, upstream = told
    upstream.script = _lists(WRITES, READS)
    ran = await _init(tmp_path, url)
    assert ran.code == 0, ran.err
    assert "2 tools: 1 read-only (notes:read), 1 that may change something (notes:write)" in ran.err
    assert all(each.header("authorization") is None for each in upstream.received)
    new = tmp_path / "new"
    assert '- "list_notes"    # List all notes.\n' in (new / "perhop.yaml").read_text()
    for words in (("config", "check"), ("policy", "check")):
        checked = await asyncio.to_thread(perhop, *words, folder=new)
        assert (checked.code, checked.out) == (0, "ok\n")
    asked = ("policy", "explain", "--agent", "agent", "--resource", "notes")
    assert (await asyncio.to_thread(perhop, *asked, "--tool", "list_notes", folder=new)).code == 0
    refused = await asyncio.to_thread(perhop, *asked, "--tool", "add_note", folder=new)
    assert refused.code == 3


async def test_the_commented_policy_permits_once_its_slashes_are_gone(
    tmp_path: Path, told: tuple[str, RecordingUpstream]
) -> None:
    """What waits in the comments is a policy, good as it stands."""
    url, upstream = told
    upstream.script = _lists(WRITES, READS)
    await _init(tmp_path, url)
    policy = tmp_path / "new/policies/start.cedar"
    kept, mark, waiting = policy.read_text().partition("// @id(")
    policy.write_text(kept + "\n".join(line.removeprefix("// ") for line in (mark + waiting).splitlines()))
    assert (await asyncio.to_thread(perhop, "policy", "check", folder=tmp_path / "new")).code == 0
    asked = ("policy", "explain", "--agent", "agent", "--resource", "notes", "--tool", "add_note")
    assert (await asyncio.to_thread(perhop, *asked, folder=tmp_path / "new")).code == 0


async def test_programs_are_told_what_became_of_the_tools(tmp_path: Path, told: tuple[str, RecordingUpstream]) -> None:
    """`--json` names the resource, its scopes, the tools, and what was left out."""
    url, upstream = told
    upstream.script = _lists(WRITES, READS, {"name": "a*"})
    assert (await _init(tmp_path, url, "--json")).json["resource"] == {
        "name": "notes",
        "scopes": ["notes:read", "notes:write"],
        "read": ["list_notes"],
        "write": ["add_note"],
        "approved": 3,
        "left_out": ["a*"],
        "left_out_count": 1,
        "problem": "",
    }


async def test_without_a_read_only_tool_one_scope_is_over_all(
    tmp_path: Path, told: tuple[str, RecordingUpstream]
) -> None:
    """The file is the one that is written without asking, and that is said."""
    url, upstream = told
    upstream.script = _lists(WRITES)
    ran = await _init(tmp_path, url)
    assert "none of 1 tool is marked read-only" in ran.err
    assert (
        'notes:use: {says: Use every tool of notes, tools: ["*"], default: true}'
        in (tmp_path / "new/perhop.yaml").read_text()
    )
    assert "start-what-scopes-list" in (tmp_path / "new/policies/start.cedar").read_text()


async def test_a_server_that_wants_a_token_gets_one_of_its_own(
    tmp_path: Path, told: tuple[str, RecordingUpstream]
) -> None:
    """A 401 is told with what to do next, and the gateway will present tokens there, though it is on this machine."""
    url, upstream = told
    upstream.script = lambda _: raw_answer(b"", status=401)
    ran = await _init(tmp_path, url)
    assert ran.code == 0
    assert "it wants a token already (401)" in ran.err
    assert "perhop resource tools notes" in ran.err
    shown = (await asyncio.to_thread(perhop, "config", "show", "--json", folder=tmp_path / "new")).json
    assert shown["resources"]["notes"]["upstream"]["credential"] == {"kind": "exchange"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (raw_answer(b"gone", status=404), "answered 404"),
        (raw_answer(b"", status=307, location="https://elsewhere.example/mcp"), "answered 307"),
        (raw_answer(b"<html>", content_type="text/html"), "answered 200"),
        (json_answer({"tools": []}), "it lists no tool"),
        (json_answer({"tools": {"name": "x"}}), "it lists no tool"),
        (json_answer({"tools": ["x", 7, None]}), "it lists no tool"),
    ],
)
async def test_a_server_that_tells_nothing_is_told_why(
    answer: Scripted, why: str, told: tuple[str, RecordingUpstream]
) -> None:
    """Whatever it answers instead, there are no definitions, and why is said."""
    url, upstream = told
    upstream.script = lambda _: answer
    asked = await ask_server(url)
    assert asked.definitions == ()
    assert why in asked.problem


async def test_a_server_that_is_not_there_is_no_obstacle(tmp_path: Path) -> None:
    """Nothing listens: all is made as without asking."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/notes/mcp"
        ran = await _init(tmp_path, url)
    assert ran.code == 0
    assert "nothing answers there" in ran.err


async def test_a_silent_server_is_waited_for_so_long(told: tuple[str, RecordingUpstream]) -> None:
    """An answer that never ends ends the waiting, not the command."""
    url, upstream = told

    async def forever() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    upstream.script = lambda _: Scripted(chunks=forever())
    answer = await ask_server(url, seconds=0.3)
    assert answer.definitions == ()
    assert "within 0.3 s" in answer.problem


async def test_a_talkative_server_is_read_so_far(told: tuple[str, RecordingUpstream]) -> None:
    """Pages without end stop at the bound of all answers together."""
    url, upstream = told
    page = json.dumps([{"name": f"t{number}", "description": "x" * 1000} for number in range(2000)])

    def endless(request: Received) -> Scripted:
        body = f'{{"jsonrpc": "2.0", "id": 1, "result": {{"tools": {page}, "nextCursor": "more"}}}}'
        return raw_answer(body.encode())

    upstream.script = endless
    answer = await ask_server(url)
    assert answer.definitions == ()
    assert "MiB" in answer.problem
    assert len(upstream.received) <= MAX_TOLD_BYTES // len(page) + 1


async def test_a_server_of_the_sdk_is_read_in_its_own_era() -> None:
    """A real server tells its tools, in full, as it defines them."""
    async with sdk_upstream() as url:
        answer = await ask_server(url)
    assert answer.problem == ""
    assert {each["name"] for each in answer.definitions} == {"add", "echo", "fail", "count"}
    assert all("inputSchema" in each for each in answer.definitions)


async def test_the_resource_is_called_as_one_wishes(tmp_path: Path, told: tuple[str, RecordingUpstream]) -> None:
    """`--name` stands in scopes, policies and address; what is no name makes nothing."""
    url, upstream = told
    upstream.script = _lists(WRITES, READS)
    assert (await _init(tmp_path, url, "--name", "a/b")).code == 2
    assert not (tmp_path / "new").exists()
    told_of = (await _init(tmp_path, url, "--name", "diary", "--json")).json["resource"]
    assert (told_of["name"], told_of["scopes"]) == ("diary", ["diary:read", "diary:write"])
    assert (await asyncio.to_thread(perhop, "policy", "check", folder=tmp_path / "new")).out == "ok\n"


async def test_a_folder_that_has_its_file_is_refused_before_anybody_is_asked(
    tmp_path: Path, told: tuple[str, RecordingUpstream]
) -> None:
    """A kept file is told at once, and the server hears nothing."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new/perhop.yaml").write_text("issuer: https://auth.example.com\n")
    url, upstream = told
    ran = await _init(tmp_path, url)
    assert ran.code == 1
    assert upstream.received == []
