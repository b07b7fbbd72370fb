"""Rules that can never be satisfied, as far as that can be told for certain from the policy alone.

Only conditions of one policy that must all hold are looked at: one that is false by itself, and two that exclude each
other. What is said here is so for every call; what is not said may be so all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from cedarpy import pst

from perhop.core.resource import Resource, Risk
from perhop.policy.reads import CONTEXT, conjuncts
from perhop.policy.rendering import render_condition
from perhop.policy.vocabulary import mcp

Literal = pst.StringLit | pst.LongLit | pst.BoolLit | pst.EntityLit

_REQUEST, _TOKEN, _RESOURCE = pst.GetAttr(CONTEXT, "request"), pst.GetAttr(CONTEXT, "token"), pst.Var("resource")
_TASK = pst.GetAttr(CONTEXT, "task")
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_RANGES: Mapping[pst.Expr, tuple[int, int]] = {
    pst.GetAttr(_REQUEST, "hour"): (0, 23),
    pst.GetAttr(_REQUEST, "weekday"): (1, 7),
    pst.GetAttr(_REQUEST, "time"): (0, _GREATEST),
    pst.GetAttr(_TOKEN, "hop"): (1, _GREATEST),
    pst.GetAttr(_TASK, "max_calls"): (0, _GREATEST),
    pst.GetAttr(_TASK, "max_writes"): (0, _GREATEST),
}
_RISKS: frozenset[Literal] = frozenset(pst.StringLit(each.value) for each in Risk)
_CHOICES: Mapping[pst.Expr, frozenset[Literal]] = {
    pst.GetAttr(_RESOURCE, "risk"): _RISKS,
    pst.GetAttr(pst.GetAttr(_RESOURCE, "server"), "risk"): _RISKS,
}
_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "less": lambda left, right: left < right,
    "less_eq": lambda left, right: left <= right,
    "greater": lambda left, right: left > right,
    "greater_eq": lambda left, right: left >= right,
}
_NEGATED = {
    "eq": "not_eq",
    "not_eq": "eq",
    "less": "greater_eq",
    "greater_eq": "less",
    "greater": "less_eq",
    "less_eq": "greater",
}
_TURNED = {
    "eq": "eq",
    "not_eq": "not_eq",
    "less": "greater",
    "greater": "less",
    "less_eq": "greater_eq",
    "greater_eq": "less_eq",
}


def why_never(policy: pst.Template, server: Resource | None = None) -> str:
    """Why no call satisfies the policy, or none of an item of this server; empty where that cannot be told."""
    known = _Known({**dict(_of_the_head(policy)), **(dict(_of_a_server(server)) if server is not None else {})})
    earlier: list[pst.Expr] = []
    for part in conjuncts(policy):
        if value_of(part) is False or known.alone_excludes(part):
            return f"`{render_condition(part)}` never holds"
        if not known.add(part) or _negated(part) in earlier:
            others = [each for each in earlier if _exclude_each_other(policy, each, part)]
            beside = f" beside `{render_condition(others[0])}`" if others else " beside the conditions before it"
            return f"`{render_condition(part)}` never holds{beside}"
        earlier.append(part)
    return ""


def value_of(expr: pst.Expr) -> bool | None:
    """What a condition comes to in every call in which it can be evaluated; None where that differs, or is not told."""
    match expr:
        case pst.BoolLit(value=value):
            return value
        case pst.UnaryOp(op="not", arg=arg):
            inner = value_of(arg)
            return None if inner is None else not inner
        case pst.BinaryOp(op="and", left=left, right=right):
            return _either(value_of(left), value_of(right), decides=False)
        case pst.BinaryOp(op="or", left=left, right=right):
            return _either(value_of(left), value_of(right), decides=True)
        case pst.IfThenElse(cond=cond, then_expr=then, else_expr=other):
            first = value_of(cond)
            values = (
                {value_of(then)} if first else {value_of(other)} if first is False else {*map(value_of, (then, other))}
            )
            return values.pop() if len(values) == 1 else None
        case pst.BinaryOp(op="eq", left=left, right=right) if left == right or (_plain(left) and _plain(right)):
            return left == right
        case pst.BinaryOp(op="not_eq", left=left, right=right) if left == right or (_plain(left) and _plain(right)):
            return left != right
        case pst.BinaryOp(op=op, left=pst.LongLit(value=left), right=pst.LongLit(value=right)) if op in _COMPARE:
            return _COMPARE[op](left, right)
        case _:
            return None


def _either(left: bool | None, right: bool | None, *, decides: bool) -> bool | None:
    if decides in (left, right):
        return decides
    return None if None in (left, right) else not decides


def _plain(expr: pst.Expr) -> bool:
    return isinstance(expr, pst.StringLit | pst.LongLit | pst.BoolLit | pst.EntityLit)


def _of_the_head(policy: pst.Template) -> Iterator[tuple[pst.Expr, Literal]]:
    """What the head says of attributes: a tool's name is the second part of its id."""
    match policy.resource:
        case pst.ScopeEq(entity=pst.EntityUid() as entity) if entity.type.basename in ("Tool", "Prompt"):
            yield pst.GetAttr(_RESOURCE, "name"), pst.StringLit(entity.id.partition("/")[2])


