"""Count: take a call off what its task may make, before anything is exchanged or forwarded. Never given back.

The only place where a Permit is made: what is forwarded was counted.
"""

from __future__ import annotations

from perhop.core.call import Action, Call
from perhop.core.decision import Approved, Permit
from perhop.gateway.gate import Gate

_COUNTED = frozenset({Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE})


async def count(approved: Approved, gate: Gate) -> Permit:
    """Count a call of a task, exactly, however many come at once. Lists, handshakes and notifications are free.

    Raises: LimitExceeded, TaskSuperseded, TaskExpired, StorageUnavailable
    """
    if approved.task is not None and is_counted(approved.call):
        await gate.tasks.count(approved.task, is_write=is_write(approved.call, gate))
    return Permit(
        approved.bound, approved.task, approved.resource, approved.call, approved.allow, approval=approved.approval
    )


def is_counted(call: Call) -> bool:
    """True for a call of which anything needs a permit. One message is one call."""
    return any(target.action in _COUNTED for target in call.targets)


def is_write(call: Call, gate: Gate) -> bool:
    """True unless every tool that is called says in its approved definition that it only reads.

    What the server says now does not count, and where nothing is approved every tool may write.
    """
    if call.method != "tools/call":
        return False
    return not all(gate.catalogue.is_read_only(target.name) for target in call.targets)
