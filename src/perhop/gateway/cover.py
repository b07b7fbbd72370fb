"""Cover: hold a call against the task that its token names. A task narrows; what it covers is decided on all the same.

Spec: RFC 9396 §9
"""

from __future__ import annotations

from perhop.core.call import Call
from perhop.core.decision import Covered, InForce
from perhop.gateway.gate import Gate
from perhop.rules.task import check_covered


def cover(in_force: InForce, call: Call, gate: Gate) -> Covered:
    """Refuse a call of which anything is outside the task. A token without a task is held to nothing here.

    Raises: TaskOutside
    """
    if in_force.task is not None:
        check_covered(in_force.task, gate.resource.name, call.targets)
    return Covered(in_force.bound, in_force.task, call)
