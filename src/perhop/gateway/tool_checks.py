"""What a gate looks up about a tool for every call: which scopes list it, and how its arguments are typed. Kept.

Holds for one resource and for the schemas that it is shown: with another of either it looks anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.core.resource import Resource
from perhop.core.token import BoundToken
from perhop.policy.arguments import ArgumentTypes, Visible
from perhop.rules.scope import check_tool_scope

MOST_KEPT = 4096
LONGEST_NAME = 256
"""A caller chooses the names of tools: neither their number nor their length may fill our memory."""


class ToolChecks:
    """The checks of one gate. Only what passed is kept; what is refused is looked at each time."""

    def __init__(self) -> None:
        self._resource: Resource | None = None
        self._listed: set[tuple[frozenset[str], str]] = set()
        self._types: dict[str, tuple[Mapping[str, Any] | None, ArgumentTypes]] = {}

    def check_scope(self, bound: BoundToken, resource: Resource, tool: str) -> None:
        """Refuse a call of a tool that no scope of the token lists: see `rules.scope`.

        Raises: ScopeInsufficient, PolicyDenied
        """
        if resource is not self._resource:
            self._resource = resource
            self._listed.clear()
        key = (bound.token.scopes, tool)
        if key in self._listed:
            return
        check_tool_scope(bound, resource, tool)
        if len(tool) <= LONGEST_NAME:
            if len(self._listed) >= MOST_KEPT:
                self._listed.clear()
            self._listed.add(key)

    def type_arguments(
        self, tool: str, schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]
    ) -> dict[str, Visible | None]:
        """The arguments of a call as policy sees them, by this very schema: see `policy.arguments`.

        Raises: ParamsMalformed
        """
        kept = self._types.get(tool)
        if kept is None or kept[0] is not schema:
            kept = (schema, ArgumentTypes(schema))
            if len(tool) <= LONGEST_NAME:
                if len(self._types) >= MOST_KEPT:
                    self._types.clear()
                self._types[tool] = kept
        return kept[1].type(arguments)
