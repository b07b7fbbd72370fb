"""The catalogue: the input schemas of an upstream's tools, as its own lists have shown them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_TOOLS = 10_000


class Catalogue:
    """Tool name -> input schema of one upstream; the newest list that passed wins."""

    def __init__(self) -> None:
        self._schemas: dict[str, Mapping[str, Any]] = {}

    def learn(self, tools: object) -> None:
        """Take in the `tools` of one list result, whatever else is in it."""
        if not isinstance(tools, list):
            return
        for tool in tools:
            if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
                schema = tool.get("inputSchema")
                if len(self._schemas) < MAX_TOOLS or name in self._schemas:
                    self._schemas[name] = schema if isinstance(schema, dict) else {}

    def schema_of(self, tool: str) -> Mapping[str, Any] | None:
        """The tool's input schema; None if no list has shown the tool."""
        return self._schemas.get(tool)
