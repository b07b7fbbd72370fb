"""Arguments as policy sees them, by the tool's input schema."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import ParamsMalformed
from perhop.policy.arguments import type_arguments

SCHEMA = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "b": {"type": "boolean"},
        "n": {"type": "number"},
        "a": {"type": "array"},
        "o": {"type": "object"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "either": {"type": ["integer", "string"]},
        "choice": {"enum": ["x", "y"]},
        "ref": {"$ref": "#/$defs/x"},
        "odd": {"type": "quaternion"},
        "open": True,
    },
}


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({"s": "x"}, {"s": "x"}),
        ({"s": ""}, {"s": ""}),
        ({"i": 2**63 - 1}, {"i": 2**63 - 1}),
        ({"i": 2**63}, {"i": None}),
        ({"i": -(2**63)}, {"i": -(2**63)}),
        ({"i": -(2**63) - 1}, {"i": None}),
        ({"i": 3.0}, {"i": None}),
        ({"b": False}, {"b": False}),
        ({"n": 3}, {"n": 3}),
        ({"n": 3.5}, {"n": None}),
        ({"a": ["x"]}, {"a": None}),
        ({"o": {"x": 1}}, {"o": None}),
        ({"maybe": None}, {}),
        ({"maybe": "x"}, {"maybe": "x"}),
        ({"either": 3}, {"either": 3}),
        ({"either": "3"}, {"either": "3"}),
        ({"choice": "x"}, {"choice": "x"}),
        ({"ref": "x", "odd": 1, "open": True}, {"ref": "x", "odd": 1, "open": True}),
        ({"ref": ["x"]}, {"ref": None}),
        ({"undeclared": "x"}, {"undeclared": None}),
        ({"undeclared": None}, {}),
        ({}, {}),
    ],
)
def test_a_declared_scalar_is_seen_and_the_rest_is_known_to_be_there(
    arguments: dict[str, Any], seen: dict[str, Any]
) -> None:
    """What cannot be read stands as None, what is null is absent."""
    typed = type_arguments(SCHEMA, arguments)
    assert typed == seen
    assert {name: type(value) for name, value in typed.items()} == {name: type(value) for name, value in seen.items()}


@pytest.mark.parametrize(
    "arguments",
    [{"s": 1}, {"s": None}, {"s": ["x"]}, {"i": "1"}, {"i": True}, {"i": 1.5}, {"b": 1}, {"b": "true"}, {"n": "1"},
     {"n": True}, {"a": "x"}, {"o": []}, {"maybe": 1}, {"either": True}],
)  # fmt: skip
def test_a_value_of_another_type_than_declared_is_refused(arguments: dict[str, Any]) -> None:
    """A contradiction of the schema is malformed parameters; the value is not in the error."""
    with pytest.raises(ParamsMalformed) as refused:
        type_arguments(SCHEMA, arguments)
    assert next(iter(arguments)) in refused.value.detail


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"type": "object"}])
def test_a_schema_that_declares_nothing_shows_nothing(schema: dict[str, Any]) -> None:
    """Arguments that the tool does not declare are there, but policy cannot read them."""
    assert type_arguments(schema, {"x": 1}) == {"x": None}


def test_without_a_schema_scalars_are_seen_as_they_come() -> None:
    """Of a tool whose schema is not known, every scalar is seen."""
    arguments = {"s": "x", "i": 1, "b": True, "n": 1.5, "a": [], "z": None, "big": 2**64}
    assert type_arguments(None, arguments) == {"s": "x", "i": 1, "b": True, "n": None, "a": None, "big": None}
