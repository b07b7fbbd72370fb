"""Where settings come from: one strict YAML file, then `PERHOP_SECTION__KEY` of the environment.

Keeps the place of every key. The YAML is the plain part: no duplicate keys, anchors, tags or second document;
`true`, `false`, `null` and whole numbers are what they look like, everything else is text (`no` is text, a date is
text). Knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from perhop.errors import SettingsError

Key = str | int

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
# No name of a file and no header can hold either.
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
MAX_DEPTH = 64
"""How deep lists and keys may stand in each other: more than anything that is read here needs."""
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Source:
    """Plain values, and for the path of every key the place where it stands."""

    values: dict[str, Any]
    places: Mapping[tuple[Key, ...], str]

    def place(self, path: Sequence[Key]) -> str:
        """The place of the key, or of the nearest thing around it."""
        return next(self.places[key] for end in range(len(path), -1, -1) if (key := tuple(path[:end])) in self.places)


def read_file(path: Path) -> Source:
    """Read the file. Does not look at what the keys are.

    Raises: SettingsError
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"there is no `{path}`", advice="`perhop init` writes one; `--config` names another"
        ) from None
    except OSError as error:
        raise SettingsError(f"`{path}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"`{path}` is not UTF-8 text") from None
    places: dict[tuple[Key, ...], str] = {(): f"{path}:1"}
    root = _compose(text, str(path))
    value = {} if root is None else _Reader(str(path), places).read(root, ())
    if not isinstance(value, dict):
        raise SettingsError(f"{path}:1: the file must hold keys and values")
    return Source(value, places)


def read_text(text: str) -> Any:
    """One YAML value, as it may stand in a variable.

    Raises: SettingsError
    """
    root = _compose(text, "value")
    return None if root is None else _Reader("value", {}).read(root, ())


def check_text(text: str, place: str) -> None:
    """Refuse what no path, header or file can hold, wherever it stands. Never shows the text, which may be a secret.

    Raises: SettingsError
    """
    if _NO_TEXT.search(text) is not None:
        raise SettingsError(f"{place}: not text: it holds a NUL or a lone surrogate")


class _Loader(yaml.SafeLoader):
    """The one of the library, which recurses, with a bound."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # of the library, and has no types
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _compose(text: str, label: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{label}:{line}: not readable as YAML: {error.problem or 'malformed'}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{label}:1: not readable as YAML: it holds a character that is not allowed") from error


class _Reader:
    """Turns nodes into plain values and writes their places down."""

    def __init__(self, label: str, places: dict[tuple[Key, ...], str]) -> None:
        self._label = label
        self._places = places
        self._seen: set[int] = set()

    def read(self, node: yaml.Node, path: tuple[Key, ...]) -> Any:
        """The value of a node, which must not have been read before."""
        # An alias is the same node object a second time.
        if id(node) in self._seen:
            raise self._refusal(node, "anchors and aliases are not read: write the value out")
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node)
            case _:
                raise self._refusal(node, "neither keys, a list nor a value")

    def _item(self, node: yaml.Node, path: tuple[Key, ...]) -> Any:
        self._places[path] = self._place(node)
        return self.read(node, path)

    def _mapping(self, node: yaml.MappingNode, path: tuple[Key, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refusal(key, "a key must be text")
            name = str(key.value)
            check_text(name, self._place(key))
            if name in values:
                raise self._refusal(key, f"key `{name}` stands twice")
            self._places[(*path, name)] = self._place(key)
            values[name] = self.read(value, (*path, name))
        return values

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        check_text(text, self._place(node))
        if node.tag not in _PLAIN_TAGS:
            raise self._refusal(node, f"tag `{node.tag}` is not read")
        if node.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else text

    def _place(self, node: yaml.Node) -> str:
        return f"{self._label}:{node.start_mark.line + 1}"

    def _refusal(self, node: yaml.Node, text: str) -> SettingsError:
        return SettingsError(f"{self._place(node)}: {text}")


# What the resolver gives to untagged scalars; `_scalar` decides anew, so any of them is as good as none.
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
