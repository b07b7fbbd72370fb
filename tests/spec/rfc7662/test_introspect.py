"""RFC 7662: the server that a token is addressed to learns what it says while it is in force; nobody else anything.

Spec: RFC 7662 §2.2
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from perhop.authorization_server.revocation import RevokedObject
from tests.support.authorization_servers import (
    CALENDAR_SERVER,
    RunningServer,
    assert_refused,
    claims_in,
    naming,
    running_server,
)
from tests.support.forge import good_claims, sign
from tests.support.refreshing import allowed


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _introspect(
    server: RunningServer, token: str, *, by: str = "calendar-server", **more: str
) -> httpx2.Response:
    return await server.http.post("/introspect", data={"token": token, **server.proof(by), **more})


async def _at_calendar(server: RunningServer, **changes: str) -> str:
    """What the calendar's server is called with, for the planner."""
    inbound = (await server.planner_token(**changes)).json()["access_token"]
    return await server.through_gateway(inbound)


def _is_inactive(answer: httpx2.Response) -> bool:
    return (answer.status_code, answer.json(), answer.headers["cache-control"]) == (200, {"active": False}, "no-store")


@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token"])
async def test_the_server_learns_what_the_token_says(server: RunningServer, hint: str) -> None:
    """Every claim is told as the token has it, `act` and `txn` too, and nothing is recorded of it."""
    token = await _at_calendar(server)
    before = len(server.records())
    answer = await _introspect(server, token, token_type_hint=hint)
    assert answer.headers["cache-control"] == "no-store"
    claims = claims_in(token)
    assert answer.json() == {"active": True, "token_type": "Bearer", **claims}
    assert claims["act"] == {"sub": "gateway:calendar"}
    assert {"iss", "sub", "client_id", "aud", "iat", "exp", "jti", "scope", "txn", "hop", "agent", "tenant"} <= set(
        claims
    )
    assert len(server.records()) == before


async def test_task_and_key_are_told(server: RunningServer) -> None:
    """`authorization_details` and `cnf` come as they stand in the token."""
    task = await server.task_id()
    token = await _at_calendar(server, **naming(task))
    details = (await _introspect(server, token)).json()["authorization_details"]
    assert details == [{"type": "agent_task", "id": task}]
    confirms = {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
    bound = (await _introspect(server, server.forged(cnf=confirms))).json()
    assert (bound["active"], bound["cnf"], bound["token_type"]) == (True, confirms, "DPoP")


async def test_nobody_else_learns_anything(server: RunningServer) -> None:
    """Another server, and the agent whose token it is, hear that it is not active, and no more."""
    token = await _at_calendar(server)
    for by in ("rooms-server", "trip-planner"):
        assert _is_inactive(await _introspect(server, token, by=by))


async def test_a_token_for_the_gateway_is_not_the_servers(server: RunningServer) -> None:
    """The server behind a gateway is not addressed by what clients call the gateway with."""
    inbound = (await server.planner_token()).json()["access_token"]
    assert _is_inactive(await _introspect(server, inbound))


async def _revoked(server: RunningServer, token: str) -> None:
    await server.issuer.revoker.revoke(RevokedObject.TOKEN, claims_in(token)["jti"], why="", by="tests")


async def _its_parent_revoked(server: RunningServer, token: str) -> None:
    await server.issuer.revoker.revoke(RevokedObject.AGENT, "trip-planner", why="", by="tests")


async def _expired(server: RunningServer, token: str) -> None:
    server.clock.now = claims_in(token)["exp"]


async def _agent_disabled(server: RunningServer, token: str) -> None:
    await server.issuer.standing.disable("client", "trip-planner", why="", now=server.issuer.now())


async def _owner_disabled(server: RunningServer, token: str) -> None:
    await server.issuer.standing.disable("resource", "calendar", why="", now=server.issuer.now())


@pytest.mark.parametrize("ends", [_revoked, _its_parent_revoked, _expired, _agent_disabled, _owner_disabled])
async def test_what_is_over_is_not_active(
    server: RunningServer, ends: Callable[[RunningServer, str], Awaitable[None]]
) -> None:
    """A token that was revoked or has expired, or whose agent or resource is disabled, is not active."""
    token = await _at_calendar(server)
    assert (await _introspect(server, token)).json()["active"]
    await ends(server, token)
    assert _is_inactive(await _introspect(server, token))


async def test_a_token_of_a_superseded_task_is_not_active(server: RunningServer) -> None:
    """With its task a token is over."""
    task = await server.task_id()
    token = await _at_calendar(server, **naming(task))
    await server.task_id(supersedes=task)
    assert _is_inactive(await _introspect(server, token))


async def test_what_is_no_access_token_is_not_active(server: RunningServer) -> None:
    """Refresh tokens, codes, garbage, and tokens under other keys or for nobody."""
    refresh_token = (await allowed(server))["refresh_token"]
    foreign = sign(good_claims(issuer=server.issuer.url, audience=CALENDAR_SERVER), server.keys.planner)
    canary = server.forged(aud=f"{server.issuer.url}/canary/x")
    for token in (refresh_token, foreign, canary, "garbage", "a.b.c", "x" * 9000):
        assert _is_inactive(await _introspect(server, token))


async def test_the_gateways_own_question_is_active(server: RunningServer) -> None:
    """The self-test's right token is good at a server that asks here, or that server could never pass it."""
    token = server.forged(sub="gateway:calendar", client_id="gateway:calendar", agent="gateway:calendar")
    assert (await _introspect(server, token)).json()["active"]


async def test_introspection_needs_client_and_token(server: RunningServer) -> None:
    """Who does not authenticate, or could not, is refused, and recorded; without a token the request is malformed.

    Spec: RFC 7662 §2.1
    """
    for nobody in ({}, {"client_id": "desk-app"}, {"client_id": "calendar-server"}):
        server.clock.now += 1
        answer = await server.http.post("/introspect", data={"token": server.forged(), **nobody})
        assert_refused(answer, "invalid_client", status=401)
        assert server.last_refusal()["reason"] == "client.authentication"
    assert_refused(await _introspect(server, ""), "invalid_request")
    assert (await server.http.get("/introspect")).status_code == 405
