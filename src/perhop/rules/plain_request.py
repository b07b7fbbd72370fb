"""Requests as nearly all are, read with few steps: `plain_fields` and `is_plain_call` take a part of what the full
rules take, and nothing else. What they do not take says nothing: the full rules look at it.

For whoever passes a request on as it came, and wants a yes and no message; `usual_call` reads one to be written anew.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.rules.header_bounds import MAX_HEADER_BYTES, MOST_FIELDS
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS
from perhop.rules.message import CAPABILITIES_KEY, MAX_BODY_BYTES, MAX_ID_LENGTH, MAX_SAFE_INTEGER, VERSION_KEY
from perhop.rules.strict_json import parse_exact
from perhop.rules.usual_call import differ

PlainFields = Mapping[bytes, bytes]
"""The fields of a request in which every name is in lower case, and comes once."""

_MODERN: Mapping[bytes | None, str] = {each.encode(): each for each in MODERN_REVISIONS}
_LEGACY: frozenset[bytes | None] = frozenset({None, *(each.encode() for each in LEGACY_REVISIONS)})
"""A request of the handshake revisions may leave its version out."""

_EMPTY: dict[str, Any] = {}


class _Plain:
    """A request that all revisions know. `parameter` holds a text: the name of what it touches, where `is_named`."""

    __slots__ = ("is_named", "parameter", "written")

    def __init__(self, method: str, parameter: str, *, is_named: bool) -> None:
        self.written = method.encode()
        self.parameter = parameter
        self.is_named = is_named


_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_METHODS: Mapping[str, _Plain] = {
    **{method: _Plain(method, parameter, is_named=True) for method, parameter in _NAMED.items()},
    **{method: _Plain(method, "cursor", is_named=False) for method in _LISTS},
}


def plain_fields(headers: object) -> PlainFields | None:
    """The fields of an ASGI request by name; None where they are too much, or two readers may differ on them."""
    if type(headers) is not list or len(headers) > MOST_FIELDS:
        return None
    fields: dict[bytes, bytes] = dict(headers)
    if len(fields) != len(headers):
        return None
    names = b"".join(fields)
    if len(names) + len(b"".join(fields.values())) + 4 * len(fields) > MAX_HEADER_BYTES:
        return None
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
    exact = parse_exact(body) if len(body) <= MAX_BODY_BYTES else None
    value = None if exact is None else exact[0]
    if type(value) is not dict or value.get("jsonrpc") != "2.0":
        return False
    method, rpc_id, params = value.get("method"), value.get("id"), value.get("params", _EMPTY)
    plain = _METHODS.get(method) if type(method) is str else None
    if plain is None or type(params) is not dict:
        return False
    if type(rpc_id) is str:
        if len(rpc_id) > MAX_ID_LENGTH:
            return False
    elif type(rpc_id) is not int or not -MAX_SAFE_INTEGER <= rpc_id <= MAX_SAFE_INTEGER:
        return False
    name = params.get(plain.parameter, "")
    arguments, meta = params.get("arguments", _EMPTY), params.get("_meta", _EMPTY)
    if type(name) is not str or (plain.is_named and not name) or type(meta) is not dict:
        return False
    if stated is None:
        agrees = meta.get(VERSION_KEY) is None
    else:
        agrees = (
            meta.get(VERSION_KEY) == stated
            and type(meta.get(CAPABILITIES_KEY)) is dict
            and fields.get(b"mcp-method") == plain.written
            and (not plain.is_named or _is_written(name, fields.get(b"mcp-name")))
        )
    of_params = (plain.parameter in params) + ("arguments" in params) + ("_meta" in params)
    return (
        agrees
        # No other member, which might be one of these in another spelling: version, method, id, and what is counted.
        and len(value) == 3 + ("params" in value)
        and len(params) == of_params
        and type(arguments) is dict
        and differ(arguments)
    )


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
