"""JSON schemas that the suite looks for, word by word, in elicitations and in one tool."""

from __future__ import annotations

from typing import Any

_STATES = ["active", "inactive", "pending"]

# Spec: MCP 2025-11-25 elicitation: a default for every primitive type.
WITH_DEFAULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Full name", "default": "John Doe"},
        "age": {"type": "integer", "description": "Age in years", "default": 30},
        "score": {"type": "number", "description": "Score in percent", "default": 95.5},
        "status": {"type": "string", "description": "Account status", "enum": _STATES, "default": "active"},
        "verified": {"type": "boolean", "description": "Whether the address is verified", "default": True},
    },
    "required": [],
}


def _titled(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in pairs]


# Spec: MCP 2025-11-25 elicitation: the five ways to write a choice.
WITH_CHOICES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "description": "One of three words", "enum": _STATES},
        "titledSingle": {
            "type": "string",
            "description": "One of three priorities",
            "oneOf": _titled(("low", "Low"), ("medium", "Medium"), ("high", "High")),
        },
        "legacyEnum": {
            "type": "string",
            "description": "One of three sizes, titled as older clients read it",
            "enum": ["small", "medium", "large"],
            "enumNames": ["Small", "Medium", "Large"],
        },
        "untitledMulti": {
            "type": "array",
            "description": "Any of three permissions",
            "items": {"type": "string", "enum": ["read", "write", "execute"]},
        },
        "titledMulti": {
            "type": "array",
            "description": "Any of three kinds of change",
            "items": {"anyOf": _titled(("feature", "Feature"), ("bug", "Bug fix"), ("docs", "Documentation"))},
        },
    },
    "required": [],
}

# Every keyword of JSON Schema 2020-12 that a list must carry unchanged.
KEYWORDS_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

# A parameter that a 2026-07-28 client mirrors into the header `Mcp-Param-Region`.
WITH_MIRRORED_PARAMETER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "description": "Where the work is done", "x-mcp-header": "Region"},
    },
}


def asking(name: str, kind: str) -> dict[str, Any]:
    """An elicitation schema of one required value."""
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
