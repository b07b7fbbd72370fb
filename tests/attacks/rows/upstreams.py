"""What lies behind the gateway: hostile servers, tokens on their way there, streams, and parts that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from perhop.authorization_server.revocation import RevokedObject
from perhop.core.token import VerifiedToken
from perhop.resource_server import Guard
from tests.attacks.row import PASSES_GATEWAY, Door, Expected, Row, Seen
from tests.attacks.servers import answering
from tests.attacks.tries import refused, tried, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, a_request, claims_in, with_token
from tests.support.gateways import gateway
from tests.support.upstreams import Scripted, event, modern, stream_answer

UNAVAILABLE = Expected("503 -31503", None, records=2, passed=1)
"""The call was permitted and sent, so permit and end are written; the end says why, as its error."""
CALL = a_call("list_events", {"day": ARGUMENT})


async def _passthrough(world: World) -> dict[str, Seen]:
    """The server gets a token of its own, narrower and shorter, and nothing of the caller's."""
    entrance = world.entrance(Door.GATEWAY)
    inbound = await world.token()
    seen = await world.knock(entrance, with_token(CALL, inbound))
    arrived = world.calendar.from_gateway.arrived[-1]
    outbound = claims_in(arrived.bearer)
    assert [value for name, value in arrived.headers if name == "authorization"] == [f"Bearer {arrived.bearer}"]
    assert inbound not in str(arrived.headers)
    assert outbound["aud"] == f"http://{world.at.calendar_past}/mcp"
    assert outbound["client_id"] == "gateway:calendar"
    assert outbound["exp"] - outbound["iat"] <= 60
    assert outbound["exp"] <= claims_in(inbound)["exp"]
    return {"": seen}


async def _kept_token(world: World) -> dict[str, Seen]:
    """No caller travels on a hop token that was made for another, or for another token of its own."""
    entrance = world.entrance(Door.GATEWAY)
    both = "calendar:read calendar:write"
    callers: dict[str, dict[str, Any]] = {
        "first": {"sub": "user:ann", "scope": both},
        "another subject": {"sub": "user:bob", "scope": both},
        "another agent": {"sub": "user:ann", "agent": "mallory", "scope": both},
        "another presenter": {"sub": "user:ann", "client_id": "mallory", "scope": both},
        "fewer scopes": {"sub": "user:ann", "scope": "calendar:read"},
        "another transaction": {"sub": "user:ann", "scope": both, "txn": "another"},
        "an actor": {"sub": "user:ann", "scope": both, "act": {"sub": "calendar-server"}},
    }
    sights, seen_tokens = {}, set()
    for name, changes in callers.items():
        token = world.forge(entrance.audience, **changes)
        sights[name] = await world.knock(entrance, with_token(CALL, token))
        hop = claims_in(world.calendar.from_gateway.arrived[-1].bearer)
        parent = claims_in(token)
        assert (hop["sub"], hop["txn"]) == (parent["sub"], parent["txn"])
        assert set(hop["scope"].split()) == set(parent["scope"].split())
        assert hop["agent"] == parent.get("agent", parent["client_id"])
        seen_tokens.add(hop["jti"])
    assert len(seen_tokens) == len(callers)
    return sights


async def _refusing_server(world: World) -> dict[str, Seen]:
    """A server that says no to our token gets no other one, and the caller does not get its answer."""
    entrance = world.entrance(Door.GATEWAY, "scripted")
    challenge = {"www-authenticate": 'Bearer error="insufficient_scope", scope="everything"'}
    answers = {
        "401": Scripted(401, challenge),
        "403 with a challenge": Scripted(403, challenge),
        "407": Scripted(407, {"proxy-authenticate": "Basic"}),
        "redirect": Scripted(307, {"location": "http://evil.example/mcp"}),
        "redirect to itself": Scripted(302, {"location": f"http://{world.at.scripted}/elsewhere"}),
    }
    sights = {}
    for name, answer in answers.items():
        with answering(world.scripted, answer):
            token = world.forge(entrance.audience, scope="scripted:use")
            sights[name] = seen = await world.knock(entrance, with_token(CALL, token))
        assert seen.answer is not None
        assert seen.answer.header("www-authenticate") is None
        assert seen.answer.header("location") is None
        assert world.last_record().part("result")["error"] == "upstream.unavailable"
    return sights


async def _open_server(world: World) -> Seen:
    """The self-test has shown that this server takes tokens for others: it gets none."""
    entrance = world.entrance(Door.GATEWAY, "open")
    return await world.knock(entrance, with_token(CALL, world.forge(entrance.audience, scope="open:use")))


async def _endless(started: asyncio.Event) -> AsyncIterator[bytes]:
    yield event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}})
    started.set()
    await asyncio.Event().wait()


def _outliving(end: Callable[[World, str], Any], reason: str) -> Any:
    """Open a stream, make its token worthless, and see how the stream ends."""

    async def attempt(world: World) -> Seen:
        world.tick()
        entrance = world.entrance(Door.GATEWAY, "scripted")
        token = world.forge(entrance.audience, scope="scripted:use")
        listen = with_token(a_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}), token)
        headers = {name: value for name, value in listen.headers if name != "content-length"}
        size, started = world.reader.size(), asyncio.Event()
        url = f"{world.issuer}{entrance.path}"
        with answering(world.scripted, stream_answer(_endless(started))):
            async with world.http.stream("POST", url, headers=headers, content=listen.body) as answer:
                await asyncio.wait_for(started.wait(), 5)
                await end(world, claims_in(token)["jti"])
                last = (await answer.aread()).decode().strip().splitlines()[-1]
            await asyncio.wait_for(world.scripted.gone.wait(), 5)
            world.scripted.gone.clear()
        assert f'"reason":"{reason}"' in last
        assert '"code":-31401' in last
        records = [each for each in world.records_since(size) if each.fields["event"].startswith("call.")]
        assert records[-1].part("result")["error"] == "cut"
        return Seen(observed="cut", reason=reason, records=len(records))

    return attempt


