"""Tasks of agents: what an agent says it is about to do, and the bounds it is then held to.

A task narrows what tokens of it are good for, and grants nothing. What MCP calls a task is an McpTask in this code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

EVERYTHING = "*"


def is_matched(name: str, pattern: str) -> bool:
    """True if the pattern matches the whole name; `*` is the only wildcard."""
    return _expression(pattern).match(name) is not None


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]").replace("?", "[?]")))


@dataclass(frozen=True, slots=True)
class ToolPattern:
    """Tools of one resource, by its configured name and a glob: `RESOURCE/GLOB` where it is written."""

    resource: str
    glob: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.glob}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """How many calls, and how many writes among them, the whole task may make; None: no bound of this kind."""

    calls: int | None = None
    writes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. Times are seconds since the epoch.

    `subject` is the person who approved it, and whose it is from then on; a task that took the place of such a one is
    that person's before it is approved. `ended_at` is set where an operator ended it, `superseded_by` where another
    task took its place.
    """

    id: str
    client: str
    purpose: str
    tools: tuple[ToolPattern, ...]
    limits: TaskLimits
    created_at: int
    expires_at: int
    subject: str | None = None
    approved_at: int | None = None
    ended_at: int | None = None
    superseded_by: str | None = None

    @property
    def is_approved(self) -> bool:
        """True once a person has consented to exactly this."""
        return self.approved_at is not None

    def names_resource(self, resource: str) -> bool:
        """True if any pattern is of this resource."""
        return any(pattern.resource == resource for pattern in self.tools)

    def covers_tool(self, resource: str, tool: str) -> bool:
        """True if a pattern of this resource matches the tool's name."""
        return any(each.resource == resource and is_matched(tool, each.glob) for each in self.tools)

    def covers_all_of(self, resource: str) -> bool:
        """True if the pattern `RESOURCE/*` stands there: prompts and McpResources are covered, too."""
        return ToolPattern(resource, EVERYTHING) in self.tools


@dataclass(frozen=True, slots=True)
class TaskUse:
    """What was counted of a task so far."""

    calls: int = 0
    writes: int = 0
