"""Policies and the tools that owners have approved: what no tool declares is not read by a policy in force."""

from __future__ import annotations

import pytest

from perhop.journal.query import Filter
from perhop.storage.journal_reader import JournalQueries
from tests.flows.test_tool_pins import COUNT, Installation, here, made, stopped

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
