"""The review of a resource's tools: each as it is listed now, as it was approved, and what is different.

What an owner was shown has one digest, and only that can be approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perhop.errors import AnswerUnfit
from perhop.gateway.tool_pins import ResourcePins
from perhop.rules.tool_definition import (
    MAX_NAME_LENGTH,
    Difference,
    ToolDefinition,
    by_name,
    difference,
    parse_definition,
    set_digest,
    tool_name,
)

MAX_TOOLS = 2_000
MAX_BYTES = 8 * 1024 * 1024
"""Of all definitions of one upstream, in canonical form."""

TWICE = "is listed twice, with different definitions"


class ToolState(StrEnum):
    """How a tool stands. CHANGED and NEW are quarantined; GONE is told, and nothing else."""

    APPROVED = "approved"
    CHANGED = "changed"
    NEW = "new"
    GONE = "gone"
    UNPINNED = "unpinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTools:
    """One whole list of an upstream: what can be approved of it, by name, and why the rest cannot."""

    definitions: Mapping[str, ToolDefinition]
    unfit: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of all that an approval of this list would approve, and of what it would leave out."""
        return set_digest({**{name: each.digest for name, each in self.definitions.items()}, **self.unfit})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedTool:
    """One tool: approved, listed now, and what was noticed when it was quarantined; each may be missing.

    `problem` says why what is listed cannot be approved, and is empty where it can.
    """

    name: str
    state: ToolState
    approved: ToolDefinition | None
    listed: ToolDefinition | None
    noticed: ToolDefinition | None
    problem: str = ""

    @property
    def shown(self) -> ToolDefinition | None:
        """What differs from what was approved: as it is listed now, else as it was seen before."""
        if self.listed is not None and self.listed != self.approved:
            return self.listed
        return self.noticed or self.listed

    @property
    def differences(self) -> tuple[Difference, ...]:
        """From what was approved to what is shown. Of a tool that is only gone there are none."""
        return difference(self.approved, self.shown) if self.shown is not None else ()

    @property
    def is_quarantined(self) -> bool:
        return self.state in (ToolState.CHANGED, ToolState.NEW)


def read_listed(tools: Sequence[Any]) -> ListedTools:
    """The definitions of a whole list. What cannot be called by a name is left out: nobody sees it.

    Raises: AnswerUnfit
    """
    definitions: dict[str, ToolDefinition] = {}
    unfit: dict[str, str] = {}
    size = 0
    for tool in tools:
        name = tool_name(tool)
        if name is None:
            continue
        try:
            definition = parse_definition(tool)
        except AnswerUnfit as error:
            unfit[name[:MAX_NAME_LENGTH]] = error.detail
            continue
        size += len(definition.text.encode("utf-8"))
        if definitions.setdefault(name, definition) != definition:
            unfit[name] = TWICE
        if len(definitions) + len(unfit) > MAX_TOOLS or size > MAX_BYTES:
            raise AnswerUnfit(f"the upstream lists more than {MAX_TOOLS} tools, or more than {MAX_BYTES} bytes of them")
    fit = by_name(each for each in definitions.values() if each.name not in unfit)
    return ListedTools(definitions=fit, unfit=unfit)


def review(pins: ResourcePins, listed: ListedTools | None) -> tuple[ReviewedTool, ...]:
    """Every tool that is listed, approved or quarantined, in the order of their names.

    `listed` is None where the upstream could not be asked: then nothing is gone, and the rest is by what is known.
    """
    approval = pins.approval
    approved: Mapping[str, ToolDefinition] = approval.definitions if approval is not None else {}
    here: Mapping[str, ToolDefinition] = listed.definitions if listed is not None else {}
    unfit: Mapping[str, str] = listed.unfit if listed is not None else {}
    tools = []
    for name in sorted({*approved, *pins.quarantined, *here, *unfit}):
        noted = pins.quarantined.get(name)
        is_here = listed is None or name in here or name in unfit
        tools.append(
            ReviewedTool(
                name=name,
                state=_state(pins, name, is_here=is_here),
                approved=approved.get(name),
                listed=here.get(name),
                noticed=noted.seen if noted is not None else None,
                problem=unfit.get(name, ""),
            )
        )
    return tuple(tools)


def _state(pins: ResourcePins, name: str, *, is_here: bool) -> ToolState:
    if pins.approval is None:
        return ToolState.UNPINNED
    if name not in pins.approval.definitions:
        return ToolState.NEW
    if name in pins.quarantined:
        return ToolState.CHANGED
    return ToolState.APPROVED if is_here else ToolState.GONE
