"""Sessions through the gateway: sealed for their principal, and never a credential."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from perhop.gateway import forward
from perhop.gateway.sessions import SessionSealer
from tests.support.gateways import World, gateway
from tests.support.upstreams import Scripted, event, json_answer, legacy, modern, raw_answer, stream_answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


async def handshake(world: World, token: str | None = None) -> str:
    """A session, as the client knows it."""
    world.upstream.script = lambda _: json_answer({"protocolVersion": "2025-11-25"}, mcp_session_id="upstream-session")
    headers, body = legacy("initialize", {"protocolVersion": "2025-11-25"})
    return (await world.send((headers, body), token=token)).headers["mcp-session-id"]


async def listing(world: World, session: str, token: str | None = None) -> httpx2.Response:
    return await world.send(legacy("tools/list"), token=token, mcp_session_id=session)


async def test_a_session_is_sealed_for_the_client_and_opened_for_the_upstream(world: World) -> None:
    """The client never sees the upstream's id, the upstream only ever its own."""
    session = await handshake(world)
    assert "upstream-session" not in session
    assert (await listing(world, session)).status_code == 200
    assert world.upstream.last.header("mcp-session-id") == "upstream-session"
    assert (await listing(world, session, world.token(jti="renewed"))).status_code == 200


async def test_a_session_is_not_kept_with_what_an_answer_means(world: World) -> None:
    """The upstream's id is of one client, and an answer with it is read anew each time."""
    await handshake(world)
    world.upstream.script = lambda _: json_answer({"tools": []})
    assert (await world.send(legacy("tools/list"))).status_code == 200
    assert forward._heads
    assert "upstream-session" not in repr(forward._heads)


@pytest.mark.parametrize(
    "claims", [{"sub": "user:eve"}, {"client_id": "other-agent"}, {"tenant": "globex"}, {"agent": "other-agent"}]
)
async def test_a_session_of_another_principal_is_unknown(world: World, claims: dict[str, str]) -> None:
    """404 without a body, a record, and no call of the upstream."""
    session = await handshake(world)
    before = len(world.upstream.received)
    answer = await listing(world, session, world.token(**claims))
    assert (answer.status_code, answer.content) == (404, b"")
    assert len(world.upstream.received) == before
    refused = (await world.records(3))[-1]
    assert (refused["event"], refused["reason"]) == ("session.refused", "session.mismatch")


