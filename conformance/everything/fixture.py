"""What a fixture is: a tool that the suite calls by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.server import ServerRequestContext
from mcp.types import CallToolRequestParams, CallToolResult, InputRequiredResult, TextContent, Tool

Context = ServerRequestContext[Any, Any]
ToolAnswer = CallToolResult | InputRequiredResult

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFixture:
    """A tool: how the list shows it, and what a call of it does."""

    name: str
    description: str
    run: Callable[[Context, CallToolRequestParams], Awaitable[ToolAnswer]]
    input_schema: Mapping[str, Any] = field(default_factory=lambda: NO_ARGUMENTS)

    def listed(self) -> Tool:
        """The item of `tools/list`."""
        return Tool(name=self.name, description=self.description, input_schema=dict(self.input_schema))


def text(words: str) -> CallToolResult:
    """A tool result of one text."""
    return CallToolResult(content=[TextContent(type="text", text=words)])


def one_string(name: str, description: str) -> dict[str, Any]:
    """The input schema of a tool that takes one required string."""
    return {"type": "object", "properties": {name: {"type": "string", "description": description}}, "required": [name]}
