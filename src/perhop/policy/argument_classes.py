"""Values of arguments that no policy of a slice can tell apart, told from the syntax trees.

Most policies hold an argument against constants of their own. Then all integers between two of these constants are the
same to them, and so are all texts that are none: what was decided about one holds for every other. How many such
classes there are is up to the policies, not to callers, and nothing that a caller sent is kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cedarpy import pst

from perhop.policy.arguments import GREATEST_INTEGER, LEAST_INTEGER
from perhop.policy.reads import ARGUMENTS, CONTEXT, children

_COMPARISONS = frozenset({"eq", "not_eq", "less", "less_eq", "greater", "greater_eq"})
_LITERALS = (pst.LongLit, pst.StringLit, pst.BoolLit)

# Neither of these is equal to a number or a text: `True == 1` in Python, and they are not the same to Cedar.
_TRUE, _FALSE, _NO_CONSTANT = object(), object(), object()


@dataclass(frozen=True, slots=True)
class _Argument:
    """The constants that one argument is held against; `is_plain` is False where it is used in another way, too."""

    name: str
    integers: tuple[int, ...]
    texts: frozenset[str]
    is_plain: bool


class ArgumentClasses:
    """The classes of the arguments that some policies ask for."""

    def __init__(self, trees: Iterable[pst.Template]) -> None:
        held: dict[str, set[int | str]] = {}
        plain: dict[str, bool] = {}
        for tree in trees:
            _read(tree, held, plain)
        self._arguments = tuple(
            _Argument(
                name,
                tuple(sorted(each for each in held.get(name, ()) if isinstance(each, int))),
                frozenset(each for each in held.get(name, ()) if isinstance(each, str)),
                plain[name],
            )
            for name in sorted(plain)
        )

    def key_of(self, arguments: Mapping[str, Any]) -> Hashable | None:
        """What is equal for arguments that the policies cannot tell apart; None where this is not known of a value."""
        key: list[object] = []
        for argument in self._arguments:
            name = argument.name
            if name not in arguments:
                key.append(None)
                continue
            value = arguments[name]
            kind = type(value)
            if kind is bool:
                key.append(_TRUE if value else _FALSE)
            elif not argument.is_plain:
                return None
            elif kind is int and LEAST_INTEGER <= value <= GREATEST_INTEGER:
                integers = argument.integers
                key.append(bisect_left(integers, value) + bisect_right(integers, value))  # odd for one of them
            elif kind is str and _is_unicode(value):
                key.append(value if value in argument.texts else _NO_CONSTANT)
            else:
                return None
        return tuple(key)


def _read(tree: pst.Template, held: dict[str, set[int | str]], plain: dict[str, bool]) -> None:
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        match node:
            case pst.BinaryOp(op=op, left=pst.GetAttr(base=base, attr=name), right=literal) if (
                op in _COMPARISONS and base == ARGUMENTS and isinstance(literal, _LITERALS)
            ):
                _hold(name, (literal,), held, plain)
            case pst.BinaryOp(op=op, left=literal, right=pst.GetAttr(base=base, attr=name)) if (
                op in _COMPARISONS and base == ARGUMENTS and isinstance(literal, _LITERALS)
            ):
                _hold(name, (literal,), held, plain)
            case pst.BinaryOp(
                op="contains", left=pst.Set(elements=elements), right=pst.GetAttr(base=base, attr=name)
            ) if base == ARGUMENTS and all(isinstance(each, _LITERALS) for each in elements):
                _hold(name, elements, held, plain)
            case pst.HasAttr(base=base, attrs=(name,)) if base == ARGUMENTS:
                plain.setdefault(name, True)
            case pst.HasAttr(base=base, attrs=("arguments", name)) if base == CONTEXT:
                plain.setdefault(name, True)
            case pst.HasAttr(base=base, attrs=(name, *_)) if base == ARGUMENTS:
                plain[name] = False
            case pst.HasAttr(base=base, attrs=("arguments", name, *_)) if base == CONTEXT:
                plain[name] = False
            case pst.GetAttr(base=base, attr=name) if base == ARGUMENTS:
                plain[name] = False
            case _:
                stack.extend(children(node))


def _hold(name: str, literals: Iterable[Any], held: dict[str, set[int | str]], plain: dict[str, bool]) -> None:
    plain.setdefault(name, True)
    for literal in literals:
        if not isinstance(literal, pst.BoolLit):
            held.setdefault(name, set()).add(literal.value)


def _is_unicode(text: str) -> bool:
    """False for a text with half a surrogate pair, which nobody can hand to Cedar."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
