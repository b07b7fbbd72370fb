"""The usual `tools/call`, of either era: read in few steps, or left to the full rule of `mcp_message`.

Nothing is refused here, and nothing is taken that the full rule refuses: it judges whatever is in any way unusual.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from perhop.core.call import Action, CallKind, HeaderFields, Headers, SteadyFields, Target
from perhop.errors import HeaderMismatch
from perhop.rules.mcp_headers import METHOD, NAME, VERSION, decode_mirrored, single_header
from perhop.rules.mcp_methods import ASSUMED_REVISION, LEGACY_REVISIONS, MAX_NAME_LENGTH, MODERN_REVISIONS, Era
from perhop.rules.message import (
    CAPABILITIES_KEY,
    MAX_BODY_BYTES,
    MAX_ID_LENGTH,
    MAX_SAFE_INTEGER,
    VERSION_KEY,
    Message,
)
from perhop.rules.strict_json import parse_exact

_TOOLS_CALL = "tools/call"
_MARK = b'"tools/call"'
_PARAMS = frozenset({"name", "arguments", "_meta", "task", "requestState", "inputResponses"})
"""Names of parameters as they are spelled; one that is spelled like another is for the full rule to see."""

_LONGEST_KEPT = 256


class _Told(NamedTuple):
    """What the headers of a usual `tools/call` say: era and revision, and in a modern one the tool."""

    era: Era
    revision: str
    name: str | None
    targets: tuple[Target, ...]


def _told_by(steady: SteadyFields) -> _Told | None:
    """None for fields that are in any way unusual: the full rule reads them."""
    fields = dict(steady.fields)
    if fields.get("content-type") != "application/json" or "content-encoding" in fields:
        return None
    if len(fields) < len(steady.fields):
        return None
    try:
        revision, method, name = single_header(steady.fields, VERSION), fields.get(METHOD), fields.get(NAME)
        if revision is None or revision in LEGACY_REVISIONS:
            return _Told(Era.LEGACY, revision or ASSUMED_REVISION, None, ())
        if revision not in MODERN_REVISIONS or method != _TOOLS_CALL or name is None:
            return None
        tool = decode_mirrored(name.strip(" \t"))
        return _Told(Era.MODERN, revision, tool, (Target(Action.CALL_TOOL, tool),)) if tool else None
    except HeaderMismatch:
        return None


def parse_usual(headers: Headers, body: bytes) -> Message | None:
    """Read a `tools/call` as most clients write it, in few steps; None for anything that the full rule must judge.

    It takes less than that rule does, and of what it takes it says the same.
    """
    if type(headers) is not HeaderFields:
        return None
    told = headers.steady.follow(_told_by)
    if told is None or len(headers) != len(headers.by_name) or len(body) > MAX_BODY_BYTES or _MARK not in body:
        return None
    exact = parse_exact(body)
    if exact is None:
        return None
    value, octets = exact
    try:
        if len(value) != 4 or value["jsonrpc"] != "2.0" or value["method"] != _TOOLS_CALL:
            return None
        rpc_id, params = value["id"], value["params"]
        name = params["name"]
        arguments = params.get("arguments", {})
        meta = params.get("_meta", {})
        stated = meta.get(VERSION_KEY)
    except (TypeError, KeyError, AttributeError):
        return None
    if type(rpc_id) is int:
        if not -MAX_SAFE_INTEGER <= rpc_id <= MAX_SAFE_INTEGER:
            return None
    elif type(rpc_id) is not str or len(rpc_id) > MAX_ID_LENGTH:
        return None
    if type(name) is not str or not 0 < len(name) <= MAX_NAME_LENGTH:
        return None
    if type(arguments) is not dict or not _PARAMS.issuperset(params):
        return None
    if not differ(arguments):
        return None
    if told.era is Era.MODERN:
        if stated != told.revision or name != told.name or type(meta.get(CAPABILITIES_KEY)) is not dict:
            return None
        targets = told.targets
    else:
        if stated is not None:
            return None
        targets = _targets(name) if len(name) <= _LONGEST_KEPT else (Target(Action.CALL_TOOL, name),)
    return Message(
        CallKind.REQUEST,
        told.era,
        told.revision,
        _TOOLS_CALL,
        value,
        rpc_id,
        params,
        targets,
        (),
        arguments,
        told.name,
        octets,
    )


@lru_cache(maxsize=1024)
def _targets(name: str) -> tuple[Target, ...]:
    return (Target(Action.CALL_TOOL, name),)


def differ(names: Mapping[str, Any]) -> bool:
    """True if no two of these are alike without regard to case, and all are ASCII, or there is but one."""
    if len(names) < 2:
        return True
    text = "".join(names)
    return text.isascii() and (text.islower() or len(set(map(str.lower, names))) == len(names))
