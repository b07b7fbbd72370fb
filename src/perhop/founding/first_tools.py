"""The tools that a server told of, as the first file can write them. Nothing that a server wrote can break out of it.

Whether a tool only reads is the server's own word for it: it sorts the first scopes, and allows nothing.

Spec: MCP 2026-07-28 server/tools
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TOOLS = 500
MAX_NAME = 128
MAX_ABOUT = 80


@dataclass(frozen=True, slots=True)
class FirstTool:
    """One tool: its exact name, and the first line of its description, fit for a comment."""

    name: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTools:
    """Tools by name: those said to only read, the others, and the names, made printable, that no scope can hold."""

    read: tuple[FirstTool, ...] = ()
    write: tuple[FirstTool, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def are_split(self) -> bool:
        """True if there are two kinds of tools to be told apart: none said to only read, and one scope does for all."""
        return bool(self.read)


def sort_tools(definitions: Iterable[Mapping[str, Any]]) -> FirstTools:
    """Sort them by whether they say that they only read, then by name; of a name that comes twice, both must."""
    tools: dict[str, tuple[FirstTool, bool]] = {}
    left_out = set()
    for definition in definitions:
        name = definition.get("name")
        if not isinstance(name, str) or not _is_writable(name):
            left_out.add(one_line(name) if isinstance(name, str) and name else "(no name)")
            continue
        tool, before = tools.get(name, (FirstTool(name, one_line(definition.get("description"))), True))
        tools[name] = tool, before and _only_reads(definition)
    kept = sorted(tools)[:MAX_TOOLS]
    return FirstTools(
        read=tuple(tools[name][0] for name in kept if tools[name][1]),
        write=tuple(tools[name][0] for name in kept if not tools[name][1]),
        left_out=tuple(sorted(left_out | set(sorted(tools)[MAX_TOOLS:]))),
    )


def one_line(text: object) -> str:
    """The first line that says something, short and printable; empty if this is no text."""
    lines = text[: 20 * MAX_ABOUT].splitlines() if isinstance(text, str) else []
    line = next((line.strip() for line in lines if line.strip()), "")
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in line)
    return shown if len(shown) <= MAX_ABOUT else shown[: MAX_ABOUT - 1].rstrip() + "…"


def _is_writable(name: str) -> bool:
    """True for a name that a scope can list as it is: `*` would stand for other tools as well."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and "*" not in name


def _only_reads(definition: Mapping[str, Any]) -> bool:
    annotations = definition.get("annotations")
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
