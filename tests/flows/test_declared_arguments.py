"""Policies and the tools that owners have approved: what no tool declares is not read by a policy in force."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perhop.journal.query import Filter
from perhop.storage.journal_reader import JournalQueries
from tests.flows.test_tool_pins import COUNT, ECHO, Installation, here, made, stopped

__all__ = ["here", "made", "stopped"]
"""The fixtures: the same installation."""

pytestmark = pytest.mark.usefixtures("made")


async def test_a_policy_about_arguments_that_no_approved_tool_has_is_not_put_in_force(here: Installation) -> None:
    """It is refused with its place, the journal says why, and the policies of before stay; so does `check` say it."""
    await here.approve()
    file = here.folder / "policies" / "more.cedar"
    file.write_text(
        """@id("typo") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/count")
        when { context.arguments has upto && context.arguments.upto > 3 };""",
        encoding="utf-8",
    )
    refused = await here.command("apply")
    problem = (
        "more.cedar:1: policy `typo` reads the argument `upto`, which is declared by no schema of `calendar/count`"
    )
    assert refused.code == 1
    assert problem in refused.err
    assert "declared are `to`" in refused.err
    with JournalQueries(here.folder / "journal.db") as reader:
        *_, last = reader.find(Filter(event="policy.changed"))
    assert last.part("about")["change"] == "refused"
    assert last.part("about")["why"] == problem
    assert await here.call("count", to=4) == (403, "policy.denied")
    assert (await here.command("policy", "check")).code == 7
    file.write_text(file.read_text(encoding="utf-8").replace("upto", "to"), encoding="utf-8")
    assert (await here.command("apply")).code == 0


async def test_an_approval_that_leaves_a_policy_without_its_argument_says_so(stopped: Installation) -> None:
    """The owner's approval counts; whoever gives it is told, and the server starts with the policies as they are."""
    stopped.tools[1] = COUNT | {"inputSchema": {"type": "object", "properties": {"until": {"type": "integer"}}}}
    async with stopped.serving():
        approved = await stopped.command("resource", "tools", "calendar", "--approve", "--yes")
        assert approved.code == 0
        assert "a policy in force does not fit these tools: all.cedar:3: policy `small`" in approved.err
    async with stopped.serving():
        assert await stopped.call("count", until=9) == (200, None)
        assert (await stopped.command("policy", "check")).code == 7


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("count", {"to": 2}, None),
        ("count", {"to": 4}, "policy.denied"),
        ("count", {"to": "4"}, "request.malformed"),
        ("nosuch", {}, "tool.quarantined"),
        ("count", {"sum": 4}, "policy.error"),
    ],
)
async def test_commands_answer_as_the_gateway_does(
    here: Installation, tool: str, arguments: dict[str, Any], reason: str | None
) -> None:
    """`explain` and `test` go by the approved tools: what is not as approved is refused before policy, and told so."""
    (here.folder / "policies" / "sum.cedar").write_text(
        """@id("sums") forbid (principal, action == MCP::Action::"call_tool", resource)
        when { context.arguments has sum && context.arguments.sum > 3 };""",
        encoding="utf-8",
    )
    assert (await here.command("apply")).code == 0
    await here.approve()
    assert (await here.call(tool, **arguments))[1] == reason
    asked = ("--agent", "planner", "--resource", "calendar", "--tool", tool, "--arguments", json.dumps(arguments))
    explained = (await here.command("policy", "explain", *asked, "--json")).json
    assert (explained["allowed"], explained["pinned"]) == (reason is None, True)
    before_policy = reason in ("request.malformed", "tool.quarantined")
    assert explained["summary"].startswith("refused before policy is asked: ") is before_policy
    assert f"({reason})" in explained["summary"] or not before_policy
    assert explained["failed"] is (reason == "policy.error")
    outcome = "permit" if reason is None else "error" if reason == "policy.error" else "deny"
    case = {"name": "x", "agent": "planner", "resource": "calendar", "tool": tool, "arguments": arguments}
    (here.folder / "cases.yaml").write_text(json.dumps({"cases": [case | {"expect": outcome}]}), encoding="utf-8")
    tested = (await here.command("policy", "test", "cases.yaml", "--json")).json
    assert (tested["ok"], tested["unpinned"]) == (True, [])
    assert tested["cases"][0]["explanation"]["summary"] == explained["summary"]


async def test_a_tool_seen_otherwise_since_is_explained_as_refused(here: Installation) -> None:
    """What was noticed at the gateway stands in the database, and a command beside it says so."""
    await here.approve()
    here.tools[0] = ECHO | {"description": "Says it otherwise"}
    assert await here.listed() == ["count"]
    assert here.running is not None
    await here.running.plane.tool_pins.keep()
    ran = await here.command("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "echo")
    assert ran.code == 3
    assert ran.out == (
        "refused before policy is asked: tool `echo` has been seen with another definition than the approved one "
        "(tool.quarantined)\n"
    )


async def test_where_nothing_is_approved_commands_say_that_no_definition_is_known(here: Installation) -> None:
    """Every tool passes then, as at the gateway; of prompts there is nothing to say."""
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar")
    ran = await here.command(*asked, "--tool", "nosuch")
    unknown = "no definition of a tool of `calendar` is known here: the owner of `calendar` has approved none; "
    assert (ran.code, unknown in ran.out) == (0, True)
    assert (await here.command(*asked, "--tool", "nosuch", "--json")).json["pinned"] is False
    assert unknown not in (await here.command(*asked, "--prompt", "any")).out
    (here.folder / "cases.yaml").write_text(
        "cases: [{name: x, agent: planner, resource: calendar, tool: nosuch, expect: permit}]", encoding="utf-8"
    )
    ran = await here.command("policy", "test", "cases.yaml")
    assert (ran.code, ran.out.count(unknown)) == (0, 1)
    (here.folder / "perhop.db").rename(here.folder / "elsewhere.db")
    ran = await here.command("policy", "test", "cases.yaml")
    here.folder.joinpath("elsewhere.db").rename(here.folder / "perhop.db")
    assert (ran.code, ran.out.count("is known here: there is no database; ")) == (0, 1)
