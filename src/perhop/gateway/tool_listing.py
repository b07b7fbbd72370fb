"""List an upstream's tools as a client of our own, in whichever era it speaks: for the self-test and the catalogue.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from perhop.core.call import CallBinding, Headers
from perhop.core.token import HopToken, NoCredential, Onward
from perhop.errors import JsonUnparsable
from perhop.gateway.sse import parse_event, split_events
from perhop.gateway.upstream.interface import Upstream, UpstreamReply
from perhop.rules.call_binding import bind_call
from perhop.rules.mcp_headers import SESSION, VERSION, mirrored_headers
from perhop.rules.mcp_message import CAPABILITIES_KEY, VERSION_KEY, render_json
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS
from perhop.rules.strict_json import parse_json

MAX_PAGES = 50
MAX_ANSWER_BYTES = 16 * 1024 * 1024
METHOD_NOT_FOUND = -32601

_CLIENT = {"name": "perhop-gateway", "version": "1"}
_META = {
    VERSION_KEY: MODERN_REVISIONS[0],
    CAPABILITIES_KEY: {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


class Outcome(Enum):
    """How an upstream took a token."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Listing:
    """What came of asking for the tools. `is_whole` if every page has come, to the last one."""

    outcome: Outcome
    revision: str
    tools: tuple[Any, ...] = ()
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: how the token was taken, the result if there is one, else the error if it is one of JSON-RPC."""

    outcome: Outcome
    status: int
    result: Mapping[str, Any]
    error: Mapping[str, Any]
    session: str | None = None


Presenting = Callable[[CallBinding], Awaitable[Onward]]
"""Gives what is presented with one message: a call token is good for that one only."""


async def present_nothing(_call: CallBinding) -> Onward:
    """For an upstream that takes no token."""
    return NoCredential()


async def reach(upstream: Upstream) -> None:
    """Send one request without a token, only to see that something answers.

    Raises: UpstreamUnavailable
    """
    await Asking(upstream, present_nothing).notify("notifications/cancelled", ())


async def list_tools(upstream: Upstream, presenting: Presenting) -> Listing:
    """Ask for the tools without a session first, then with a handshake.

    Raises: UpstreamUnavailable, AnswerUnfit, and what `presenting` raises
    """
    asking = Asking(upstream, presenting)
    listing = await asking.pages(MODERN_REVISIONS[0], {"_meta": _META}, modern_headers("tools/list"))
    if listing.outcome is not Outcome.UNCLEAR:
        return listing
    return await _list_with_handshake(asking)


def modern_headers(method: str) -> Headers:
    """The headers that mirror a request of ours in the stateless revision."""
    return mirrored_headers(revision=MODERN_REVISIONS[0], method=method, name=None)


async def _list_with_handshake(asking: Asking) -> Listing:
    revision = LEGACY_REVISIONS[0]
    opened = await asking.open()
    if opened.outcome is not Outcome.ACCEPTED:
        return Listing(opened.outcome, revision)
    agreed = opened.result.get("protocolVersion")
    revision = agreed if isinstance(agreed, str) and agreed in LEGACY_REVISIONS else revision
    headers: Headers = ((VERSION, revision),)
    if opened.session is not None:
        headers = (*headers, (SESSION, opened.session))
    await asking.notify("notifications/initialized", headers)
    listing = await asking.pages(revision, {}, headers)
    if opened.session is not None:
        await asking.end(headers)
    return listing


class Asking:
    """One way of presenting, at one upstream."""

    def __init__(self, upstream: Upstream, presenting: Presenting) -> None:
        self._upstream = upstream
        self._presenting = presenting

    async def discover(self) -> Page:
        """The server's own word on what it speaks, under the stateless revision."""
        return await self.page("server/discover", {"_meta": _META}, modern_headers("server/discover"))

    async def open(self) -> Page:
        """The handshake of the revisions that have one."""
        opening = {"protocolVersion": LEGACY_REVISIONS[0], "capabilities": {}, "clientInfo": _CLIENT}
        return await self.page("initialize", opening, ())

    async def pages(self, revision: str, params: Mapping[str, Any], headers: Headers) -> Listing:
        """All pages of the tools; the first page says how the token was taken."""
        tools: list[Any] = []
        first: Outcome | None = None
        is_whole = False
        for _ in range(MAX_PAGES):
            page = await self.page("tools/list", params, headers)
            first = first or page.outcome
            held = page.result.get("tools")
            tools.extend(held if isinstance(held, list) else ())
            cursor = page.result.get("nextCursor")
            if not isinstance(cursor, str):
                is_whole = page.outcome is Outcome.ACCEPTED
                break
            params = {**params, "cursor": cursor}
        return Listing(first or Outcome.UNCLEAR, revision, tuple(tools), is_whole)

    async def page(self, method: str, params: Mapping[str, Any], headers: Headers) -> Page:
        """One request and its answer."""
        reply = await self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers)
        try:
            message = await _read_answer(reply)
        finally:
            await reply.close()
        if reply.status == 401:
            return Page(Outcome.REFUSED, reply.status, {}, {})
        result, error = message.get("result"), message.get("error")
        if 200 <= reply.status < 300 and isinstance(result, dict):
            return Page(Outcome.ACCEPTED, reply.status, result, {}, reply.header(SESSION))
        error = error if isinstance(error, dict) else {}
        # A server without tools says so only to those whom it lets in.
        is_toolless = error.get("code") == METHOD_NOT_FOUND and reply.status != 400
        return Page(Outcome.ACCEPTED if is_toolless else Outcome.UNCLEAR, reply.status, {}, error)

    async def notify(self, method: str, headers: Headers) -> None:
        reply = await self._post({"jsonrpc": "2.0", "method": method}, headers)
        await reply.close()

    async def end(self, headers: Headers) -> None:
        sent = (*await self._headers(bind_call("DELETE", {})), *headers)
        reply = await self._upstream.send("DELETE", sent, b"")
        await reply.close()

    async def _post(self, message: Mapping[str, Any], headers: Headers) -> UpstreamReply:
        presented = await self._headers(bind_call(message["method"], message.get("params", {})))
        sent = (*presented, ("content-type", "application/json"), *headers)
        return await self._upstream.send("POST", sent, render_json(message))

    async def _headers(self, call: CallBinding) -> Headers:
        headers: Headers = (("accept", "application/json, text/event-stream"), ("accept-encoding", "identity"))
        match onward := await self._presenting(call):
            case HopToken():
                return (*headers, ("authorization", f"Bearer {onward.minted.raw.reveal()}"))
            case NoCredential():
                return headers


async def _read_answer(reply: UpstreamReply) -> Mapping[str, Any]:
    """The JSON-RPC answer to our one request, from JSON or from a stream; empty if there is none to be read."""
    if (reply.header("content-type") or "").partition(";")[0].strip().lower() == "text/event-stream":
        async for raw in split_events(reply.chunks, max_bytes=MAX_ANSWER_BYTES):
            message = _parse(parse_event(raw).data or b"")
            if message.get("id") == 1 and "method" not in message:
                return message
        return {}
    octets = bytearray()
    async for chunk in reply.chunks:
        octets += chunk
        if len(octets) > MAX_ANSWER_BYTES:
            return {}
    return _parse(bytes(octets))


def _parse(octets: bytes) -> Mapping[str, Any]:
    try:
        message = parse_json(octets, max_bytes=MAX_ANSWER_BYTES, max_depth=256, max_keys=100_000)
    except JsonUnparsable:
        return {}
    return message if isinstance(message, dict) else {}
