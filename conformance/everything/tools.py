"""The tools of the suite, but for those that ask in rounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.subscriptions import PromptsListChanged, SubscriptionBus, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)

from conformance.everything import schemas
from conformance.everything.fixture import Context, ToolAnswer, ToolFixture, one_string, text
from conformance.everything.samples import PNG, WAV

Run = Callable[[Context, CallToolRequestParams], Awaitable[ToolAnswer]]

_STEP = 0.05
_UNTIL_RECONNECTED = 0.2


def embedded(uri: str, mime_type: str, body: str) -> EmbeddedResource:
    """A resource inside a message."""
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=body))


def _always(*content: ContentBlock, is_error: bool = False) -> Run:
    async def run(_: Context, __: CallToolRequestParams) -> ToolAnswer:
        return CallToolResult(content=list(content), is_error=is_error)

    return run


async def _log(ctx: Context, words: str) -> None:
    await ctx.session.send_log_message(level="info", data=words, related_request_id=ctx.request_id)


async def _logs_thrice(ctx: Context, _: CallToolRequestParams) -> ToolAnswer:
    await _log(ctx, "the tool began")
    await asyncio.sleep(_STEP)
    await _log(ctx, "the tool is at work")
    await asyncio.sleep(_STEP)
    await _log(ctx, "the tool is done")
    return text("Three log messages were sent.")


async def _reports_progress(ctx: Context, _: CallToolRequestParams) -> ToolAnswer:
    await ctx.session.report_progress(0, 100, "begun")
    await asyncio.sleep(_STEP)
    await ctx.session.report_progress(50, 100, "half done")
    await asyncio.sleep(_STEP)
    await ctx.session.report_progress(100, 100, "done")
    return text("Progress was reported three times.")


async def _samples(ctx: Context, call: CallToolRequestParams) -> ToolAnswer:
    prompt = str((call.arguments or {}).get("prompt", ""))
    answer = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=prompt))],
        max_tokens=64,
        related_request_id=ctx.request_id,
    )
    return text(f"The model said: {answer.content.text if isinstance(answer.content, TextContent) else ''}")


def _elicits(schema: dict[str, Any], message: str | None = None) -> Run:
    async def run(ctx: Context, call: CallToolRequestParams) -> ToolAnswer:
        words = message or str((call.arguments or {}).get("message", ""))
        answer = await ctx.session.elicit_form(words, schema, related_request_id=ctx.request_id)
        return text(f"The person said: {answer.action} {json.dumps(answer.content or {})}")

    return run


async def _names_the_region(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    return text(f"region: {(call.arguments or {}).get('region', 'none')}")


async def _needs_sampling(ctx: Context, _: CallToolRequestParams) -> ToolAnswer:
    able = ctx.session.client_capabilities
    if able is None or able.sampling is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="this tool needs a client that can sample",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return text("The client can sample.")


async def _drops_the_stream(ctx: Context, _: CallToolRequestParams) -> ToolAnswer:
    await _log(ctx, "before the stream closes")
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await asyncio.sleep(_UNTIL_RECONNECTED)
    await _log(ctx, "after the client came back")
    return text("The answer outlived its stream.")


def _announces(bus: SubscriptionBus, event: ToolsListChanged | PromptsListChanged) -> Run:
    async def run(_: Context, __: CallToolRequestParams) -> ToolAnswer:
        await bus.publish(event)
        return text("The change was announced.")

    return run


_MIXED = embedded("test://mixed-content-resource", "application/json", '{"test": "data", "value": 123}')
_IMAGE = ImageContent(type="image", data=PNG, mime_type="image/png")
_AUDIO = AudioContent(type="audio", data=WAV, mime_type="audio/wav")


def _says(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def tool_fixtures(bus: SubscriptionBus) -> tuple[ToolFixture, ...]:
    """Every tool that answers in one round; `bus` carries announcements to listening clients."""
    return (
        ToolFixture(
            name="test_simple_text",
            description="Answers with one text",
            run=_always(_says("This is a simple text response for testing.")),
        ),
        ToolFixture(name="test_image_content", description="Answers with a picture", run=_always(_IMAGE)),
        ToolFixture(name="test_audio_content", description="Answers with a sound", run=_always(_AUDIO)),
        ToolFixture(
            name="test_embedded_resource",
            description="Answers with a resource inside",
            run=_always(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")),
        ),
        ToolFixture(
            name="test_multiple_content_types",
            description="Answers with text, a picture and a resource",
            run=_always(_says("Multiple content types test:"), _IMAGE, _MIXED),
        ),
        ToolFixture(
            name="test_error_handling",
            description="Always fails",
            run=_always(_says("This tool intentionally returns an error for testing"), is_error=True),
        ),
        ToolFixture(name="test_tool_with_logging", description="Logs while it works", run=_logs_thrice),
        ToolFixture(name="test_logging_tool", description="Logs, if the client asked for it", run=_logs_thrice),
        ToolFixture(name="test_tool_with_progress", description="Reports progress", run=_reports_progress),
        ToolFixture(
            name="test_sampling",
            description="Asks the client's model on the open connection",
            run=_samples,
            input_schema=one_string("prompt", "What to ask the model"),
        ),
        ToolFixture(
            name="test_elicitation",
            description="Asks the person on the open connection",
            run=_elicits(schemas.asking("response", "string")),
            input_schema=one_string("message", "What to show the person"),
        ),
        ToolFixture(
            name="test_elicitation_sep1034_defaults",
            description="Asks the person with a default for each value",
            run=_elicits(schemas.WITH_DEFAULTS, "Please review these values."),
        ),
        ToolFixture(
            name="test_elicitation_sep1330_enums",
            description="Asks the person to choose, in each way a choice is written",
            run=_elicits(schemas.WITH_CHOICES, "Please choose."),
        ),
        ToolFixture(
            name="test_x_mcp_header",
            description="Names the region, which a header mirrors",
            run=_names_the_region,
            input_schema=schemas.WITH_MIRRORED_PARAMETER,
        ),
        ToolFixture(
            name="json_schema_2020_12_tool",
            description="Has an input schema with the keywords of JSON Schema 2020-12",
            run=_always(_says("The schema is what counts.")),
            input_schema=schemas.KEYWORDS_2020_12,
        ),
        ToolFixture(name="test_missing_capability", description="Needs sampling", run=_needs_sampling),
        ToolFixture(name="test_reconnection", description="Closes its stream half way", run=_drops_the_stream),
        ToolFixture(
            name="test_trigger_tool_change",
            description="Announces that the tools changed",
            run=_announces(bus, ToolsListChanged()),
        ),
        ToolFixture(
            name="test_trigger_prompt_change",
            description="Announces that the prompts changed",
            run=_announces(bus, PromptsListChanged()),
        ),
    )
