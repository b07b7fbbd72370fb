"""The self-test: an upstream gets our tokens only once it has refused one that is good nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.core.resource import CredentialKind
from perhop.errors import AudienceMismatch
from perhop.gateway.readiness import Verdict
from perhop.gateway.self_test import SelfTest
from perhop.rules.audience import bind_audience
from perhop.tokens.verify import Leeway, verify
from tests.support.gateways import World, gateway
from tests.support.upstreams import Received, Scripted, json_answer, raw_answer, sdk_upstream

TOOLS = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, verdict=Verdict.UNTESTED) as made:
        yield made


def self_test(world: World) -> SelfTest:
    return SelfTest(
        resource=world.gate.resource,
        tokens=world.exchanger,
        upstream=world.gate.upstream,
        readiness=world.gate.readiness,
        catalogue=world.gate.catalogue,
        revisions=world.gate.revisions,
    )


def is_addressed_to(world: World, received: Received) -> bool:
    """What a server that looks at the audience would say of a request."""
    keys = {world.issuer: {world.key.kid: world.key.public()}}
    raw = (received.header("authorization") or "").removeprefix("Bearer ")
    token = verify(raw, keys=keys, now=int(world.clock()), leeway=Leeway.NONE)
    assert world.gate.resource.upstream is not None
    assert world.gate.resource.upstream.resource is not None
    try:
        bind_audience(token, world.gate.resource.upstream.resource)
    except AudienceMismatch:
        return False
    return True


def modern_server(world: World, *, looks: bool) -> None:
    def script(received: Received) -> Scripted:
        if looks and not is_addressed_to(world, received):
            return raw_answer(b"", status=401)
        return json_answer(TOOLS)

    world.upstream.script = script


def legacy_server(world: World, *, looks: bool) -> None:
    def script(received: Received) -> Scripted:
        if looks and not is_addressed_to(world, received):
            return raw_answer(b"", status=401)
        if received.method == "DELETE" or "id" not in received.message:
            return Scripted(202, {}, ())
        if received.message["method"] == "initialize":
            return json_answer({"protocolVersion": "2025-06-18"}, mcp_session_id="s")
        if received.header("mcp-session-id") != "s" or received.header("mcp-protocol-version") != "2025-06-18":
            return raw_answer(b"no session", status=400, content_type="text/plain")
        return json_answer(TOOLS)

    world.upstream.script = script


@pytest.mark.parametrize("serve", [modern_server, legacy_server])
async def test_an_upstream_that_looks_at_the_audience_enforces(world: World, serve: object) -> None:
    """The right token is taken and the canary refused, in either era; the tools are known afterwards."""
    assert callable(serve)
    serve(world, looks=True)
    assert await self_test(world).run() is Verdict.ENFORCES
    assert world.gate.readiness.passes
    assert world.gate.catalogue.schema_of("echo") == {"type": "object"}


@pytest.mark.parametrize("serve", [modern_server, legacy_server])
async def test_an_upstream_that_takes_the_canary_is_open(world: World, serve: object) -> None:
    """A server that takes a token that is good nowhere gets none that is good somewhere."""
    assert callable(serve)
    serve(world, looks=False)
    assert await self_test(world).run() is Verdict.OPEN
    assert not world.gate.readiness.passes


async def test_a_server_that_refuses_everything_has_shown_nothing(world: World) -> None:
    """A right token must pass, or the refusal of the wrong one says nothing."""
    world.upstream.script = lambda _: raw_answer(b"", status=401)
    assert await self_test(world).run() is Verdict.INCONCLUSIVE
    assert not world.gate.readiness.passes


async def test_a_server_that_begins_to_refuse_everything_has_shown_nothing(world: World) -> None:
    """It took the right token and then refused the canary, but it would have refused the right one as well by then."""

    def script(received: Received) -> Scripted:
        if not is_addressed_to(world, received):
            world.upstream.script = lambda _: raw_answer(b"", status=401)
            return raw_answer(b"", status=401)
        return json_answer(TOOLS)

    world.upstream.script = script
    assert await self_test(world).run() is Verdict.INCONCLUSIVE
    assert not world.gate.readiness.passes


async def test_the_official_sdk_without_a_guard_is_open(tmp_path: Path) -> None:
    """A bare server on the official SDK takes any token."""
    async with sdk_upstream() as url, gateway(tmp_path, upstream_url=url, verdict=Verdict.UNTESTED) as world:
        assert await self_test(world).run() is Verdict.OPEN
        assert world.gate.catalogue.schema_of("add") is not None


async def test_an_upstream_that_is_away_keeps_its_verdict(tmp_path: Path) -> None:
    """An outage is no evidence; before the first verdict it is closed anyway."""
    async with gateway(tmp_path, upstream_url="http://127.0.0.1:9/mcp", verdict=Verdict.UNTESTED) as world:
        assert await self_test(world).run() is Verdict.INCONCLUSIVE
        assert not world.gate.readiness.passes
        world.gate.readiness.verdict = Verdict.ENFORCES
        await self_test(world).run()
        assert world.gate.readiness.passes


async def test_an_upstream_that_stops_looking_is_closed_again(world: World) -> None:
    """The verdict falls when the canary passes."""
    world.gate.readiness.verdict = Verdict.ENFORCES
    modern_server(world, looks=False)
    await self_test(world).run()
    assert not world.gate.readiness.passes


async def test_an_upstream_without_credential_is_asked_for_its_tools_only(tmp_path: Path) -> None:
    """It gets no token, so there is nothing to test; its schemas are learned."""
    async with gateway(tmp_path, kind=CredentialKind.NONE, verdict=Verdict.UNTESTED) as world:
        world.upstream.script = lambda _: json_answer(TOOLS)
        await self_test(world).run()
        assert world.gate.readiness.passes
        assert world.gate.catalogue.schema_of("echo") is not None
        assert {received.header("authorization") for received in world.upstream.received} == {None}


async def test_it_goes_on_until_it_is_stopped(world: World) -> None:
    """The background task writes the verdict by itself."""
    modern_server(world, looks=False)
    real_script, passed = world.upstream.script, asyncio.Event()

    def script(received: Received) -> Scripted:
        if received.header("authorization") is None:
            return raw_answer(b"", status=401)
        if not is_addressed_to(world, received):
            passed.set()
            return raw_answer(b"", status=401)
        answer = real_script(received)
        assert isinstance(answer, Scripted)
        return answer

    world.upstream.script = script
    running = asyncio.create_task(self_test(world).keep_running())
    await asyncio.wait_for(passed.wait(), 5)
    while not world.gate.readiness.passes:
        await asyncio.sleep(0)
    running.cancel()
