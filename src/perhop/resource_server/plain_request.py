"""Requests as nearly all are, read with few steps: `plain_fields` and `is_plain_call` take a part of what the full
rules take, and nothing else. What they do not take says nothing: the full rules look at it.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.errors import JsonUnparsable
from perhop.rules.mcp_message import (
    CAPABILITIES_KEY,
    MAX_BODY_BYTES,
    MAX_ID_LENGTH,
    MAX_SAFE_INTEGER,
    VERSION_KEY,
)
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS
from perhop.rules.strict_json import parse_json

PlainFields = Mapping[bytes, bytes]
"""The fields of a request in which every name is in lower case, and comes once."""

_MODERN: Mapping[bytes | None, str] = {each.encode(): each for each in MODERN_REVISIONS}
_LEGACY: frozenset[bytes | None] = frozenset({None, *(each.encode() for each in LEGACY_REVISIONS)})
"""A request of the handshake revisions may leave its version out."""

_ENVELOPE = frozenset({"jsonrpc", "id", "method", "params"})
_PARAMS = frozenset({"name", "arguments", "uri", "cursor", "_meta"})
_METHODS: Mapping[Any, tuple[bytes, str | None]] = {
    "tools/call": (b"tools/call", "name"),
    "prompts/get": (b"prompts/get", "name"),
    "resources/read": (b"resources/read", "uri"),
    "tools/list": (b"tools/list", None),
    "prompts/list": (b"prompts/list", None),
    "resources/list": (b"resources/list", None),
    "resources/templates/list": (b"resources/templates/list", None),
}
"""Requests that all revisions know: how a header writes the method, and the parameter that names what it touches."""


def plain_fields(headers: object) -> PlainFields | None:
    """The fields of an ASGI request by name; None where two readers could take them for something else."""
    if type(headers) is not list:
        return None
    fields: dict[bytes, bytes] = dict(headers)
    if len(fields) != len(headers):
        return None
    names = b"".join(fields)
    return fields if names.islower() and names.isascii() else None


def is_plain_call(fields: PlainFields, body: bytes) -> bool:
    """True for the body of a POST that `parse_message` takes as a request, with these fields.

    Spec: MCP 2026-07-28 transports
    """
    if fields.get(b"content-type") != b"application/json" or b"content-encoding" in fields:
        return False
    version = fields.get(b"mcp-protocol-version")
    stated = _MODERN.get(version)
    if stated is None and version not in _LEGACY:
        return False
    try:
        value = parse_json(body, max_bytes=MAX_BODY_BYTES)
    except JsonUnparsable:
        return False
    if type(value) is not dict or not value.keys() <= _ENVELOPE or value.get("jsonrpc") != "2.0":
        return False
    method, rpc_id, params = value.get("method"), value.get("id"), value.get("params", {})
    if type(method) is not str or type(params) is not dict or not params.keys() <= _PARAMS:
        return False
    if type(rpc_id) is str:
        if len(rpc_id) > MAX_ID_LENGTH:
            return False
    elif type(rpc_id) is not int or not -MAX_SAFE_INTEGER <= rpc_id <= MAX_SAFE_INTEGER:
        return False
    written, parameter = _METHODS.get(method, _NO_METHOD)
    if written is None:
        return False
    name = params.get(parameter) if parameter is not None else None
    if parameter is not None and (type(name) is not str or not name):
        return False
    if "arguments" in params and not _is_plain_object(params["arguments"]):
        return False
    meta = params.get("_meta")
    if stated is None:
        return type(meta) is not dict or meta.get(VERSION_KEY) is None
    return (
        type(meta) is dict
        and meta.get(VERSION_KEY) == stated
        and type(meta.get(CAPABILITIES_KEY)) is dict
        and fields.get(b"mcp-method") == written
        and (name is None or _is_written(name, fields.get(b"mcp-name")))
    )


_NO_METHOD: tuple[None, None] = None, None


def _is_plain_object(arguments: object) -> bool:
    """No two of its members are one for a reader without regard to case."""
    if type(arguments) is not dict:
        return False
    if len(arguments) < 2:
        return True
    names = "".join(arguments)
    return names.isascii() and (names.islower() or len({name.lower() for name in arguments}) == len(arguments))


def _is_written(name: str, header: bytes | None) -> bool:
    """The header holds the name as it stands: visible characters, and no sentinel before an encoding."""
    return (
        header is not None
        and name.isascii()
        and header == name.encode()
        and name.isprintable()
        and " " not in name
        and name[0] != "="
    )
