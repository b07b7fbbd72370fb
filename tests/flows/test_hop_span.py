"""Servers of the official SDK and of FastMCP behind the guard: their own spans say which hop a call was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from opentelemetry.trace import SpanKind

from perhop.resource_server import Guard
from perhop.resource_server.fastmcp import TraceHop, fastmcp_auth
from perhop.resource_server.mcp_sdk import sdk_auth, trace_hop
from perhop.resource_server.testing import ThrowawayIssuer, throwaway_issuer
from perhop.rules.trace_context import render_traceparent
from tests.support.asgi_server import serving
from tests.support.mcp_wire import call_legacy, call_modern, initialize, initialized
from tests.support.spans import KeptSpan, kept_spans

CALL_ID = "00f067aa0ba902b7"


def _sdk(guard: Guard, *, is_traced: bool) -> Any:
    server = MCPServer("rooms", **sdk_auth(guard), middleware=[trace_hop] if is_traced else [])

    @server.tool()
    async def who() -> dict[str, Any]:
        return {}

    return guard.asgi(server.streamable_http_app())


def _fastmcp(guard: Guard, *, is_traced: bool) -> Any:
    server = FastMCP("rooms", auth=fastmcp_auth(guard), middleware=[TraceHop()] if is_traced else [])

    @server.tool
    def who() -> dict[str, Any]:
        return {}

    return server.http_app()


SERVERS = [pytest.param(_sdk, id="sdk"), pytest.param(_fastmcp, id="fastmcp")]


@asynccontextmanager
async def _site(make: Callable[..., Any], *, is_traced: bool = True) -> AsyncIterator[tuple[ThrowawayIssuer, str]]:
    async with throwaway_issuer() as issuer:
        guarded = serving(lambda url: make(Guard(resource=f"{url}/mcp", issuers=[issuer.url]), is_traced=is_traced))
        async with guarded as url:
            yield issuer, f"{url}/mcp"


def _of_tool_calls(spans: list[KeptSpan]) -> list[KeptSpan]:
    served = [span for span in spans if span.kind is SpanKind.SERVER]
    return [span for span in served if span.attributes["mcp.method.name"] == "tools/call"]


@pytest.mark.parametrize("make", SERVERS)
async def test_the_span_of_a_call_says_which_hop_it_is(make: Callable[..., Any]) -> None:
    """Audience, digest of the token's id, hop, transaction and the gateway's call: on the framework's own span."""
    async with _site(make) as (issuer, url), httpx2.AsyncClient() as http:
        claims = issuer.claims(url) | {"txn": "txn-7", "hop": 2, "jti": "token-7"}
        http.headers["traceparent"] = render_traceparent("txn-7", CALL_ID)
        with kept_spans() as spans:
            await call_modern(http, url, issuer.sign(claims), "who")
        (span,) = _of_tool_calls(spans)
    assert {name: value for name, value in span.attributes.items() if name.startswith("perhop.")} == {
        "perhop.decision": "admitted",
        "perhop.audience": url,
        "perhop.jti_sha256": hashlib.sha256(b"token-7").hexdigest(),
        "perhop.hop": 2,
        "perhop.txn": "txn-7",
        "perhop.call_id": CALL_ID,
    }
    assert span.ended == 1


@pytest.mark.parametrize("make", SERVERS)
async def test_no_span_is_added(make: Callable[..., Any]) -> None:
    """With the middleware there are exactly the spans that there are without."""
    seen = []
    for is_traced in (False, True):
        async with _site(make, is_traced=is_traced) as (issuer, url), httpx2.AsyncClient() as http:
            with kept_spans() as spans:
                await call_modern(http, url, issuer.mint(url), "who")
            seen.append([(span.name, span.kind) for span in spans])
    assert seen[0] == seen[1]
    assert seen[0]


@pytest.mark.parametrize("make", SERVERS)
async def test_in_a_session_each_span_is_of_its_own_token(make: Callable[..., Any]) -> None:
    """A later call with another token is not described by the first."""
    async with _site(make) as (issuer, url), httpx2.AsyncClient() as http:
        jtis, tokens = ("token-1", "token-2"), []
        for jti in jtis:
            tokens.append(issuer.sign(issuer.claims(url) | {"jti": jti}))
        session = await initialize(http, url, tokens[0])
        await initialized(http, url, tokens[0], session)
        with kept_spans() as spans:
            for token in tokens:
                await call_legacy(http, url, token, "who", session=session)
    digests = [span.attributes["perhop.jti_sha256"] for span in _of_tool_calls(spans)]
    assert digests == [hashlib.sha256(jti.encode()).hexdigest() for jti in jtis]


@pytest.mark.parametrize("make", SERVERS)
async def test_a_trace_of_somebody_else_names_no_call(make: Callable[..., Any]) -> None:
    """A `traceparent` that is not of the token's transaction may link spans, but is not taken for the gateway's."""
    async with _site(make) as (issuer, url), httpx2.AsyncClient() as http:
        http.headers["traceparent"] = render_traceparent("another", CALL_ID)
        with kept_spans() as spans:
            await call_modern(http, url, issuer.mint(url), "who")
    (span,) = _of_tool_calls(spans)
    assert span.attributes["perhop.decision"] == "admitted"
    assert "perhop.call_id" not in span.attributes


@pytest.mark.parametrize("make", SERVERS)
async def test_what_we_put_there_is_no_secret(make: Callable[..., Any]) -> None:
    """Neither the token nor any of its parts, nor its subject or its id in clear, is in an attribute of ours."""
    async with _site(make) as (issuer, url), httpx2.AsyncClient() as http:
        claims = issuer.claims(url) | {"sub": "user:ann", "jti": "token-7", "client_id": "trip-planner"}
        token = issuer.sign(claims)
        with kept_spans() as spans:
            await call_modern(http, url, token, "who")
    ours = [(name, value) for span in spans for name, value in span.attributes.items() if name.startswith("perhop.")]
    text = json.dumps(ours)
    assert ours
    assert [word for word in (*token.split("."), "user:ann", "token-7", "trip-planner") if word in text] == []


@pytest.mark.parametrize("make", SERVERS)
async def test_a_refused_call_has_no_span(make: Callable[..., Any]) -> None:
    """The guard answers before the framework sees the message: a refusal is in the log, not in a trace."""
    async with _site(make) as (issuer, url), httpx2.AsyncClient() as http:
        with kept_spans() as spans:
            answer = await call_modern(http, url, issuer.mint("https://other.example.com/mcp"), "who", raw=True)
    assert answer.status_code == 401
    assert _of_tool_calls(spans) == []