@pytest.mark.parametrize("session", ["upstream-session", "x", "", "A" * 9000, "é"])
async def test_a_session_that_we_did_not_seal_is_unknown(world: World, session: str) -> None:
    """Neither the upstream's own id nor anything made up passes."""
    request = legacy("tools/list")
    headers = [*request[0].items(), *world.bearer().items(), ("mcp-session-id", session.encode())]
    encoded = [(k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers]
    answer = await world.http.post(world.url, headers=encoded, content=request[1])
    assert answer.status_code == 404
    assert world.upstream.received == []


async def test_a_session_alone_is_nothing(world: World) -> None:
    """Without a token a session id is answered with 401."""
    session = await handshake(world)
    headers, body = legacy("tools/list")
    answer = await world.http.post(world.url, headers={**headers, "mcp-session-id": session}, content=body)
    assert answer.status_code == 401


async def test_a_session_ends_after_a_day(world: World) -> None:
    """A sealed id opens for 24 hours."""
    session = await handshake(world)
    world.clock.ahead += 24 * 3600 - 60
    assert (await listing(world, session)).status_code == 200
    world.clock.ahead += 120
    assert (await listing(world, session)).status_code == 404


async def test_a_predecessor_key_still_opens(world: World) -> None:
    """After a change of keys, sessions of the key before go on; those of the one before that do not."""
    session = await handshake(world)
    for keys, status in (([b"n" * 32, b"k" * 32], 200), ([b"n" * 32], 404)):
        world.replace_gate(sealer=SessionSealer(keys, clock=world.clock, random_bytes=os.urandom))
        assert (await listing(world, session)).status_code == status


@pytest.mark.parametrize("event_id", ["e-2", "\u00e9-2", "\u2192 2", "\U0001f4c5"])
async def test_a_stream_is_resumed_with_sealed_event_ids(world: World, event_id: str) -> None:
    """Event ids go out sealed and come back as the upstream wrote them; with another session they are unknown."""
    session = await handshake(world)
    priming = b"id: e-1\nretry: 100\ndata: \n\n"
    world.upstream.script = lambda _: stream_answer(
        (priming, event({"jsonrpc": "2.0", "method": "x"}, event_id=event_id))
    )
    octets = (await world.send(legacy("tools/list"), mcp_session_id=session)).content
    assert b"e-1" not in octets
    assert b"retry: 100" in octets
    sealed = [line.removeprefix(b"id: ").decode() for line in octets.splitlines() if line.startswith(b"id: ")]
    assert len(sealed) == 2

    headers = {"accept": "text/event-stream", "mcp-protocol-version": "2025-11-25", "last-event-id": sealed[1]}
    world.upstream.script = lambda _: stream_answer(())
    answer = await world.http.get(world.url, headers={**headers, **world.bearer(), "mcp-session-id": session})
    assert answer.status_code == 200
    assert world.upstream.last.header("last-event-id") == event_id

    other = {**headers, **world.bearer(sub="user:eve")}
    assert (await world.http.get(world.url, headers=other)).status_code == 404
    unsealed = {**headers, **world.bearer(), "mcp-session-id": session, "last-event-id": "e-2"}
    assert (await world.http.get(world.url, headers=unsealed)).status_code == 404
    world.upstream.received.clear()
    other_session = await handshake(world)
    moved = {**headers, **world.bearer(), "mcp-session-id": other_session}
    assert (await world.http.get(world.url, headers=moved)).status_code == 200


async def test_an_end_is_passed_on_and_so_is_what_the_upstream_says_of_it(world: World) -> None:
    """DELETE reaches the upstream; its 404 for an ended session reaches the client."""
    session = await handshake(world)
    headers = {"mcp-protocol-version": "2025-11-25", "mcp-session-id": session}
    world.upstream.script = lambda _: Scripted(204, {}, ())
    assert (await world.http.delete(world.url, headers={**headers, **world.bearer()})).status_code == 204
    assert (world.upstream.last.method, world.upstream.last.header("mcp-session-id")) == ("DELETE", "upstream-session")
    world.upstream.script = lambda _: raw_answer(b"", status=404)
    assert (await listing(world, session)).status_code == 404


async def test_no_session_is_made_where_the_upstream_makes_none(world: World) -> None:
    """The gateway has no sessions of its own."""
    answer = await world.send(legacy("initialize", {"protocolVersion": "2025-11-25"}))
    assert "mcp-session-id" not in answer.headers


async def test_a_modern_request_has_no_session(world: World) -> None:
    """Under 2026-07-28 both headers are ignored and not forwarded, and none comes back."""
    world.upstream.script = lambda _: json_answer({}, mcp_session_id="odd")
    answer = await world.send(modern("tools/list"), mcp_session_id="anything", last_event_id="anything")
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers
    assert world.upstream.last.header("mcp-session-id") is None
    assert world.upstream.last.header("last-event-id") is None


async def test_the_journal_keeps_a_fingerprint_of_the_session(world: World) -> None:
    """Records of one session can be joined; the id itself is not among them."""
    session = await handshake(world)
    await listing(world, session)
    await listing(world, session)
    records = await world.records(6)
    prints = {record["request"].get("session") for record in records if record["call"]["method"] == "tools/list"}
    assert len(prints) == 1
    assert prints != {None}
    assert "upstream-session" not in str(records)
    assert session not in str(records)


async def test_two_session_ids_are_none(world: World) -> None:
    """Of two readers each could take one: 400, whatever the ids."""
    session = await handshake(world)
    before = len(world.upstream.received)
    for doubled in ("mcp-session-id", "last-event-id"):
        pairs = [*legacy("tools/list")[0].items(), *world.bearer().items(), (doubled, session), (doubled, session)]
        for http_method in ("POST", "GET", "DELETE"):
            body = legacy("tools/list")[1] if http_method == "POST" else b""
            answer = await world.http.request(http_method, world.url, headers=pairs, content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert len(world.upstream.received) == before


async def test_a_session_that_ended_answers_nothing(world: World) -> None:
    """After DELETE no response of the client goes on, and the upstream's 404 reaches every request."""
    session = await handshake(world)
    asked = {"jsonrpc": "2.0", "id": "ask-1", "method": "roots/list"}
    world.upstream.script = lambda _: stream_answer((event(asked),))
    headers = {**world.bearer(), "mcp-protocol-version": "2025-11-25", "mcp-session-id": session}
    assert "ask-1" in (await world.http.get(world.url, headers=headers)).text
    world.upstream.script = lambda _: Scripted(204, {}, ())
    assert (await world.http.delete(world.url, headers=headers)).status_code == 204
    world.upstream.script = lambda _: raw_answer(b"", status=404)
    answer = (legacy("x")[0], b'{"jsonrpc":"2.0","id":"ask-1","result":{"roots":[]}}')
    assert (await world.send(answer, mcp_session_id=session)).status_code == 400
    for http_method in ("GET", "DELETE"):
        assert (await world.http.request(http_method, world.url, headers=headers)).status_code == 404
    assert (await listing(world, session)).status_code == 404


async def test_a_session_works_under_each_revision_with_a_handshake(world: World) -> None:
    """With the header that the revision wants, and without any, as 2025-03-26 has it."""
    session = await handshake(world)
    for revision in ("2025-11-25", "2025-06-18", "2025-03-26", None):
        headers, body = legacy("tools/list", revision=revision or "2025-11-25")
        if revision is None:
            del headers["mcp-protocol-version"]
        assert (await world.send((headers, body), mcp_session_id=session)).status_code == 200
        assert world.upstream.last.header("mcp-session-id") == "upstream-session"
        assert world.upstream.last.header("mcp-protocol-version") == revision
