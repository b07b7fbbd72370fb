"""The client that the suite's `client` command runs: the official SDK speaks MCP, Perhop's library gets the tokens.

The suite starts it once for each scenario, with the server's URL as its last word and the rest in the environment.

    MCP_CONFORMANCE_SCENARIO=auth/metadata-default MCP_CONFORMANCE_PROTOCOL_VERSION=2026-07-28 \\
        python -m conformance.client http://localhost:3000/mcp
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
from mcp import Client, MCPError, types
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from perhop.client import IdentityAssertion, RegisteredClient, SignIn, TokenSource, WorkloadIdentity
from perhop.client.browser import Receiver
from perhop.client.resource_metadata import discover_resource
from perhop.errors import PerhopError
from perhop.rules.resource_uri import parse_resource_uri

MODERN = "2026-07-28"
OLD = "auth/2025-03-26-"
"""How scenarios begin whose server knows no metadata of its own: the library is told so, as it never guesses it."""
CALLBACK = "http://localhost:3000/callback"
CLIENT_DOCUMENT = "https://conformance-test.local/client-metadata.json"
# The suite's own tools, which it wants to be called.
_ADD = ("add_numbers", {"a": 5, "b": 3})
_SECONDS = 30.0

_TLS = ssl.create_default_context()  # made once: it costs more than most scenarios, which use none of it

Mode = Literal["auto", "legacy"]


class Redirected:
    """A person who agrees to everything at once: the suite's authorization endpoint answers with the redirect."""

    redirect_uri = CALLBACK

    @asynccontextmanager
    async def receiving(self, redirect_uri: str | None) -> AsyncIterator[Receiver]:  # noqa: ARG002 - always the same
        yield self

    async def answer_to(self, url: str, state: str) -> str:  # noqa: ARG002 - the library looks at it
        async with httpx2.AsyncClient(verify=_TLS) as http:
            answer = await http.get(url, follow_redirects=False)
        return urlsplit(answer.headers["location"]).query


async def _fill_in(
    context: ClientRequestContext,  # noqa: ARG001 - the SDK's signature
    params: types.ElicitRequestParams,
) -> types.ElicitResult | types.ErrorData:
    """Whoever is asked says yes, and leaves everything as it is proposed."""
    properties = params.requested_schema["properties"] if isinstance(params, types.ElicitRequestFormParams) else {}
    filled = {name: each["default"] for name, each in properties.items() if "default" in each}
    return types.ElicitResult(action="accept", content=filled or dict.fromkeys(properties, True))


async def _sample(
    context: ClientRequestContext,  # noqa: ARG001 - the SDK's signature
    params: types.CreateMessageRequestParams,  # noqa: ARG001 - the SDK's signature
) -> types.CreateMessageResult | types.ErrorData:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text=""), model="none")


async def _roots(context: ClientRequestContext) -> types.ListRootsResult | types.ErrorData:  # noqa: ARG001 - the SDK's
    return types.ListRootsResult(roots=[])


def _connected(url: str, *, mode: Mode, auth: httpx2.Auth | None = None) -> AbstractAsyncContextManager[Client]:
    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        async with (
            httpx2.AsyncClient(auth=auth, verify=_TLS, timeout=_SECONDS, follow_redirects=True) as http,
            Client(
                streamable_http_client(url, http_client=http),
                mode=mode,
                elicitation_callback=_fill_in,
                sampling_callback=_sample,
                list_roots_callback=_roots,
            ) as client,
        ):
            yield client

    return connected()


async def _list_only(client: Client, _: Mapping[str, Any]) -> None:
    await client.list_tools()


async def _call_listed(client: Client, _: Mapping[str, Any]) -> None:
    """Call the first tool, as a client would that has no others."""
    tools = (await client.list_tools()).tools
    if tools:
        await client.call_tool(tools[0].name, {})


def _calling(*calls: tuple[str, dict[str, Any]]) -> Callable[[Client, Mapping[str, Any]], Awaitable[None]]:
    async def calls_them(client: Client, _: Mapping[str, Any]) -> None:
        await client.list_tools()
        for name, arguments in calls:
            await client.call_tool(name, arguments)

    return calls_them


async def _call_as_told(client: Client, context: Mapping[str, Any]) -> None:
    """Every call that the suite names, of tools that are listed; a server may refuse one and be called again."""
    listed = {tool.name for tool in (await client.list_tools()).tools}
    for call in context.get("toolCalls", []):
        if call["name"] in listed:
            await _try(client, call["name"], call.get("arguments") or {})


async def _call_everything(client: Client, _: Mapping[str, Any]) -> None:
    """Every tool that the SDK takes for well described, with what its schema requires."""
    fitting: dict[str, Any] = {"string": "x", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}
    for tool in (await client.list_tools()).tools:
        properties = tool.input_schema.get("properties", {})
        required = tool.input_schema.get("required", [])
        await _try(client, tool.name, {name: fitting.get(properties[name].get("type"), "x") for name in required})


