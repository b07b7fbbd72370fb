"""RFC 8707 §2.2 for refresh tokens: a family has one resource, and no request changes it.

Spec: RFC 8707 §2.2
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    FORM,
    ROOMS,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)
from tests.support.refreshing import allowed, refresh


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize("resource", ["", CALENDAR])
async def test_a_refresh_token_knows_its_resource(server: RunningServer, resource: str) -> None:
    """The resource may be left out, or named again."""
    first = await allowed(server)
    assert claims_of(await refresh(server, first["refresh_token"], resource=resource))["aud"] == CALENDAR


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("resource", ROOMS),
        ("resource", CALENDAR_SERVER),
        ("resource", f"{CALENDAR}/"),
        ("resource", "https://evil.example.com/mcp"),
        ("audience", ROOMS),
        ("audience", CALENDAR),
    ],
)
async def test_a_refresh_token_stays_with_its_resource(server: RunningServer, parameter: str, value: str) -> None:
    """Another resource is refused, even one that the client reaches by now, and the token is not spent by that."""
    server.change_client("desk-app", reaches={"calendar": ("calendar:read",), "rooms": ("rooms:read",)})
    first = await allowed(server)
    assert_refused(await refresh(server, first["refresh_token"], more={parameter: value}), "invalid_target")
    assert (await refresh(server, first["refresh_token"])).status_code == 200


@pytest.mark.parametrize("other", [CALENDAR, ROOMS, ""])
async def test_two_resources_are_refused_at_refresh(server: RunningServer, other: str) -> None:
    """Two values are `invalid_target`, even equal ones."""
    first = await allowed(server)
    fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "desk-app"),
        ("refresh_token", first["refresh_token"]),
        ("resource", CALENDAR),
        ("resource", other),
    ]
    body = "&".join(f"{name}={value}" for name, value in fields)
    assert_refused(await server.http.post("/token", content=body, headers={"content-type": FORM}), "invalid_target")
    assert server.last_refusal()["reason"] == "audience.multiple"
