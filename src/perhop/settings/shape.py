"""What pydantic makes of a file: the sections, or every problem of their shape in our words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from perhop.settings.addresses import HOST_AND_PORT, LISTENERS
from perhop.settings.model import File
from perhop.settings.problems import Findings, did_you_mean, dotted
from perhop.settings.section import Section
from perhop.settings.sources import Key

_WANTED = {
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be `true` or `false`",
    "list_type": "must be a list",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
    "string_pattern_mismatch": "must be a name: letters, digits, `.`, `_`, `-`, at most 64",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_OWNERSHIP = frozenset({"owner", "purpose", "expires"})
"""Without these nothing is issued; their absence has a code of its own."""


_Root = TypeVar("_Root", bound=Section)


def parse_shape(findings: Findings) -> File | None:
    """The sections of `perhop.yaml`; None if their shape is wrong, and then every problem is in the findings."""
    return parse_sections(File, findings)


def parse_sections(root: type[_Root], findings: Findings) -> _Root | None:
    """The same of a file whose whole is this section."""
    try:
        return root.model_validate(findings.source.values)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=True):
            _add(root, findings, each)
        return None


def keys_of(section: type[Section]) -> dict[str, Any]:
    """The keys of a section as they are written, each with the type of what stands under it."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def bare(annotation: Any) -> Any:
    """The type itself, without `None` beside it and without notes."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (UnionType, Union):
        return bare(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation


def section_at(root: type[Section], path: Sequence[Key]) -> type[Section] | None:
    """The section that stands at this path of a file, if a section does."""
    annotation: Any = root
    for key in path:
        annotation = bare(annotation)
        if is_section(annotation):
            annotation = keys_of(annotation).get(str(key))
        elif get_origin(annotation) in (dict, list):
            annotation = get_args(annotation)[-1]
        else:
            return None
    annotation = bare(annotation)
    return annotation if is_section(annotation) else None


def is_section(annotation: Any) -> bool:
    """True for a type that is a section."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _add(root: type[Section], findings: Findings, error: ErrorDetails) -> None:
    path = tuple(key for key in error["loc"] if key != "[key]")
    parent = dotted(path[:-1])
    match error["type"]:
        case "extra_forbidden":
            section = section_at(root, path[:-1])
            keys = keys_of(section) if section is not None else {}
            where = f" in `{parent}`" if parent else ""
            findings.add(path, f"unknown key `{path[-1]}`{where}", did_you_mean(str(path[-1]), keys))
        case "missing":
            where = f"`{parent}` has" if parent else "the file has"
            findings.add(path, f"{where} no `{path[-1]}`{_code(path)}")
        case "literal_error" | "enum":
            known = tuple(_choices(root, path))
            value = error["input"]
            said = f"unknown value `{value}`" if isinstance(value, str) else "a wrong value"
            findings.add(path, f"{said} in `{dotted(path)}`", f"one of {', '.join(f'`{each}`' for each in known)}")
        case "string_type" if path[:1] == ("listen",) and path[-1] in LISTENERS:
            # A number alone is a port to whoever wrote it: in quotes it would still be none.
            findings.add(path, f"`{dotted(path)}` is not an address", HOST_AND_PORT)
        case "value_error":
            findings.add(path, f"`{dotted(path)}` {error['ctx']['error']}")
        case kind:
            wanted = _WANTED.get(kind) or error["msg"][:1].lower() + error["msg"][1:]
            code = _code(path) if kind == "string_too_short" else ""
            findings.add(path, f"`{dotted(path)}` {wanted}{code}")


def _code(path: Sequence[Key]) -> str:
    owned = len(path) == 3 and path[0] in ("clients", "resources") and path[2] in _OWNERSHIP
    return " (owner.missing)" if owned else ""


def _choices(root: type[Section], path: Sequence[Key]) -> Iterator[str]:
    """The words that may stand at this path."""
    # The choice may be one of a list: its key is the last that is a name.
    end = max(at for at, key in enumerate(path) if isinstance(key, str))
    section = section_at(root, path[:end])
    annotation = bare(keys_of(section)[str(path[end])]) if section is not None else None
    if get_origin(annotation) is list:
        annotation = bare(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type):
        yield from (each.value for each in annotation)  # type: ignore[attr-defined]  # an Enum: pydantic said `enum`
