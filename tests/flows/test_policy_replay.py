"""`perhop policy replay` over the journal of the demo: every decision is put again as it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perhop.control.local import carry_out
from perhop.control.lookup import look_up
from perhop.demo.run import staged
from perhop.demo.scene import Scene, call
from perhop.journal.query import Filter
from tests.support.commands import perhop

START = '@id("all") permit (principal, action, resource);\n'
NO_ROOMS_AFTER_CALENDAR = (
    '@id("no-onward") forbid (principal, action == MCP::Action::"call_tool", resource in MCP::Server::"rooms")'
    ' when { context.actors.contains("calendar-server") };\n'
)
ONLY_MONDAYS = (
    '@id("mondays") forbid (principal, action, resource == MCP::Tool::"calendar/list_events")'
    ' unless { context.arguments has day && context.arguments.day == "monday" };\n'
)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The demo's installation, served in this process."""
    async with staged(tmp_path / "demo") as staged_scene:
        yield staged_scene


def draft(scene: Scene, *policies: str) -> None:
    """Write a folder `draft` of these policies."""
    folder = scene.folder / "draft"
    folder.mkdir(exist_ok=True)
    (folder / "draft.cedar").write_text("".join(policies), encoding="utf-8")


def replayed(scene: Scene, *words: str) -> Any:
    """What the replay of the draft says."""
    ran = perhop("policy", "replay", "--policies", "draft", "--json", *words, folder=scene.folder)
    assert ran.code == 0, ran.err
    return ran.json


async def ask(scene: Scene, tool: str, arguments: dict[str, Any]) -> str:
    """Call a tool of the calendar, and say what was seen."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    return (await scene.at_gateway("calendar", token, call(tool, arguments))).observed


async def record_days(scene: Scene) -> None:
    """Let the calendar's owner have `day` recorded."""
    path = scene.folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["resources"]["calendar"]["record_arguments"] = ["day"]
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    await carry_out(scene.settings, "apply", {"dry_run": False})


async def test_the_policies_in_force_decide_as_they_did(scene: Scene) -> None:
    """Of a real journal, nothing has changed, and nothing is undecidable that the policies do not read."""
    assert await ask(scene, "list_events", {"day": "monday"}) == "200"
    assert await ask(scene, "list_events", {}) == "200"
    ran = perhop("policy", "replay", "--json", folder=scene.folder)
    decisions = [
        each
        for each in scene.reader.find(Filter(event="call.permitted"))
        if each.part("call")["method"] == "tools/call"
    ]
    assert len(decisions) >= 2
    assert (ran.json["changed"], ran.json["undecidable"]) == (0, 0)
    assert ran.json["same"] >= len(decisions)


async def test_a_draft_that_forbids_is_told_with_the_records(scene: Scene) -> None:
    """permit -> deny, by which policy, and which records; a draft that permits again says deny -> permit."""
    assert await ask(scene, "find_room", {}) != "200"
    for _ in range(4):
        assert await ask(scene, "list_events", {"day": "monday"}) == "200"
    draft(scene, START, '@id("no-lists") forbid (principal, action, resource == MCP::Tool::"calendar/list_events");')
    found = replayed(scene)
    (change,) = found["changes"]
    assert (change["agent"], change["name"], change["was"], change["now"]) == (
        "trip-planner",
        "list_events",
        "permit",
        "deny",
    )
    assert (change["policies"], change["count"], len(change["first"])) == (["no-lists"], 4, 3)
    record = scene.reader.record(change["first"][0]["seq"])
    assert record is not None
    assert (record.text("event"), record.part("call")["id"]) == ("call.permitted", change["first"][0]["call"])
    assert replayed(scene, "--agent", "nobody")["same"] == 0
    assert replayed(scene, "--until", "2020-01-01")["changed"] == 0
    text = perhop("policy", "replay", "--policies", "draft", folder=scene.folder).out
    assert "permit -> deny: `trip-planner` calendar list_events: refused by `no-lists`; 4 decisions" in text


async def test_a_call_that_was_refused_may_be_permitted_now(scene: Scene) -> None:
    """deny -> permit, with the policy that permits."""
    (scene.folder / "policies/own.cedar").write_text(ONLY_MONDAYS.replace("unless", "when"), encoding="utf-8")
    await carry_out(scene.settings, "apply", {"dry_run": False})
    assert (await ask(scene, "list_events", {"day": "monday"})).startswith("403")
    draft(scene, START)
    (change,) = replayed(scene)["changes"]
    assert (change["was"], change["now"], change["policies"]) == ("deny", "permit", ["all"])