async def _echo_schema(client: Client, _: Mapping[str, Any]) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    await client.call_tool("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"].input_schema})


async def _try(client: Client, name: str, arguments: dict[str, Any]) -> None:
    try:
        await client.call_tool(name, arguments)
    except MCPError as refused:
        print(f"{name}: {refused}", file=sys.stderr)


_OPEN: Mapping[str, Callable[[Client, Mapping[str, Any]], Awaitable[None]]] = {
    "initialize": _list_only,
    "tools_call": _calling(_ADD),
    "request-metadata": _calling(_ADD),
    "http-standard-headers": _calling(_ADD),
    "sse-retry": _calling(("test_reconnection", {})),
    "elicitation-sep1034-client-defaults": _calling(("test_client_elicitation_defaults", {})),
    "sep-2322-client-request-state": _calling(
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ),
    "http-custom-headers": _call_as_told,
    "http-invalid-tool-headers": _call_everything,
    "json-schema-ref-no-deref": _list_only,
    "json-schema-2020-12-preservation": _echo_schema,
}
"""What is done in scenarios without authorization."""


_MACHINES = frozenset(
    f"auth/{name}"
    for name in (
        "client-credentials-jwt",
        "client-credentials-basic",
        "wif-jwt-bearer",
        "enterprise-managed-authorization",
    )
)


async def _issuer(url: str, http: httpx2.AsyncClient) -> str:
    """Whom the server names. A client with a secret would know that beforehand; the suite does not tell."""
    described = await discover_resource(http, parse_resource_uri(url))
    assert described is not None, "the suite's servers describe themselves"
    return described.issuers[0]


async def _machine(url: str, scenario: str, context: Mapping[str, Any], http: httpx2.AsyncClient) -> TokenSource | None:
    """Where tokens come from in the scenarios without a person."""
    issuer = await _issuer(url, http) if scenario in _MACHINES else ""
    match scenario:
        case "auth/client-credentials-jwt":
            key = context["private_key_pem"].encode()
            return TokenSource(issuer=issuer, client_id=context["client_id"], private_key=key, http=http)
        case "auth/client-credentials-basic":
            secret = context["client_secret"]
            return TokenSource(issuer=issuer, client_id=context["client_id"], client_secret=secret, http=http)
        case "auth/wif-jwt-bearer":
            return TokenSource(issuer=issuer, grant=WorkloadIdentity(lambda: context["valid_jwt"]), http=http)
        case "auth/enterprise-managed-authorization":
            grant = IdentityAssertion(
                issuer=context["idp_issuer"],
                client_id=context["idp_client_id"],
                read_id_token=lambda: context["idp_id_token"],
            )
            client_id, secret = context["client_id"], context["client_secret"]
            return TokenSource(issuer=issuer, client_id=client_id, client_secret=secret, grant=grant, http=http)
        case _:
            return None


def _person(url: str, scenario: str, context: Mapping[str, Any], http: httpx2.AsyncClient) -> SignIn:
    clients = []
    if "client_id" in context:
        known = {"client_id": context["client_id"], "client_secret": context.get("client_secret")}
        clients.append(RegisteredClient.at(context["issuer"], **known))
    return SignIn(
        url,
        name="Perhop's conformance client",
        clients=clients,
        client_document=None if clients else CLIENT_DOCUMENT,
        person=Redirected(),
        is_old_server=scenario.startswith(OLD),
        http=http,
    )


async def run(url: str, scenario: str, revision: str, context: Mapping[str, Any]) -> None:
    """Do what a scenario waits for."""
    # The server of that one scenario speaks only what there was before 2026-07-28.
    is_modern = revision == MODERN and scenario != "json-schema-ref-no-deref"
    mode: Mode = "auto" if is_modern else "legacy"
    if scenario in _OPEN:
        async with _connected(url, mode=mode) as client:
            await _OPEN[scenario](client, context)
        return
    async with httpx2.AsyncClient(verify=_TLS) as http:
        source = await _machine(url, scenario, context, http) or _person(url, scenario, context, http)
        auth = source.auth_for(url) if isinstance(source, TokenSource) else source.auth()
        async with source, _connected(url, mode=mode, auth=auth) as client:
            await _call_listed(client, context)


def main(url: str) -> int:
    """Run the scenario of the environment against this server; the exit code."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario, revision = os.environ["MCP_CONFORMANCE_SCENARIO"], os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    code = 0
    try:
        asyncio.run(run(url, scenario, revision, context))
    except* (PerhopError, MCPError) as refused:
        print(f"{scenario}: {refused.exceptions}", file=sys.stderr)
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
