"""Approve: where policy wants a person's yes, use one up for exactly this call, or ask for it and refuse.

A call never waits here: whoever made it repeats it.
"""

from __future__ import annotations

from typing import Any, assert_never

from perhop.core.approval import ExactCall
from perhop.core.call import Call
from perhop.core.decision import Allow, Allowed, Approved, NeedsApproval
from perhop.gateway.approval_records import Asked
from perhop.gateway.gate import Gate
from perhop.rules.approval import asks_anew
from perhop.rules.call_binding import bind_call
from perhop.rules.strict_json import parse_json


async def approve(allowed: Allowed, gate: Gate) -> Approved:
    """Let a call on that needs no approval, or that has one: then it is used up, whatever becomes of the call.

    Raises: ApprovalRequired, ApprovalDenied, TooManyApprovals, StorageUnavailable, JournalUnavailable
    """
    match allowed.decision:
        case Allow() as allow:
            return Approved(allowed.bound, allowed.task, allowed.resource, allowed.call, allow, None)
        case NeedsApproval(policies=policies, policy_version=version) as needed:
            allow = Allow(policies, version)
            if not asks_anew(allowed.call.method):
                return _approved(allowed, allow)
            used = await gate.approvals.use_or_ask(_asked(allowed, needed))
            return _approved(allowed, allow, approval=used)
        case _:
            assert_never(allowed.decision)


def _approved(allowed: Allowed, allow: Allow, *, approval: str | None = None) -> Approved:
    return Approved(allowed.bound, allowed.task, allowed.resource, allowed.call, allow, approval)


def _asked(allowed: Allowed, needed: NeedsApproval) -> Asked:
    bound, call = allowed.bound, allowed.call
    params = _params(call)
    return Asked(
        call=ExactCall(
            agent=bound.agent,
            subject=bound.subject,
            audience=bound.resource,
            task=allowed.task.id if allowed.task is not None else None,
            method=call.method,
            params_sha256=bind_call(call.method, params).params_sha256,
            policy_version=needed.policy_version,
        ),
        client_id=bound.client_id,
        resource=allowed.resource,
        name=call.name,
        policies=needed.asking,
        params=params,
        bound=bound,
    )


def _params(call: Call) -> dict[str, Any]:
    """The params of the message that is forwarded, without what is said beside the call."""
    message = parse_json(call.body, max_bytes=len(call.body))
    return {name: value for name, value in message.get("params", {}).items() if name != "_meta"}
