"""Rate limits: at the bound a request is answered, one above it is 429 with the time to wait; floods are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.authorization_server.app import build_app
from perhop.core.rate_limits import RateLimits
from perhop.errors import SettingsError
from perhop.gateway.call_rates import CallRates
from perhop.journal.suppression import RECORDED_A_SECOND
from tests.support.authorization_servers import CALENDAR, ISSUER, SECRET, RunningServer, running_server
from tests.support.configuration import load_example
from tests.support.gateways import World, gateway
from tests.support.upstreams import legacy, modern

ENDPOINTS = ("/token", "/introspect", "/revoke", "/tasks", "/authorize")
FEW = RateLimits(requests_per_address=3, requests_per_client=1000)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


def _from(server: RunningServer, address: str) -> httpx2.AsyncClient:
    app = build_app(ISSUER, lambda: server.issuer)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app, client=(address, 5)), base_url=ISSUER)


def _assert_limited(answer: httpx2.Response, *, wait: int) -> None:
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert answer.headers["retry-after"] == str(wait)
    assert answer.headers["cache-control"] == "no-store"


async def test_an_address_asks_so_often_and_no_more(server: RunningServer) -> None:
    """All counted endpoints share the limit of an address, time gives it back, and other addresses have their own."""
    server.change(rate_limits=FEW)
    async with _from(server, "192.0.2.1") as http, _from(server, "192.0.2.2") as other:
        for path in ENDPOINTS[:3]:
            assert (await http.post(path)).status_code != 429
        for path in ENDPOINTS:
            _assert_limited(await http.post(path), wait=20)
        _assert_limited(await http.get("/authorize"), wait=20)
        assert server.last_refusal()["reason"] == "limit.exceeded"
        assert (await other.post("/token")).status_code != 429
        server.clock.now += 20
        assert (await http.post("/token")).status_code != 429
        _assert_limited(await http.post("/token"), wait=20)


async def test_what_everybody_reads_is_not_counted(server: RunningServer) -> None:
    """Metadata, keys and the feed of revocations are answered although the address has used up its limit."""
    server.change(rate_limits=replace(FEW, requests_per_address=1))
    async with _from(server, "192.0.2.1") as http:
        await http.post("/token")
        for path in ("/.well-known/oauth-authorization-server", "/jwks", "/revocations?wait=0"):
            assert (await http.get(path)).status_code == 200


async def test_addresses_of_one_network_are_one(server: RunningServer) -> None:
    """Whoever has a /64 of IPv6 has one limit, however many addresses they use; the next /64 is somebody else."""
    server.change(rate_limits=FEW)
    statuses = []
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8::3", "2001:db8:0:1::1"):
        async with _from(server, address) as http:
            statuses.append((await http.post("/token")).status_code == 429)
    assert statuses == [False, False, False, True, False]


async def test_a_client_asks_so_often_and_no_more(server: RunningServer) -> None:
    """From whatever address, at whatever endpoint; and only what it has authenticated counts against it."""
    server.change(rate_limits=RateLimits(requests_per_address=1000, requests_per_client=3))
    asked = {"grant_type": "client_credentials", "resource": CALENDAR, "client_id": "poster"}
    async with _from(server, "192.0.2.1") as first, _from(server, "192.0.2.2") as second:
        for _ in range(5):
            assert (await second.post("/token", data={**asked, "client_secret": "x" * 40})).status_code == 401
        good = {**asked, "client_secret": SECRET}
        assert (await first.post("/token", data=good)).status_code == 200
        assert (await second.post("/token", data=good)).status_code == 200
        assert (await first.post("/introspect", data={**good, "token": "x"})).status_code == 200
        _assert_limited(await second.post("/token", data=good), wait=20)
        _assert_limited(await first.post("/revoke", data={**good, "token": "x"}), wait=20)
        task = {"purpose": "x", "tools": ["calendar/*"], "expires_in": 60}
        client = {name: good[name] for name in ("client_id", "client_secret")}
        _assert_limited(await second.post("/tasks", json={**task, **client}), wait=20)
        refusal = server.last_refusal()
        assert (refusal["reason"], refusal["client"]) == ("limit.exceeded", "poster")
        assert (await server.planner_token()).status_code == 200


async def test_nobody_uses_up_a_public_client_for_others(server: RunningServer) -> None:
    """A public client proves nothing, so it is counted for each address by itself."""
    server.change(rate_limits=RateLimits(requests_per_address=1000, requests_per_client=1))
    asked = {"grant_type": "authorization_code", "client_id": "desk-app", "code": "x"}
    async with _from(server, "192.0.2.1") as stranger, _from(server, "192.0.2.2") as person:
        statuses = [(await stranger.post("/token", data=asked)).status_code for _ in range(3)]
        assert statuses == [400, 429, 429]
        assert (await person.post("/token", data=asked)).status_code == 400


async def test_a_flood_is_counted_and_not_recorded_singly(server: RunningServer) -> None:
    """Of a second's refusals the first few are records; the rest is one, also of a client that we know."""
    server.change(rate_limits=RateLimits(requests_per_address=1, requests_per_client=1))
    for _ in range(RECORDED_A_SECOND + 20):
        await server.http.post("/token")
    limited = [record for record in server.records("token.refused") if record["reason"] == "limit.exceeded"]
    assert len(limited) == RECORDED_A_SECOND
    await server.issuer.journal.close()
    [counted] = server.records("journal.suppressed")
    assert (counted["reason"], counted["about"]["count"]) == ("limit.exceeded", 9 + RECORDED_A_SECOND)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


