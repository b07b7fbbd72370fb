"""Replies as a streamable-HTTP server would give them: JSON or a stream, and the status of each era."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.conversation import PendingCall
from perhop.gateway.upstream.interface import UpstreamReply
from perhop.gateway.upstream.labels import Labels
from perhop.gateway.upstream.mailbox import Mailbox
from perhop.gateway.upstream.reply import answer_call, no_handshakes, only_handshakes, stream
from perhop.rules.mcp_methods import Era


def a_call(*before: bytes, answer: Mapping[str, Any] | None) -> PendingCall:
    """A call that got these messages, and then its answer if there is one."""
    call = PendingCall("tools/call", Labels(ours=1, rpc_id="mine", progress_token=None), heard_before=0)
    for message in before:
        call.mailbox.put(message)
    if answer is not None:
        call.answer = answer
        call.mailbox.put(json.dumps(answer).encode())
    call.mailbox.finish()
    return call


async def nothing() -> None:
    return None


async def body_of(reply: UpstreamReply) -> bytes:
    return b"".join([chunk async for chunk in reply.chunks])


def error(code: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "x"}}


async def test_an_answer_alone_is_json_and_after_anything_else_a_stream() -> None:
    """What came first decides, however much has come by the time that it is looked at."""
    done = {"jsonrpc": "2.0", "id": 1, "result": {}}
    alone = await answer_call(a_call(answer=done), era=Era.MODERN, close=nothing)
    assert (alone.status, alone.header("content-type")) == (200, "application/json")
    assert json.loads(await body_of(alone)) == done
    after = await answer_call(a_call(b'{"progress":1}', answer=done), era=Era.MODERN, close=nothing)
    assert (after.status, after.header("content-type")) == (200, "text/event-stream")
    events = [line[6:] for line in (await body_of(after)).splitlines() if line.startswith(b"data: ")]
    assert [json.loads(each) for each in events] == [{"progress": 1}, done]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (-32700, 400),
        (-32600, 400),
        (-32602, 400),
        (-32020, 400),
        (-32021, 400),
        (-32022, 400),
        (-32601, 404),
        (-1, 200),
    ],
)
async def test_some_errors_have_a_status_in_the_stateless_era(code: int, status: int) -> None:
    """A modern server tells them by the status as well; one of the handshake era answers 200."""
    for era, expected in ((Era.MODERN, status), (Era.LEGACY, 200)):
        assert (await answer_call(a_call(answer=error(code)), era=era, close=nothing)).status == expected


async def test_a_call_that_ends_without_an_answer_is_unavailable() -> None:
    """There is nothing that a caller could be told."""
    with pytest.raises(UpstreamUnavailable):
        await answer_call(a_call(answer=None), era=Era.MODERN, close=nothing)


async def test_a_stream_with_nothing_to_say_gives_signs_of_life() -> None:
    """Between messages comments are sent, which clients skip, and no message is lost over them."""
    mailbox = Mailbox()
    chunks = stream(mailbox, close=nothing, keep_alive=0.01).chunks
    assert [await anext(chunks) for _ in range(2)] == [b": still here\n\n"] * 2
    mailbox.put(b"{}")
    mailbox.finish()
    assert b"".join([chunk async for chunk in chunks]) == b"event: message\ndata: {}\n\n"


async def test_the_other_era_is_told_apart_by_its_error() -> None:
    """A modern server says what it speaks with a code of its era; one with handshakes uses no such code."""
    message = {"jsonrpc": "2.0", "id": 7, "method": "initialize"}
    modern = json.loads(await body_of(no_handshakes(message, "2025-06-18")))
    assert (modern["id"], modern["error"]["code"]) == (7, -32022)
    assert modern["error"]["data"] == {"supported": ["2026-07-28"], "requested": "2025-06-18"}
    legacy = json.loads(await body_of(only_handshakes(message, "2025-11-25")))
    assert (legacy["id"], legacy["error"]["code"]) == (7, -32000)
