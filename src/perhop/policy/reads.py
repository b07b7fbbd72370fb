"""What a policy reads of the context, told from its syntax tree alone.

The tree's rules make this exact: a loaded policy never names `context` or `context.arguments` whole, so every read is
`context.NAME`, `context.arguments.NAME` or a `has` of one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from cedarpy import pst

CONTEXT = pst.Var("context")
ARGUMENTS = pst.GetAttr(CONTEXT, "arguments")

_LITERAL_TYPES: dict[type, str] = {pst.StringLit: "String", pst.LongLit: "Long", pst.BoolLit: "Bool"}
_OPERAND_TYPES: dict[str, str] = {
    **dict.fromkeys(("and", "or", "not"), "Bool"),
    **dict.fromkeys(("less", "less_eq", "greater", "greater_eq", "add", "sub", "mul", "neg"), "Long"),
}


@dataclass(frozen=True, slots=True)
class Reads:
    """`attributes`: names read at `context.NAME`; `arguments`: names read, or asked for, at `context.arguments`.

    `values` are those of the arguments whose value is read, not only their presence. `whole` and `whole_arguments` are
    True where the record itself is used as a value.
    """

    attributes: frozenset[str]
    arguments: frozenset[str]
    values: frozenset[str]
    whole: bool
    whole_arguments: bool


def context_reads(node: pst.PstNode) -> Reads:
    """Everything that a policy or an expression reads of the context."""
    attributes: set[str] = set()
    values: set[str] = set()
    asked: set[str] = set()
    whole = whole_arguments = False
    stack: list[Any] = [node]
    while stack:
        each = stack.pop()
        match each:
            case pst.GetAttr(base=base, attr=name) if base == ARGUMENTS:
                values.add(name)
            case pst.HasAttr(base=base, attrs=names) if base == ARGUMENTS:
                asked.add(names[0])
            case pst.HasAttr(base=base, attrs=("arguments", *rest)) if base == CONTEXT:
                asked.update(rest[:1])
            case pst.GetAttr() if each == ARGUMENTS:
                whole_arguments = True
            case pst.GetAttr(base=base, attr=name) if base == CONTEXT:
                attributes.add(name)
            case pst.HasAttr(base=base, attrs=names) if base == CONTEXT:
                attributes.add(names[0])
            case pst.Var(name="context"):
                whole = True
            case _:
                stack.extend(children(each))
    return Reads(frozenset(attributes), frozenset(asked | values), frozenset(values), whole, whole_arguments)


def mentions(node: pst.PstNode, variable: str) -> bool:
    """True if `principal`, `action`, `resource` or `context` stands anywhere in it."""
    stack: list[Any] = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, pst.Var) and each.name == variable:
            return True
        stack.extend(children(each))
    return False


def argument_types(policy: pst.Template) -> dict[str, str | None]:
    """The Cedar type that the policy's own use of each argument asks for; None where its use does not tell."""
    types: dict[str, str | None] = dict.fromkeys(sorted(context_reads(policy).arguments))
    for name, type_name in _hints(policy):
        if types[name] is None:
            types[name] = type_name
    return types


def _hints(policy: pst.Template) -> Iterator[tuple[str, str]]:
    stack: list[Any] = [policy]
    while stack:
        node = stack.pop()
        for operand, type_name in _operands(node):
            if isinstance(operand, pst.GetAttr) and operand.base == ARGUMENTS and type_name is not None:
                yield operand.attr, type_name
        stack.extend(children(node))


def _operands(node: Any) -> tuple[tuple[Any, str | None], ...]:
    """The direct operands of a node, each with the type that the node asks of it, if it asks for one."""
    match node:
        case pst.When(expr=expr) | pst.Unless(expr=expr) | pst.IfThenElse(cond=expr):
            return ((expr, "Bool"),)
        case pst.Like(base=base):
            return ((base, "String"),)
        case pst.UnaryOp(op=op, arg=arg):
            return ((arg, _OPERAND_TYPES.get(op)),)
        case pst.BinaryOp(op="eq" | "not_eq", left=left, right=right):
            return ((left, _literal_type(right)), (right, _literal_type(left)))
        case pst.BinaryOp(op="contains", left=pst.Set(elements=(first, *_)), right=right):
            return ((right, _literal_type(first)),)
        case pst.BinaryOp(op=op, left=left, right=right):
            return ((left, _OPERAND_TYPES.get(op)), (right, _OPERAND_TYPES.get(op)))
        case _:
            return ()


def _literal_type(expr: Any) -> str | None:
    return _LITERAL_TYPES.get(type(expr))


def conjuncts(policy: pst.Template) -> tuple[pst.Expr, ...]:
    """The parts of a policy's condition that must all be true, in order."""
    parts: list[pst.Expr] = []
    for clause in policy.clauses:
        match clause:
            case pst.When(expr=expr):
                parts.extend(_split(expr))
            case pst.Unless(expr=expr):
                parts.extend(_split_negated(expr))
    return tuple(parts)


def _split(expr: pst.Expr) -> Iterator[pst.Expr]:
    if isinstance(expr, pst.BinaryOp) and expr.op == "and":
        yield from _split(expr.left)
        yield from _split(expr.right)
    else:
        yield expr


def _split_negated(expr: pst.Expr) -> Iterator[pst.Expr]:
    if isinstance(expr, pst.BinaryOp) and expr.op == "or":
        yield from _split_negated(expr.left)
        yield from _split_negated(expr.right)
    else:
        yield pst.UnaryOp("not", expr)


def children(node: Any) -> Iterable[Any]:
    """The nodes directly below one of a syntax tree."""
    if isinstance(node, (tuple, frozenset)):
        return node
    if isinstance(node, dict):
        return node.values()
    return [getattr(node, name) for name in _fields_of(node.__class__)]


@cache
def _fields_of(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