ASKING = '@id("asks") @approval("owner") permit (principal, action, resource == MCP::Tool::"calendar/list_events");\n'
MONDAY = {"day": "monday"}


async def in_force(scene: Scene, *policies: str) -> None:
    """Go on with these policies beside the first ones."""
    (scene.folder / "policies/own.cedar").write_text("".join(policies), encoding="utf-8")
    await carry_out(scene.settings, "apply", {"dry_run": False})


async def decide(scene: Scene, *, allow: bool) -> None:
    """Decide on the one call that waits, as a person of the team."""
    account = await carry_out(scene.settings, "account.add", {"email": "ann@example.com", "password": None})
    (approval,) = (each["id"] for each in await look_up(scene.settings, "approvals") if each["state"] == "waiting")
    given = {"approval": approval, "allow": allow, "email": "ann@example.com", "password": account["password"]}
    await carry_out(scene.settings, "approval.decide", {**given, "why": ""})


async def test_a_draft_that_wants_an_approval_is_a_change(scene: Scene) -> None:
    """permit -> approval, with every permit that is satisfied; the records are the ones that passed by themselves."""
    for _ in range(2):
        assert await ask(scene, "list_events", MONDAY) == "200"
    draft(scene, START, ASKING)
    (change,) = replayed(scene)["changes"]
    assert (change["was"], change["now"], change["policies"], change["count"]) == (
        "permit",
        "approval",
        ["all", "asks"],
        2,
    )
    text = perhop("policy", "replay", "--policies", "draft", folder=scene.folder).out
    assert "permit -> approval: `trip-planner` calendar list_events: permitted by `all`, `asks`, once a person" in text


@pytest.mark.parametrize("allow", [True, False])
async def test_a_journal_with_approvals_is_asked_again(scene: Scene, allow: bool) -> None:
    """What waited, what passed by an approval and what a person denied: policy wanted one; a draft may want none."""
    assert await ask(scene, "list_events", MONDAY) == "200"
    await in_force(scene, ASKING)
    assert (await ask(scene, "list_events", MONDAY)).startswith("403")
    await decide(scene, allow=allow)
    assert await ask(scene, "list_events", MONDAY) == ("200" if allow else "403 -31403")
    draft(scene, START)
    (change,) = replayed(scene)["changes"]
    assert (change["was"], change["now"], change["policies"], change["count"]) == ("approval", "permit", ["all"], 2)
    # The call that had passed by itself, before, would wait now; those that waited would do so again.
    found = perhop("policy", "replay", "--json", folder=scene.folder).json
    (change,) = found["changes"]
    assert (change["was"], change["now"], change["count"], found["undecidable"]) == ("permit", "approval", 1, 0)
    draft(scene, START, '@id("no-lists") forbid (principal, action, resource == MCP::Tool::"calendar/list_events");')
    assert {(each["was"], each["now"], each["count"]) for each in replayed(scene)["changes"]} == {
        ("permit", "deny", 1),
        ("approval", "deny", 2),
    }


async def test_arguments_decide_only_where_they_were_recorded(scene: Scene) -> None:
    """Undecidable before the owner lists the argument, decided after; a call without arguments decides always."""
    assert await ask(scene, "list_events", {"day": "monday"}) == "200"
    draft(scene, START, ONLY_MONDAYS)
    found = replayed(scene)
    (untold,) = found["undecided"]
    assert (found["undecidable"], found["changed"]) == (1, 0)
    assert untold["why"] == "the draft reads the argument `day`, not recorded"
    await record_days(scene)
    for day in ("monday", "tuesday"):
        assert await ask(scene, "list_events", {"day": day}) == "200"
    assert await ask(scene, "list_events", {}) == "200"
    found = replayed(scene)
    assert (found["undecidable"], found["changed"]) == (1, 2)
    records = [json.loads(each.body) for each in scene.reader.find(Filter(event="call.permitted"))]
    written = [each["call"]["arguments"] for each in records if "arguments" in each["call"]]
    assert written == [{"day": "monday"}, {"day": "tuesday"}, {"day": None}]
    ended = [each for each in scene.reader.find(Filter(event="call.ended")) if "arguments" in each.part("call")]
    assert ended == []
    assert perhop("journal", "verify", folder=scene.folder).code == 0