async def _revoke(world: World, jti: str) -> None:
    await world.plane.issuer.revoker.revoke(RevokedObject.TOKEN, jti, why="an attack", by="tests")


async def _outlive(world: World, _: str) -> None:
    """Time goes on; somebody else's revocation makes every stream look at the clock."""
    world.clock.now += 400
    await world.plane.issuer.revoker.revoke(RevokedObject.SUBJECT, "user:somebody", why="an attack", by="tests")


class _VerifierFailed(Exception):
    """A bug, as far as anybody can tell."""


async def _failing_verifier(_: World) -> Seen:
    """A verifier that fails admits nobody: there is no default identity."""

    def fail(_: str) -> VerifiedToken:
        raise _VerifierFailed

    with TemporaryDirectory() as folder:
        async with gateway(Path(folder)) as small:
            small.replace_gate(verify=fail)
            answer = await small.send(modern("tools/call", {"name": "list_events", "arguments": {}}))
            records = await small.records(1)
            passed = len(small.upstream.received)
    assert records[0]["result"]["error"] == "internal"
    return Seen(observed=str(answer.status_code), records=len(records), passed=passed)


async def _failing_guard(world: World) -> Seen:
    """The same at a guard: what fails while keys are fetched is no answer."""

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise _VerifierFailed

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(fail))
    audience = "https://mcp.example.com/mcp"
    guard = Guard(resource=audience, issuers=[world.issuer], http=http, clock=world.clock)
    wire = with_token(CALL, world.forge(audience))
    try:
        outcome = await guard.check(method="POST", path="/mcp", headers=wire.headers, body=wire.body)
    except _VerifierFailed:
        return Seen(observed="500")
    finally:
        await guard.aclose()
        await http.aclose()
    return Seen(observed=str(getattr(outcome, "status", 200)), reason=getattr(outcome, "reason", None))


async def _without_journal(_: World) -> Seen:
    """A journal that does not write lets no call pass, and says so to the caller."""
    with TemporaryDirectory() as folder:
        async with gateway(Path(folder)) as small:
            await small.journal.close()
            answer = await small.send(modern("tools/call", {"name": "list_events", "arguments": {}}))
            error = answer.json()["error"]
            passed = len(small.upstream.received)
    assert int(answer.headers["retry-after"]) > 0
    return Seen(observed=f"{answer.status_code} {error['code']}", reason=error["data"]["reason"], passed=passed)


ONWARD = "a guard has no server behind it that it would send a token to"
STREAMS = "a guard looks at a request when it comes; how long its stream lasts is the application's part"

ROWS: tuple[Row, ...] = (
    tried(
        "token-passthrough",
        "the caller's own token goes on to the server",
        "MCP security best practices; RFC 9700 §4.10",
        Door.GATEWAY,
        _passthrough,
        PASSES_GATEWAY,
        only=ONWARD,
    ),
    tried(
        "hop-token-of-another-caller",
        "a kept hop token serves a caller it was not made for",
        "CVE-2026-35030",
        Door.GATEWAY,
        _kept_token,
        PASSES_GATEWAY,
        only=ONWARD,
    ),
    tried(
        "server-asks-for-more",
        "a server refuses or redirects, so that it is asked again with more",
        "MCP authorization; RFC 9110 §15.4",
        Door.GATEWAY,
        _refusing_server,
        UNAVAILABLE,
        only=ONWARD,
    ),
    tried(
        "server-takes-any-audience",
        "a server that takes tokens addressed to others",
        "CVE-2025-69196; MCP authorization",
        Door.GATEWAY,
        _open_server,
        refused("upstream.open", "503 -31503"),
        only=ONWARD,
    ),
    tried(
        "stream-outlives-revocation",
        "a stream that was open before its token was revoked",
        "AISVS 9.5.6",
        Door.GATEWAY,
        _outliving(_revoke, "token.revoked"),
        Expected("cut", "token.revoked", records=2),
        only=STREAMS,
    ),
    tried(
        "stream-outlives-token",
        "a standing stream whose token has expired",
        "AISVS 9.5.6",
        Door.GATEWAY,
        _outliving(_outlive, "token.expired"),
        Expected("cut", "token.expired", records=2),
        only=STREAMS,
    ),
    tried_at(
        "failing-verifier",
        "a verifier that fails instead of answering",
        "CVE-2026-12773; CVE-2026-28498",
        {
            Door.GATEWAY: (_failing_verifier, Expected("500", None, records=1)),
            Door.GUARD: (_failing_guard, Expected("500", None, records=0)),
        },
    ),
    tried(
        "journal-cannot-write",
        "calls while nothing can be recorded",
        "CWE-778",
        Door.GATEWAY,
        _without_journal,
        Expected("503 -31503", "journal.unavailable", records=0),
        only="a guard writes no journal",
    ),
)
