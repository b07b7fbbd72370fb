"""A condition as its author would have written it."""

from __future__ import annotations

import re

from cedarpy import pst

from perhop.policy.slices import handle_of

# Cedar prints every operand in parentheses. Those around a single name go; strings are stepped over whole.
_NEEDLESS = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w\])])\((?P<name>[\w.]+)\)')
_BODY = re.compile(r"when \{ (?P<body>.*) \};\s*\Z", re.DOTALL)


def render_condition(expr: pst.Expr) -> str:
    """One expression as Cedar text."""
    printed = str(handle_of([condition_alone(expr)]))
    body = _BODY.search(printed)
    return _without_needless_parentheses(body["body"] if body else printed)


def render_constraint(name: str, constraint: object) -> str:
    """One part of a policy's head: `principal`, `action` or `resource`, and what it must be."""
    match constraint:
        case pst.ScopeEq(entity=entity) | pst.ActionEq(entity=entity):
            return f"{name} == {entity}"
        case pst.ScopeIn(entity=entity):
            return f"{name} in {entity}"
        case pst.ScopeIs(entity_type=entity_type):
            return f"{name} is {entity_type}"
        case pst.ScopeIsIn(entity_type=entity_type, entity=entity):
            return f"{name} is {entity_type} in {entity}"
        case pst.ActionIn(entities=entities):
            return f"{name} in [{', '.join(str(each) for each in entities)}]"
        case _:
            return f"another {name}"


def condition_alone(expr: pst.Expr) -> pst.Template:
    """A permit for everybody to do anything, under this condition alone."""
    return pst.Template(
        id="condition",
        effect="permit",
        principal=pst.ScopeAny(),
        action=pst.ScopeAny(),
        resource=pst.ScopeAny(),
        clauses=(pst.When(expr),),
        annotations={},
    )


def _without_needless_parentheses(text: str) -> str:
    while (shorter := _NEEDLESS.sub(lambda match: match["name"] or match[0], text)) != text:
        text = shorter
    return text
