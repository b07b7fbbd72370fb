"""What can be set: as a JSON Schema for editors, and as rows for the reference documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from perhop.settings.model import File
from perhop.settings.section import Section
from perhop.settings.shape import bare, is_section


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: where it stands (`NAME` for a name of your own), its type, its default, what it means."""

    key: str
    type: str
    default: str
    meaning: str


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `perhop.yaml`. Says nothing of whether names agree: `perhop config check` does."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **File.model_json_schema(by_alias=True, mode="validation"),
        "title": "perhop.yaml",
    }


def describe() -> list[Setting]:
    """Every key that can be set, in the order of the file."""
    return describe_section(File)


def describe_section(root: type[Section]) -> list[Setting]:
    """Every key of a file whose whole is this section, in its order."""
    return list(_describe(root, ""))


def _describe(section: type[Section], prefix: str) -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        annotation = bare(field.annotation)
        below, suffix = _below(annotation)
        required = field.is_required()
        default = "required" if required else _written(None if field.default is PydanticUndefined else field.default)
        yield Setting(key, _type(annotation), default, field.description or "")
        if below is not None:
            yield from _describe(below, f"{key}{suffix}.")


def _below(annotation: Any) -> tuple[type[Section] | None, str]:
    """The section whose keys stand under this one, and how the path to them is written."""
    if is_section(annotation):
        return annotation, ""
    if get_origin(annotation) in (dict, list):
        inner = bare(get_args(annotation)[-1])
        return (inner if is_section(inner) else None), ".NAME" if get_origin(annotation) is dict else "[]"
    return None, ""


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(each) for each in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {_type(bare(get_args(annotation)[0]))}"
    if get_origin(annotation) is dict:
        return f"NAME: {_type(bare(get_args(annotation)[1]))}"
    if is_section(annotation):
        return "keys"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(each.value) for each in annotation)
    return {str: "text", int: "whole number", bool: "true | false", date: "day"}.get(annotation, "value")


def _written(default: Any) -> str:
    match default:
        case None | Section():
            return ""
        case bool():
            return str(default).lower()
        case Enum():
            return str(default.value)
        case [] | {}:
            return "none"
        case _:
            return str(default)
