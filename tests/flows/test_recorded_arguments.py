"""`record_arguments`: the journal holds the arguments that a resource lists, of decisions, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.journal.facets import facets_of
from tests.support.gateways import World, gateway
from tests.support.upstreams import json_answer, modern

POLICIES = """
@id("all") permit (principal, action, resource);
@id("no-root") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/list_events")
    when { context.arguments has path && context.arguments.path == "/" };
"""
SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}, "seats": {"type": "integer"}, "größe": {}}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(POLICIES,)) as made:
        names = ("day", "seats", "größe", "path")
        made.replace_gate(resource=replace(made.gate.resource, record_arguments=names))
        yield made


async def held(world: World, arguments: dict[str, Any], *, tool: str = "list_events", **claims: Any) -> dict[str, Any]:
    """The first record that a call with these arguments leaves."""
    size = world.journal.size
    token = world.token(**claims) if claims else None
    answer = await world.send(modern("tools/call", {"name": tool, "arguments": arguments}), token=token)
    return (await world.records(size + (2 if answer.status_code == 200 else 1)))[size]


async def test_what_is_listed_is_held_and_nothing_else(world: World) -> None:
    """A value, null for one that was not there, an empty object for one that policy cannot read."""
    record = await held(world, {"day": "monday", "seats": [1], "größe": 4, "note": "a secret"})
    assert record["call"]["arguments"] == {"day": "monday", "seats": {}, "größe": 4, "path": None}
    assert "secret" not in json.dumps(record)
    assert world.journal_folder.verify().ok


async def test_a_refusal_by_policy_holds_them_and_any_other_does_not(world: World) -> None:
    """What was refused before policy was asked leaves no argument."""
    record = await held(world, {"day": "monday", "path": "/"})
    assert (record["reason"], record["call"]["arguments"]["path"]) == ("policy.denied", "/")
    record = await held(world, {"day": "monday"}, tool="create_event", scope="calendar:read")
    assert (record["reason"], "arguments" in record["call"]) == ("scope.insufficient", False)


async def test_the_outcome_does_not_repeat_them(world: World) -> None:
    """They stand once, beside the decision."""
    await held(world, {"day": "monday"})
    assert "arguments" not in (await world.records(2))[-1]["call"]


async def test_they_are_held_as_the_schema_lets_policy_see_them(world: World) -> None:
    """What the tool does not declare cannot be read, and what contradicts its schema is not held at all."""
    world.upstream.script = lambda _: json_answer({"tools": [{"name": "list_events", "inputSchema": SCHEMA}]})
    assert (await world.send(modern("tools/list"))).status_code == 200
    await world.records(2)
    world.upstream.script = lambda _: json_answer({"ok": True})
    record = await held(world, {"day": "monday", "path": "/tmp", "größe": "x" * 257})
    assert record["call"]["arguments"] == {"day": "monday", "seats": None, "path": {}}
    record = await held(world, {"day": 5})
    assert (record["reason"], "arguments" in record["call"]) == ("request.malformed", False)


async def test_without_a_list_nothing_is_held(world: World) -> None:
    """The default: a MAC, and no value."""
    world.replace_gate(resource=replace(world.gate.resource, record_arguments=()))
    record = await held(world, {"day": "monday"})
    assert "arguments" not in record["call"]
    assert "monday" not in json.dumps(record)


async def test_what_can_be_looked_for_is_the_same(world: World) -> None:
    """Facets say nothing of arguments."""
    record = await held(world, {"day": "monday"})
    without = {**record, "call": {name: value for name, value in record["call"].items() if name != "arguments"}}
    assert facets_of(record) == facets_of(without)
