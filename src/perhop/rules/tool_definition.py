"""A tool's definition: its canonical form and digest, and the difference between two of them.

What stands in the definition's own `_meta` is left out: it is for programs on the way, and may be another each time.

Spec: RFC 8785 §3.2
Spec: MCP 2026-07-28 tools
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perhop.errors import AnswerUnfit, ParamsMalformed
from perhop.rules.canonical_json import canonical_json

MAX_NAME_LENGTH = 256
MAX_DEFINITION_BYTES = 256 * 1024
"""In canonical form. More than that is nothing that a person could approve."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ToolDefinition:
    """One tool as a server defined it. `text` is the canonical form, `digest` the hex SHA-256 of it."""

    name: str
    text: str
    digest: str

    @cached_property
    def members(self) -> Mapping[str, Any]:
        """What the text says. Read from it, so that nobody who holds the server's own list can change it."""
        return dict(json.loads(self.text))

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """The schema of the tool's arguments; empty where there is none to be read."""
        schema = self.members.get("inputSchema")
        return schema if isinstance(schema, Mapping) else {}

    @property
    def is_read_only(self) -> bool:
        """True if the server says so itself: a hint, and no proof."""
        annotations = self.members.get("annotations")
        return isinstance(annotations, Mapping) and annotations.get("readOnlyHint") is True


@dataclass(frozen=True, slots=True)
class Absent:
    """In a difference: there is nothing at this place. (JSON null is something.)"""


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two definitions differ, as a JSONPath, and what stands there in each."""

    path: str
    before: Any
    after: Any


def tool_name(tool: object) -> str | None:
    """The name under which a member of `tools` can be called; None for what cannot be."""
    name = tool.get("name") if isinstance(tool, Mapping) else None
    return name if isinstance(name, str) else None


def parse_definition(tool: Mapping[str, Any]) -> ToolDefinition:
    """The definition of a tool, as a server gave it in a list.

    Does not look at what it says.

    Spec: RFC 8785 §3.2
    Raises: AnswerUnfit
    """
    name = tool_name(tool)
    if name is None or len(name) > MAX_NAME_LENGTH:
        raise AnswerUnfit(f"a tool without a name, or with one of more than {MAX_NAME_LENGTH} characters")
    members = {key: value for key, value in tool.items() if key != "_meta"}
    try:
        octets = canonical_json(members)
    except ParamsMalformed as error:
        raise AnswerUnfit(f"the definition of tool `{name}` has no canonical form: {error.detail}") from None
    if len(octets) > MAX_DEFINITION_BYTES:
        raise AnswerUnfit(f"the definition of tool `{name}` has more than {MAX_DEFINITION_BYTES} bytes")
    return ToolDefinition(name, octets.decode("utf-8"), hashlib.sha256(octets).hexdigest())


def set_digest(digests: Mapping[str, str]) -> str:
    """One digest for a whole set of tools: hex SHA-256 over the canonical form of name -> digest."""
    return hashlib.sha256(canonical_json(digests)).hexdigest()


def difference(before: ToolDefinition | None, after: ToolDefinition | None) -> tuple[Difference, ...]:
    """Every place at which the definitions differ, in the order of their paths; one that is not there has no members.

    Empty exactly if the digests are the same.

    Spec: RFC 9535 §2.1
    """
    return tuple(_differences("$", before.members if before else {}, after.members if after else {}))


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    match before, after:
        case Mapping(), Mapping():
            for name in sorted({*before, *after}):
                yield from _differences(path + _segment(name), before.get(name, ABSENT), after.get(name, ABSENT))
        case ((list() | tuple()), (list() | tuple())):
            for at in range(max(len(before), len(after))):
                yield from _differences(f"{path}[{at}]", *(_item(each, at) for each in (before, after)))
        case _:
            if not _is_same(before, after):
                yield Difference(path, before, after)


def _segment(name: str) -> str:
    """One step of a JSONPath. Spec: RFC 9535 §2.3."""
    if _PLAIN_NAME.fullmatch(name):
        return f".{name}"
    return f"[{json.dumps(name, ensure_ascii=False)}]"


def _item(items: list[Any] | tuple[Any, ...], at: int) -> Any:
    return items[at] if at < len(items) else ABSENT


def _is_same(before: Any, after: Any) -> bool:
    """By the canonical form, as digests are: 1 is 1.0, and is not true."""
    if before is ABSENT or after is ABSENT:
        return before is after
    return canonical_json(before) == canonical_json(after)


def by_name(definitions: Iterable[ToolDefinition]) -> dict[str, ToolDefinition]:
    """The definitions under their names, in the order of the names."""
    return {each.name: each for each in sorted(definitions, key=lambda each: each.name)}