async def test_an_agent_calls_so_often_and_no_more(world: World) -> None:
    """At the gateway one above the limit is 429 `-31429` with the time to wait, for this agent and no other."""
    world.replace_gate(rates=CallRates(lambda: RateLimits(calls_per_agent=2), clock=lambda: 0.0))
    request = modern("tools/call", {"name": "list_events", "arguments": {}})
    assert [(await world.send(request)).status_code for _ in range(2)] == [200, 200]
    refused = await world.send(request)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    error = refused.json()["error"]
    assert (error["code"], error["data"]["reason"]) == (-31429, "limit.exceeded")
    assert refused.json()["id"] == 1
    record = (await world.records(5))[-1]
    assert (record["event"], record["reason"]) == ("call.refused", "limit.exceeded")
    assert record["in"]["agent"] == "trip-planner"
    other = world.token(client_id="other-agent")
    assert (await world.send(request, token=other)).status_code == 200
    assert len(world.upstream.received) == 3


async def test_a_flood_of_an_agent_is_counted_as_well(world: World) -> None:
    """Beyond the first few of a second its refusals are one record, so that it cannot fill the journal."""
    world.clock.stand()
    world.replace_gate(rates=CallRates(lambda: RateLimits(calls_per_agent=1), clock=lambda: 0.0))
    request = modern("tools/call", {"name": "list_events", "arguments": {}})
    assert (await world.send(request)).status_code == 200
    token = world.token()
    for _ in range(RECORDED_A_SECOND + 5):
        assert (await world.send(request, token=token)).status_code == 429
    records = await world.records(2 + RECORDED_A_SECOND)
    assert sum(record.get("reason") == "limit.exceeded" for record in records) == RECORDED_A_SECOND


async def test_a_token_that_is_not_good_here_uses_up_nothing(world: World) -> None:
    """Only what is bound and in force counts; a notification above the limit gets no body, and a GET none to read."""
    world.replace_gate(rates=CallRates(lambda: RateLimits(calls_per_agent=1), clock=lambda: 0.0))
    request = modern("tools/call", {"name": "list_events", "arguments": {}})
    for token in (world.token(aud="https://other.example.com/mcp"), world.token(exp=1), "x"):
        assert (await world.send(request, token=token)).status_code == 401
    assert (await world.send(request)).status_code == 200
    headers, _ = legacy("notifications/initialized")
    quiet = await world.send((headers, b'{"jsonrpc":"2.0","method":"notifications/initialized"}'))
    assert (quiet.status_code, quiet.content) == (429, b"")
    stream = await world.http.get(world.url, headers={**world.bearer(), "accept": "text/event-stream"})
    assert stream.status_code == 429


@pytest.mark.parametrize("key", ["requests_per_address", "requests_per_client", "calls_per_agent"])
def test_no_limit_refuses_everybody(tmp_path: Path, key: str) -> None:
    """Absent is the default, and 0 is no limit that can be written: neither would be meant."""
    usual: Any = load_example(tmp_path).rate_limits
    assert usual == RateLimits()
    assert getattr(load_example(tmp_path, _limits(f"{key}: 1")).rate_limits, key) == 1
    assert getattr(load_example(tmp_path, _limits(f"{key}:")).rate_limits, key) == getattr(usual, key)
    for bad in ("0", "-1", "1.5", "true", "off"):
        with pytest.raises(SettingsError) as refusal:
            load_example(tmp_path, _limits(f"{key}: {bad}"))
        assert f"limits.{key}" in str(refusal.value)


def _limits(line: str) -> tuple[str, str]:
    return "policies: policies/\n", f"policies: policies/\nlimits:\n  {line}\n"
