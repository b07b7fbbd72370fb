"""A policy with its arguments unknown: what could be true, and what must be.

Cedar's own partial evaluation is outside its promise of stability and takes entity ids as text only; this rewrites the
syntax tree instead, and the ordinary authorizer decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from cedarpy import pst

from perhop.policy.reads import context_reads


def without_arguments(policy: pst.Template) -> pst.Template:
    """Rewrite a policy so that it reads no argument.

    A permit comes out satisfied if some arguments could satisfy it; a forbid only if all arguments would satisfy it
    or make it fail. Parts are taken each by itself. Those of a permit may exclude each other for any one set of
    arguments, and those of a forbid hold for all only together (`x == 1 || x != 1`): then a permit comes out satisfied
    that none satisfies, or a forbid does not that all satisfy. Either shows an item more and permits nothing.
    """
    hopeful = policy.effect == "permit"
    return replace(policy, clauses=tuple(_clause(clause, hopeful=hopeful) for clause in policy.clauses))


def _clause(clause: pst.Clause, *, hopeful: bool) -> pst.Clause:
    match clause:
        case pst.When(expr=expr):
            return pst.When(_expression(expr, hopeful=hopeful))
        case pst.Unless(expr=expr):
            return pst.Unless(_expression(expr, hopeful=not hopeful))
        case _:
            assert_never(clause)


def _expression(expr: pst.Expr, *, hopeful: bool) -> pst.Expr:
    """A boolean expression that is true if `expr` could be (`hopeful`), or only if it must be."""
    if not context_reads(expr).arguments:
        return expr
    match expr:
        case pst.UnaryOp(op="not", arg=arg):
            return pst.UnaryOp("not", _expression(arg, hopeful=not hopeful))
        case pst.BinaryOp(op="and" | "or", left=left, right=right):
            return replace(expr, left=_expression(left, hopeful=hopeful), right=_expression(right, hopeful=hopeful))
        case pst.IfThenElse(cond=cond, then_expr=then, else_expr=other) if not context_reads(cond).arguments:
            return pst.IfThenElse(cond, _expression(then, hopeful=hopeful), _expression(other, hopeful=hopeful))
        case _:
            return pst.BoolLit(hopeful)
