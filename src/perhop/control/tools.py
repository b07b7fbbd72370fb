"""The operations on a resource's tools: what its owner is shown, and the approval of exactly that."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from perhop.control.operator import by_operator
from perhop.core.resource import Resource
from perhop.errors import NotFound, OperatorError, ToolsNotListed, Unavailable
from perhop.gateway.tool_review import ListedTools, ReviewedTool, review
from perhop.policy.declared import undeclared
from perhop.rules.tool_definition import ABSENT, Difference
from perhop.wiring.own_lists import list_tools_of
from perhop.wiring.plane import Plane
from perhop.wiring.policies import approved_schemas


async def show_tools(plane: Plane, *, name: str) -> Mapping[str, Any]:
    """The tools of a resource as they are listed now, beside what was approved.

    An upstream that cannot be asked is no failure: what is known stands in the files.
    """
    resource = _resource(plane, name)
    try:
        return _shown(plane, resource, await list_tools_of(plane, resource))
    except ToolsNotListed as failure:
        return {**_shown(plane, resource, None), "problem": failure.problem, "advice": failure.advice()}
    except Unavailable as failure:
        return {**_shown(plane, resource, None), "problem": failure.detail or failure.description}


async def approve_tools(plane: Plane, *, name: str, digest: str) -> Mapping[str, Any]:
    """Approve the tools of a resource, if the upstream lists exactly those that `digest` stands for.

    Raises: ToolsNotListed, OperatorError, UpstreamUnavailable, AnswerUnfit, StorageUnavailable, JournalUnavailable
    """
    resource = _resource(plane, name)
    listed = await list_tools_of(plane, resource)
    if listed.digest != digest:
        raise OperatorError(
            f"the upstream of `{name}` lists other tools now than those that were shown; nothing was approved",
            advice=f"look again with `perhop resource tools {name}`",
        )
    await plane.tool_pins.approve(name, listed.definitions, by=by_operator())
    schemas = await approved_schemas(plane.stores.tool_pins)
    doubts = undeclared(plane.policy.policy_set.policies, plane.registry, schemas)
    return {**_shown(plane, resource, listed), "policies": [str(each) for each in doubts]}


def _resource(plane: Plane, name: str) -> Resource:
    resource = plane.registry.resources.get(name)
    if resource is None:
        raise NotFound(f"the configuration defines no resource `{name}`", advice="run `perhop resource list`")
    if resource.upstream is None:
        raise OperatorError(f"no gateway stands before `{name}`, so its tools are not looked at")
    return resource


def _shown(plane: Plane, resource: Resource, listed: ListedTools | None) -> dict[str, Any]:
    pins = plane.tool_pins.of(resource.name)
    approval = pins.approval
    return {
        "resource": resource.name,
        "pinned": approval is not None,
        "approved_by": approval.by if approval is not None else None,
        "approved_at": _utc(approval.at) if approval is not None else None,
        "digest": listed.digest if listed is not None else None,
        "tools": [_tool(each) for each in review(pins, listed)],
        "problem": "",
        "advice": "",
    }


def _tool(tool: ReviewedTool) -> dict[str, Any]:
    shown = tool.shown or tool.approved
    return {
        "name": tool.name,
        "state": tool.state.value,
        "quarantined": tool.is_quarantined,
        "digest": tool.listed.digest if tool.listed is not None else None,
        "approved_digest": tool.approved.digest if tool.approved is not None else None,
        "shown_digest": shown.digest if shown is not None else None,
        "read_only": shown.is_read_only if shown is not None else None,
        "problem": tool.problem,
        "differences": [_difference(each) for each in tool.differences],
    }


def _difference(each: Difference) -> dict[str, Any]:
    """`before` or `after` is left out where nothing stands there."""
    sides = {"before": each.before, "after": each.after}
    return {"path": each.path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
