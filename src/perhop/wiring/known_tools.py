"""What is known of tools, for whoever asks outside the gateway: by the same catalogues that the gates go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.gateway.catalogue import Catalogue
from perhop.gateway.tool_pins import ToolPins


class KnownTools:
    """The catalogue of every resource; of one without a gate, what its owner approved."""

    def __init__(self, pins: ToolPins) -> None:
        self._pins = pins
        self._catalogues: Mapping[str, Catalogue] = {}

    def take(self, catalogues: Mapping[str, Catalogue]) -> None:
        """Go by these from now on."""
        self._catalogues = dict(catalogues)

    def check_approved(self, resource: str, tool: str) -> None:
        """Refuse a tool that is quarantined. Raises: ToolQuarantined."""
        self._of(resource).check_approved(tool)

    def schema_of(self, resource: str, tool: str) -> Mapping[str, Any] | None:
        """The tool's input schema, as the gate of the resource would have it."""
        return self._of(resource).schema_of(tool)

    def names(self, resource: str) -> frozenset[str]:
        """The tools that are approved, or listed while none is."""
        return self._of(resource).names

    def _of(self, resource: str) -> Catalogue:
        return self._catalogues.get(resource) or Catalogue(self._pins.of(resource))
