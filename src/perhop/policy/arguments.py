"""Which arguments of a call policy sees, and as what.

Spec: MCP 2025-11-25 server/tools
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.errors import ParamsMalformed

# Cedar's Long.
LEAST_INTEGER = -(2**63)
GREATEST_INTEGER = 2**63 - 1

Visible = str | int | bool

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


def is_visible(value: object) -> bool:
    """True for what a policy can read: a string, a boolean, or an integer of 64 bits."""
    if isinstance(value, int):
        return LEAST_INTEGER <= value <= GREATEST_INTEGER
    return isinstance(value, str)


def cedar_type(value: object) -> str:
    """The Cedar type of a visible value."""
    if isinstance(value, bool):
        return "Bool"
    return "Long" if isinstance(value, int) else "String"


class ArgumentTypes:
    """The arguments of one tool as policy sees them, by the tool's input schema; None where there is none.

    Reads the schema once: whoever keeps this must not let the schema be changed.
    """

    def __init__(self, input_schema: Mapping[str, Any] | None) -> None:
        self._declared = None if input_schema is None else _properties(input_schema)
        self._read_at_once = {
            name: frozenset(each for each, json_types in _READ_AS.items() if not types or types & json_types)
            for name, types in ((name, _declared_types(schema)) for name, schema in (self._declared or {}).items())
        }

    def type(self, arguments: Mapping[str, Any]) -> dict[str, Visible | None]:
        """The top-level arguments as policy sees them; None stands for a value that is there and cannot be read.

        Raises: ParamsMalformed
        """
        seen: dict[str, Visible | None] = {}
        read_at_once, anything = self._read_at_once, _ANYTHING if self._declared is None else _NOTHING
        for name, value in arguments.items():
            # What passes here passes below: a plain value of a declared type.
            kind = type(value)
            if kind in read_at_once.get(name, anything) and (
                kind is not int or LEAST_INTEGER <= value <= GREATEST_INTEGER
            ):
                seen[name] = value
            elif self._is_there(name, value):
                seen[name] = value if self._can_read(name, value) else None
        return seen

    def _is_there(self, name: str, value: object) -> bool:
        types = frozenset() if self._declared is None else _declared_types(self._declared.get(name))
        if types and not any(_is_of(value, each) for each in types):
            raise ParamsMalformed(f"argument `{name}` is not of a type that the tool declares")
        return value is not None

    def _can_read(self, name: str, value: object) -> bool:
        return (self._declared is None or name in self._declared) and is_visible(value)


_READ_AS: Mapping[type, frozenset[str]] = {
    str: frozenset({"string"}),
    int: frozenset({"integer", "number"}),
    bool: frozenset({"boolean"}),
}
"""The types of which a value can be read, each with the JSON types whose values are such."""
_ANYTHING = frozenset(_READ_AS)
_NOTHING: frozenset[type] = frozenset()


def type_arguments(input_schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> dict[str, Visible | None]:
    """The top-level arguments as policy sees them; None stands for a value that is there and cannot be read.

    With a schema, an argument can be read if the schema declares it and its value is a string, a boolean or an integer
    of 64 bits. Without one, every such value can be read. A policy that reads an argument with None is undecidable,
    hence a refusal: an array where a string was expected must not slip past a `forbid`. JSON null counts as absent.
    Does not validate the arguments otherwise: that is the server's part.

    Raises: ParamsMalformed
    """
    return ArgumentTypes(input_schema).type(arguments)


def declared_types(input_schema: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """The JSON types that a schema allows for an argument, none where it does not say so plainly; None: undeclared."""
    properties = _properties(input_schema)
    return _declared_types(properties[name]) if name in properties else None


def _properties(input_schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = input_schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _declared_types(schema: object) -> frozenset[str]:
    """The JSON types that a property's schema allows; empty where it does not say so plainly."""
    if not isinstance(schema, Mapping):
        return frozenset()
    declared = schema.get("type")
    if isinstance(declared, str):
        return _known({declared})
    if isinstance(declared, (list, tuple)) and all(isinstance(each, str) for each in declared):
        return _known(set(declared))
    branches = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(branches, (list, tuple)):
        each_branch = [_declared_types(branch) for branch in branches]
        return frozenset().union(*each_branch) if all(each_branch) else frozenset()
    return frozenset()


def _known(names: set[str]) -> frozenset[str]:
    return frozenset(names) if names <= _JSON_TYPES.keys() else frozenset()


def _is_of(value: object, type_name: str) -> bool:
    if isinstance(value, bool):  # Python's bool is an int; JSON's is not
        return type_name == "boolean"
    if type_name == "integer" and isinstance(value, float):
        return value.is_integer()  # JSON Schema counts 3.0 as an integer
    return isinstance(value, _JSON_TYPES[type_name])