def _of_a_server(server: Resource) -> Iterator[tuple[pst.Expr, Literal]]:
    """What is so of every tool, prompt and MCP resource of a server."""
    there = pst.GetAttr(_RESOURCE, "server")
    yield there, pst.EntityLit(mcp("Server", server.name))
    yield pst.GetAttr(there, "risk"), pst.StringLit(server.risk.value)
    yield pst.GetAttr(there, "owner"), pst.EntityLit(mcp("Owner", server.owner))


@dataclass(slots=True)
class _Known:
    """What conditions that hold say of single values: which one it is, which it is not, and between what it lies."""

    fixed: dict[pst.Expr, Literal] = field(default_factory=dict)
    ranges: dict[pst.Expr, tuple[int, int]] = field(default_factory=lambda: dict(_RANGES))
    patterns: dict[pst.Expr, list[tuple[pst.PatternElem, ...]]] = field(default_factory=dict)
    excluded: dict[pst.Expr, set[Literal]] = field(default_factory=dict)

    def alone_excludes(self, part: pst.Expr) -> bool:
        """True if the condition cannot hold even where nothing else is asked."""
        return not _Known().add(part)

    def add(self, part: pst.Expr) -> bool:
        """Take in one condition; False if it cannot hold beside what is known."""
        match part:
            case pst.UnaryOp(op="not", arg=pst.BinaryOp(op=op) as inner) if op in _NEGATED:
                return self._compare(pst.BinaryOp(_NEGATED[op], inner.left, inner.right))  # type: ignore[arg-type]  # an op
            case pst.BinaryOp(op=op) if op in _NEGATED:
                return self._compare(part)
            case pst.BinaryOp(op="contains", left=pst.Set(elements=elements), right=value) if all(
                map(_plain, elements)
            ):
                return value not in self.fixed or self.fixed[value] in elements
            case pst.Like(base=base, pattern=pattern):
                return self._like(base, pattern)
            case _:
                return True

    def _compare(self, part: pst.BinaryOp) -> bool:
        match part:
            case pst.BinaryOp(op=op, left=value, right=literal) if _plain(literal) and not _plain(value):
                return self._hold(value, op, literal)  # type: ignore[arg-type]  # it is plain
            case pst.BinaryOp(op=op, left=literal, right=value) if _plain(literal) and not _plain(value):
                return self._hold(value, _TURNED[op], literal)  # type: ignore[arg-type]  # it is plain
            case _:
                return True

    def _hold(self, value: pst.Expr, op: str, literal: Literal) -> bool:
        if op == "not_eq":
            self.excluded.setdefault(value, set()).add(literal)
            return self.fixed.get(value) != literal
        if op == "eq":
            if self.fixed.setdefault(value, literal) != literal or literal in self.excluded.get(value, ()):
                return False
            if value in _CHOICES and literal not in _CHOICES[value]:
                return False
            if isinstance(literal, pst.StringLit) and not all(
                _matches(literal.value, each) for each in self.patterns.get(value, ())
            ):
                return False
        return not isinstance(literal, pst.LongLit) or self._narrow(value, op, literal.value)

    def _narrow(self, value: pst.Expr, op: str, bound: int) -> bool:
        least, greatest = self.ranges.get(value, (_LEAST, _GREATEST))
        match op:
            case "eq":
                least, greatest = max(least, bound), min(greatest, bound)
            case "less":
                greatest = min(greatest, bound - 1)
            case "less_eq":
                greatest = min(greatest, bound)
            case "greater":
                least = max(least, bound + 1)
            case "greater_eq":
                least = max(least, bound)
        self.ranges[value] = (least, greatest)
        return least <= greatest

    def _like(self, value: pst.Expr, pattern: tuple[pst.PatternElem, ...]) -> bool:
        known = self.fixed.get(value)
        if isinstance(known, pst.StringLit) and not _matches(known.value, pattern):
            return False
        others = self.patterns.setdefault(value, [])
        others.append(pattern)
        return all(_may_both_match(each, pattern) for each in others)


def _exclude_each_other(policy: pst.Template, first: pst.Expr, second: pst.Expr) -> bool:
    known = _Known(dict(_of_the_head(policy)))
    return not (known.add(first) and known.add(second)) or _negated(second) == first


def _negated(expr: pst.Expr) -> pst.Expr:
    match expr:
        case pst.UnaryOp(op="not", arg=arg):
            return arg
        case _:
            return pst.UnaryOp("not", expr)


def _matches(text: str, pattern: tuple[pst.PatternElem, ...]) -> bool:
    written = "".join(".*" if isinstance(each, pst.Wildcard) else re.escape(each.value) for each in pattern)
    return re.fullmatch(written, text, re.DOTALL) is not None


def _may_both_match(one: tuple[pst.PatternElem, ...], other: tuple[pst.PatternElem, ...]) -> bool:
    """False if no text matches both: they begin, or end, with different letters."""
    return _agree(_letters(one), _letters(other)) and _agree(_letters(one[::-1]), _letters(other[::-1]))


def _letters(pattern: tuple[pst.PatternElem, ...]) -> str:
    """The letters before the first wildcard."""
    letters = ""
    for each in pattern:
        if isinstance(each, pst.Wildcard):
            break
        letters += each.value
    return letters


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
