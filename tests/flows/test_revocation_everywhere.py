"""One revocation, at every place that takes the tokens it names: token endpoint, gateway, and the guards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from perhop.authorization_server.revocation_canary import BY
from perhop.control.local import carry_out
from perhop.demo.attacks import ACCESS_TOKEN, EXCHANGE
from perhop.demo.run import staged
from perhop.demo.scene import Scene, Seen, call
from perhop.demo.servers import call_tool
from perhop.journal.query import Filter
from perhop.tokens.parse import parse_compact
from tests.support.listening import listening

PATIENCE_SECONDS = 15.0
LIST_EVENTS = call("list_events", {"day": "monday"})


async def _until_refused(scene: Scene, token: str) -> Seen:
    """A guard hears of it by its feed: ask until it has.

    The framework asks the guard once more. A feed that comes between the two looks is told in the framework's words,
    once; the next answer is the guard's own.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            seen = await scene.at_server(scene.addresses.calendar_server, token, LIST_EVENTS)
            if seen.observed not in ("200", "401 invalid_token"):
                return seen
            assert seen.observed == "200" or seen.reason == "token.revoked"
            await asyncio.sleep(0.05)


async def test_revoking_an_agents_token_ends_what_came_from_it_everywhere(tmp_path: Path) -> None:
    """The parent dies at the gateway, its hop token at the server's guard and as a subject token, all as revoked."""
    async with staged(tmp_path / "demo") as scene:
        calendar = scene.addresses.resource("calendar")
        arguments = {"title": "review", "day": "monday", "people": 3}
        await call_tool(calendar, scene.source("trip-planner").auth_for(calendar), "plan_meeting", arguments)
        parent = (await scene.token("trip-planner", "calendar")).reveal()
        assert scene.calendar.received is not None
        hop_token = scene.calendar.received.reveal()
        before = await scene.at_server(scene.addresses.calendar_server, hop_token, LIST_EVENTS)
        assert before.observed == "200"
        jti = str(parse_compact(parent).payload["jti"])
        result = await carry_out(scene.settings, "revoke", {"kind": "token", "value": jti, "why": "test"})
        assert parse_compact(hop_token).payload["jti"] in json.dumps(dict(result))
        assert await scene.at_gateway("calendar", parent, LIST_EVENTS) == Seen("401", "token.revoked")
        assert await _until_refused(scene, hop_token) == Seen("401", "token.revoked")
        form = [
            ("grant_type", EXCHANGE),
            ("subject_token", hop_token),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", scene.addresses.resource("rooms")),
        ]
        assert await scene.at_sts("calendar-server", form) == Seen("400 invalid_request", "token.revoked")


async def test_a_dry_run_counts_what_would_end_and_ends_nothing(tmp_path: Path) -> None:
    """The token, what came from it and its open stream are counted; then the deed counts the same, and ends them."""
    async with staged(tmp_path / "demo") as scene:
        token = (await scene.token("trip-planner", "calendar")).reveal()
        plan = call("plan_meeting", {"title": "review", "day": "monday", "people": 3})
        assert (await scene.at_gateway("calendar", token, plan)).observed == "200"
        asked = {"kind": "agent", "value": "trip-planner", "why": "test"}
        async with listening(scene, token, rpc_id=9) as stream:
            would = dict(await carry_out(scene.settings, "revoke", {**asked, "dry_run": True}))
            assert (would["revoked"], would["streams"]) == (False, 1)
            assert would["calls"] >= 1  # the stream, and perhaps a call whose answer came but whose end is not written
            assert parse_compact(token).payload["jti"] in would["jtis"]
            assert would["live"] > 1  # the caller's, and those of the hops
            assert await scene.at_gateway("calendar", token, LIST_EVENTS) == Seen("200", None)
            found = scene.reader.find(Filter(event="revocation"))
            assert [entry for entry in found if entry.part("about")["by"] != BY] == []
            did = dict(await carry_out(scene.settings, "revoke", asked))
            last = await stream.last_event()
        assert did["revoked"]
        assert set(did["jtis"]) >= set(would["jtis"])
        assert did["streams"] == 1
        assert (last["id"], last["error"]["code"]) == (9, -31401)
        assert await scene.at_gateway("calendar", token, LIST_EVENTS) == Seen("401", "token.revoked")


async def test_what_was_revoked_before_is_not_counted_again(tmp_path: Path) -> None:
    """After one of two tokens is revoked, their agent has one left to count; then none, for the test and the deed."""
    async with staged(tmp_path / "demo") as scene:
        form = [("grant_type", "client_credentials"), ("resource", scene.addresses.resource("calendar"))]
        for _ in range(2):
            assert (await scene.at_sts("trip-planner", form)).observed == "200"
        asked = {"kind": "agent", "value": "trip-planner", "why": "test"}
        first, *others = dict(await carry_out(scene.settings, "revoke", {**asked, "dry_run": True}))["jtis"]
        one = await carry_out(scene.settings, "revoke", {"kind": "token", "value": first, "why": "test"})
        assert (one["live"], one["jtis"]) == (1, [first])
        assert (await carry_out(scene.settings, "revoke", {**asked, "dry_run": True}))["jtis"] == others
        assert (await carry_out(scene.settings, "revoke", asked))["jtis"] == others
        for last in ({**asked, "dry_run": True}, asked):
            assert (await carry_out(scene.settings, "revoke", last))["live"] == 0
        recorded = [entry.part("about") for entry in scene.reader.find(Filter(event="revocation"))]
        assert recorded[-1]["tokens"] == sorted([first, *others])  # each record names all that it covers
