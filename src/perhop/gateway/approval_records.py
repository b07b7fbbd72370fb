"""What the journal has of approvals of calls: asked for, decided, expired, and tried by somebody who may not decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.approval import Approval, Approver, ExactCall
from perhop.core.owner import Owner
from perhop.core.resource import Resource
from perhop.core.token import BoundToken
from perhop.journal.record import Event, Inbound, Record, RequestFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call that needs approval, with what a person is to see of it: `params` without `_meta`."""

    call: ExactCall
    client_id: str
    resource: Resource
    name: str | None
    policies: tuple[str, ...]
    params: Mapping[str, Any]
    bound: BoundToken


def requested_record(approval: Approval, asked: Asked) -> Record:
    """A call begins to wait. Of what it says there is a digest."""
    return Record(
        event=Event.APPROVAL_CHANGED,
        txn=asked.bound.token.txn,
        hop=asked.bound.token.hop,
        inbound=Inbound.of(asked.bound),
        owner=asked.resource.owner,
        tenant=asked.resource.tenant,
        resource=approval.resource,
        client=approval.client_id,
        about={
            **_about(approval, "requested"),
            "policies": list(approval.policies),
            "by": f"client:{approval.client_id}",
        },
    )


def changed_record(approval: Approval, owner: Owner | None, *, by: str, ip: str | None = None) -> Record:
    """An approval was decided, or has expired."""
    decided = {"approver": approval.decided_by, "why": approval.why} if approval.decided_by is not None else {}
    return Record(
        event=Event.APPROVAL_CHANGED,
        request=RequestFacts(ip=ip) if ip is not None else None,
        owner=owner.name if owner is not None else None,
        resource=approval.resource,
        client=approval.client_id,
        about={**_about(approval, approval.state.value), **decided, "by": by},
    )


def refused_record(approval: Approval, owner: Owner | None, approver: Approver, *, by: str, ip: str | None) -> Record:
    """Somebody tried to decide who may not; why, in fixed words."""
    is_own = approver.subject == approval.call.subject
    return Record(
        event=Event.APPROVAL_CHANGED,
        request=RequestFacts(ip=ip) if ip is not None else None,
        owner=owner.name if owner is not None else None,
        resource=approval.resource,
        client=approval.client_id,
        detail="the agent acts for this person" if is_own else "this person is not of the owner's team",
        about={**_about(approval, "decision refused"), "approver": approver.subject, "by": by},
    )


def _about(approval: Approval, change: str) -> dict[str, Any]:
    call = approval.call
    return {
        "approval": approval.id,
        "change": change,
        "agent": call.agent,
        "sub": call.subject,
        "aud": call.audience,
        "task": call.task,
        "method": call.method,
        "name": approval.name,
        "params_sha256": call.params_sha256,
        "policy_version": call.policy_version,
        "expires_at": approval.expires_at,
    }
