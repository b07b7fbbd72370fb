"""Who may decide on a call that waits for approval, for how long, and which call it then is.

Spec: RFC 8785 §3.2
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perhop.core.approval import Approval, ApprovalState, Approver, ExactCall
from perhop.core.owner import Owner
from perhop.errors import ApprovalClosed, ApproverRefused, SignInStale
from perhop.rules.canonical_json import canonical_json

FRESH_SECONDS = 300
"""Since the person has last shown who they are."""

USE_SECONDS = 300
"""An approved call gets at least this long to be repeated."""

MAX_WHY = 500
"""Characters of a reason."""

NONCE_BYTES = 12
_OF_AN_OPEN_CALL = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})


def call_digest(call: ExactCall) -> str:
    """Hex SHA-256 over everything that an approval is bound to."""
    return hashlib.sha256(canonical_json(asdict(call))).hexdigest()


def asks_anew(method: str) -> bool:
    """False for what only looks after an McpTask: the call that has opened it was approved."""
    return method not in _OF_AN_OPEN_CALL


def check_open(approval: Approval, *, allow: bool, policy_version: str, now: int) -> None:
    """Refuse a decision that could change nothing: there is one already, or nobody waits for it any more.

    A yes can be taken back until it is used.

    Raises: ApprovalClosed
    """
    if approval.state not in decidable(allow=allow):
        raise ApprovalClosed(f"approval `{approval.id}` does not wait any more: {approval.state.value}")
    if approval.expires_at <= now:
        raise ApprovalClosed(f"approval `{approval.id}` does not wait any more: expired")
    if approval.call.policy_version != policy_version:
        raise ApprovalClosed(
            f"approval `{approval.id}` was asked for under policies that are no longer in force",
            advice="the agent asks again when it repeats its call",
        )


def decidable(*, allow: bool) -> frozenset[ApprovalState]:
    """The states in which a yes, or a no, can be given."""
    return frozenset({ApprovalState.WAITING} if allow else {ApprovalState.WAITING, ApprovalState.APPROVED})


def check_approver(approver: Approver, approval: Approval, owner: Owner | None, *, now: int) -> None:
    """Refuse everybody but a person of the owner's team who is not the one for whom the agent acts.

    `owner` is that of the resource, None if the resource is no longer there.

    Raises: ApproverRefused, SignInStale
    """
    if owner is None or not is_of_team(approver.email, owner):
        team = f"`{owner.name}`" if owner is not None else "the owner's team"
        raise ApproverRefused(
            f"`{approver.email}` is not of {team}",
            advice="a member or a deputy of the team that owns the resource decides: see `perhop owner list`",
        )
    if approval.call.subject == approver.subject or approval.call.subject in approver.others:
        raise ApproverRefused(
            "the agent acts for you: nobody approves a call that is made for themselves",
            advice="another person of the team decides",
        )
    if not 0 <= now - approver.signed_in_at <= FRESH_SECONDS:
        raise SignInStale(
            f"you signed in more than {FRESH_SECONDS // 60} minutes ago", advice="sign in again, then decide"
        )


def decide_on(approval: Approval, *, allow: bool, approver: Approver, why: str, now: int) -> Approval:
    """The approval as decided. An approved call can be repeated for a while; a denied one is refused until it expires.

    Does not look who decides, nor whether there is anything to decide.

    Raises: ApprovalClosed, for a reason that is too long
    """
    if len(why) > MAX_WHY:
        raise ApprovalClosed(f"the reason has more than {MAX_WHY} characters", advice="say it shorter")
    return replace(
        approval,
        state=ApprovalState.APPROVED if allow else ApprovalState.DENIED,
        expires_at=max(approval.expires_at, now + USE_SECONDS) if allow else approval.expires_at,
        decided_by=approver.subject,
        decided_at=now,
        why=why,
    )


def is_of_team(email: str, owner: Owner) -> bool:
    """True for members and deputies."""
    return email in owner.members or email in owner.deputies


def seal_params(params: Mapping[str, Any], approval: str, *, key: bytes, nonce: bytes) -> bytes:
    """What the person is shown, unreadable without the key, and of use for this approval only.

    `nonce` must be random and used once.

    Spec: NIST SP 800-38D
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    return nonce + AESGCM(key).encrypt(nonce, canonical_json(params), approval.encode())


def unseal_params(sealed: bytes, approval: str, *, key: bytes) -> bytes:
    """The RFC 8785 form of the params.

    Raises: ApprovalClosed, for what was not sealed with this key for this approval
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], approval.encode())
    except (InvalidTag, ValueError):
        raise ApprovalClosed(
            f"what was kept of approval `{approval}` cannot be read",
            advice="it was written under another `keys/journal.pem`, or was changed",
        ) from None
