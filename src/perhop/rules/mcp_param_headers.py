"""`Mcp-Param-*`: the headers that mirror arguments of a tool call, as the tool's own input schema asks for them.

A header that the schema names must agree with the body, and goes on written anew from the body; any other goes on as
it came. Does not check arguments against the schema: that is the server's.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.call import Headers
from perhop.errors import HeaderMismatch
from perhop.rules.mcp_headers import PARAM_PREFIX, decode_mirrored, encode_mirrored, single_header

ANNOTATION = "x-mcp-header"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INTEGRAL = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
_MIRRORED_TYPES = frozenset({"string", "integer", "boolean"})

# Where a JSON schema holds schemas, by the shape of what the keyword holds. What holds instances (`default`, `enum`,
# `const`, `examples`) is not among them, and no `$ref` is followed.
_HOLDS_ONE = frozenset(
    {
        *("items", "contains", "unevaluatedItems", "additionalItems", "additionalProperties", "unevaluatedProperties"),
        *("propertyNames", "not", "if", "then", "else", "contentSchema"),
    }
)
_HOLDS_SOME = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_HOLDS_NAMED = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One argument that is mirrored: the header's name in lower case, where the argument lies, and its type."""

    header: str
    path: tuple[str, ...]
    type: str


def param_headers(
    headers: Headers, arguments: Mapping[str, Any], annotations: tuple[ParamHeader, ...] | None
) -> Headers:
    """Compare the parameter headers of a call with its arguments; returns those that go on.

    `annotations` are those of the tool's schema. None where it is not known: then all go on as they came, and the
    server compares.

    Spec: MCP 2026-07-28 transports
    Raises: HeaderMismatch
    """
    annotated = {each.header: each for each in annotations or ()}
    as_they_came = tuple(
        [field for field in headers if field[0].startswith(PARAM_PREFIX) and field[0] not in annotated]
    )
    return (*as_they_came, *_mirrored(headers, arguments, annotated)) if annotated else as_they_came


def parse_annotations(schema: Mapping[str, Any]) -> tuple[ParamHeader, ...]:
    """The arguments that a tool's input schema wants mirrored.

    None of them where any annotation is invalid: such a tool has no place in a list, and clients send it nothing.

    Spec: MCP 2026-07-28 transports
    """
    found: dict[str, ParamHeader] = {}
    for path, position in _positions(schema):
        if ANNOTATION not in position:
            continue
        name, mirrored_type = position[ANNOTATION], position.get("type")
        if not path or not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
            return ()
        header = PARAM_PREFIX + name.lower()
        if not isinstance(mirrored_type, str) or mirrored_type not in _MIRRORED_TYPES or header in found:
            return ()
        found[header] = ParamHeader(header, path, mirrored_type)
    return tuple(found.values())


def _positions(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Every place of a schema that is a schema; its path, or None where more than `properties` leads to it."""
    left: list[tuple[tuple[str, ...] | None, Any]] = [((), schema)]
    while left:
        path, position = left.pop()
        if not isinstance(position, Mapping):
            continue
        yield path, position
        for keyword, held in position.items():
            if keyword == "properties" and isinstance(held, Mapping):
                left.extend(((*path, name) if path is not None else None, each) for name, each in held.items())
            elif keyword in _HOLDS_NAMED and isinstance(held, Mapping):
                left.extend((None, each) for each in held.values())
            elif keyword in _HOLDS_SOME and isinstance(held, list):
                left.extend((None, each) for each in held)
            elif keyword in _HOLDS_ONE:
                left.append((None, held))


def _mirrored(headers: Headers, arguments: Mapping[str, Any], annotated: Mapping[str, ParamHeader]) -> Headers:
    """The known headers, written from the body. Raises: HeaderMismatch."""
    written: list[tuple[str, str]] = []
    for name, param in annotated.items():
        came = single_header(headers, name)
        text = _text_of(_value_at(arguments, param.path), param)
        if (came is None) != (text is None):
            raise HeaderMismatch(f"`{name}` without its argument, or the argument without it")
        if came is None or text is None:
            continue
        if not _is_same(_decode(came), text, param):
            raise HeaderMismatch(f"`{name}` does not match the argument")
        written.append((name, text if text == "" else encode_mirrored(text)))
    return tuple(written)


def _value_at(arguments: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = arguments
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _text_of(value: Any, param: ParamHeader) -> str | None:
    """How a value is written; None for a value that has no such text, and for no value.

    What has none is of another type than the schema's, and is the server's to refuse.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float() if param.type == "integer" and value.is_integer():
            return str(int(value))
        case float():
            return str(value)
        case _:
            return None


def _is_same(came: str, text: str, param: ParamHeader) -> bool:
    """Integers are compared as numbers: `42.0` is `42`. Spec: MCP 2026-07-28 transports."""
    if param.type == "integer":
        integral = _INTEGRAL.fullmatch(came)
        return came == text if integral is None else integral[1] == text
    return came == text


def _decode(came: str) -> str:
    """Raises: HeaderMismatch."""
    return decode_mirrored(came) if came else ""
