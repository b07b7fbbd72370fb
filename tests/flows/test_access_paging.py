"""Search in pages: what one page ends with, the next begins after, however long its name is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.gateway.tool_pins import Approval, Pinned, ToolPins
from perhop.rules.tool_definition import parse_definition
from perhop.wiring.known_tools import KnownTools
from tests.support.access import SEARCH, access_server, basic
from tests.support.authorization_servers import RunningServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize("length", [20, 160, 256])
async def test_every_page_leads_to_the_next(server: RunningServer, length: int) -> None:
    """A token that was given is taken."""
    pins = ToolPins(rows=server.stores.tool_pins, journal=server.issuer.journal, clock=server.clock)
    names = [("list_" + letter * length)[:length] for letter in "ab"]
    defined = {name: parse_definition({"name": name, "inputSchema": {"type": "object"}}) for name in names}
    pins.of("calendar").take(Pinned(approval=Approval(definitions=defined, by="ann", at=0), quarantined=()))
    server.change(tools=KnownTools(pins))
    agent, action = {"type": "agent", "id": "trip-planner"}, {"name": "call_tool"}
    asked = {"subject": agent, "action": action, "resource": {"type": "tool"}}
    found, page = [], {"limit": 1}
    for _ in names:
        answer = await server.http.post(f"{SEARCH}/resource", json=asked | {"page": page}, headers=basic("pep"))
        assert answer.status_code == 200, answer.text
        found += [each["id"] for each in answer.json()["results"]]
        page = {"token": answer.json()["page"]["next_token"]}
    assert found == [f"calendar/{name}" for name in names]
