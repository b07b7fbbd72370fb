"""Lists through the gateway: a caller sees what it could use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perhop.gateway.gate import Limits
from tests.support.gateways import World, gateway
from tests.support.upstreams import event, json_answer, legacy, modern, raw_answer, stream_answer

POLICIES = """
@id("readers") permit (principal, action, resource);
@id("no-add") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/add");
@id("odd-days") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/count")
    when { context.arguments has to && context.arguments.to > 3 };
@id("no-secret") forbid (principal, action == MCP::Action::"read_resource", resource == MCP::Resource::"calendar/note://secret");
@id("no-prompt") forbid (principal, action == MCP::Action::"get_prompt", resource == MCP::Prompt::"calendar/evil");
"""

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "add", "count", "unlisted")]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(POLICIES,)) as made:
        yield made


def names(result: Any, key: str = "tools") -> list[str]:
    return [each["name"] for each in result[key]]


async def test_a_json_list_is_filtered_by_scope_and_policy(world: World) -> None:
    """Gone are the tool that policy forbids and the one that no scope lists; what arguments could permit stays."""
    world.upstream.script = lambda _: json_answer({"tools": TOOLS, "ttlMs": 5, "cacheScope": "public"})
    result = (await world.send(modern("tools/list"))).json()["result"]
    assert names(result) == ["echo", "count"]
    assert result["cacheScope"] == "private"
    assert result["ttlMs"] == 5


async def test_a_list_shows_only_what_the_held_scopes_list(world: World) -> None:
    """A narrower token sees less."""
    world.upstream.script = lambda _: json_answer({"tools": TOOLS})
    answer = await world.send(modern("tools/list"), token=world.token(scope="calendar:read"))
    assert names(answer.json()["result"]) == ["echo"]


async def test_a_list_in_a_stream_is_filtered_and_its_neighbours_are_not(world: World) -> None:
    """Events without a list pass octet for octet, and the id of an event with one stays."""
    note = b'event: message\r\nid: 7\r\ndata: {"jsonrpc":"2.0", "method":"notifications/message"}\r\n\r\n'
    listed = event({"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS}}, event_id="8")
    world.upstream.script = lambda _: stream_answer((note + listed[:20], listed[20:]))
    octets = (await world.send(modern("tools/list"))).content
    assert octets.startswith(note)
    rest = octets.removeprefix(note)
    assert b"id: 8\n" in rest
    assert names(json.loads(rest.partition(b"data: ")[2])["result"]) == ["echo", "count"]


async def test_every_kind_of_list_is_filtered_whatever_was_asked(world: World) -> None:
    """A result that holds a list is filtered, also as the answer to something else."""
    world.upstream.script = lambda _: json_answer(
        {
            "tools": TOOLS,
            "prompts": [{"name": "good"}, {"name": "evil"}],
            "resources": [{"uri": "note://today", "name": "a"}, {"uri": "note://secret", "name": "b"}],
            "resourceTemplates": [{"uriTemplate": "note://{day}", "name": "day"}, "odd"],
        }
    )
    result = (await world.send(legacy("tools/call", {"name": "echo", "arguments": {}}))).json()["result"]
    assert names(result) == ["echo", "count"]
    assert names(result, "prompts") == ["good"]
    assert names(result, "resources") == ["a"]
    assert names(result, "resourceTemplates") == ["day"]
    assert "cacheScope" not in result


async def test_a_list_that_cannot_be_read_does_not_pass(world: World) -> None:
    """Two members of one name could be two lists: closed, with 503."""
    twice = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"add"}]}}'
    world.upstream.script = lambda _: raw_answer(twice)
    assert (await world.send(modern("tools/list"))).status_code == 503
    escaped = b'{"jsonrpc":"2.0","id":1,"result":{"\\u0074ools":[{"name":"add"}],"x":1,"x":2}}'
    world.upstream.script = lambda _: raw_answer(escaped)
    assert (await world.send(modern("tools/list"))).status_code == 503


async def test_an_escaped_name_hides_no_list(world: World) -> None:
    """A list is a list however its name is written."""
    world.upstream.script = lambda _: raw_answer(b'{"jsonrpc":"2.0","id":1,"result":{"\\u0074ools":[{"name":"add"}]}}')
    assert (await world.send(modern("tools/list"))).json()["result"]["tools"] == []


async def test_a_byte_order_mark_hides_no_list(world: World) -> None:
    """A client skips the mark at the start of a stream; so do we."""
    world.upstream.script = lambda _: stream_answer(
        (b"\xef\xbb\xbf" + event({"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS}}),)
    )
    octets = (await world.send(modern("tools/list"))).content
    assert names(json.loads(octets.partition(b"data: ")[2])["result"]) == ["echo", "count"]


@pytest.mark.parametrize(("excess", "passes"), [(0, True), (1, False)])
@pytest.mark.parametrize("in_stream", [True, False])
async def test_a_list_has_a_size_up_to_which_it_is_filtered(
    tmp_path: Path, excess: int, passes: bool, in_stream: bool
) -> None:
    """At the bound it is filtered; one octet above, it does not pass."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS}}).encode()
    async with gateway(tmp_path, limits=Limits(event_to_filter_bytes=len(body) - excess)) as world:
        answer = stream_answer((b"data: " + body + b"\n\n",)) if in_stream else raw_answer(body)
        world.upstream.script = lambda _: answer
        octets = (await world.send(modern("tools/list"))).content
        assert (b'"echo"' in octets) == passes


