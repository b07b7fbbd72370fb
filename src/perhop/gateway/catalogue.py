"""The catalogue: what is known of an upstream's tools, by its own lists and by what the owner approved of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from perhop.gateway.tool_pins import ResourcePins
from perhop.rules.mcp_param_headers import ParamHeader, parse_annotations

MAX_TOOLS = 10_000
AT_ONCE = 50
"""Items of a list that are looked at before others may go on: each may want a digest, or a question to policy."""


class Catalogue:
    """The tools of one upstream. The owner's approval wins; without one, the newest list that passed."""

    def __init__(self, pins: ResourcePins) -> None:
        self._pins = pins
        self._schemas: dict[str, Mapping[str, Any]] = {}
        # By tool: the schema that was read, and what it annotates. A schema is read once, not at every call.
        self._annotations: dict[str, tuple[Mapping[str, Any], tuple[ParamHeader, ...]]] = {}

    async def learn(self, tools: Sequence[Any]) -> None:
        """Take in the `tools` of one list result, whatever else is in it; quarantine what is not as approved.

        Others get their turn between: when this returns, all of it is in force.
        """
        for start in range(0, len(tools), AT_ONCE):
            if start:
                await asyncio.sleep(0)
            self._take(tools[start : start + AT_ONCE])

    def _take(self, tools: Sequence[Any]) -> None:
        self._pins.compare(tools)
        for tool in tools:
            if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
                schema = tool.get("inputSchema")
                if len(self._schemas) < MAX_TOOLS or name in self._schemas:
                    self._schemas[name] = schema if isinstance(schema, dict) else {}

    def check_approved(self, tool: str) -> None:
        """Refuse a tool that is quarantined. While the owner has approved nothing, every tool passes.

        Raises: ToolQuarantined
        """
        if self._pins.approval is not None:
            self._pins.check(tool)

    def is_read_only(self, tool: str) -> bool:
        """True if the definition that the owner approved says so."""
        approved = self._pins.approved(tool)
        return approved is not None and approved.is_read_only

    @property
    def names(self) -> frozenset[str]:
        """The names of the approved tools; while the owner has approved nothing, of those that were listed."""
        if self._pins.approval is not None:
            return frozenset(self._pins.approval.definitions)
        return frozenset(self._schemas)

    @property
    def is_pinned(self) -> bool:
        """False while the owner has approved nothing."""
        return self._pins.approval is not None

    @property
    def quarantined(self) -> Collection[str]:
        """The names of tools that were seen and are not as approved."""
        return self._pins.quarantined.keys()

    def schema_of(self, tool: str) -> Mapping[str, Any] | None:
        """The tool's input schema as approved, never as just shown; None if there is none.

        While the owner has approved nothing: as the newest list has it.
        """
        approval = self._pins.approval
        if approval is None:
            return self._schemas.get(tool)
        approved = approval.definitions.get(tool)
        return approved.input_schema if approved is not None else None

    def mirrored_by(self, tool: str) -> tuple[ParamHeader, ...] | None:
        """The arguments that the tool's schema wants mirrored in headers; None if there is no schema."""
        schema = self.schema_of(tool)
        if schema is None:
            return None
        read = self._annotations.get(tool)
        if read is None or read[0] is not schema:
            read = schema, parse_annotations(schema)
            self._annotations[tool] = read
        return read[1]
