"""What an MCP server answers to somebody without a token of ours: asked once, looked at by several checks.

Nothing that is sent is a token of ours: each of those is recorded before it leaves, and a doctor writes no record.

Spec: MCP 2026-07-28 basic/versioning
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from perhop.client.fetch import Answer, fetch, why_unreachable
from perhop.core.resource import Upstream
from perhop.core.token import TokenDraft
from perhop.errors import AnswerUnfit, IssuerUnavailable, JsonUnparsable
from perhop.founding import Told, ask_server
from perhop.gateway.sse import parse_event, split_events
from perhop.gateway.upstream.tls import tls_trusting
from perhop.rules.mcp_headers import SESSION, VERSION, mirrored_headers
from perhop.rules.mcp_message import CAPABILITIES_KEY, VERSION_KEY, render_json
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS, SUPPORTED_REVISIONS
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.strict_json import parse_json
from perhop.tokens.keys import SigningKey
from perhop.tokens.mint import mint

SECONDS = 5.0
MAX_BYTES = 1024 * 1024

_CLIENT = {"name": "perhop-doctor", "version": "1"}
_ACCEPTS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """`problem` says why there are none. `skew` is how far the server's clock is ahead, in seconds, if it told.

    `takes_strangers` is True of a server that lets in whoever has no token, or one under a key that nobody knows.
    `metadata_url` is what its challenge named.
    """

    problem: str = ""
    skew: float | None = None
    wants_token: bool = False
    takes_strangers: bool = False
    revisions: tuple[str, ...] = ()
    metadata_url: str = ""
    told: Told = field(default_factory=Told)


async def ask_upstream(upstream: Upstream, *, issuer: str, clock: Callable[[], float], tls: ssl.SSLContext) -> Answers:
    """Ask a server at a URL. Never raises for what it does or leaves undone."""
    url = upstream.url or ""
    if upstream.ca_certificates is not None:
        tls = tls_trusting(upstream.ca_certificates)
    async with httpx2.AsyncClient(verify=tls, trust_env=False) as http:
        try:
            discovered = await _post(http, url, _DISCOVER, _MODERN)
        except IssuerUnavailable as failure:
            return Answers(problem=in_words(failure))
        skew = skew_of(discovered, clock())
        revisions = _supported(await _message(discovered))
        greeted = await _greet(http, url, "")
        if greeted is not None and greeted.status == 200:
            revisions = [*revisions, str(_result(await _message(greeted)).get("protocolVersion", ""))]
        is_let_in = bool(revisions)
        if not is_let_in:
            stranger = await _greet(http, url, _strangers_token(issuer, clock()))
            is_let_in = stranger is not None and 200 <= stranger.status < 300
        return Answers(
            skew=skew,
            wants_token=401 in (discovered.status, None if greeted is None else greeted.status),
            takes_strangers=is_let_in,
            revisions=tuple(each for each in SUPPORTED_REVISIONS if each in revisions),
            metadata_url=_named_metadata(discovered),
            told=await ask_server(url, seconds=SECONDS, tls=tls),
        )


def skew_of(answer: Answer, now: float) -> float | None:
    """How many seconds the other clock is ahead; None if the answer does not tell."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp() - now
    except (KeyError, ValueError):
        return None


def in_words(failure: Exception) -> str:
    """Why nothing came back, as far as the network said."""
    return why_unreachable(failure, seconds=SECONDS)


_META = {VERSION_KEY: MODERN_REVISIONS[0], CAPABILITIES_KEY: {}, "io.modelcontextprotocol/clientInfo": _CLIENT}
_DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}}
_MODERN = dict(mirrored_headers(revision=MODERN_REVISIONS[0], method="server/discover", name=None))
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY_REVISIONS[0], "capabilities": {}, "clientInfo": _CLIENT},
}


async def _greet(http: httpx2.AsyncClient, url: str, token: str) -> Answer | None:
    """Begin a session and end it at once; None if nothing came back."""
    try:
        answer = await _post(http, url, _INITIALIZE, {"authorization": f"Bearer {token}"} if token else {})
        if (session := answer.headers.get(SESSION)) is not None:
            ended = http.build_request("DELETE", url, headers={SESSION: session, VERSION: LEGACY_REVISIONS[0]})
            await fetch(http, ended, max_bytes=MAX_BYTES, seconds=SECONDS)
    except IssuerUnavailable:
        return None
    return answer


async def _post(http: httpx2.AsyncClient, url: str, message: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    request = http.build_request("POST", url, headers={**_ACCEPTS, **headers}, content=render_json(message))
    return await fetch(http, request, max_bytes=MAX_BYTES, seconds=SECONDS)


async def _message(answer: Answer) -> Mapping[str, Any]:
    """The JSON-RPC answer to our one request, from JSON or from a stream; empty if there is none to be read."""
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        return _parsed(answer.body)
    try:
        async for raw in split_events(_once(answer.body), max_bytes=MAX_BYTES):
            message = _parsed(parse_event(raw).data or b"")
            if message.get("id") == 1 and "method" not in message:
                return message
    except AnswerUnfit:
        pass
    return {}


async def _once(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


def _parsed(octets: bytes) -> Mapping[str, Any]:
    try:
        message = parse_json(octets, max_bytes=MAX_BYTES)
    except JsonUnparsable:
        return {}
    return message if isinstance(message, dict) else {}


def _result(message: Mapping[str, Any]) -> Mapping[str, Any]:
    result = message.get("result")
    return result if isinstance(result, dict) else {}


def _supported(message: Mapping[str, Any]) -> list[str]:
    """The revisions that a discovery names, or the error to one."""
    error = message.get("error")
    told = error.get("data") if isinstance(error, dict) and error.get("code") == -32022 else None
    named = told.get("supported") if isinstance(told, dict) else _result(message).get("supportedVersions")
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []


def _named_metadata(answer: Answer) -> str:
    """The metadata's address in a challenge. Spec: RFC 9728 §5.1."""
    match = re.search(r'resource_metadata="([^"\\]+)"', answer.headers.get("www-authenticate", ""))
    return match[1] if match else ""


def _strangers_token(issuer: str, now: float) -> str:
    """A token that looks like ours, for an audience that is nobody's, under a key that is forgotten at once."""
    seconds = int(now)
    draft = TokenDraft(
        issuer=issuer,
        jti="doctor",
        subject="doctor",
        client_id="doctor",
        audience=parse_resource_uri(f"{issuer}/canary/doctor"),
        scopes=frozenset(),
        issued_at=seconds,
        expires_at=seconds + 30,
        txn="doctor",
    )
    return mint(draft, SigningKey.generate()).raw.reveal()