async def test_a_large_answer_without_a_list_passes_unchanged(tmp_path: Path) -> None:
    """Only lists have to be read; text that speaks of tools is no list."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"text": '"tools": é' * 50}]}}).encode()
    async with gateway(tmp_path, limits=Limits(event_to_filter_bytes=100)) as world:
        world.upstream.script = lambda _: raw_answer(body)
        assert (await world.send(modern("tools/list"))).content == body


async def test_a_list_that_passes_teaches_the_types_of_arguments(world: World) -> None:
    """Policy reads an argument by the schema that the tool publishes: `"5"` for an integer is refused."""
    schema = {"type": "object", "properties": {"to": {"type": "integer"}}}
    world.upstream.script = lambda _: json_answer({"tools": [{"name": "count", "inputSchema": schema}]})
    await world.send(modern("tools/list"))
    world.upstream.script = lambda _: json_answer({"content": []})
    for to, status in ((3, 200), (4, 403), ("4", 400)):
        answer = await world.send(modern("tools/call", {"name": "count", "arguments": {"to": to}}))
        assert answer.status_code == status, to


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_a_list_is_not_hidden_from_the_filter_by_its_encoding(world: World, encoding: str) -> None:
    """Some clients guess UTF-16 and UTF-32 from the octets: what is not UTF-8 goes to nobody."""
    body = {"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS}}
    world.upstream.script = lambda _: raw_answer(json.dumps(body).encode(encoding))
    answer = await world.send(legacy("tools/list"))
    assert answer.status_code == 503
    assert b"unlisted" not in answer.content.replace(b"\x00", b"")


@pytest.mark.parametrize(("said", "status"), [("utf-8", 200), ('"UTF-8"', 200), ("utf-7", 503), ("utf-16", 503)])
async def test_a_list_is_not_hidden_from_the_filter_by_its_charset(world: World, said: str, status: int) -> None:
    """What is filtered is read as UTF-8, so no answer may ask to be read as something else."""
    content_type = f"application/json; charset={said}"
    body = b'{"jsonrpc":"2.0","id":1,"result":{"+AHQAbwBvAGwAcw-":[{"name":"unlisted"}]}}'
    world.upstream.script = lambda _: raw_answer(body, content_type=content_type)
    assert (await world.send(legacy("tools/list"))).status_code == status
