"""Both ends of a call: what came to a server past the gateway, and what no server saw, are found in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perhop.demo.attacks import ATTACKS
from perhop.demo.run import staged
from perhop.demo.scene import Scene, call
from perhop.demo.servers import call_tool
from perhop.journal.query import Filter
from perhop.rules.trace_context import render_traceparent
from perhop.tokens.parse import parse_compact
from tests.support.commands import Ran, perhop

PATIENCE_SECONDS = 15.0
LIST_EVENTS = call("list_events", {"day": "monday"})


async def _run(scene: Scene, *words: str) -> Ran:
    return await asyncio.to_thread(perhop, *words, "--json", folder=scene.folder)


async def _reported(scene: Scene) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any([await asyncio.to_thread(records.waiting) for records in scene.records]):
            await asyncio.sleep(0.02)


async def _stolen(scene: Scene) -> tuple[str, Mapping[str, Any]]:
    """The agent does its job; a thief in the calendar's server has the token that it was called with."""
    calendar = scene.addresses.resource("calendar")
    arguments = {"title": "review", "day": "monday", "people": 3}
    await call_tool(calendar, scene.source("trip-planner").auth_for(calendar), "plan_meeting", arguments)
    assert scene.calendar.received is not None
    raw = scene.calendar.received.reveal()
    return raw, parse_compact(raw).payload


async def test_a_token_used_past_the_gateway_is_seen_by_one_end_only(tmp_path: Path) -> None:
    """The server takes it, as it must; the journal shows a call that nobody sent, and who is asked about the token
    hears of a theft. A thief who copies the gateway's call id is counted: admitted more often than sent."""
    async with staged(tmp_path / "demo") as scene:
        raw, claims = await _stolen(scene)
        await _reported(scene)
        await _own_questions_accuse_nobody(scene)
        before = await _run(scene, "journal", "reconcile")
        assert (before.code, before.json["ok"], before.json["only_server"]) == (0, True, [])
        assert {side["resource"] for side in before.json["resources"]} == {"calendar", "rooms", "booking"}
        assert all(side["own"] > 0 for side in before.json["resources"])
        assert (await scene.at_server(scene.addresses.calendar_server, raw, LIST_EVENTS)).observed == "200"
        await _reported(scene)
        after = await _run(scene, "journal", "reconcile")
        (alone,) = after.json["only_server"]
        assert (after.code, after.json["ok"]) == (7, False)
        assert (alone["jti"], alone["name"], alone["agent"]) == (claims["jti"], "list_events", "trip-planner")
        assert (alone["reported_by"], alone["address"]) == ("calendar-server", "127.0.0.1")
        permit = scene.reader.token_by_jti(str(claims["jti"]))
        assert permit is not None
        for jti in (permit.jti, permit.parent_jti):
            incident = (await _run(scene, "incident", jti)).json
            (signal,) = [each for each in incident["signals"] if each["name"] == "past-the-gateway"]
            assert (signal["side"], signal["direction"], signal["weight"]) == ("theft", "for", "strong")
            assert signal["records"] == [alone["seq"]]
        people = await asyncio.to_thread(perhop, "journal", "reconcile", folder=scene.folder)
        assert "they came to it past the gateway" in people.out
        assert "NOT OK" in people.out
        # The header of a call that the gateway has sent, once more.
        (sent,) = [
            entry
            for entry in scene.reader.find(Filter(event="call.permitted", resource="calendar"))
            if entry.part("call").get("name") == "plan_meeting"
        ]
        call_id = str(sent.part("call")["id"])
        traceparent = render_traceparent(str(claims["txn"]), call_id)
        answer = await scene.post(scene.addresses.calendar_server, raw, LIST_EVENTS, traceparent=traceparent)
        assert answer.status_code == 200
        await _reported(scene)
        found = await _run(scene, "journal", "reconcile")
        assert found.json["seen_again"] == [
            {"resource": "calendar", "jti": claims["jti"], "call_id": call_id, "count": 2}
        ]


async def _own_questions_accuse_nobody(scene: Scene) -> None:
    """The canary that a guard refused is in the journal as a test: it is no rejection, and no call without a sender."""
    own = list(scene.reader.find(Filter(reason="audience.mismatch")))
    assert {entry.part("about").get("self_test") for entry in own} == {"calendar", "rooms", "booking"}
    metrics = (await scene.http.get(f"http://{scene.addresses.ops}/metrics")).text
    assert "perhop_audience_rejections_total{" not in metrics
    assert 'perhop_reports_total{event="call.admitted",resource="calendar"}' in metrics


async def test_call_token_twice(tmp_path: Path) -> None:
    """What a guard refuses stands in the journal: the token of one call, used twice, as `token.replayed`."""
    attack = next(attack for attack in ATTACKS if attack.id == "call-token-twice")
    async with staged(tmp_path / "demo") as scene:
        outcome = await attack.try_on(scene)
        await _reported(scene)
        # A question of the gateway's own may meet a server in the second of its start, and be refused with this too.
        replayed = scene.reader.find(Filter(event="call.refused", reason="token.replayed"))
        (refusal,) = [each for each in replayed if each.part("about").get("self_test") is None]
        assert outcome.ok
        assert scene.booking.received is not None
        jti = parse_compact(scene.booking.received.reveal()).payload["jti"]
        assert refusal.part("in")["jti"] == jti
        assert (refusal.text("resource"), refusal.part("report")["by"]) == ("booking", "rooms-server")
        trace = (await _run(scene, "trace", str(jti))).json
        tried = [each for hop in trace["hops"] if hop["jti"] == jti for each in hop["calls"]]
        assert [each["outcome"] for each in tried] == ["admitted", "refused"]
        radius = (await _run(scene, "blast-radius", "--token", str(jti))).json
        assert [(each["name"], each["count"]) for each in radius["reported"]] == [("book_room", 1)]
