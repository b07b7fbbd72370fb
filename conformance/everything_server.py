"""An MCP server with every fixture of the conformance suite, on the official SDK.

With `--issuer` and `--resource` our library guards it; with `--bare` nothing does: that run is what the guarded ones
are measured against.

    python -m conformance.everything_server --bare --port 3901
    python -m conformance.everything_server --issuer URL --resource URI --port 3901
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.mcpserver import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceRequestParams,
    ReadResourceResult,
)
from starlette.types import ASGIApp

from conformance.everything.content import PROMPTS, RESOURCES, TEMPLATES, get_prompt, read_resource
from conformance.everything.fixture import Context, ToolAnswer
from conformance.everything.replay import EventMemory
from conformance.everything.rounds import ROUNDS
from conformance.everything.tools import tool_fixtures

NAME = "perhop-everything-server"
_RETRY_MS = 100


def build_server() -> Server[Any]:
    """The server, with every handler that the suite calls."""
    bus = InMemorySubscriptionBus()
    tools = {fixture.name: fixture for fixture in (*tool_fixtures(bus), *ROUNDS)}

    async def list_tools(_: Context, __: Any) -> ListToolsResult:
        return ListToolsResult(tools=[fixture.listed() for fixture in tools.values()])

    async def call_tool(ctx: Context, call: CallToolRequestParams) -> ToolAnswer:
        if call.name not in tools:
            raise MCPError(code=INVALID_PARAMS, message="no such tool")
        return await tools[call.name].run(ctx, call)

    async def list_prompts(_: Context, __: Any) -> ListPromptsResult:
        return ListPromptsResult(prompts=list(PROMPTS))

    async def prompt(_: Context, asked: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
        return get_prompt(asked)

    async def list_resources(_: Context, __: Any) -> ListResourcesResult:
        return ListResourcesResult(resources=list(RESOURCES))

    async def list_templates(_: Context, __: Any) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=list(TEMPLATES))

    async def resource(_: Context, asked: ReadResourceRequestParams) -> ReadResourceResult:
        return read_resource(str(asked.uri))

    async def complete(_: Context, __: CompleteRequestParams) -> CompleteResult:
        return CompleteResult(completion=Completion(values=[], total=0, has_more=False))

    async def accept(_: Context, __: Any) -> EmptyResult:
        return EmptyResult()

    server: Server[Any] = Server(
        NAME,
        version="1",
        get_tool_input_schema=lambda name: tools[name].input_schema if name in tools else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=prompt,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=resource,
        on_subscribe_resource=accept,
        on_unsubscribe_resource=accept,
        on_set_logging_level=accept,
        on_completion=complete,
        on_subscriptions_listen=ListenHandler(bus),
    )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


def build_app(server: Server[Any]) -> ASGIApp:
    """The streamable-HTTP application; it refuses hosts and origins that are not of the loopback."""
    return server.streamable_http_app(event_store=EventMemory(), retry_interval=_RETRY_MS, host="127.0.0.1")


def main() -> None:
    """Read the command line and serve until ended."""
    parser = argparse.ArgumentParser(description="an MCP server with every fixture of the conformance suite")
    parser.add_argument("--port", type=int, required=True, help="loopback port; the endpoint is /mcp")
    parser.add_argument("--bare", action="store_true", help="no guard: anybody may call")
    parser.add_argument("--issuer", help="whose tokens the guard takes")
    parser.add_argument("--resource", help="the audience by which this server is addressed")
    options = parser.parse_args()
    if options.bare == bool(options.issuer and options.resource):
        parser.error("give either --bare, or both --issuer and --resource")
    app = build_app(build_server())
    if not options.bare:
        from perhop.resource_server import Guard  # the bare server runs without Perhop

        # What the guard refuses is looked for in the output: no scenario may pass on a refusal of its token.
        logging.basicConfig(format="%(name)s %(message)s")
        logging.getLogger("perhop").setLevel(logging.INFO)
        app = Guard(resource=options.resource, issuers=[options.issuer]).asgi(app)
    # h11 and not httptools: that one keeps the blanks after a field value, which RFC 9110 §5.5 excludes from it.
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", http="h11")


if __name__ == "__main__":
    main()
