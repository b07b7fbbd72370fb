"""A question as the gateway puts it to policy, for commands that ask in its place: scope, approval, types, then policy.

Nothing here is asked of a running server: what owners have approved is brought along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from perhop.core.call import Action
from perhop.core.decision import Question
from perhop.core.resource import Resource
from perhop.errors import JsonUnparsable, ParamsMalformed, ToolQuarantined
from perhop.policy.arguments import type_arguments
from perhop.rules.scope import is_tool_in_scope
from perhop.rules.strict_json import MAX_DEPTH, parse_json

# In a call they stand in `params`, which stands in the message.
_DEPTH_OF_ARGUMENTS = MAX_DEPTH - 2


class ApprovedTools(Protocol):
    """The tools of one resource as its owner has approved them."""

    def check_approved(self, tool: str) -> None:
        """Refuse a tool that is quarantined. Raises: ToolQuarantined."""
        ...

    def schema_of(self, tool: str) -> Mapping[str, Any] | None:
        """The tool's input schema as approved; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A question that does not get as far as policy; `why` says so in words, and with the gateway's reason."""

    why: str


def pose(question: Question, resource: Resource, approved: ApprovedTools | None) -> Question | NotAsked:
    """The same question, its arguments as policy sees them; or why the gateway refuses before it asks.

    The arguments of `question` are those of the call. `approved` is None where the owner has approved nothing, or
    nobody knows: then every tool passes, and its arguments are seen as those of a tool without a schema.
    """
    if question.target.action is not Action.CALL_TOOL:
        return replace(question, arguments=type_arguments(None, question.arguments))
    tool = question.target.name
    if not is_tool_in_scope(question.scopes, resource, tool):
        return NotAsked(_beyond_scope(resource, tool))
    try:
        if approved is not None:
            approved.check_approved(tool)
        schema = approved.schema_of(tool) if approved is not None else None
        return replace(question, arguments=type_arguments(schema, question.arguments))
    except (ToolQuarantined, ParamsMalformed) as fact:
        return NotAsked(f"refused before policy is asked: {fact.detail} ({fact.reason})")


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call from a text that is a JSON object, read as strictly as a call is.

    Raises: JsonUnparsable
    """
    # What is no text becomes octets that are no UTF-8, which the parser refuses.
    raw = text.encode("utf-8", "surrogatepass")
    value = parse_json(raw, max_bytes=len(raw), max_depth=_DEPTH_OF_ARGUMENTS)
    if not isinstance(value, dict):
        raise JsonUnparsable("not an object")
    return value


def _beyond_scope(resource: Resource, tool: str) -> str:
    needed = resource.scope_for(tool)
    if needed is None:
        return f"refused before policy is asked: no scope of `{resource.name}` lists the tool `{tool}`"
    return f"refused before policy is asked: the tool `{tool}` needs the scope `{needed}`"
