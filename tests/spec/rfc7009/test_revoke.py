"""RFC 7009: a client gives back its own tokens, and all that came from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.support.authorization_servers import (
    CALENDAR_SERVER,
    RunningServer,
    assert_refused,
    claims_in,
    running_server,
)
from tests.support.forge import good_claims, sign
from tests.support.refreshing import allowed, refresh


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _revoke(server: RunningServer, token: str, *, by: str, **more: str) -> httpx2.Response:
    return await server.http.post("/revoke", data={"token": token, **server.proof(by), **more})


async def test_a_client_gives_back_its_token(server: RunningServer) -> None:
    """Afterwards the token, and what was exchanged for it, is refused; the journal names who did it."""
    inbound = (await server.planner_token()).json()["access_token"]
    at_calendar = await server.through_gateway(inbound)
    onward = (await server.exchange(at_calendar)).json()["access_token"]
    answer = await _revoke(server, inbound, by="trip-planner", token_type_hint="refresh_token")
    assert (answer.status_code, answer.content) == (200, b"")
    (record,) = server.records("revocation")
    assert record["about"]["by"] == "client:trip-planner"
    assert set(record["about"]["tokens"]) == {claims_in(token)["jti"] for token in (inbound, at_calendar, onward)}
    assert_refused(await server.exchange(at_calendar), "invalid_request")
    assert server.last_refusal()["reason"] == "token.revoked"


async def test_presenter_and_agent_may_revoke(server: RunningServer) -> None:
    """The client that got a token by exchange may give it back, and so may the agent whose chain it is."""
    for by in ("calendar-server", "trip-planner"):
        onward = (await server.exchange(server.forged())).json()["access_token"]
        assert (await _revoke(server, onward, by=by)).status_code == 200
    assert len(server.records("revocation")) == 2


async def test_nobody_else_may_revoke(server: RunningServer) -> None:
    """Another client is refused, also the one that the token is addressed to, and the token stays good."""
    onward = (await server.exchange(server.forged())).json()["access_token"]
    assert_refused(await _revoke(server, onward, by="rooms-server"), "unauthorized_client")
    assert server.records("revocation") == []
    assert server.last_refusal()["reason"] == "presenter.mismatch"


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "x" * 9000])
async def test_what_is_no_token_of_ours_is_revoked_already(server: RunningServer, token: str) -> None:
    """Unknown tokens are answered as revoked ones are, and leave nothing in the feed."""
    assert (await _revoke(server, token, by="trip-planner")).status_code == 200
    assert server.records("revocation") == []


async def test_an_expired_or_forged_token_is_revoked_already(server: RunningServer) -> None:
    """A token that has expired, or under another key, changes nothing."""
    expired = server.forged(iat=int(server.clock.now) - 900, exp=int(server.clock.now) - 600)
    forged = sign(good_claims(issuer=server.issuer.url, audience=CALENDAR_SERVER), server.keys.planner)
    for token in (expired, forged):
        assert (await _revoke(server, token, by="trip-planner")).status_code == 200
    assert server.records("revocation") == []


async def test_revoking_needs_client_and_token(server: RunningServer) -> None:
    """Without client authentication 401, without a token malformed."""
    answer = await server.http.post("/revoke", data={"token": server.forged()})
    assert_refused(answer, "invalid_client", status=401)
    assert_refused(await _revoke(server, "", by="trip-planner"), "invalid_request")


@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "unknown"])
@pytest.mark.parametrize("is_spent", [False, True])
async def test_a_refresh_token_is_given_back(server: RunningServer, hint: str, is_spent: bool) -> None:
    """Its family ends, with every access token of it, also where the token was used already; the hint is no matter.

    Spec: RFC 7009 §2.1
    """
    first = await allowed(server)
    second = (await refresh(server, first["refresh_token"])).json()
    given_back = first if is_spent else second
    fields = {"token": given_back["refresh_token"], "client_id": "desk-app", "token_type_hint": hint}
    answer = await server.http.post("/revoke", data=fields)
    assert (answer.status_code, answer.content) == (200, b"")
    (record,) = server.records("revocation")
    assert (record["about"]["kind"], record["about"]["by"]) == ("family", "client:desk-app")
    assert set(record["about"]["tokens"]) == {claims_in(each["access_token"])["jti"] for each in (first, second)}
    assert_refused(await refresh(server, second["refresh_token"]), "invalid_grant")
    assert (await server.http.post("/revoke", data=fields)).status_code == 200
    assert len(server.records("revocation")) == 1


async def test_only_its_client_gives_a_refresh_token_back(server: RunningServer) -> None:
    """Another client is refused, and the family goes on."""
    first = await allowed(server)
    for by in ({"client_id": "laptop-app"}, server.proof("trip-planner")):
        answer = await server.http.post("/revoke", data={"token": first["refresh_token"], **by})
        assert_refused(answer, "unauthorized_client")
    assert (await refresh(server, first["refresh_token"])).status_code == 200
    assert server.records("revocation") == []
