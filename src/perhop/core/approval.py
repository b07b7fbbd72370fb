"""Approvals: one exact call that waits for a person of the owner's team, and what that person said.

Not the consent to a task, and not the owner's approval of a tool: those say what may be called, this says that a call
may be made, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ApprovalState(StrEnum):
    """How an approval stands. APPROVED alone lets a call through, once, and then it is USED.

    Until then it can be denied.
    """

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCall:
    """All that an approval is bound to: another value in any of these is another call.

    `task` is the id of the task that the token names. `params_sha256` is that of a CallBinding: over the RFC 8785 form
    of `params` without `_meta`, so over the name and the arguments.
    """

    agent: str
    subject: str
    audience: str
    task: str | None
    method: str
    params_sha256: str
    policy_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One request for approval. Times are seconds since the epoch.

    `name` is the tool, prompt or URI; `policies` are the `@id`s that want the approval. `decided_by` is the subject of
    the person who decided, `why` what that person gave as the reason.
    """

    id: str
    call: ExactCall
    client_id: str
    resource: str
    name: str | None
    policies: tuple[str, ...]
    state: ApprovalState
    asked_at: int
    expires_at: int
    decided_by: str | None = None
    decided_at: int | None = None
    why: str = ""
    used_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person who was seen to be who they are, at `signed_in_at`: by password, or at a provider. Never from a token.

    `others` are further accounts that bear the same address, and so may be the same person's.
    """

    subject: str
    email: str
    signed_in_at: int
    others: frozenset[str] = frozenset()
